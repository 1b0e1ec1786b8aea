"""Move gradients, or some of their rows, between parameters and one flat array."""

import math
from typing import List, Optional, Sequence

import numpy

from d2l_recsys.runtime.backend import mx, np


class Gradient:
    """The gradient of a parameter, or only some of its rows, on all devices."""

    def __init__(
        self, copies: Sequence[np.ndarray], rows: Optional[numpy.ndarray]
    ) -> None:
        self.copies, self._rows = copies, rows
        self.shape = copies[0].shape
        if rows is not None:
            self.shape = len(rows), *self.shape[1:]

    def copy_to(self, view: np.ndarray) -> None:
        """Write the sum over the devices into `view`."""
        self._read(self.copies[0], view)
        for copy in self.copies[1:]:
            view[:] = view + self._read(copy).as_in_ctx(view.ctx)

    def set(self, total: np.ndarray) -> None:
        """Give the first device the sum over all workers, and the others zeros."""
        if self._rows is None:
            self.copies[0][:] = total
        else:
            _set_rows(self.copies[0], self._rows, total)
        for other in self.copies[1:]:
            other[:] = 0

    def _read(self, copy: np.ndarray, out: Optional[np.ndarray] = None) -> np.ndarray:
        if self._rows is not None:
            rows = np.array(self._rows, dtype="int32", ctx=copy.ctx)
            return np.take(copy, rows, axis=0, mode="clip", out=out)
        if out is not None:
            out[:] = copy
        return copy


def _set_rows(array: np.ndarray, rows: numpy.ndarray, values: np.ndarray) -> None:
    """Set ``array[rows] = values``, in half the time."""
    table, new = array.as_nd_ndarray(), values.as_nd_ndarray()
    places = mx.nd.array(rows[None], dtype="int32", ctx=array.ctx)
    scatter, shape = mx.nd._internal._scatter_set_nd, array.shape
    scatter(lhs=table, rhs=new, indices=places, shape=shape, out=table)


def views_of(flat: np.ndarray, shapes: Sequence[Sequence[int]]) -> List[np.ndarray]:
    """Return arrays of these `shapes` that share the memory of `flat`."""
    # Slices of a legacy array share its memory, also when reshaped.
    legacy, views, start = flat.as_nd_ndarray(), [], 0
    for shape in shapes:
        stop = start + math.prod(shape)
        views.append(legacy[start:stop].reshape(shape).as_np_ndarray())
        start = stop
    return views
