"""Compare the scores of all items at once with those of the called nets."""

import os
import platform
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest
from threadpoolctl import ThreadpoolController

from d2l_recsys.engine import hidden_layers
from d2l_recsys.engine.all_items import scorer_of
from d2l_recsys.engine.full_ranking import rank_held_out, recommend, scores_of_all_items
from d2l_recsys.mf import MF
from d2l_recsys.neumf import NeuMF
from d2l_recsys.runtime.backend import gluon, mx, nn, np
from d2l_recsys.seqrec import Caser

USERS, ITEMS, L = 7, 150, 3
CPU, RNG = [mx.cpu()], numpy.random.default_rng(0)
SEQ = RNG.integers(0, ITEMS + 1, (USERS, L)).astype("int32")
MODELS = {
    "mf": lambda *sizes: MF(4, *sizes),
    "mf-without-biases": lambda *sizes: MF(4, *sizes, biases=False),
    "neumf": lambda *sizes: NeuMF(4, *sizes, [6, 5, 3]),
    "gmf": lambda *sizes: NeuMF(4, *sizes, []),
    "mlp": lambda *sizes: NeuMF(4, *sizes, [5], gmf=False),
    "caser": lambda *sizes: Caser(4, *sizes, L),
    "caser-without-filters": lambda *sizes: Caser(4, *sizes, L, d=0, d_prime=0),
}


def made(name, users=USERS, items=ITEMS):
    """Return a net with small integers as parameters: its scores are exact."""
    net = MODELS[name](users, items)
    net.initialize()
    rng = numpy.random.default_rng(1)
    for parameter in net.collect_params().values():
        parameter.set_data(np.array(rng.integers(-2, 3, parameter.shape)))
    return net


def seq_of(name):
    return SEQ if name.startswith("caser") else None


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("tile", [64, 128, 4096])
def test_scores_equal_those_of_the_called_net(name, tile, hybridize, monkeypatch):
    monkeypatch.setattr(hidden_layers, "_TILE", tile)
    net, seq = made(name), seq_of(name)
    if hybridize:
        net.hybridize(static_alloc=True, static_shape=True)
    users = numpy.array([5, 0, 3, 6, 1], dtype="int32")
    items = numpy.tile(numpy.arange(ITEMS, dtype="int32"), (len(users), 1))
    inputs = [users, items] if seq is None else [users, SEQ[users], items]
    expected = net(*map(np.array, inputs)).asnumpy()
    for pairs in (1, 2 * ITEMS, None):
        chunks = scores_of_all_items(net, users, seq, ITEMS, CPU, pairs)
        found = numpy.concatenate([scores for _, scores in chunks])
        assert numpy.array_equal(found, expected)


def check_ties():
    """Raise AssertionError if equal items do not tie, wherever they are."""
    users, items, layers = 16, 9000, [16, 12, 8]
    for net in (
        MF(21, users, items),
        NeuMF(10, users, items, layers),
        NeuMF(10, users, items, layers, gmf=False),
        Caser(10, users, items, L),
    ):
        net.initialize(mx.init.Normal(1))
        for block in ("Q", "V", "item_bias", "Q_prime", "b"):
            if hasattr(net, block):
                weight = getattr(net, block).weight
                weight.set_data(np.repeat(weight.data()[:1], items, axis=0))
        scorer = scorer_of(net, CPU)
        for number in (1, 2, 3, users):
            inputs = [numpy.arange(number, dtype="int32")]
            if isinstance(net, Caser):
                inputs.append(numpy.zeros((number, L), dtype="int32"))
            scores = scorer(*inputs)
            assert scores.shape == (number, items)
            assert (scores == scores[:, :1]).all(), (type(net).__name__, number)


@pytest.mark.parametrize("tile", [192, 4096])
def test_equal_items_tie_wherever_they_are(tile, monkeypatch):
    monkeypatch.setattr(hidden_layers, "_TILE", tile)
    check_ties()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names a CPU of x86")
def test_equal_items_tie_on_cpus_with_avx2_and_several_threads():
    """There, OpenBLAS rounds the columns of a larger product differently."""
    settings = {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "3"}
    code = "from test_all_items import check_ties; check_ties()"
    folder = Path(__file__).parent
    env = {**os.environ, **settings, "OMP_NUM_THREADS": "3"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("layers", [[8], [16, 12, 8], [600, 3]])
@pytest.mark.parametrize("users", [0, 1, 5, 60])
def test_threads_share_the_users(users, layers, monkeypatch):
    monkeypatch.setattr(hidden_layers, "_LAYER", 8000)  # so that there are many tiles
    net = NeuMF(10, 60, 150, layers)
    net.initialize(mx.init.Normal(1))
    found = []
    for threads in ("1", "2", "7", "100"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        before = threading.active_count()
        found.append(scorer_of(net, CPU)(numpy.arange(users, dtype="int32")))
        assert threading.active_count() == before
    assert found[0].shape == (users, 150)
    assert all(numpy.array_equal(found[0], scores) for scores in found)


def test_overflow_gives_no_warning(monkeypatch, recwarn):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(hidden_layers, "_LAYER", 1)
    net = NeuMF(4, 9, 150, [4, 4])
    net.initialize(mx.init.Constant(1e14))
    scores = scorer_of(net, CPU)(numpy.arange(9))
    assert not numpy.isfinite(scores).any()
    assert not [str(warning.message) for warning in recwarn]


def test_libraries_keep_their_threads_if_programs_rank_in_threads():
    scorer, libraries = scorer_of(made("neumf", 60), CPU), ThreadpoolController()
    with libraries.limit(limits=2):
        before = libraries.info()
        assert {library["num_threads"] for library in before} == {2}
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(scorer, [numpy.arange(60)] * 40))
        assert libraries.info() == before
    limited = [library["filepath"] for library in hidden_layers._blas().info()]
    assert any("numpy" in path for path in limited)
    assert not any("/mxnet/" in path for path in limited)  # whose threads are MXNet's


@pytest.mark.parametrize(
    ("layers", "gmf"), [([], True), ([4], True), ([4], False), ([6, 5, 3], False)]
)
def test_float64_remains_exact(layers, gmf):
    net = NeuMF(4, 3, 150, layers, gmf)
    net.initialize(mx.init.Normal(1))
    net.cast("float64")
    users, items = np.arange(3), np.tile(np.arange(150), (3, 1))
    expected = net(users, items).asnumpy()
    found = scorer_of(net, CPU)(users.asnumpy().astype("int32"))
    assert found.dtype == expected.dtype == "float64"
    assert found == pytest.approx(expected, rel=1e-12)


class Called(gluon.nn.HybridBlock):
    """A net that has to be called, with lists of items."""

    scores_lists = True

    def __init__(self, net):
        super().__init__()
        self.net = net

    def hybrid_forward(self, F, *ids):
        return self.net(*ids)


@pytest.mark.parametrize("pairs", [1, 2 * ITEMS, None])
def test_ranks_equal_those_of_the_called_net(name, pairs):
    """The scores are small integers, so there are many ties."""
    rng, seen, test = numpy.random.default_rng(2), {}, {}
    for user in (0, 2, 3, 6):
        order = rng.permutation(ITEMS).tolist()
        test[user] = order[: user + 1]
        seen[user] = order[user + 1 : 20 * user + 1] * 2
    net, rest = made(name), (seq_of(name), seen, (USERS, ITEMS), CPU, pairs)
    found, expected = (rank_held_out(n, test, *rest) for n in (net, Called(net)))
    for ours, theirs in zip(found, expected):
        assert ours.tolist() == theirs.tolist()
    assert found.ranked.tolist() == [ITEMS - len({*seen[user]}) for user in test]


def test_a_method_of_a_readers_own_net_is_used():
    class Own(gluon.Block):
        def all_items(self):
            return lambda users: users[:, None] * numpy.ones((1, 3), "float32")

    ((_, scores),) = scores_of_all_items(Own(), [2, 1], None, 3, CPU)
    assert scores.tolist() == [[2, 2, 2], [1, 1, 1]]


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net.mlp.add(nn.Dense(3, "tanh", flatten=False, in_units=3)),
        lambda net: net.mlp.add(nn.LeakyReLU(0.5)),
        lambda net: setattr(net.prediction_layer, "act", nn.Activation("tanh")),
    ],
)
def test_a_net_with_other_layers_is_called(change):
    net = made("neumf")
    change(net)
    assert scorer_of(net, CPU) is None


def test_whole_numbers_can_be_scores():
    class Whole(gluon.Block):
        def forward(self, user_id, item_id):
            return item_id

    assert recommend(Whole(), 0, 2, {0: [4]}, 1, 5, devices=CPU) == [(3, 3), (2, 2)]
    assert rank_held_out(Whole(), {0: [1]}, None, {}, (1, 5), CPU).ranks == [4]


def test_memory_stays_within_the_budget(monkeypatch):
    """All scores take 96 MB, and a chunk of them 16 MiB."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # each takes about 1 MB
    users, items = 400, 60_000
    net = MODELS["neumf"](users, items)
    net.initialize()
    test = {user: [user] for user in range(users)}
    tracemalloc.start()
    rank_held_out(net, test, None, {0: [1]}, (users, items), CPU)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    tables = items * (4 + 6) * 4 * 3  # those of the items, in two orders
    assert peak < tables + 2 * 16 * 2**20
