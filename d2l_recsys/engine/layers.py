"""Fast layers with the same parameters and results as the book's layers.

Each layer replaces the one named in its docstring. It has the same parameter names and
shapes and gives the same values and gradients, but uses faster operations of MXNet.
"""

import inspect
import math
from functools import reduce
from operator import add
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy

from d2l_recsys.data.sizes import MAX_NUMBERS, check_positive
from d2l_recsys.engine.batching import side_by_side
from d2l_recsys.runtime.backend import mx, nn, np


class Model(nn.HybridBlock):
    """A block that remembers the arguments of its constructor, as `arguments`.

    ``type(net)(**net.arguments)`` is a new net of the same shape. `prefix` and
    `params`, which all Gluon blocks have, are left out.
    """

    arguments: Dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> "Model":
        """Create the block; store no arguments if there are none, as in copying."""
        net = super().__new__(cls)
        signature = inspect.signature(cls.__init__)
        try:
            given = signature.bind(net, *args, **kwargs)
        except TypeError:
            return net  # Python calls __init__, which says what is wrong
        given.apply_defaults()
        named = list(given.arguments.items())[1:]
        kinds = {name: signature.parameters[name].kind for name, _ in named}
        net.__dict__["arguments"] = {
            name: value for name, value in named if kinds[name] not in _VARIABLE
        }
        return net

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Initialize the parameters, as Gluon does.

        Raises ValueError that names a parameter with more numbers than an array of
        MXNet can hold.
        """
        for name, parameter in self._collect_params_with_prefix().items():
            shape = parameter.shape or ()
            if math.prod(shape) > MAX_NUMBERS:
                sizes = " x ".join(map(str, shape))
                raise ValueError(
                    f"{type(self).__name__}: {name} has {sizes} numbers, but MXNet's "
                    "arrays hold at most 2^31-2: use fewer factors or hidden units or, "
                    "for clicks, a larger min_threshold (in the scripts: --min-count)"
                )
        super().initialize(*args, **kwargs)


_VARIABLE = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD


class RankingModel(Model):
    """A model that scores items for users: ``net(user_id, [seq,] item_id)``.

    `item_id` has shape (B,) or (B, n), and the scores have the same shape. A single
    user is used for all items, and a single item for all users.

    Raises ValueError that names a size if it is not an integer of at least 1.
    """

    scores_lists = True  # item_id may have shape (B, n)
    takes: Tuple[str, ...] = ("user_id", "item_id")

    def __init__(
        self, num_factors: int, num_users: int, num_items: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_positive(
            num_factors=num_factors, num_users=num_users, num_items=num_items
        )
        self.num_users, self.num_items = num_users, num_items

    def __call__(self, *ids: np.ndarray) -> np.ndarray:
        """Return the scores; raise ValueError for a missing or unneeded sequence."""
        if len(ids) != len(self.takes):
            raise ValueError(
                f"{type(self).__name__} takes {', '.join(self.takes)}, but got "
                f"{len(ids)} arrays: {self.advice()}"
            )
        return super().__call__(*ids)

    @classmethod
    def advice(cls) -> str:
        """Return what to do about a missing or unneeded sequence."""
        if "seq" in cls.takes:
            return "train with a SeqDataset, and evaluate with its test_seq as seq"
        return "pass None as seq, and do not use a SeqDataset"

    def forward(self, *ids: np.ndarray) -> np.ndarray:
        """Return the scores, after repeating a single user or item."""
        return super().forward(*side_by_side(*ids))


class JoinedDense(nn.Dense):
    """Apply ``nn.Dense`` to several inputs as if they were concatenated.

    ``layer([x, y])`` equals ``dense(concatenate([x, y], axis=-1))``, because
    ``W [x; y] = W_x x + W_y y``. This saves copying the inputs, and they may broadcast:
    with x of shape (B, 1, a) and y of shape (B, n, b), ``W_x x`` is computed once for
    all n. `in_units` are the sizes of the inputs, (a, b).
    """

    def __init__(
        self,
        units: int,
        in_units: Sequence[int],
        activation: Optional[str] = None,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units, activation, use_bias, flatten=False, in_units=sum(in_units), **kwargs
        )
        self._sizes = list(in_units)

    def weights(self) -> List[numpy.ndarray]:
        """Return the weights (units, size) of each input."""
        joined = self.weight.list_data()[0].asnumpy()
        return numpy.split(joined, numpy.cumsum(self._sizes)[:-1], axis=1)

    def hybrid_forward(self, F, inputs, weight, bias=None):
        """Return (..., units) from `inputs`, a list of arrays (..., size)."""
        terms, start = [], 0
        for x, size in zip(inputs, self._sizes):
            W = F.npx.slice(weight, (None, start), (None, start + size))
            b = bias if start == 0 else None
            terms.append(
                F.npx.fully_connected(
                    x, W, b, no_bias=b is None, num_hidden=self._units, flatten=False
                )
            )
            start += size
        out = reduce(add, terms)
        return out if self.act is None else self.act(out)


class VerticalConv(nn.Conv2D):
    """Apply ``nn.Conv2D(channels, (L, 1), in_channels=1)`` to images of size (L, k).

    Each image is a column of length L * k. Operations on columns are faster than on
    rows.
    """

    def __init__(self, channels: int, L: int, k: int, **kwargs: Any) -> None:
        super().__init__(channels, (L, 1), in_channels=1, **kwargs)
        self._L, self._k = L, k

    def hybrid_forward(self, F, columns, weight, bias):
        """Return (channels * k, B) from `columns` (L * k, B)."""
        filters = F.npx.reshape(weight, (self._channels, -1))
        out = _affine(F, filters, F.npx.reshape(columns, (self._L, -1)), bias)
        return F.npx.reshape(out, (self._channels * self._k, -1))


class HorizontalConvs(nn.HybridSequential):
    """Apply ``nn.Conv2D(channels, (h, k))`` for h from 1 to L, ReLU and max over time.

    An image of size (L, k) is a column of length L * k, on which all filters at all
    places are one matrix. Bias and ReLU come after the maximum, which gives the same
    result with less work.
    """

    def __init__(self, channels: int, k: int, L: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for h in range(1, L + 1):
            self.add(nn.Conv2D(channels, (h, k), in_channels=1))

    def hybrid_forward(self, F, columns):
        """Return (L * channels, B) from `columns` (L * k, B)."""
        L, rows, biases = len(self), [], []
        for h, conv in enumerate(self, 1):
            weight, bias = (_values(F, p, columns) for p in (conv.weight, conv.bias))
            k, filters = conv.weight.shape[-1], F.npx.batch_flatten(weight)
            for t in range(L - h + 1):
                rows.append(F.np.pad(filters, ((0, 0), (t * k, (L - h - t) * k))))
            biases.append(bias)
        at_places = F.np.dot(F.np.concatenate(rows, axis=0), columns)
        at_places = _split(F, at_places, len(rows))  # (channels, B) each
        over_time = []
        for h in range(1, L + 1):
            places, at_places = at_places[: L - h + 1], at_places[L - h + 1 :]
            over_time.append(reduce(F.np.maximum, places))
        out, bias = (F.np.concatenate(x, axis=0) for x in (over_time, biases))
        return F.npx.activation(_plus(F, out, bias), act_type="relu")


def _values(F, parameter, x):
    """Return the values of a parameter, as a block gets them that is called with x."""
    return parameter.var() if F is mx.sym else parameter.data(x.ctx)


def _split(F, x, n):
    """Return `n` equal parts of the rows of `x`, without MXNet's slow ``np.split``."""
    parts = F.SliceChannel(x.as_nd_ndarray(), num_outputs=n, axis=0)
    return [part.as_np_ndarray() for part in (parts if n > 1 else [parts])]


class ColumnDense(nn.Dense):
    """Apply ``nn.Dense(units, "relu", in_units=size)`` to columns (size, B)."""

    def __init__(self, units: int, size: int, **kwargs: Any) -> None:
        super().__init__(units, "relu", in_units=size, **kwargs)

    def hybrid_forward(self, F, columns, weight, bias):
        """Return (units, B)."""
        return self.act(_affine(F, weight, columns, bias))


def _affine(F, weight, columns, bias):
    return _plus(F, F.np.dot(weight, columns), bias)


def _plus(F, columns, bias):
    """Add `bias` (n,) to each column of an array (n, B).

    The bias is multiplied by ones, so its gradient is a product, too. MXNet takes 20
    times as long for a sum over columns.
    """
    ones = _ones(F, columns, (0, None), (1, None))
    return columns + F.np.dot(F.np.expand_dims(bias, 1), ones)


class PaddedEmbedding(nn.Embedding):
    """Apply ``nn.Embedding``, with the additional id `input_dim` for padding.

    Padding has a zero vector and no gradient, like ``padding_idx`` in PyTorch.
    """

    num_paddings = 1  # ids beyond those of ``nn.Embedding``

    def hybrid_forward(self, F, x, weight):
        """Return the vectors (..., output_dim) of ids `x` (...)."""
        row = F.npx.slice(weight, (0, None), (1, None))
        table = F.np.concatenate([weight, F.np.zeros_like(row)], axis=0)
        settings = {**self._kwargs, "input_dim": self._kwargs["input_dim"] + 1}
        return F.npx.embedding(x, table, **settings)


# MXNet is slow at sums over an axis. Products with ones are 5 to 20 times as fast.


def sum_over_fields(F, vectors):
    """Return the sum (B, 1, k) of `vectors` (B, n, k) over n."""
    ones = _ones(F, vectors, (None, None, 0), (None, None, 1))  # (B, n, 1)
    return F.npx.batch_dot(ones, vectors, transpose_a=True)


def sum_over_factors(F, vectors):
    """Return the sum (B, n, 1) of `vectors` (B, n, k) over k."""
    ones = _ones(F, vectors, (0, 0, None), (1, 1, None))  # (1, 1, k)
    return F.np.dot(vectors, F.npx.reshape(ones, (-1, 1)))


def sum_of_rows(F, x):
    """Return the sums (B, 1) of the rows of `x`, of shape (B, ...)."""
    rows = F.npx.batch_flatten(x)
    return F.np.dot(rows, F.np.transpose(_ones(F, rows, (0, None), (1, None))))


def mean_of_rows(F, x):
    """Return the means (B, 1) of the rows of `x`, of shape (B, n)."""
    ones = F.np.transpose(_ones(F, x, (0, None), (1, None)))  # (n, 1)
    return F.np.dot(x, ones) / F.np.dot(F.np.transpose(ones), ones)


def _ones(F, x, begin, end):
    """Return ones in the shape of a slice of `x`, without a gradient."""
    constant = F.BlockGrad(x.as_nd_ndarray()).as_np_ndarray()
    return F.np.ones_like(F.npx.slice(constant, begin, end))
