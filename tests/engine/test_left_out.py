"""Check what a training's graph leaves out, and that its results stay the same."""

import json

import numpy
import pytest

from d2l_recsys.engine.loop import Step
from d2l_recsys.engine.simplify import simplified
from d2l_recsys.runtime.backend import autograd, gluon, mx, nn, np

ROWS, WIDTH = 64, 100


def program_and_gluon(hybrid_forward, inputs):
    """Return what a program and Gluon give for a function of arrays, and a graph.

    These are outputs, and gradients of float32 inputs. The graph is the program's.
    """
    symbols = [mx.sym.var(f"x{k}").as_np_ndarray() for k in range(len(inputs))]
    arrays = {f"x{k}": np.array(x, x.dtype) for k, x in enumerate(inputs)}
    outputs = [x.as_nd_ndarray() for x in hybrid_forward(mx.sym, *symbols)]
    graph, factors = simplified(mx.sym.Group(outputs), arrays)
    arrays.update({name: np.array(x) for name, x in factors.items()})
    names = [f"x{k}" for k, x in enumerate(inputs) if x.dtype == "float32"]
    gradients = {name: np.zeros_like(arrays[name]) for name in names}
    bound = graph.bind(
        mx.cpu(),
        {x: arrays[x] for x in graph.list_arguments()},
        gradients,
        {x: "write" if x in names else "null" for x in graph.list_arguments()},
    )
    found = bound.forward(is_train=True)
    bound.backward([mx.nd.ones_like(x) for x in found])
    plain = [np.array(x, x.dtype) for x in inputs]
    trained = [x for x in plain if x.dtype == "float32"]
    for x in trained:
        x.attach_grad()
    with autograd.record():
        expected = hybrid_forward(mx.nd, *plain)
    autograd.backward(expected)
    expected = [*expected, *(x.grad for x in trained)]
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
        ["_not_equal_scalar", "elemwise_mul"],
    ),
    "another comparison": (
        lambda F, x: [(x > 0.5).astype("float32") * x],
        ["_npi_greater_scalar", "Cast", "elemwise_mul"],
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
