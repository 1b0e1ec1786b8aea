"""Slow operations of a training's graph are replaced, and its results stay the same."""

import numpy
import pytest
from test_left_out import ones_like, operations, program_and_gluon

from d2l_recsys.engine.layers import sum_of_rows, sum_over_fields
from d2l_recsys.engine.simplify import simplified
from d2l_recsys.runtime.backend import mx, np


def look_up(F, ids, table, size=(5, 3), **settings):
    rows, k = size
    return F.npx.embedding(ids, table, input_dim=rows, output_dim=k, **settings)


def squares(F, ids, table, size=(5, 3), **settings):
    found = F.np.square(look_up(F, ids, table, size, **settings))
    return sum_of_rows(F, found)


def scores(n, size=(5, 2), others=1, **settings):
    """Return a function that multiplies looked-up vectors by others, and its inputs."""

    def function(F, ids, table, x):
        return [F.npx.batch_dot(look_up(F, ids, table, size), x, **settings)]

    inner = n if settings else size[1]  # the only setting is transpose_a
    return function, [IDS[:, :n], some(*size), some(6, inner, others)]


def some(*shape):
    return numpy.random.default_rng(0).random(shape).astype("float32")


def dense(rows, *bias, length=3, flatten=False):
    """Return a function that applies a dense layer to vectors, and its inputs."""
    settings = {"num_hidden": 2, "no_bias": not bias, "flatten": flatten}

    def function(F, ids, table, weight, *bias):
        vectors = look_up(F, ids, table, (rows, 3))
        return [F.npx.fully_connected(vectors, weight, *bias, **settings)]

    return function, [IDS, some(rows, 3), some(2, length), *bias]


IDS = numpy.random.default_rng(0).integers(0, 5, (6, 4), "int32")
OF_TABLE = ["_npi_square", "_np_dot", "Embedding", "Flatten", "_np_dot"]
OF_LOOKED_UP = ["Embedding", "_npi_square", "Flatten", "_np_dot"]
ONE = ["slice", "_npx_reshape", "Embedding"]
TOTAL = ["elemwise_mul", "_np_dot"]
TOGETHER = ["_npi_stack", "expand_dims"]
UNITS = ["Flatten", "FullyConnected", "expand_dims"]


FASTER = {
    "squares of a small table": (
        lambda F, ids, table: [squares(F, ids, table)],
        [IDS, some(5, 3)],
        OF_TABLE,
    ),
    "squares of a large table": (
        lambda F, ids, table: [squares(F, ids, table, (24, 3))],
        [IDS, some(24, 3)],
        OF_LOOKED_UP,
    ),
    "squares of a product": (
        lambda F, ids, table: [squares(F, ids, table * 2)],
        [IDS, some(5, 3)],
        ["_npi_multiply_scalar", *OF_TABLE],
    ),
    "squares that are needed themselves": (
        lambda F, ids, table: (lambda x: [sum_of_rows(F, x), F.np.exp(x)])(
            F.np.square(look_up(F, ids, table))
        ),
        [IDS, some(5, 3)],
        [*OF_TABLE, "Embedding", "_npi_square", "_npi_exp"],
    ),
    "squares times other numbers": (
        lambda F, ids, table, x: [
            F.np.dot(F.npx.batch_flatten(F.np.square(look_up(F, ids, table))), x)
        ],
        [IDS, some(5, 3), some(12, 1)],
        OF_LOOKED_UP,
    ),
    "several sums of squares": (
        lambda F, ids, table, y: [
            F.np.dot(
                F.npx.batch_flatten(F.np.square(look_up(F, ids, table))),
                F.np.transpose(ones_like(F, y)),
            )
        ],
        [IDS, some(5, 3), some(2, 12)],
        OF_LOOKED_UP,
    ),
    "a dense layer on a small table": (*dense(5), ["FullyConnected", "Embedding"]),
    "a dense layer with a bias on a small table": (
        *dense(5, some(2)),
        ["FullyConnected", "Embedding"],
    ),
    "a dense layer on a large table": (*dense(24), ["Embedding", "FullyConnected"]),
    "a dense layer on joined vectors": (
        *dense(5, length=12, flatten=True),
        ["Embedding", "FullyConnected"],
    ),
    "a dense layer whose weight is looked up": (
        lambda F, ids, table, x: [
            F.npx.fully_connected(
                x,
                F.npx.batch_flatten(look_up(F, ids, table)),
                num_hidden=6,
                no_bias=True,
                flatten=False,
            )
        ],
        [IDS, some(5, 3), some(7, 12)],
        ["Embedding", "Flatten", "FullyConnected"],
    ),
    "a sum of short vectors": (
        lambda F, x: [sum_over_fields(F, x)],
        [some(6, 4, 16)],
        UNITS,
    ),
    "a sum of long vectors": (
        lambda F, x: [sum_over_fields(F, x)],
        [some(6, 4, 17)],
        ["batch_dot"],
    ),
    "several sums": (
        lambda F, x, y: [F.npx.batch_dot(ones_like(F, y), x, transpose_a=True)],
        [some(6, 4, 3), some(6, 4, 2)],
        ["batch_dot"],
    ),
    "sums over the other axis": (
        lambda F, x: [F.npx.batch_dot(ones_like(F, x), x, transpose_b=True)],
        [some(6, 4, 3)],
        ["batch_dot"],
    ),
    "products with pairs": (
        *scores(2),
        [*ONE, "Flatten", *TOTAL, *ONE, *TOTAL, *TOGETHER],
    ),
    "products with one": (*scores(1), [*ONE, "Flatten", *TOTAL, *TOGETHER]),
    "products with three": (*scores(3), ["Embedding", "batch_dot"]),
    "products with pairs of a large table": (
        *scores(2, (24, 2)),
        ["Embedding", "batch_dot"],
    ),
    "products of pairs with pairs": (*scores(2, others=2), ["Embedding", "batch_dot"]),
    "products with transposed pairs": (
        *scores(2, transpose_a=True),
        ["Embedding", "batch_dot"],
    ),
    "equal shapes": (
        lambda F, x, y: [F.np.maximum(x + y, x - y) * y],
        [some(6, 4), 1 - some(6, 4)],
        ["elemwise_add", "elemwise_sub", "_maximum", "elemwise_mul"],
    ),
    "other shapes": (
        lambda F, x, y: [F.np.maximum(x + y, x - y) * y],
        [some(6, 4), 1 - some(1, 4)],
        ["_npi_add", "_npi_subtract", "_maximum", "_npi_multiply"],
    ),
    "the same twice": (
        lambda F, x: [x * x + x],
        [some(6, 4)],
        ["elemwise_mul", "elemwise_add"],
    ),
    "parts": (
        lambda F, x: [
            (lambda a, b: F.np.maximum(a.as_np_ndarray(), b.as_np_ndarray()))(
                *F.SliceChannel(x.as_nd_ndarray(), num_outputs=2, axis=0)
            )
        ],
        [some(6, 4)],
        ["SliceChannel", "_maximum"],
    ),
}


@pytest.mark.parametrize("name", FASTER)
def test_what_is_slow_is_replaced(name):
    function, inputs, used = FASTER[name]
    (found, expected), graph = program_and_gluon(function, inputs)
    for a, b in zip(found, expected):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a == pytest.approx(b, rel=1e-5)
    assert operations(graph) == used


def test_a_table_whose_gradient_is_sparse_stays_as_it_is():
    symbols = [mx.sym.var(name).as_np_ndarray() for name in ("x0", "x1")]
    arrays = dict(zip(("x0", "x1"), map(np.array, (IDS, some(5, 3)))))
    graph = squares(mx.sym, *symbols, sparse_grad=True)
    graph, _ = simplified(graph.as_nd_ndarray(), arrays)
    assert operations(graph) == OF_LOOKED_UP
