"""Any batches and dictionaries: the right figures, or an error for the culprit."""

import contextlib
import math

import numpy
import pytest
from any_input import (
    ITEMS,
    USERS,
    L,
    at_random,
    dictionaries,
    ids,
    outcome,
    packed,
)
from hypothesis import given
from hypothesis import strategies as st

from d2l_recsys.deepfm import DeepFM
from d2l_recsys.engine.clicks import evaluate_ctr
from d2l_recsys.engine.full_ranking import recommend
from d2l_recsys.engine.predict import predict
from d2l_recsys.fm import FM, train_ch13
from d2l_recsys.mf import MF, evaluator, train_recsys_rating
from d2l_recsys.neumf import (
    NeuMF,
    evaluate_ranking,
    hit_and_auc,
    train_ranking,
)
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import gluon, mx, np
from d2l_recsys.seqrec import Caser


def started(net):
    mx.random.seed(1)
    net.initialize(mx.init.Normal(0.5))
    return net


def weight(layer):
    return layer.weight.data().asnumpy().astype("float64")


def by_hand(net, users, items):
    """Return MF's scores."""
    p, q = weight(net.P)[users], weight(net.Q)[items]
    biases = weight(net.user_bias)[users, 0] + weight(net.item_bias)[items, 0]
    return (p * q).sum(axis=1) + biases


BATCH = ("array", "uint64", "int8", "float32", "mxnet")


@at_random
@given(st.data(), st.integers(1, 4))
def test_ratings(data, size):
    (users, plain_users), (items, plain_items) = (
        data.draw(ids(size, limit, names=BATCH)) for limit in (USERS, ITEMS)
    )
    ratings = numpy.arange(1, size + 1 + data.draw(st.booleans()), dtype="float32")
    batch = [
        x if isinstance(x, np.ndarray) else _as_mxnet(x) for x in (users, items)
    ] + [np.array(ratings)]
    if any(column is None for column in batch):
        return  # MXNet has no such array
    net = started(MF(2, USERS, ITEMS))
    names = "row|input|differ in length|integer"
    for call in (
        lambda: predict(net, [batch])[0],
        lambda: evaluator(net, [batch]),
        lambda: train_recsys_rating(
            net,
            [batch],
            [batch],
            gluon.loss.L2Loss(),
            gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0}),
            1,
        )[0]["train_loss"],
    ):
        result = outcome(call, names)
        valid = None not in (plain_users, plain_items) and len(ratings) == size
        assert (result is not None) == valid
        if valid:
            scores = by_hand(net, plain_users, plain_items)
            square = numpy.mean((scores - ratings) ** 2)
            expected = {0: math.sqrt(square), 1: square / 2}
            if numpy.ndim(result):
                assert result == pytest.approx(scores, rel=1e-5, abs=1e-6)
            else:
                assert min(abs(result - x) for x in expected.values()) < 1e-5


def _as_mxnet(values):
    """Return integers as int32 and floats as float32, or None for anything else."""
    with contextlib.suppress(Warning):
        array = numpy.array(values)
        if array.dtype.kind == "f":
            return np.array(array, dtype="float32")
        if array.dtype.kind in "iu" and int(array.max()) < 2**31:
            return np.array(array, dtype="int32")
    return None


class Products(gluon.nn.HybridBlock):
    """A net of flat ids whose scores are exact: a table."""

    def __init__(self):
        super().__init__()
        self.table = gluon.nn.Embedding(USERS * ITEMS, 1)
        self.initialize()
        scores = numpy.random.default_rng(0).permutation(USERS * ITEMS) // 2
        self.scores = scores.reshape(USERS, ITEMS)  # with ties
        self.table.weight.set_data(np.array(scores.reshape(-1, 1), dtype="float32"))

    def forward(self, user_id, item_id):
        return self.table(user_id * ITEMS + item_id)


@at_random
@given(dictionaries(one_item=True), dictionaries(), st.integers(0, 3))
def test_ranking(case, candidates, k):
    (test, plain_test), (seen, plain_seen) = case, candidates
    net = Products()
    result = outcome(
        lambda: evaluate_ranking(net, test, None, seen, USERS, ITEMS, k=k),
        "user|item|k must",
    )
    both = None not in (plain_test, plain_seen)
    clean = both and not any(
        {*items} & {*plain_seen.get(user, ())} for user, items in plain_test.items()
    )
    assert (result is not None) == (clean and k > 0)
    best = outcome(
        lambda: recommend(net, 1, k, seen, USERS, ITEMS), "candidates|n must"
    )
    assert (best is not None) == (plain_seen is not None and k > 0)
    if best is not None:
        unseen = {*range(ITEMS)} - {*plain_seen.get(1, ())}
        order = sorted(unseen, key=lambda item: (-net.scores[1, item], item))
        assert best == [(item, net.scores[1, item]) for item in order[:k]]
    if result is None:
        return
    hits, aucs = [], []
    for user, (item,) in plain_test.items():
        others = {*range(ITEMS)} - {item, *plain_seen.get(user, ())}
        own = net.scores[user]
        above = sum(own[other] >= own[item] for other in others)
        hits.append(above < k)
        aucs.append(1 - above / len(others))
    assert result == pytest.approx((numpy.mean(hits), numpy.mean(aucs)))


@at_random
@given(st.data(), st.integers(0, 4))
def test_one_ranking(data, k):
    names = ("list", "tuple", "array", "series", "mxnet")
    ranked = data.draw(st.permutations(range(ITEMS)))
    held_out, plain = data.draw(ids(1, ITEMS, names=names))
    container, _ = packed(data.draw, ranked, names)
    result = outcome(lambda: hit_and_auc(container, held_out, k), "test_input|k must")
    if result is None:
        assert k == 0 or plain is None
        return
    if plain is None:  # an integer that is no item
        assert result == (0, 0.0)
        return
    above = ranked.index(plain[0])
    assert result == (above < k, pytest.approx(1 - above / (ITEMS - 1)))


@at_random
@given(dictionaries(), st.data())
def test_a_step_of_ranking(case, data):
    """One batch of pairs; and sequences to test with, of any kind."""
    seen, plain_seen = case
    rows = {u: data.draw(st.integers(0, ITEMS)) for u in range(USERS)}
    seq = numpy.array([[rows[u], ITEMS] for u in range(USERS)])
    kind = data.draw(
        st.sampled_from(["right", "none", "short", "wide", "half", "high"])
    )
    given_seq = {
        "right": seq,
        "none": None,
        "short": seq[:-1],
        "wide": numpy.tile(seq, (1, 2)),
        "half": seq + 0.5,
        "high": seq + ITEMS + 1,
    }[kind]
    sequential = data.draw(st.booleans())
    net = started(
        Caser(2, USERS, ITEMS, L=L, drop_ratio=0)
        if sequential
        else NeuMF(2, USERS, ITEMS, [3])
    )
    ones = np.ones(2, dtype="int32")
    batch = [ones, np.array(seq[[1, 1]], dtype="int32"), ones * 3, ones * 4]
    batch = batch if sequential else [batch[0], *batch[2:]]
    scores = [net(*batch[:-2], x).asnumpy() for x in batch[-2:]]
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0})
    history = outcome(
        lambda: train_ranking(
            net,
            [batch],
            {2: [1]},
            BPRLoss(),
            trainer,
            given_seq,
            USERS,
            ITEMS,
            1,
            None,
            evaluate_ranking,
            {**seen, 2: [0]} if plain_seen else seen,
        ),
        "seq|user|item|input 1",
    )
    expected = numpy.mean(numpy.log1p(numpy.exp(scores[1] - scores[0])))
    fits = kind == ("right" if sequential else "none")
    assert (history is not None) == (fits and plain_seen is not None)
    if history:
        assert history[0]["train_loss"] == pytest.approx(expected, rel=1e-4)


@at_random
@given(st.data(), st.integers(1, 4), st.sampled_from([FM, DeepFM]))
def test_indices_of_fields(data, size, model):
    (first, plain_first), (second, plain_second) = (
        data.draw(ids(size, 5, names=("array", "float32"))) for _ in range(2)
    )
    columns = [_as_mxnet(x) for x in (first, second)]
    if any(column is None for column in columns):
        return  # MXNet has no such array
    labels = data.draw(st.lists(st.sampled_from([0, 1]), min_size=size, max_size=size))
    if data.draw(st.integers(0, 5)) == 0:
        labels[0] = data.draw(st.sampled_from([-1, 2, 0.5, math.nan]))
    same = {column.dtype for column in columns} == {numpy.dtype("int32")}
    columns = [column.astype("int32" if same else "float32") for column in columns]
    batch = [np.stack(columns, axis=1), np.array(labels).reshape(-1, 1)]
    net = started(FM([2, 3], 2) if model is FM else DeepFM([2, 3], 2, [3], 0))
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0})
    valid = None not in (plain_first, plain_second) and {*labels} <= {0, 1}
    names = "input 0|labels must be 0 or 1|embedding|integer|NaN"
    found = outcome(lambda: evaluate_ctr(net, [batch]), names)
    history = outcome(lambda: train_ch13(net, [batch], None, loss, trainer, 1), names)
    assert (found is not None) == (history is not None) == valid
    if not valid:
        return
    logits = net(batch[0]).asnumpy()[:, 0].astype("float64")
    if model is FM:
        rows = numpy.array([plain_first, plain_second]).T
        v, w = weight(net.embedding)[rows], weight(net.fc)[rows, 0]
        linear = weight(net.linear_layer) * w.sum(axis=1) + 0
        assert logits == pytest.approx(linear[0] + (v[:, 0] * v[:, 1]).sum(axis=1))
    signs = numpy.where(numpy.array(labels) == 1, -logits, logits)
    expected = numpy.mean(numpy.log1p(numpy.exp(signs)))
    assert found["log_loss"] == pytest.approx(expected, rel=1e-5)
    assert history[0]["train_loss"] == pytest.approx(expected, rel=1e-4)
