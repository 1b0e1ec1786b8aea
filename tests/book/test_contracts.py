"""What holds for every model that scores users and items."""

import numpy
import pytest

from d2l_recsys.engine.full_ranking import scores_of_all_items
from d2l_recsys.mf import MF
from d2l_recsys.neumf import NeuMF
from d2l_recsys.runtime.backend import mx, np
from d2l_recsys.seqrec import Caser

USERS, ITEMS, L = 6, 9, 3
MODELS = {
    "mf": lambda: MF(4, USERS, ITEMS),
    "neumf": lambda: NeuMF(4, USERS, ITEMS, [6, 5]),
    "gmf": lambda: NeuMF(4, USERS, ITEMS, []),
    "mlp": lambda: NeuMF(4, USERS, ITEMS, [5], gmf=False),
    "caser": lambda: Caser(4, USERS, ITEMS, L),
    "caser-h": lambda: Caser(4, USERS, ITEMS, L, d_prime=0),
    "caser-v": lambda: Caser(4, USERS, ITEMS, L, d=0),
}
RNG = numpy.random.default_rng(0)
SEQ = RNG.integers(0, ITEMS + 1, (USERS, L)).astype("int32")  # padding included
# The same sums in another order, in float32: scores of size 20 may cancel out.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


def made(name, seed=0, devices=None, hybridize=False):
    mx.random.seed(seed)
    net = MODELS[name]()
    net.initialize(mx.init.Normal(1), ctx=devices)
    if hybridize:
        net.hybridize(static_alloc=True, static_shape=True)
    return net


def score(net, name, users, items, device=None):
    users, items = numpy.asarray(users, "int32"), numpy.asarray(items, "int32")
    inputs = [users, SEQ[users], items] if "caser" in name else [users, items]
    return net(*(np.array(x, ctx=device or mx.cpu()) for x in inputs)).asnumpy()


GRID = RNG.integers(0, ITEMS, (USERS, 4))


@pytest.mark.parametrize("hybridize", [False, True])
def test_lists_of_items_equal_flat_ids_and_single_pairs(name, hybridize):
    net = made(name, hybridize=hybridize)
    grid = score(net, name, range(USERS), GRID)
    assert grid.shape == (USERS, 4)
    flat = score(net, name, numpy.repeat(range(USERS), 4), GRID.ravel())
    assert flat.shape == (USERS * 4,)
    singles = [score(net, name, [u], [i]) for u in range(USERS) for i in GRID[u]]
    assert {s.shape for s in singles} == {(1,)}
    assert numpy.allclose(grid.ravel(), flat, **CLOSE)
    assert numpy.allclose(flat, numpy.concatenate(singles), **CLOSE)


def test_hybridized_equals_imperative(name):
    plain, hybrid = made(name), made(name, hybridize=True)
    a, b = (score(net, name, range(USERS), GRID) for net in (plain, hybrid))
    assert numpy.allclose(a, b, **CLOSE)


def test_saved_and_loaded_it_is_the_same(name, tmp_path):
    net, other = made(name), made(name, seed=1)
    before = score(net, name, range(USERS), GRID)
    assert not numpy.allclose(score(other, name, range(USERS), GRID), before)
    net.save_parameters(str(tmp_path / "net.params"))
    other.load_parameters(str(tmp_path / "net.params"))
    assert numpy.array_equal(score(other, name, range(USERS), GRID), before)


def test_two_contexts_hold_one_model(name):
    devices = [mx.cpu(0), mx.cpu(1)]
    net = made(name, devices=devices)
    a, b = (score(net, name, range(USERS), GRID, device) for device in devices)
    assert numpy.array_equal(a, b)


@pytest.mark.parametrize("pairs", [1, 20, 10**6])
def test_scores_of_all_items(name, pairs):
    net = made(name)
    seq = SEQ if "caser" in name else None
    users = [4, 0, 2]
    chunks = list(scores_of_all_items(net, users, seq, ITEMS, [mx.cpu()], pairs))
    assert numpy.concatenate([c[0] for c in chunks]).tolist() == users
    scores = numpy.concatenate([c[1] for c in chunks])
    expected = score(net, name, users, numpy.tile(range(ITEMS), (3, 1)))
    assert numpy.allclose(scores, expected, **CLOSE)


def test_fewer_items_than_the_net_knows_can_be_ranked_but_not_more():
    net = made("neumf")
    (whole,), (part,) = (
        [
            scores
            for _, scores in scores_of_all_items(net, range(3), None, n, [mx.cpu()])
        ]
        for n in (ITEMS, ITEMS - 2)
    )
    assert part.tolist() == whole[:, :-2].tolist()
    with pytest.raises(ValueError, match="has 9 items, but 10 are needed"):
        next(scores_of_all_items(net, range(3), None, ITEMS + 1, [mx.cpu()]))


def test_a_subclass_with_a_forward_of_its_own_is_ranked_by_it():
    class Reversed(NeuMF):
        def hybrid_forward(self, F, user_id, item_id):
            return -super().hybrid_forward(F, user_id, item_id)

    net, other = made("neumf"), Reversed(4, USERS, ITEMS, [6, 5])
    mx.random.seed(0)
    other.initialize(mx.init.Normal(1))
    (scores,), (reverse,) = (
        [s for _, s in scores_of_all_items(n, range(3), None, ITEMS, [mx.cpu()])]
        for n in (net, other)
    )
    numpy.testing.assert_allclose(scores, -reverse, **CLOSE)
