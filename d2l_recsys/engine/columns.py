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
        out = _product(F, weight, columns, (self._channels, self._L), bias)
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
        size, over_time = (self._channels, self._height), []
        for begin in self.begins:
            end = begin + self._height
            window = F.npx.slice(columns, (begin, None), (end, None))
            over_time.append(_product(F, weight, window, size, bias))
        return _max_over_time(F, [over_time])

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
        biases = [conv.bias.var() for conv in self for _ in conv.begins]
        weight, bias = (F.np.concatenate(x, axis=0) for x in (matrices, biases))
        # In a product this large, MXNet takes long for the gradient of a bias. So the
        # bias is one more column of the weight, and is multiplied by ones.
        weight = F.np.concatenate([weight, F.np.expand_dims(bias, 1)], axis=1)
        row = ones(F, columns, (0, None), (1, None))
        columns = F.np.concatenate([columns, row], axis=0)
        size = len(matrices) * self[0]._channels, self[0].size + 1
        out = _product(F, weight, columns, size)
        # np.split takes 40 times as long as SliceChannel.
        parts = F.SliceChannel(out.as_nd_ndarray(), num_outputs=len(matrices), axis=0)
        windows = iter([part.as_np_ndarray() for part in parts])
        over_time = [[next(windows) for _ in conv.begins] for conv in self]
        return _max_over_time(F, over_time)

    def _can_be_one_product(self):
        usual = all(type(conv) is HorizontalConv for conv in self)
        same = len({conv.weight.shape[0] for conv in self}) == 1
        return usual and same and self[0].size <= _SMALL


def _max_over_time(F, over_time):
    """Return the largest output of each filter after ReLU.

    `over_time` holds, for each layer, the outputs (channels, B) of its windows. ReLU
    comes after the maximum, which gives the same result with less work.
    """
    largest = [reduce(F.np.maximum, outputs) for outputs in over_time]
    out = F.np.concatenate(largest, axis=0) if len(largest) > 1 else largest[0]
    return F.npx.activation(out, act_type="relu")


class ColumnDense(nn.Dense):
    """Apply ``nn.Dense(units, "relu", in_units=sum(sizes))`` to joined columns.

    The columns, of lengths `sizes`, are given as a list, so that nothing is copied.
    """

    def __init__(self, units: int, sizes: Sequence[int], **kwargs: Any) -> None:
        super().__init__(units, "relu", in_units=sum(sizes), **kwargs)
        self._sizes = [*sizes]

    def hybrid_forward(self, F, parts, weight, bias):
        """Return (units, B) from `parts`, an array (size, B) for each of the sizes."""
        terms = []
        for W, part, size in zip(
            columns_of(F, weight, self._sizes), parts, self._sizes
        ):
            terms.append(_product(F, W, part, (self._units, size), bias))
            bias = None
        return self.act(reduce(add, terms))


def _product(F, weight, columns, size, bias=None):
    """Return ``weight @ columns + bias``, of shape (n, B), for a `size` of (n, k).

    `weight` holds n * k numbers, and `columns` k * B. On CPUs, a convolution of an
    image with k channels is faster than a product, because MXNet computes it with
    oneDNN, and products with OpenBLAS.
    """
    image = F.npx.reshape(columns, (1, size[1], 1, -1))
    filters = F.npx.reshape(weight, (*size, 1, 1))
    settings = {"kernel": (1, 1), "num_filter": size[0], "no_bias": bias is None}
    # Tuning for each shape, which cuDNN would announce, is not worthwhile here.
    out = F.npx.convolution(image, filters, bias, cudnn_tune="off", **settings)
    return F.npx.reshape(out, (size[0], -1))
