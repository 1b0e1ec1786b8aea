"""Ids, dtypes and shapes at random, for every function that takes ids or frames.

Two outcomes are allowed: the result of a simple loop, or a ValueError of this package
whose text names the culprit.
"""

import contextlib
import io
import math
import re
import traceback
from pathlib import Path

import numpy
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import d2l_recsys
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data.ctr_files import Table
from d2l_recsys.deepfm import DeepFM
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.clicks import evaluate_ctr
from d2l_recsys.engine.full_ranking import recommend
from d2l_recsys.engine.predict import predict
from d2l_recsys.fm import FM, train_ch13
from d2l_recsys.mf import MF, evaluator, train_recsys_rating
from d2l_recsys.movielens import load_data_ml100k, split_data_ml100k
from d2l_recsys.neumf import (
    NeuMF,
    PRDataset,
    evaluate_ranking,
    hit_and_auc,
    train_ranking,
)
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import gluon, mx, np
from d2l_recsys.seqrec import Caser, SeqDataset

USERS, ITEMS, L = 3, 5, 2
OURS = Path(d2l_recsys.__file__).parent
at_random = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[*HealthCheck],
    phases=[Phase.generate, Phase.shrink],
)

# Values that are no id of anything here.
FAULTS = [-1, 2**31, 2**63 - 1, 2**63, 2**64, 0.5, math.nan, math.inf, None, "1", [1]]
NO_NUMBERS = [math.nan, math.inf, None, "1", 2**64]
CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "array": numpy.array,
    "uint64": lambda values: numpy.array(values, dtype="uint64"),
    "int8": lambda values: numpy.array(values, dtype="int8"),
    "float32": lambda values: numpy.array(values, dtype="float32"),
    "object": lambda values: numpy.array([*values, None], dtype="object")[:-1],
    "series": lambda values: pd.Series(values, index=range(7, 7 + len(values))),
    "Int64": lambda values: pd.Series(values, dtype="Int64"),
    "Float64": lambda values: pd.Series(values, dtype="Float64"),
    "mxnet": lambda values: np.array(values, dtype="int32"),
    "column": lambda values: numpy.array(values).reshape(-1, 1),  # not (n,)
}


def packed(draw, values, names):
    """Return `values` in one of these containers, or a list if they do not fit."""
    name = draw(st.sampled_from(names))
    with contextlib.suppress(TypeError, ValueError, OverflowError, Warning):
        container = CONTAINERS[name](values)
        plain = container.asnumpy() if name == "mxnet" else container
        if [*numpy.ravel(plain)] == values:  # not wrapped, cut or missing
            return container, name != "column"
    return list(values), True


@st.composite
def ids(draw, size, limit, first=0, names=tuple(CONTAINERS), faults=None):
    """Draw (container, its ids or None); None if they are not in first..limit-1."""
    faults = faults or [*FAULTS, first - 1, limit]
    values = draw(st.lists(st.integers(first, limit - 1), min_size=size, max_size=size))
    bad = draw(st.booleans()) and draw(st.booleans())
    if bad:
        values[draw(st.integers(0, size - 1))] = draw(st.sampled_from(faults))
    container, fits = packed(draw, values, names)
    return container, None if bad or not fits else values


FRAME = ("list", "array", "uint64", "int8", "float32", "object", "Int64", "Float64")


@st.composite
def frames(draw):
    """Draw a frame of ratings, and its rows or None."""
    size = draw(st.integers(1, 8))
    columns = [
        draw(ids(size, USERS + 1, 1, FRAME)),
        draw(ids(size, ITEMS + 1, 1, FRAME)),
        draw(ids(size, 6, 1, FRAME, NO_NUMBERS)),
        draw(ids(size, 100, 0, FRAME, NO_NUMBERS)),
    ]
    names = ["user_id", "item_id", "rating", "timestamp"]
    data = pd.DataFrame({n: list(c) for n, (c, _) in zip(names, columns)})
    for name, (column, _) in zip(names, columns):
        if hasattr(column, "dtype"):
            data[name] = column if isinstance(column, numpy.ndarray) else column.array
    return data, [values for _, values in columns]


@st.composite
def dictionaries(draw, one_item=False):
    """Draw {user: items} and what it means, or None."""
    users = draw(st.lists(st.integers(0, USERS - 1), unique=True, min_size=1))
    given, plain, bad = {}, {}, False
    for user in users:
        items = st.integers(0, ITEMS - 1)
        count = (1, 1) if one_item else (0, ITEMS - 2)
        values = draw(
            st.lists(items, unique=True, min_size=count[0], max_size=count[1])
        )
        plain[user] = values
        if values and draw(st.integers(0, 7)) == 0:
            values, bad = [*values[1:], draw(st.sampled_from([*FAULTS, ITEMS]))], True
        names = ("list", "tuple", "array", "series") if values else ("list", "tuple")
        given[user], _ = packed(draw, values, names)
    if draw(st.integers(0, 7)) == 0:
        wrong = draw(st.sampled_from([-1, USERS, 2**31, 2**64, 0.5, "0", None]))
        given[wrong], bad = [0], True
    return given, None if bad else plain


def outcome(call, culprit):
    """Return the result of `call`, or None after a ValueError that names `culprit`."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return call()
    except ValueError as error:
        last, text = traceback.extract_tb(error.__traceback__)[-1], str(error)
    ours = OURS in Path(last.filename).parents
    assert ours, last
    assert re.search(culprit, text)
    return None


def started(net):
    mx.random.seed(1)
    net.initialize(mx.init.Normal(0.5))
    return net


def weight(layer):
    return layer.weight.data().asnumpy().astype("float64")


@at_random
@given(frames())
def test_splits(case):
    data, (users, _, _, times) = case
    copy = data.copy()
    train, test = split_data_ml100k(data, USERS, ITEMS, seed=1, test_ratio=0.5)
    assert sorted([*train.index, *test.index]) == [*range(len(data))]
    result = outcome(
        lambda: split_data_ml100k(data, USERS, ITEMS, "seq-aware"),
        "user id|timestamp",
    )
    assert (result is None) <= (users is None or times is None)
    pd.testing.assert_frame_equal(data, copy)
    if result is None or users is None or times is None:
        return
    last = {}  # the row of each user that is held out: the first at their last time
    for row, (user, time) in enumerate(zip(users, times)):
        if user not in last or time > times[last[user]]:
            last[user] = row
    rest = [row for row in range(len(users)) if row not in last.values()]
    rest.sort(key=lambda row: (users[row], times[row]))
    for part, rows in zip(result, (rest, [*last.values()])):
        expected = data.iloc[rows].reset_index(drop=True)
        pd.testing.assert_frame_equal(part, expected)


@at_random
@given(frames(), st.sampled_from(["explicit", "implicit"]))
def test_loading(case, feedback):
    data, (users, items, ratings, _) = case
    result = outcome(
        lambda: load_data_ml100k(data, USERS, ITEMS, feedback),
        r"row \d+ of data: (user id|item id|rating)|(user id|item id|rating)s? ",
    )
    needed = [users, items] + [ratings] * (feedback == "explicit")
    assert (result is None) == (None in needed)
    if result is None:
        return
    assert result.users.tolist() == [u - 1 for u in users]
    assert result.items.tolist() == [i - 1 for i in items]
    if feedback == "implicit":
        assert result.inter == {
            u - 1: [i - 1 for v, i in zip(users, items) if v == u] for u in {*users}
        }
    else:
        cells = {(i, u): r for u, i, r in zip(users, items, ratings)}
        matrix = numpy.zeros((ITEMS, USERS))
        for (i, u), rating in cells.items():
            matrix[i - 1, u - 1] = rating
        assert (result.inter.asnumpy() == matrix).all()


@at_random
@given(st.data(), st.integers(1, 6), dictionaries())
def test_pairs(data, size, case):
    (users, plain_users), (items, plain_items) = (
        data.draw(ids(size, limit)) for limit in (USERS, ITEMS)
    )
    seen, plain_seen = case
    made = outcome(
        lambda: PRDataset(users, items, seen, ITEMS),
        "user|item|candidates",
    )
    if None in (plain_users, plain_items, plain_seen):
        assert made is None or (plain_seen is None and max(seen) < 2**31)
        return
    if made is None:  # a user whom the dictionary does not know
        assert max(plain_users) > max(plain_seen)
        return
    for k, (user, item) in enumerate(zip(plain_users, plain_items)):
        row = made[k]
        assert row[:2] == (user, item)
        assert row[2] in {*range(ITEMS)} - {*plain_seen.get(user, ())}


@at_random
@given(st.data(), st.integers(USERS, 9))
def test_sequences(data, size):
    (users, plain_users), (items, plain_items) = (
        data.draw(ids(size, limit)) for limit in (USERS, ITEMS)
    )
    made = outcome(
        lambda: SeqDataset(users, items, L, USERS, ITEMS, {0: [1]}), "user|item"
    )
    if plain_users is None or plain_items is None or {*plain_users} != {*range(USERS)}:
        assert made is None
        return
    expected = []
    for user in range(USERS):
        own = [i for u, i in zip(plain_users, plain_items) if u == user]
        padded = [ITEMS] * L + own
        ends = range(
            len(padded) - 1, max(len(padded) - 1 - max(len(own) - L, 1), 0), -1
        )
        expected += [(user, padded[end - L : end], padded[end]) for end in ends]
        assert made.test_seq[user].tolist() == padded[-L:]
    rows = zip(made.seq_users, made.seq_items, made.seq_tgt)
    assert [(u, s.tolist(), t[0]) for u, s, t in rows] == expected


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
    result = outcome(lambda: hit_and_auc(container, held_out, k), "test_matrix|k must")
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
@given(
    st.lists(st.lists(st.sampled_from(["", "a", "b", "é"]), min_size=2, max_size=2)),
    st.integers(-1, 3),
)
def test_clicks(rows, threshold):
    values = ["", "a", "b", "é"]
    codes = [[values.index(v) for v in row] for row in rows]
    table = Table(
        ("x", "y"),
        (),
        [values, values],
        numpy.array(codes, dtype="int32").reshape(-1, 2),
        numpy.arange(len(rows), dtype="float32") % 2,
    )
    data = outcome(
        lambda: CTRDataset.from_table(table, min_threshold=threshold),
        "min_threshold|no rows",
    )
    assert (data is not None) == (threshold >= 0 and len(rows) > 0)
    if data is None:
        return
    for field in (0, 1):
        own = [row[field] for row in rows]
        known = sorted(v for v in {*own} if own.count(v) >= max(threshold, 1))
        assert data.field_dims[field] == len(known) + 1
        for k, value in enumerate(own):
            index = known.index(value) if value in known else len(known)
            assert data[k][0][field] == index + data.offsets[field]


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


@at_random
@given(st.data(), st.integers(1, 6), st.integers(-1, 4))
def test_batches(data, size, batch_size):
    column, plain = data.draw(ids(size, ITEMS))
    if plain is None:
        return  # a loader takes any values
    made = outcome(lambda: BatchLoader([column, column], batch_size), "batch_size")
    assert (made is None) == (batch_size < 1)
    if made is not None:
        rows = [x.asnumpy().tolist() for x, _ in made]
        starts = range(0, size, batch_size)
        assert rows == [plain[start : start + batch_size] for start in starts]
