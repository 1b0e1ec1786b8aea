"""Layers for images (L, k) that are stored as columns of length L * k.

Operations on columns are faster than on rows. A layer has the parameters of the one
named in its docstring, with the same names and shapes, and gives the same results.
"""

from functools import reduce
from operator import add
from typing import Any, Sequence

from d2l_recsys.engine.layers import columns_of, ones
from d2l_recsys.runtime.backend import mx, nn

_SMALL = 256  # numbers per image, up to which one large product is faster


class VerticalConv(nn.Conv2D):
    """Apply ``nn.Conv2D(channels, (L, 1), in_channels=1)`` to images of size (L, k)."""

    def __init__(self, channels: int, L: int, k: int, **kwargs: Any) -> None:
        super().__init__(channels, (L, 1), in_channels=1, **kwargs)
        self._L, self._k = L, k

    def hybrid_forward(self, F, columns, weight, bias):
        """Return (channels * k, B) from `columns` (L * k, B)."""
        filters = F.npx.reshape(weight, (self._channels, -1))
        out = F.np.dot(filters, F.npx.reshape(columns, (self._L, -1)))
        out = _plus(F, out, bias)
        return F.npx.reshape(out, (self._channels * self._k, -1))


class HorizontalConv(nn.Conv2D):
    """Apply ``nn.Conv2D(channels, (h, k), in_channels=1)``, ReLU and max over time.

    A window of h rows of an image is a slice of its column.
    """

    def __init__(self, channels: int, h: int, k: int, L: int, **kwargs: Any) -> None:
        super().__init__(channels, (h, k), in_channels=1, **kwargs)
        self.size, self._height = L * k, h * k  # of a column, and of a window of it
        self.begins = range(0, self.size - self._height + 1, k)  # of the windows

    def hybrid_forward(self, F, columns, weight, bias):
        """Return (channels, B) from `columns` (L * k, B)."""
        filters = F.npx.batch_flatten(weight)
        over_time = []
        for begin in self.begins:
            end = begin + self._height
            window = F.npx.slice(columns, (begin, None), (end, None))
            over_time.append(F.np.dot(filters, window))
        return _max_over_time(F, [over_time], bias)

    def matrices(self, F, weight):
        """Return a matrix (channels, L * k) for each window, with zeros outside it."""
        filters = F.npx.batch_flatten(weight)
        last = self.begins[-1]
        return [F.np.pad(filters, ((0, 0), (t, last - t))) for t in self.begins]


class HorizontalConvs(nn.HybridSequential):
    """Concatenate the outputs of several :class:`HorizontalConv` for the same images.

    If hybridized, one large product replaces many small ones for small images, although
    most of its factors are zeros. All layers then have the same number of channels.
    """

    def hybrid_forward(self, F, columns):
        """Return (all channels, B) from `columns` (L * k, B)."""
        if F is not mx.sym or not self._can_be_one_product():
            return F.np.concatenate([conv(columns) for conv in self], axis=0)
        matrices = [m for conv in self for m in conv.matrices(F, conv.weight.var())]
        out = F.np.dot(F.np.concatenate(matrices, axis=0), columns)
        # np.split takes 40 times as long as SliceChannel.
        parts = F.SliceChannel(out.as_nd_ndarray(), num_outputs=len(matrices), axis=0)
        windows = iter([part.as_np_ndarray() for part in parts])
        over_time = [[next(windows) for _ in conv.begins] for conv in self]
        bias = F.np.concatenate([conv.bias.var() for conv in self], axis=0)
        return _max_over_time(F, over_time, bias)

    def _can_be_one_product(self):
        usual = all(type(conv) is HorizontalConv for conv in self)
        same = len({conv.weight.shape[0] for conv in self}) == 1
        return usual and same and self[0].size <= _SMALL


def _max_over_time(F, over_time, bias):
    """Return the largest output of each filter after bias and ReLU.

    `over_time` holds, for each layer, the outputs (channels, B) of its windows. Bias
    and ReLU come after the maximum, which gives the same result with less work.
    """
    largest = [reduce(F.np.maximum, outputs) for outputs in over_time]
    out = F.np.concatenate(largest, axis=0) if len(largest) > 1 else largest[0]
    return F.npx.activation(_plus(F, out, bias), act_type="relu")


class ColumnDense(nn.Dense):
    """Apply ``nn.Dense(units, "relu", in_units=sum(sizes))`` to joined columns.

    The columns, of lengths `sizes`, are given as a list, so that nothing is copied.
    """

    def __init__(self, units: int, sizes: Sequence[int], **kwargs: Any) -> None:
        super().__init__(units, "relu", in_units=sum(sizes), **kwargs)
        self._sizes = [*sizes]

    def hybrid_forward(self, F, parts, weight, bias):
        """Return (units, B) from `parts`, an array (size, B) for each of the sizes."""
        weights = columns_of(F, weight, self._sizes)
        terms = [F.np.dot(W, part) for W, part in zip(weights, parts)]
        return self.act(_plus(F, reduce(add, terms), bias))


def _plus(F, columns, bias):
    """Add `bias` (n,) to each column of an array (n, B).

    The bias is multiplied by ones, so its gradient is a product, too. MXNet takes 20
    times as long for a sum over columns.
    """
    row = ones(F, columns, (0, None), (1, None))
    return columns + F.np.dot(F.np.expand_dims(bias, 1), row)
