"""Loops over numbers, compiled by Numba.

Importing this module loads the compiled code, which takes a third of the time of
importing MXNet: see :mod:`d2l_recsys.engine.compiled_loops`.
"""

from functools import partial
from typing import Any, Callable

import numba
import numpy

if getattr(numba.config, "DISABLE_JIT", False):
    raise ImportError("NUMBA_DISABLE_JIT is set, and Python is slow at these loops")

_ONE = numpy.float32(1)  # an integer would turn float32 into float64
_IN_ANY_ORDER = {"contract", "nsz", "reassoc"}  # for vector units, which add so


def _compiled(signature: str, **settings: Any) -> Callable:
    """Compile a function, or load it from where an earlier process saved it."""
    # A check for divisions by zero would keep the vector units idle.
    jit = partial(numba.njit, signature, error_model="numpy", **settings)

    def compiled(function: Callable) -> Any:
        try:
            return jit(cache=True)(function)
        except Exception:  # there is no place for the file, or it is damaged
            return jit()(function)

    return compiled


@_compiled("(f4[::1], f4[::1], f4[::1], f4[::1], f4, f4, f4, f4, f4, f4)")
def adam(weight, grad, mean, var, lr, wd, scale, beta1, beta2, epsilon):
    """Update arrays (n,) as :func:`d2l_recsys.engine.adam.adam` does."""
    for k in range(len(weight)):
        g = grad[k] * scale + weight[k] * wd
        mean[k] = mean[k] * beta1 + g * (_ONE - beta1)
        var[k] = var[k] * beta2 + g * (_ONE - beta2) * g
        weight[k] -= mean[k] * lr / (numpy.sqrt(var[k]) + epsilon)


@_compiled("i8[::1](b1[::1])")
def flatnonzero(mask):
    """Return the places (n,) of what is true in `mask`, as numpy.flatnonzero does."""
    places, count = numpy.empty(len(mask) + 1, numpy.int64), 0
    for k in range(len(mask)):
        places[count] = k  # overwritten by the next place, if false
        count += mask[k]
    return places[:count]


@_compiled(
    "(i8[::1], i8[::1], f4[::1], f4[:, ::1], f4[:, ::1])", fastmath=_IN_ANY_ORDER
)
def add_rows(rows, columns, values, table, out):
    """Add ``values[j] * table[columns[j]]`` to ``out[rows[j]]`` for all j.

    This adds the product of a sparse matrix and `table` to `out`. Both have m columns,
    and the other arrays have the shape (n,). It is faster if equal rows are neighbors.
    """
    j = 0
    while j < len(values):
        row, column, value = rows[j], columns[j], values[j]
        j += 1
        if j < len(values) and rows[j] == row:  # two terms, written once
            column2, value2 = columns[j], values[j]
            j += 1
            for k in range(table.shape[1]):
                out[row, k] += value * table[column, k] + value2 * table[column2, k]
        else:
            for k in range(table.shape[1]):
                out[row, k] += value * table[column, k]


@_compiled(
    "(i8[::1], i8[::1], f4[:, ::1], f4[:, ::1], f4[::1])", fastmath=_IN_ANY_ORDER
)
def dot_rows(rows, columns, left, right, out):
    """Set ``out[j]`` to the product of ``left[rows[j]]`` and ``right[columns[j]]``.

    `left` and `right` have m columns, and the other arrays have the shape (n,).
    """
    for j in range(len(out)):
        row, column, total = rows[j], columns[j], numpy.float32(0)
        for k in range(left.shape[1]):
            total += left[row, k] * right[column, k]
        out[j] = total
