"""Sizes, rates and seeds: each function and model names the one that is wrong."""

import re

import numpy
import pandas as pd
import pytest

from d2l_recsys import autorec, load, recommend
from d2l_recsys.autorec import AutoRec
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data.interactions import Interactions
from d2l_recsys.data.sizes import field_sizes
from d2l_recsys.deepfm import DeepFM
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.predict import predict
from d2l_recsys.engine.saved import Histories
from d2l_recsys.fm import FM
from d2l_recsys.mf import MF, train_recsys_rating
from d2l_recsys.movielens import (
    rating_loader,
    read_data_ml100k,
    read_ratings,
    split_data_ml100k,
)
from d2l_recsys.neumf import NeuMF, PRDataset, evaluate_ranking
from d2l_recsys.runtime.backend import gluon, np
from d2l_recsys.seqrec import Caser, SeqDataset

TAKE = {
    "num_factors": [
        lambda n: MF(n, 5, 7),
        lambda n: NeuMF(n, 5, 7, [4]),
        lambda n: Caser(n, 5, 7, L=2),
        lambda n: DeepFM([2, 3], n, [4]),
    ],
    "num_users": [
        lambda n: MF(3, n, 7),
        lambda n: NeuMF(3, n, 7, []),
        lambda n: Caser(3, n, 7),
        lambda n: AutoRec(3, n),
        lambda n: SeqDataset([0, 0], [1, 2], 2, n, 7, {0: [1, 2]}),
    ],
    "num_items": [
        lambda n: MF(3, 5, n),
        lambda n: NeuMF(3, 5, n, [4]),
        lambda n: Caser(3, 5, n),
        lambda n: SeqDataset([0, 0], [1, 2], 2, 1, n, {0: [1, 2]}),
    ],
    "num_hidden[0]": [lambda n: AutoRec(n, 5), lambda n: AutoRec([n], 5)],
    "nums_hiddens[1]": [lambda n: NeuMF(3, 5, 7, [4, n])],
    "mlp_dims[0]": [lambda n: DeepFM([2, 3], 2, [n])],
    "field_dims[1]": [lambda n: FM([2, n], 2), lambda n: DeepFM([2, n], 2, [])],
    "L": [
        lambda n: Caser(3, 5, 7, L=n),
        lambda n: SeqDataset([0], [1], n, 1, 7, {0: [1]}),
    ],
    "batch_size": [lambda n: BatchLoader([[1, 2]], n)],
}


@pytest.mark.parametrize("size", [0, -1, 2.0, "3", True, None, 2**31])
@pytest.mark.parametrize(("name", "take"), [(k, f) for k in TAKE for f in TAKE[k]])
def test_sizes(name, take, size):
    with pytest.raises(ValueError, match=f"^{re.escape(name)} must be "):
        take(size)


@pytest.mark.parametrize(
    ("net", "error"),
    [
        (MF(2**16, 2**15, 7), "MF: P.weight has 32768 x 65536 numbers, but MXNet's ar"),
        (NeuMF(2**16, 5, 7, [2**15]), "NeuMF: mlp.0.weight has 32768 x 131072 numbers"),
        (Caser(2**16, 5, 2**14, d_prime=0), "Caser: Q_prime.weight has 16384 x 131072"),
        (AutoRec(2**16, 2**15), "AutoRec: encoder.weight has 65536 x 32768 numbers"),
        (FM([2**29, 2**29], 2), "FM: embedding.weight has 1073741824 x 2 numbers"),
        (DeepFM([2**20], 2**12, []), "DeepFM: embedding.weight has 1048576 x 4096 n"),
    ],
)
def test_a_table_too_large_for_mxnet_is_named(net, error):
    with pytest.raises(ValueError, match=re.escape(error)) as caught:
        net.initialize()
    assert "use fewer factors" in str(caught.value)


@pytest.mark.parametrize("size", [-1, 2.0, None])
def test_sizes_that_may_be_0(size):
    for take in (
        lambda n: FM([2, 3], n),
        lambda n: Caser(3, 5, 7, d=n),
        lambda n: Caser(3, 5, 7, d_prime=n),
    ):
        take(0)
        with pytest.raises(ValueError, match=r"(num_factors|d|d_prime) must be"):
            take(size)


def test_numpy_integers_are_sizes():
    two = numpy.int32(2)
    assert MF(two, two, two).P.weight.shape == (2, 2)
    assert FM(numpy.array([two, 3]), two).embedding.weight.shape == (5, 2)


def test_sizes_of_fields():
    floats = np.zeros(2) + 3  # as in the book
    assert field_sizes(floats) == field_sizes([3, 3]) == [3, 3]
    for bad, message in (
        ([], "field_dims is empty"),
        (5, "field_dims must be a list of integers, not 5"),
        ("23", "field_dims must be a list of integers, not '23'"),
        (None, "field_dims must be a list of integers, not None"),
        ([2.5], r"field_dims\[0\] must be an integer, not 2\.5"),
        ([2**30, 2**30], r"the sum of field_dims must be at most 2\^31-1"),
    ):
        with pytest.raises(ValueError, match=message):
            FM(bad, 2)


@pytest.mark.parametrize("sizes", [4, None, "44"])
def test_layers_that_are_no_list(sizes):
    with pytest.raises(ValueError, match="nums_hiddens"):
        NeuMF(2, 5, 7, sizes)
    with pytest.raises(ValueError, match="mlp_dims must be a list"):
        DeepFM([2], 2, sizes)


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, float("nan"), "0.5", None, True])
def test_dropout(rate):
    for name, take in (
        ("dropout", lambda r: AutoRec(2, 5, r)),
        ("drop_ratio", lambda r: Caser(2, 5, 7, drop_ratio=r)),
        ("drop_rate", lambda r: DeepFM([2], 2, [3], r)),
        ("dropout", lambda r: NeuMF(2, 5, 7, [3], dropout=r)),
    ):
        with pytest.raises(ValueError, match=f"{name} must be at least 0 and below 1"):
            take(rate)


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None, True])
def test_seeds(seed, frame):
    data = frame((1, 1, 5, 1), (2, 1, 4, 2))
    for take in (
        lambda s: BatchLoader([[1, 2]], 1, seed=s),
        lambda s: PRDataset([0], [1], {0: [1]}, 7, seed=s),
        lambda s: split_data_ml100k(data, 2, 1, seed=s),
    ):
        with pytest.raises(ValueError, match="seed must be"):
            take(seed)


@pytest.fixture(scope="module")
def net():
    """Return a net that knows users and items, as a loaded one does."""
    net = MF(2, 2, 3)
    net.initialize()
    seen = Interactions([0, 1], [0, 1], 2, 3)
    net.trained_on = Histories([1, 2], [1, 2, 3], seen, numpy.ones(2, "float32"))
    return net


SEEN = {0: [0], 1: [1]}
FRAME = pd.DataFrame({"user_id": [1], "item_id": [1], "rating": [3], "timestamp": [0]})
LISTS = {
    "history": lambda net, x: recommend(net, None, 2, history=x),
    "devices": lambda net, x: recommend(net, 0, 2, devices=x),
    "candidates": lambda net, x: recommend(net, 0, 2, x, 2, 3),
    "data_iter": lambda net, x: predict(net, x),
    "inter_matrix": lambda net, x: autorec.evaluator(net, x, numpy.ones((2, 2))),
    "train_iter": lambda net, x: train_recsys_rating(
        net, x, None, gluon.loss.L2Loss(), gluon.Trainer(net.collect_params(), "sgd"), 1
    ),
    "trainer": lambda net, x: train_recsys_rating(
        net, BatchLoader([[1]], 1), None, gluon.loss.L2Loss(), x, 1
    ),
    "dataset": lambda net, x: BatchLoader(x, 2),
    "data": lambda net, x: rating_loader(x, 2, 3),
    "num_users": lambda net, x: rating_loader(FRAME, x, 3),
    "source": lambda net, x: read_ratings(x),
    "data_dir": lambda net, x: read_data_ml100k(x),
    "test_input": lambda net, x: evaluate_ranking(net, x, None, SEEN, 2, 3),
    "ks": lambda net, x: evaluate_ranking(net, {0: [1]}, None, SEEN, 2, 3, ks=x),
    "test_items": lambda net, x: PRDataset([0], [0], SEEN, 3, x),
    "user": lambda net, x: SeqDataset(x, [0, 1], 2, 2, 3, SEEN),
    "data_path": lambda net, x: CTRDataset(x),
    "layout": lambda net, x: CTRDataset("rows.csv", layout=x),
    "numeric": lambda net, x: CTRDataset("rows.csv", numeric=x),
    "vocabulary": lambda net, x: CTRDataset("rows.csv", vocabulary=x),
    "field_dims": lambda net, x: FM(x, 2),
    "folder": lambda net, x: load(x),
}


@pytest.mark.parametrize(
    "wrong", [3.5, object(), numpy.array(1.5)], ids=["3.5", "object", "0-d"]
)
@pytest.mark.parametrize("name", LISTS)
def test_an_argument_of_the_wrong_kind_is_named(name, wrong, net):
    with pytest.raises(ValueError, match=f"^{name}s?( must be |: the shape must be )"):
        LISTS[name](net, wrong)
