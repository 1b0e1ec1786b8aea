"""Ids that a net has no row for: MXNet clips them silently, these are errors."""

import io
from contextlib import redirect_stdout

import numpy
import pytest

from d2l_recsys import autorec
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.clicks import evaluate_ctr
from d2l_recsys.engine.full_ranking import recommend
from d2l_recsys.engine.predict import predict
from d2l_recsys.fm import FM, train_ch13
from d2l_recsys.mf import MF, evaluator, train_recsys_rating
from d2l_recsys.neumf import NeuMF, PRDataset, evaluate_ranking, train_ranking
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import gluon, mx, nn, np
from d2l_recsys.seqrec import Caser, SeqDataset

USERS, ITEMS = 4, 6
SCORES = numpy.ones(2, dtype="float32")
BAD = [
    ([0, USERS], [1, 2], "row 1 of input 0: id 4 is not in 0..3"),
    ([0, 1], [ITEMS + 300, 2], "row 0 of input 1: id 306 is not in 0..5"),
    ([0, 1], [1, -7], "row 1 of input 1: id -7 is not in 0..5"),
]


class OwnNet(nn.HybridBlock):
    """A reader's net: one table, and user ids moved about before they are looked up."""

    def __init__(self):
        super().__init__()
        self.users, self.items = nn.Embedding(USERS, 3), nn.Embedding(ITEMS, 3)

    def hybrid_forward(self, F, u, i):
        u = F.np.concatenate([F.np.expand_dims(u, 1)] * 2, axis=1).astype("int32")
        return (self.users(u[:, 0]) * self.items(F.npx.reshape(i, (-1,)))).sum(axis=1)


class PlainNet(nn.Block):
    """A reader's net without a graph."""

    def __init__(self):
        super().__init__()
        self.users, self.items = nn.Embedding(USERS, 3), nn.Embedding(ITEMS, 3)

    def forward(self, u, i):
        assert len(u.shape) == 1
        return (self.users(u) * self.items(i)).sum(axis=1)


def made(make, hybridize=False):
    net = make()
    net.initialize(mx.init.Normal(0.1))
    if hybridize:
        net.hybridize()
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.01})
    return net, trainer


def loaders(*arrays):
    """Return the kinds of loaders that readers use."""
    arrays = [numpy.asarray(a) for a in arrays]
    ids = [
        np.array(a.astype(a.dtype if a.dtype.kind == "f" else "int32")) for a in arrays
    ]
    return {
        "BatchLoader": BatchLoader(tuple(arrays), 2),
        "DataLoader": gluon.data.DataLoader(gluon.data.ArrayDataset(*ids), 2),
        "list": [ids],
    }


def silently(function, *arguments, **more):
    with redirect_stdout(io.StringIO()):
        return function(*arguments, **more)


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("loader", ["BatchLoader", "DataLoader", "list"])
@pytest.mark.parametrize("make", [lambda: MF(3, USERS, ITEMS), OwnNet])
@pytest.mark.parametrize(("users", "items", "message"), BAD)
def test_ratings(users, items, message, make, loader, hybridize):
    net, trainer = made(make, hybridize)
    bad = loaders(users, items, SCORES)[loader]
    good = loaders([0, 1], [1, 2], SCORES)["list"]
    loss = gluon.loss.L2Loss()
    for train, test in ((bad, good), (good, bad)):
        with pytest.raises(ValueError, match=message):
            silently(train_recsys_rating, net, train, test, loss, trainer, 1)
    with pytest.raises(ValueError, match=message):
        evaluator(net, bad)
    silently(train_recsys_rating, net, good, good, loss, trainer, 1)


@pytest.mark.parametrize("table", ["users", "items"])
def test_a_plain_block_is_watched(table):
    net, trainer = made(PlainNet)
    good, loss = loaders([0, 1], [1, 2], SCORES)["list"], gluon.loss.L2Loss()
    silently(train_recsys_rating, net, good, good, loss, trainer, 1)
    ids = {"users": [0, 1], "items": [1, 2], table: [0, 99]}
    bad = loaders(ids["users"], ids["items"], SCORES)["list"]
    with pytest.raises(ValueError, match=r"row 1 of embedding\d+: id 99 is not in 0"):
        silently(train_recsys_rating, net, bad, good, loss, trainer, 1)


@pytest.mark.parametrize("index", [300, -7, 9999])
def test_clicks(index):
    net, trainer = made(lambda: FM([3, 3], 2))
    x, y = numpy.array([[0, 3], [2, 5]]), numpy.array([[0.0], [1.0]], "float32")
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    good, bad = (
        BatchLoader((x, y), 2),
        BatchLoader((x + [[0, 0], [0, index - 5]], y), 2),
    )
    message = f"row 1 of input 0: id {index} is not in 0..5"
    for train, test in ((bad, good), (good, bad)):
        with pytest.raises(ValueError, match=message):
            silently(train_ch13, net, train, test, loss, trainer, 1)
    for function in (evaluate_ctr, predict):
        with pytest.raises(ValueError, match=message):
            function(net, bad)


@pytest.mark.parametrize(
    "make", [lambda u, i: NeuMF(3, u, i, [4]), lambda u, i: MF(3, u, i)]
)
def test_negatives_of_more_items_than_the_net_knows(make):
    net, trainer = made(lambda: make(USERS, ITEMS))
    seen = {0: [1], 1: [2]}
    loader = BatchLoader(PRDataset([0, 1], [1, 2], seen, num_items=600), 2)
    rest = ({0: [3]}, BPRLoss(), trainer, None, USERS, ITEMS, 1, None)
    with pytest.raises(ValueError, match=r"of input 2: id 599 is not in 0\.\.5"):
        silently(train_ranking, net, loader, *rest, evaluate_ranking, seen)


def test_sequences():
    net, trainer = made(lambda: Caser(3, USERS, ITEMS, L=2))
    seen = {0: [1, 2, 8]}
    loader = BatchLoader(SeqDataset([0] * 3, seen[0], 2, 1, 9, seen), 2)
    rest = ({0: [3]}, BPRLoss(), trainer, None, 1, 9, 1, None, evaluate_ranking, seen)
    with pytest.raises(ValueError, match="the net has 6 items, but 9 are needed"):
        silently(train_ranking, net, loader, *rest)
    for bad in (-1, ITEMS + 1):
        seq = numpy.array([[1, 2], [1, bad]])
        with pytest.raises(
            ValueError, match=f"row 0 of input 1: id {bad} is not in 0..6"
        ):
            recommend(net, 1, 3, {1: [0]}, 2, ITEMS, seq)
    padded = numpy.array([[ITEMS, 2]])
    assert len(recommend(net, 0, 3, {0: [0]}, 1, ITEMS, padded)) == 3


def test_rows_of_ratings_are_no_ids():
    net, trainer = made(lambda: autorec.AutoRec(3, USERS))
    matrix = numpy.array([[5, 0, 0, 9999], [-7, 0, 1, 1]], dtype="float32")
    loader, loss = BatchLoader(matrix, 2), gluon.loss.L2Loss()
    rest = (loss, trainer, 1, None, autorec.evaluator)
    history = silently(
        train_recsys_rating, net, loader, loader, *rest, inter_mat=matrix
    )
    assert len(history) == 1
