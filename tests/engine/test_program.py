"""Compare a program with Gluon's recording of the same computation."""

import numpy
import pytest

from d2l_recsys.autorec import AutoRec
from d2l_recsys.deepfm import DeepFM
from d2l_recsys.engine.loop import Step
from d2l_recsys.engine.pairs import pair_losses
from d2l_recsys.fm import FM
from d2l_recsys.mf import MF, _losses
from d2l_recsys.neumf import NeuMF
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import autograd, gluon, mx, nn, np
from d2l_recsys.seqrec import Caser

USERS, ITEMS, ROWS = 7, 11, 9
L2 = gluon.loss.L2Loss(weight=2)
rng = numpy.random.default_rng(0)


def ids(size, *shape):
    return rng.integers(0, size, (ROWS, *shape)).astype("int32")


def real(*shape):
    return rng.integers(0, 6, (ROWS, *shape)).astype("float32")


FIELDS = ids(4, 3) + numpy.arange(0, 12, 4, dtype="int32")
PAIRS = ids(USERS), ids(ITEMS), ids(ITEMS)
# net, loss, the section's losses, inputs
MODELS = {
    "mf": (
        lambda: MF(3, USERS, ITEMS),
        L2,
        _losses,
        (ids(USERS), ids(ITEMS), real()),
    ),
    "autorec": (lambda: AutoRec(4, USERS, dropout=0), L2, _losses, (real(USERS),)),
    "neumf": (lambda: NeuMF(3, USERS, ITEMS, [4, 4]), BPRLoss(), pair_losses, PAIRS),
    "seqrec": (
        lambda: Caser(3, USERS, ITEMS, 5, drop_ratio=0),
        BPRLoss(),
        pair_losses,
        (PAIRS[0], ids(ITEMS, 5), ids(ITEMS, 1), PAIRS[1]),
    ),
    "fm": (lambda: FM([4] * 3, 2), L2, _losses, (FIELDS, real(1))),
    "deepfm": (lambda: DeepFM([4] * 3, 2, [4], 0), L2, _losses, (FIELDS, real(1))),
}


def gradients(net, step, inputs):
    losses, outputs = step(inputs)
    values = [x.copy() for part in (losses, *outputs) for x in part]
    for parameter in net.collect_params().values():
        values += [grad.asnumpy() for grad in parameter.list_grad()]
    return values


def made(make, devices=1):
    net = make()
    mx.random.seed(0)
    net.initialize(mx.init.Normal(1), ctx=[mx.cpu(k) for k in range(devices)])
    return net


def same(found, expected):
    assert len(found) == len(expected)
    for x, y in zip(found, expected):
        # float32, up to 30 terms of size 10 in another order
        assert x == pytest.approx(y, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("rows", [1, 2, ROWS])
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("model", MODELS)
def test_losses_and_gradients_are_gluons(model, devices, rows):
    make, loss, losses, inputs = MODELS[model]
    net = made(make, devices)
    found = []
    for hybridize in (False, True):
        if hybridize:
            net.hybridize()
        step = Step(net, loss, None, losses)
        for x in (inputs, [x[:rows] for x in inputs]):
            last = gradients(net, step, [np.array(a) for a in x])
        found.append(last)
    same(found[1], found[0])
    # Arrays of NumPy give the same.
    same(gradients(net, step, [x[:rows] for x in inputs]), found[0])


def test_batches_of_many_shapes():
    make, loss, losses, inputs = MODELS["neumf"]
    net = made(make)
    net.hybridize()
    step = Step(net, loss, None, losses)
    for rows in [*range(1, ROWS + 1)] * 2:
        found = gradients(net, step, [x[:rows] for x in inputs])
        single = Step(net, loss, None, losses)
        same(found, gradients(net, single, [x[:rows] for x in inputs]))


class Normalized(nn.HybridBlock):
    """Two layers that get their sizes from the first batch, and running statistics."""

    def __init__(self):
        super().__init__()
        self.norm, self.first, self.last = nn.BatchNorm(), nn.Dense(3), nn.Dense(1)

    def hybrid_forward(self, F, x):
        return self.last(self.norm(self.first(x)))


def test_sizes_from_the_first_batch_and_running_statistics():
    found = []
    for hybridize in (False, True):
        net = made(Normalized)
        if hybridize:
            net.hybridize()
        step = Step(net, L2, None, _losses)
        mx.random.seed(1)
        batch = [numpy.arange(12, dtype="float32").reshape(4, 3), numpy.ones((4, 1))]
        batch = [np.array(x, dtype="float32") for x in batch]
        step(batch)
        step(batch)
        mx.nd.waitall()  # reading running statistics does not wait for a program
        parameters = net._collect_params_with_prefix()
        found.append([parameters[name].data().asnumpy() for name in sorted(parameters)])
    same(found[1], found[0])
    assert abs(found[1][-1]).sum() > 0


@pytest.mark.parametrize("change", ["initialized again", "frozen"])
def test_parameters_that_change_between_steps(change):
    make, loss, losses, inputs = MODELS["mf"]
    net = made(make)
    net.hybridize()
    step = Step(net, loss, None, losses)
    step(inputs)
    if change == "frozen":
        net.P.weight.grad_req = "null"
    else:
        net.initialize(mx.init.One(), force_reinit=True)
    (found,), _ = step(inputs)
    users, items, ratings = (np.array(x) for x in inputs)
    with autograd.record():
        expected = loss(net(users, items), ratings)
    assert found == pytest.approx(expected.asnumpy(), rel=1e-5)
    expected.backward()
    assert (net.P.weight._grad is None) == (change == "frozen")


class LooksAtValues(MF):
    """A reader's model, whose `forward` is meant for arrays."""

    def forward(self, user_id, item_id):
        assert len(user_id) == user_id.shape[0]
        return super().forward(user_id, item_id)


@pytest.mark.parametrize("devices", [1, 2])
def test_code_for_arrays_is_recorded_by_gluon(devices):
    _, loss, losses, inputs = MODELS["mf"]
    found = []
    for model in (MF, LooksAtValues):
        net = made(lambda model=model: model(3, USERS, ITEMS), devices)
        net.hybridize()
        found.append(gradients(net, Step(net, loss, None, losses), inputs))
    same(found[1], found[0])


class Named(nn.HybridBlock):
    """A net with a parameter of any name."""

    def __init__(self, name):
        super().__init__(prefix="")
        self.weight = self.params.get(name, shape=(1, 4))

    def hybrid_forward(self, F, x, weight):
        return F.np.square(x * weight) * 2


class Looping(nn.HybridBlock):
    """A net whose graph contains another graph."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Dense(3, in_units=4)

    def hybrid_forward(self, F, x):
        x, state = x.as_nd_ndarray(), (x * 2).as_nd_ndarray()
        found, _ = F.contrib.foreach(lambda row, s: (row * 2, s), x, [state])
        return self.dense(found.as_np_ndarray())


class Selecting(Looping):
    """A net whose shapes depend on numbers."""

    def hybrid_forward(self, F, x):
        selected = F.npx.reshape(F.npx.slice(x, (None, 0), (None, 1)) > 1, (-1,))
        rows = x.as_nd_ndarray(), selected.as_nd_ndarray()
        return self.dense(F.contrib.boolean_mask(*rows).as_np_ndarray())


NAMES = ("", "x", "node 0", "node 1", "node 3_weight", " 2", "input 0 1", "\u03b1")
UNUSUAL = {
    **{f"parameter {name!r}": lambda name=name: Named(name) for name in NAMES},
    "loop": Looping,
    "selection": Selecting,
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_nets(name):
    found, x = [], real(4)
    for hybridized in (False, True):
        net = made(UNUSUAL[name])
        if hybridized:
            net.hybridize()
        step = Step(net, L2, None, lambda F, net, loss, x: [net(x).sum(axis=1)])
        found.append(gradients(net, step, [x]))
    same(*reversed(found))


def test_the_pairwise_gradients_of_a_single_field_are_exactly_0():
    net = made(lambda: FM([4], 3))
    net.hybridize()
    for rows in (ROWS, 300):
        indices = rng.integers(0, 4, (rows, 1), "int32")
        Step(net, L2, None, _losses)([indices, rng.random((rows, 1), "float32")])
        assert not net.embedding.weight.grad().asnumpy().any()
