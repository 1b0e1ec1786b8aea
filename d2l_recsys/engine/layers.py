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
from d2l_recsys.runtime.backend import nn, np


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
        terms, b = [], bias  # of the first term
        for x, W in zip(inputs, columns_of(F, weight, self._sizes)):
            terms.append(
                F.npx.fully_connected(
                    x, W, b, no_bias=b is None, num_hidden=self._units, flatten=False
                )
            )
            b = None
        out = reduce(add, terms)
        return out if self.act is None else self.act(out)


def columns_of(F, matrix, sizes):
    """Return the columns of a matrix (n, sum of sizes) in parts (n, size)."""
    parts, start = [], 0
    for size in sizes:
        parts.append(F.npx.slice(matrix, (None, start), (None, start + size)))
        start += size
    return parts


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
    column = ones(F, vectors, (None, None, 0), (None, None, 1))  # (B, n, 1)
    return F.npx.batch_dot(column, vectors, transpose_a=True)


def sum_over_factors(F, vectors):
    """Return the sum (B, n, 1) of `vectors` (B, n, k) over k."""
    row = ones(F, vectors, (0, 0, None), (1, 1, None))  # (1, 1, k)
    return F.np.dot(vectors, F.npx.reshape(row, (-1, 1)))


def sum_of_rows(F, x):
    """Return the sums (B, 1) of the rows of `x`, of shape (B, ...)."""
    rows = F.npx.batch_flatten(x)
    return F.np.dot(rows, F.np.transpose(ones(F, rows, (0, None), (1, None))))


def mean_of_rows(F, x):
    """Return the means (B, 1) of the rows of `x`, of shape (B, n)."""
    column = F.np.transpose(ones(F, x, (0, None), (1, None)))  # (n, 1)
    return F.np.dot(x, column) / F.np.dot(F.np.transpose(column), column)


def ones(F, x, begin, end):
    """Return ones in the shape of ``x[begin:end]``, without a gradient."""
    constant = F.BlockGrad(x.as_nd_ndarray()).as_np_ndarray()
    return F.np.ones_like(F.npx.slice(constant, begin, end))
