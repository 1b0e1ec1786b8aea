"""Check what takes the place of dropout and of means in a graph."""

import itertools
import json

import numpy
import pytest

from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.graphs import Masks, simplified
from d2l_recsys.engine.loop import Step, fit
from d2l_recsys.runtime.backend import autograd, gluon, mx, nn, np

ROWS, WIDTH = 64, 100


class Scaled(nn.HybridBlock):
    """Multiply by a weight per column, then apply dropout."""

    def __init__(self, dropout):
        super().__init__()
        self.weight = self.params.get("weight", shape=(1, WIDTH), init=mx.init.One())
        self.dropout = dropout

    def hybrid_forward(self, F, x, weight):
        return self.dropout(x * weight)


def prepared(dropout, devices=1):
    net = Scaled(dropout)
    net.initialize(ctx=[mx.cpu(k) for k in range(devices)])
    net.hybridize()
    return net


def both(F, net, loss, x):
    """Return the sums of rows, and what they are sums of."""
    dropped = net(x)
    return dropped.sum(axis=1), dropped


def ones(rows=ROWS):
    return numpy.ones((rows, WIDTH), dtype="float32")


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_gives_the_gradient_of_what_is_kept(rate):
    net = prepared(nn.Dropout(rate))
    step, seen = Step(net, gluon.loss.L2Loss(), None, both), []
    step.seed(0)
    for _ in range(20):
        (losses,), ((dropped,),) = step([ones()])
        kept = dropped > 0
        # Rates are rounded to 16 bits, which moves 1 / (1 - rate) by 1e-4 at most.
        assert dropped[kept] == pytest.approx(1 / (1 - rate), rel=1e-4)
        assert losses == pytest.approx(dropped.sum(axis=1), rel=1e-5)
        gradient = net.weight.grad().asnumpy()
        assert gradient[0] == pytest.approx(dropped.sum(axis=0), rel=1e-5)
        seen.append(kept)
    drawn = numpy.concatenate(seen)
    sd = (rate * (1 - rate) / drawn.size) ** 0.5
    assert drawn.mean() == pytest.approx(1 - rate, abs=5 * sd)
    for axis, n in enumerate(drawn.shape):  # no row or column is special
        sd = (rate * (1 - rate) / n) ** 0.5
        assert abs(drawn.mean(axis=axis) - (1 - rate)).max() < 6 * sd


def test_the_seed_determines_the_masks_of_all_devices_and_no_two_are_equal():
    net = prepared(nn.Dropout(0.5), devices=2)
    found = []
    for seed in (1, 2, 1):
        step = Step(net, gluon.loss.L2Loss(), None, both)
        step.seed(seed)
        found.append([x.copy() for _ in range(3) for (x,) in step([ones()])[1]])
    first, other, again = found
    assert len(first) == 6
    for one, two in itertools.combinations(first + other, 2):
        assert (one != two).mean() == pytest.approx(0.5, abs=0.1)
    for one, two in zip(first, again):
        assert (one == two).all()


def test_each_epoch_has_its_masks_and_a_seed_repeats_them():
    def masks(seed):
        mx.random.seed(seed)
        net, seen = prepared(nn.Dropout(0.5)), []
        trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0})
        step = Step(net, gluon.loss.L2Loss(), None, both)
        loader = BatchLoader(ones(), ROWS)
        fit(step, loader, trainer, 3, lambda _, outputs: seen.append(outputs[0]) or {})
        return [dropped for (dropped,) in seen]

    first, other = masks(1), masks(2)
    for one, two in itertools.combinations(first + other, 2):
        assert (one != two).mean() == pytest.approx(0.5, abs=0.1)
    assert all((x == y).all() for x, y in zip(first, masks(1)))


def test_rates_close_to_0_and_1():
    mask = numpy.full((100, 100), 7, dtype="float32")
    Masks().fill(mask, 1e-9)
    assert (mask == 1).all()
    Masks().fill(mask, 1 - 1e-9)  # as good as all are dropped
    assert ((mask == 0) | (mask == 2**16)).all()
    assert (mask == 0).mean() > 0.99


@pytest.mark.parametrize(
    "dropout",
    [
        lambda F, x: F.npx.dropout(x, p=0.5, axes=(0,)),
        lambda F, x: F.npx.dropout(x, p=0.5, mode="always"),
        lambda F, x: F.npx.dropout(x.astype("float64"), p=0.5).astype("float32"),
    ],
    ids=["the same for all rows", "in predictions, too", "float64"],
)
def test_other_dropout_stays_mxnets(dropout):
    class Other(nn.HybridBlock):
        def hybrid_forward(self, F, x):
            return dropout(F, x)

    graph = Other()(mx.sym.var("x").as_np_ndarray())
    _, factors = simplified(graph, {"x": np.ones((ROWS, WIDTH))})
    assert not factors
    net = prepared(Other())
    _, ((dropped,),) = Step(net, gluon.loss.L2Loss(), None, both)([ones()])
    assert {*dropped.ravel()} == {0, 2}


def test_a_block_that_is_called_twice():
    class Twice(nn.HybridBlock):
        def __init__(self):
            super().__init__()
            self.dropout = nn.Dropout(0.5)

        def hybrid_forward(self, F, x):
            wide = self.dropout(F.np.concatenate([x, x], axis=1))
            return self.dropout(x), self.dropout(x), wide

    net = prepared(Twice())

    def losses(F, net, loss, x):
        one, two, wide = net(x)
        return loss(one, two), one, two, wide

    _, ((one, two, wide),) = Step(net, gluon.loss.L2Loss(), None, losses)([ones()])
    assert wide.shape == (ROWS, 2 * WIDTH)
    for x, y in itertools.combinations((one, two, *numpy.split(wide, 2, axis=1)), 2):
        assert (x != y).mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3)])
@pytest.mark.parametrize(
    "loss", [gluon.loss.L2Loss(), gluon.loss.L1Loss(), gluon.loss.SigmoidBCELoss()]
)
def test_means_of_gluons_losses(loss, shape):
    rng = numpy.random.default_rng(0)
    inputs = [rng.random((ROWS, *shape)).astype("float32") for _ in range(2)]
    symbols = [mx.sym.var(name).as_np_ndarray() for name in "xy"]
    arrays = dict(zip("xy", map(np.array, inputs)))
    graph, factors = simplified(loss(*symbols), arrays)
    assert len(factors) == (shape != ())  # a mean of one number is that number
    arrays.update({name: np.array(factor) for name, factor in factors.items()})
    found = graph.bind(mx.cpu(), arrays).forward()[0].asnumpy()
    assert found == pytest.approx(loss(*map(np.array, inputs)).asnumpy(), rel=1e-5)


def program_and_gluon(hybrid_forward, inputs):
    """Return outputs and gradients of a function of arrays as a program, and plainly.

    The third is the graph of the program.
    """
    symbols = [mx.sym.var(f"x{k}").as_np_ndarray() for k in range(len(inputs))]
    arrays = {f"x{k}": np.array(x, x.dtype) for k, x in enumerate(inputs)}
    outputs = [x.as_nd_ndarray() for x in hybrid_forward(mx.sym, *symbols)]
    graph, factors = simplified(mx.sym.Group(outputs), arrays)
    arrays.update({name: np.array(x) for name, x in factors.items()})
    gradients = {name: np.zeros_like(x) for name, x in arrays.items() if name[0] == "x"}
    bound = graph.bind(
        mx.cpu(), {x: arrays[x] for x in graph.list_arguments()}, gradients
    )
    found = bound.forward(is_train=True)
    bound.backward([mx.nd.ones_like(x) for x in found])
    plain = [np.array(x, x.dtype) for x in inputs]
    for x in plain:
        x.attach_grad()
    with autograd.record():
        expected = hybrid_forward(mx.nd, *plain)
    autograd.backward(expected)
    expected = [*expected, *(x.grad for x in plain)]
    names = [f"x{k}" for k in range(len(inputs))]
    found = [*found, *(gradients[name] for name in names)]
    return [[x.asnumpy() for x in each] for each in (found, expected)], graph


def operations(graph):
    nodes = json.loads(graph.tojson())["nodes"]
    return [node["op"] for node in nodes if node["op"] != "null"]


def ones_like(F, x):
    return F.np.ones_like(F.BlockGrad(x.as_nd_ndarray()).as_np_ndarray())


LEFT_OUT = {
    "the weight 1": (lambda F, x: [F.np.exp(x) * 1], ["_npi_exp"]),
    "another weight": (
        lambda F, x: [F.np.exp(x) * 2],
        ["_npi_exp", "_npi_multiply_scalar"],
    ),
    "the shape it has": (
        lambda F, x: [F.npx.batch_flatten(F.np.exp(x))],
        ["_npi_exp"],
    ),
    "another shape": (
        lambda F, x: [F.npx.reshape(F.np.exp(x), (-1,))],
        ["_npi_exp", "_npx_reshape"],
    ),
    "there and back": (
        lambda F, x: [F.np.exp(F.npx.reshape(F.np.expand_dims(x, 0), (6, 4)))],
        ["_npi_exp"],
    ),
    "there and on": (
        lambda F, x: [F.np.exp(F.npx.reshape(F.np.expand_dims(x, 0), (4, 6)))],
        ["expand_dims", "_npx_reshape", "_npi_exp"],
    ),
    "only transposed": (lambda F, x: [F.np.transpose(x)], ["_np_transpose"]),
    "ones": (
        lambda F, x: [F.np.dot(x, F.np.transpose(ones_like(F, x)))],
        ["_np_dot"],
    ),
    "ones as an output": (
        lambda F, x: [ones_like(F, x), F.np.exp(x)],
        ["BlockGrad", "_npi_full_like", "_npi_exp"],
    ),
    "a comparison": (
        lambda F, x: [(x != 0.5).astype("float32") * x],
        ["_not_equal_scalar", "_npi_multiply"],
    ),
    "another comparison": (
        lambda F, x: [(x > 0.5).astype("float32") * x],
        ["_npi_greater_scalar", "Cast", "_npi_multiply"],
    ),
    "an output": (
        lambda F, x: [x * 1, F.np.exp(x)],
        ["_npi_multiply_scalar", "_npi_exp"],
    ),
    "twice the same": (
        lambda F, x: (lambda y: [y * 1, y, y * 1])(F.np.exp(x)),
        ["_npi_exp", "_npi_multiply_scalar", "_npi_multiply_scalar"],
    ),
    "all but one of the same": (
        lambda F, x: (lambda y: [y * 1, F.npx.batch_flatten(y)])(F.np.exp(x)),
        ["_npi_exp", "Flatten"],
    ),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_changes_nothing_is_left_out(name):
    function, kept = LEFT_OUT[name]
    x = numpy.random.default_rng(0).random((6, 4)).astype("float32")
    x[:, 1] = 0.5
    (found, expected), graph = program_and_gluon(function, [x])
    for a, b in zip(found, expected):
        assert a.dtype == b.dtype
        assert numpy.array_equal(a, b)
    assert operations(graph) == kept


def test_other_types_stay_as_they_are():
    def function(F, x):
        counts = x.astype("int32")
        return [x, (counts != 1).astype("float32"), (counts * 1).astype("float32")]

    x = numpy.arange(4, dtype="float32")
    (found, expected), graph = program_and_gluon(function, [x])
    for a, b in zip(found, expected):
        assert numpy.array_equal(a, b)
    assert "_npi_not_equal_scalar" in operations(graph)


class Written(nn.HybridBlock):
    """A function of x and three parameters, (1, WIDTH), (1, 3) and (ROWS,)."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        for name, shape in (("w", (1, WIDTH)), ("v", (1, 3)), ("u", (ROWS,))):
            parameter = self.params.get(name, shape=shape, init=mx.init.Normal(1))
            setattr(self, name, parameter)

    def hybrid_forward(self, F, x, w, v, u):
        return self.function(F, x, w, v, u)


def outputs(F, net, loss, *inputs):
    return net(*inputs)


OTHER = {
    "a mean of another type": lambda F, x, w, *_: F.np.mean(
        x * w, axis=1, dtype="float64"
    ),
    "a whole mean": lambda F, x, w, *_: (
        F.np.mean(x, axis=1, dtype="int32").astype("float32") * F.np.mean(w)
    ),
    "a half mean": lambda F, x, w, *_: F.np.mean(x * w, axis=1, dtype="float16"),
    "no columns": lambda F, x, w, *_: F.np.mean(x[:, :0], axis=1) + F.np.sum(w),
    "only the shape of ones": lambda F, x, w, v, _: F.np.sum(
        F.np.dot(x * w, F.np.ones((WIDTH, 3))) * F.np.ones_like(v), axis=1
    ),
    "only the shape of others": lambda F, x, w, v, u: F.npx.reshape_like(
        F.np.sum(x * w, axis=1), u
    ),
}


@pytest.mark.parametrize("name", OTHER)
def test_a_program_gives_what_gluon_gives(name):
    found, x = [], numpy.random.default_rng(0).random((ROWS, WIDTH)).astype("float32")
    for hybridized in (False, True):
        mx.random.seed(0)
        net = Written(OTHER[name])
        net.initialize()
        if hybridized:
            net.hybridize()
        for parameter in net.collect_params().values():
            parameter.grad()[:] = 7  # left by something else
        losses, _ = Step(net, gluon.loss.L2Loss(), None, outputs)([x])
        gradients = [p.grad().asnumpy() for p in net.collect_params().values()]
        fresh = [p.data()._fresh_grad for p in net.collect_params().values()]
        found.append((losses[0], gradients, fresh))
    (losses, gradients, fresh), program = found
    assert program[0].dtype == losses.dtype
    assert program[0] == pytest.approx(losses, rel=1e-4, nan_ok=True)
    for used, expected, gradient, now in zip(fresh, gradients, *program[1:]):
        assert used == now
        if used:
            assert gradient == pytest.approx(expected, rel=1e-4, nan_ok=True)
