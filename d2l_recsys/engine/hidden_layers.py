"""Compute the hidden layers of an MLP for all pairs of users and items with NumPy."""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Optional, Sequence, Tuple

import numpy
from threadpoolctl import ThreadpoolController

from d2l_recsys.runtime import cores

# Equal items must tie, but BLAS rounds all columns of a product equally only if it can
# compute them in the same way: whole blocks of columns, few rows (OpenBLAS with AVX2:
# at most 7), and tiles of the same size.
_COLUMNS, _ROWS = 64, 7
_TILE = 4096  # columns at a time
# Numbers per layer at a time, unless one user has more, so that they stay in the cache.
_LAYER = 2**17
_all_threads = Lock()  # held by one call at a time: it changes a setting of BLAS


class HiddenLayers:
    """The part ``h . mlp(a + c)`` of a score, with ReLU after each layer of the MLP.

    `users` (num_users, n) and `items` (num_items, n) are the inputs a and c of the
    first ReLU. `layers` are the weights and biases of the later layers, `last` is h.
    """

    def __init__(
        self,
        users: numpy.ndarray,
        items: numpy.ndarray,
        layers: Sequence[Tuple[numpy.ndarray, numpy.ndarray]],
        last: numpy.ndarray,
    ) -> None:
        self.num_items = len(items)
        self._users, self.columns = users, as_columns(items)
        no_bias = numpy.zeros(1, last.dtype)
        self._layers = [numpy.column_stack(x) for x in (*layers, (last[None], no_bias))]

    def add_to(self, scores: numpy.ndarray, users: numpy.ndarray) -> None:
        """Add this part to the scores (B, columns) of `users` (B,).

        Each thread takes a share of the users, because the products are too small for
        BLAS to share them between threads.
        """
        width = scores.shape[1] // _tiles(scores.shape[1])
        largest = max(layer.shape[1] for layer in self._layers)
        height = max(1, _LAYER // (largest * width))
        strips = -(-len(users) // height)
        threads = max(1, min(strips, cores.threads()))
        size = max(1, -(-strips // threads)) * height

        def add(start: int) -> None:
            share = slice(start, start + size)
            self._add_to(scores[share], users[share], height, width)

        pool = ThreadPoolExecutor(threads)
        with _all_threads, _blas().limit(limits=1), pool:
            list(pool.map(add, range(0, len(users), size)))

    @numpy.errstate(over="ignore", invalid="ignore")  # callers check the scores
    def _add_to(
        self, scores: numpy.ndarray, users: numpy.ndarray, height: int, width: int
    ) -> None:
        """Add this part, a tile of `height` users and `width` columns at a time."""
        # The last row of each input holds ones, by which the biases are multiplied.
        shapes = [(height, layer.shape[1], width) for layer in self._layers]
        inputs = [numpy.ones(shape, self.columns.dtype) for shape in shapes]
        zeros = numpy.zeros(max(shapes)[1:], self.columns.dtype)
        first, *others = self._layers
        firsts = numpy.repeat(first[None], height, axis=0)
        for row in range(0, len(users), height):
            # relu(a + c) = max(c, -a) + a, and this last a becomes a part of the next
            # bias. So it need not be added for each item.
            a = self._users[users[row : row + height]]
            number = len(a)
            firsts[:number, :, -1] = a @ first[:, :-1].T + first[:, -1]
            *hidden, last = firsts[:number], *others
            x, *outputs = (each[:number] for each in inputs)
            for column in range(0, scores.shape[1], width):
                here = slice(column, column + width)
                numpy.maximum(self.columns[:, here], -a[:, :, None], out=x[:, :-1])
                before = x
                for layer, after in zip(hidden, outputs):
                    y = after[:, :-1]
                    multiply(layer, before, y)
                    # With two arrays, this takes half as long as with a number.
                    numpy.maximum(y, zeros[: y.shape[1]], out=y)
                    before = after
                scores[row : row + number, here] += (last @ before)[:, 0]


@lru_cache(maxsize=None)
def _blas() -> ThreadpoolController:
    """Return the BLAS libraries, except for MXNet's, which has MXNet's threads."""
    found = ThreadpoolController().select(user_api="blas")  # takes some milliseconds
    paths = [library["filepath"] for library in found.info()]
    return found.select(filepath=[p for p in paths if "mxnet" not in Path(p).parts])


def as_columns(rows: numpy.ndarray) -> numpy.ndarray:
    """Return `rows` (n, k) as columns, padded with zeros to whole tiles and blocks."""
    multiple = _tiles(len(rows)) * _COLUMNS
    number = -(-len(rows) // multiple) * multiple
    padded = numpy.zeros((rows.shape[1], number), rows.dtype)
    padded[:, : len(rows)] = rows.T
    return padded


def _tiles(number: int) -> int:
    return -(-number // _TILE)


def multiply(
    rows: numpy.ndarray, columns: numpy.ndarray, out: Optional[numpy.ndarray] = None
) -> numpy.ndarray:
    """Return ``rows @ columns``; equal `columns` give exactly equal results.

    The shapes are (..., n, k) and (..., k, number of columns). Without `out`, both are
    matrices.
    """
    number = rows.shape[-2]
    if out is None:
        shape = number, columns.shape[-1]
        out = numpy.empty(shape, numpy.result_type(rows, columns))
    groups = -(-number // _ROWS)
    size = -(-number // max(1, groups))
    for start in range(0, number, max(1, size)):
        few = slice(start, start + size)
        numpy.matmul(rows[..., few, :], columns, out=out[..., few, :])
    return out
