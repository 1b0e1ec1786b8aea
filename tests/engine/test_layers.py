"""Each fast layer against the literal layer with the same parameters."""

import numpy
import pytest

from d2l_recsys.engine.columns import (
    ColumnDense,
    HorizontalConv,
    HorizontalConvs,
    VerticalConv,
)
from d2l_recsys.engine.layers import (
    JoinedDense,
    PaddedEmbedding,
    mean_of_rows,
    sum_of_rows,
    sum_over_factors,
    sum_over_fields,
)
from d2l_recsys.runtime.backend import autograd, mx, nn, np

L, K, ROWS = 5, 4, 6


class Fast(nn.HybridBlock):
    """The layer as a part of a net: alone, MXNet can't save and load it."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def hybrid_forward(self, F, *inputs):
        if isinstance(self.layer, JoinedDense):
            return self.layer([*inputs])
        columns = [F.np.transpose(F.npx.batch_flatten(x), (1, 0)) for x in inputs]
        several = isinstance(self.layer, ColumnDense)
        out = self.layer(columns if several else columns[0])
        return F.np.transpose(out, (1, 0))


class Literal(Fast):
    """The layer that the fast one stands in for, and what follows it in the book."""

    def hybrid_forward(self, F, *inputs):
        if isinstance(self.layer, nn.Dense):
            return self.layer(F.np.concatenate(inputs, axis=-1))
        image = F.np.expand_dims(inputs[0], 1)
        if isinstance(self.layer, nn.Conv2D):
            return F.npx.batch_flatten(self.layer(image))
        out = [F.npx.relu(conv(image)).max(axis=(2, 3)) for conv in self.layer]
        return F.np.concatenate(out, axis=1)


def joined(activation=None, use_bias=True):
    return (
        JoinedDense(7, [3, K], activation, use_bias),
        nn.Dense(7, activation, use_bias, flatten=False, in_units=3 + K),
        [(ROWS, 3), (ROWS, K)],
    )


def horizontal(length, k=K):
    fast, literal = HorizontalConvs(), nn.HybridSequential()
    for h in range(1, length + 1):
        fast.add(HorizontalConv(3, h, k, length))
        literal.add(nn.Conv2D(3, (h, k), in_channels=1))
    return fast, literal, [(ROWS, length, k)]


CASES = {
    "joined": joined,
    "joined, relu": lambda: joined("relu"),
    "joined, no bias": lambda: joined(use_bias=False),
    "columns": lambda: (
        ColumnDense(3, [L * K]),
        nn.Dense(3, "relu", in_units=L * K),
        [(ROWS, L * K)],
    ),
    "several columns": lambda: (
        ColumnDense(3, [2, K, 1]),
        nn.Dense(3, "relu", in_units=3 + K),
        [(ROWS, 2), (ROWS, K), (ROWS, 1)],
    ),
    "vertical": lambda: (
        VerticalConv(3, L, K),
        nn.Conv2D(3, (L, 1), in_channels=1),
        [(ROWS, L, K)],
    ),
    **{f"horizontal {n}": lambda n=n: horizontal(n) for n in (1, 2, L)},
    "horizontal, large": lambda: horizontal(L, 60),
}


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_the_literal_layer(name, hybridize, tmp_path):
    fast, literal, shapes = CASES[name]()
    fast, literal = Fast(fast), Literal(literal)
    literal.initialize(mx.init.Normal(1))
    for parameter in literal.collect_params(".*bias").values():
        parameter.set_data(np.random.normal(size=parameter.shape))
    literal.save_parameters(str(tmp_path / "params"))
    fast.load_parameters(str(tmp_path / "params"))
    found = []
    for net in (fast, literal):
        if hybridize:
            net.hybridize()
        rng = numpy.random.default_rng(0)
        inputs = [np.array(rng.normal(size=s).astype("float32")) for s in shapes]
        for x in inputs:
            x.attach_grad()
        with autograd.record():
            out = net(*inputs)
            loss = (out * np.arange(out.size).reshape(out.shape)).sum()
        loss.backward()
        parameters = net._collect_params_with_prefix()
        gradients = [parameters[key].grad() for key in sorted(parameters)]
        found.append([out, *(x.grad for x in inputs), *gradients])
    for ours, theirs in zip(*found):
        assert ours.shape == theirs.shape
        # float32 sums of up to 30 terms in another order; the gradients reach 1000
        assert ours.asnumpy() == pytest.approx(theirs.asnumpy(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("hybridize", [False, True])
def test_joined_inputs_broadcast(hybridize):
    net = Fast(JoinedDense(2, [3, K]))
    net.initialize(mx.init.Normal(1))
    if hybridize:
        net.hybridize()
    users, items = np.random.normal(size=(ROWS, 1, 3)), np.random.normal(size=(1, 9, K))
    together = [np.tile(users, (1, 9, 1)), np.tile(items, (ROWS, 1, 1))]
    expected = net(*together).asnumpy()
    assert expected.shape == (ROWS, 9, 2)
    assert net(users, items).asnumpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("hybridize", [False, True])
def test_padding_is_zero_and_has_no_gradient(hybridize):
    layer = PaddedEmbedding(3, 2)
    layer.initialize(mx.init.One())
    if hybridize:
        layer.hybridize()
    with autograd.record():
        out = layer(np.array([[0, 3], [3, 2]], dtype="int32"))
        (out * 5).sum().backward()
    assert out.asnumpy().tolist() == [[[1, 1], [0, 0]], [[0, 0], [1, 1]]]
    assert layer.weight.shape == (3, 2)
    assert layer.weight.grad().asnumpy().tolist() == [[5, 5], [0, 0], [5, 5]]


@pytest.mark.parametrize(
    ("function", "shape", "expected"),
    [
        (sum_over_fields, (ROWS, 9, K), lambda x: x.sum(axis=1, keepdims=True)),
        (sum_over_factors, (ROWS, 9, K), lambda x: x.sum(axis=2, keepdims=True)),
        (sum_of_rows, (ROWS, 9, K), lambda x: x.sum(axis=(1, 2))[:, None]),
        (mean_of_rows, (ROWS, K), lambda x: x.mean(axis=1, keepdims=True)),
    ],
)
def test_sums_and_their_gradients(function, shape, expected):
    x = np.random.normal(size=shape)
    x.attach_grad()
    with autograd.record():
        found = function(mx.nd, x)
    found.backward()
    assert found.asnumpy() == pytest.approx(expected(x.asnumpy()), abs=1e-5)
    each = 1 / K if function is mean_of_rows else 1  # a term's share of its sum
    assert x.grad.asnumpy() == pytest.approx(numpy.full(shape, each), abs=1e-6)


def test_other_layers_among_the_horizontal_ones():
    class Doubled(HorizontalConv):
        def hybrid_forward(self, F, *inputs, **parameters):
            return 2 * super().hybrid_forward(F, *inputs, **parameters)

    layers = HorizontalConvs()
    layers.add(HorizontalConv(3, 1, K, L), HorizontalConv(5, 2, K, L))
    layers.add(Doubled(3, 3, K, L))
    layers.initialize(mx.init.Normal(1))
    columns = np.random.normal(size=(L * K, ROWS))
    found = []
    for part in (layers, layers[::2]):
        for hybridize in (False, True):
            part.hybridize(hybridize)
            found.append(part(columns).asnumpy())
    assert found[1] == pytest.approx(found[0], rel=1e-4, abs=1e-4)
    assert found[3] == pytest.approx(found[2], rel=1e-4, abs=1e-4)


def test_some_of_the_horizontal_layers_and_their_summary(capsys):
    layers, *_ = horizontal(L)
    layers.initialize(mx.init.Normal(1))
    columns = np.random.normal(size=(L * K, ROWS))
    whole, some = layers(columns), layers[1:3](columns)
    assert (some.asnumpy() == whole.asnumpy()[3:9]).all()
    assert (layers[1](columns).asnumpy() == whole.asnumpy()[3:6]).all()
    layers.summary(columns)
    numbers = sum(p.data().size for p in layers.collect_params().values())
    assert f"Total params: {numbers}" in capsys.readouterr().out
