"""Score all items for many users, if scores combine user vectors with item vectors.

The score of such a model is ``x . y + h . mlp(a + c)``. The vectors x and a depend on
the user, and y and c on the item, so they are computed once for each user or item, not
for each pair. A model offers this as a method ``all_items()``, which returns an
:class:`AllItems` or another function of the users. NumPy computes the scores on the
CPU.
"""

from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy

from d2l_recsys.engine.layers import JoinedDense
from d2l_recsys.runtime.backend import gluon, mx, nn

_CALLS = "__call__", "forward", "hybrid_forward"
Scorer = Callable[..., numpy.ndarray]  # users (B,), [sequences (B, L)] -> (B, items)
_TILE = 4096  # pairs at a time, so that the hidden layers stay in the cache
# Equal items must tie, but BLAS rounds all columns of a product equally only if it can
# compute them in the same way: whole blocks of columns, few rows (OpenBLAS with AVX2:
# at most 7), and tiles of the same size.
_COLUMNS, _ROWS = 64, 7


def scorer_of(net: gluon.Block, devices: Sequence[mx.Context]) -> Optional[Scorer]:
    """Return ``net.all_items()``, or None if `net` must be called for its scores.

    On GPUs, a net that scores lists of items is called, because that is faster.
    """
    gpus = any(device.device_type != "cpu" for device in devices)
    if gpus and getattr(net, "scores_lists", False):
        return None
    return offered(net, "all_items")


def offered(net: gluon.Block, name: str) -> Any:
    """Return what the method `name` of `net` returns, or None if it must be called.

    That is if it has no such method, if the method raises NotImplementedError, or if a
    reader has changed what a call does: by a ``forward`` of a subclass or in its place,
    or by a hook.
    """
    for cls in type(net).__mro__:
        found = {n: f for n, f in vars(cls).items() if n in (name, *_CALLS)}
        if name in found:
            modules = {getattr(f, "__module__", None) for f in found.values()}
            if len(modules) > 1 or not is_as_defined(net):
                return None
            try:
                return found[name](net)
            except NotImplementedError:
                return None
        if found:
            return None
    return None


def is_as_defined(block: gluon.Block) -> bool:
    """Return whether `block` and its layers run what their classes define, only."""
    blocks = [block]
    for each in blocks:  # which grows
        if each._forward_hooks or each._forward_pre_hooks or {*_CALLS} & {*vars(each)}:
            return False
        blocks += each._children.values()
    return True


def dense(layer: gluon.Block, activation: Optional[str] = None) -> gluon.Block:
    """Return `layer`, a dense layer with this `activation`.

    Raises NotImplementedError for another layer.
    """
    if type(layer) not in (nn.Dense, JoinedDense):
        raise NotImplementedError
    found = layer.act._act_type if type(layer.act) is nn.Activation else layer.act
    if found != activation:
        raise NotImplementedError
    return layer


class HiddenLayers(NamedTuple):
    """The part ``h . mlp(a + c)`` of a score, with ReLU after each layer of the MLP.

    `users` (num_users, n) and `items` (num_items, n) are the inputs a and c of the
    first ReLU. `layers` are the weights and biases of the later layers, `last` is h.
    """

    users: numpy.ndarray
    items: numpy.ndarray
    layers: List[Tuple[numpy.ndarray, numpy.ndarray]]
    last: numpy.ndarray


class AllItems:
    """A function that returns the scores of all items, ``x . y + h . mlp(a + c)``.

    `product` is x (num_users, k) and y (num_items, k). Instead of x, it may hold a
    function that returns x (B, k) for users (B,) and their other inputs. Without
    `product` or `hidden`, that part is left out.
    """

    def __init__(
        self,
        product: Optional[Tuple[Union[numpy.ndarray, Scorer], numpy.ndarray]],
        hidden: Optional[HiddenLayers] = None,
    ) -> None:
        self.product, self.hidden = product, hidden
        parts = [product[1]] if product else []
        parts += [hidden.items] if hidden else []
        self.num_items = len(parts[0])
        self.items = [_columns(part) for part in parts]

    @numpy.errstate(over="ignore", invalid="ignore")  # callers check the scores
    def __call__(self, users: numpy.ndarray, *inputs: numpy.ndarray) -> numpy.ndarray:
        """Return the scores (B, num_items) of all items for `users` (B,)."""
        if self.product:
            x = self.product[0]
            x = x(users, *inputs) if callable(x) else x[users]
            scores = _product(x, self.items[0])
        else:
            scores = numpy.zeros((len(users), self.items[0].shape[1]), dtype="float32")
        if self.hidden:
            _add_hidden(scores, self.hidden, self.items[-1], users)
        return scores[:, : self.num_items]


def _add_hidden(
    scores: numpy.ndarray,
    hidden: HiddenLayers,
    items: numpy.ndarray,
    users: numpy.ndarray,
) -> None:
    """Add ``h . mlp(a + c)`` to the scores (B, columns) of `users` (B,).

    `items` (n, columns) holds c.
    """
    # relu(t + b) = max(t, -b) + b, and this last b joins the bias of the next layer. So
    # the user's part b need not be added for each item.
    shifts = [hidden.users[users].T]  # (n, B)
    for weight, bias in hidden.layers:
        shifts.append(weight @ shifts[-1] + bias[:, None])
    scores += (hidden.last @ shifts[-1])[:, None]
    limits = [-shift[:, :, None] for shift in shifts]  # (n, B, 1)
    width = scores.shape[1] // _tiles(scores.shape[1])
    height = _TILE // width
    for row in range(0, len(users), height):
        rows = slice(row, row + height)
        for column in range(0, scores.shape[1], width):
            columns = slice(column, column + width)
            tile = scores[rows, columns]
            x = numpy.maximum(items[:, None, columns], limits[0][:, rows])
            for (weight, _), limit in zip(hidden.layers, limits[1:]):
                x = _product(weight, x.reshape(len(x), -1)).reshape(-1, *tile.shape)
                numpy.maximum(x, limit[:, rows], out=x)
            tile += (hidden.last @ x.reshape(len(x), -1)).reshape(tile.shape)


def hidden_layers(
    users: gluon.Block, items: gluon.Block, mlp: gluon.Block, last: numpy.ndarray
) -> HiddenLayers:
    """Return the hidden layers of an MLP on embeddings of a user and an item."""
    first, *others = (dense(layer, "relu") for layer in mlp)
    of_users, of_items = first.weights()
    a, rows = table(users) @ of_users.T + _values(first.bias), table(items)
    c = _product(of_items, _columns(rows))[:, : len(rows)].T
    layers = [(table(layer), _values(layer.bias)) for layer in others]
    return HiddenLayers(a, c, layers, last[0])


def table(block: gluon.Block) -> numpy.ndarray:
    """Return the weight of an embedding or another layer."""
    return _values(block.weight)


def with_ones(rows: numpy.ndarray) -> numpy.ndarray:
    """Return `rows` (n, k) with ones as the last column."""
    return numpy.pad(rows, [(0, 0), (0, 1)], constant_values=1)


def _values(parameter: gluon.Parameter) -> numpy.ndarray:
    return parameter.list_data()[0].asnumpy()


def _tiles(columns: int) -> int:
    return -(-columns // _TILE)


def _columns(rows: numpy.ndarray) -> numpy.ndarray:
    """Return `rows` (n, k) as columns, padded with zeros to whole tiles and blocks."""
    multiple = _tiles(len(rows)) * _COLUMNS
    number = -(-len(rows) // multiple) * multiple
    columns = numpy.zeros((rows.shape[1], number), rows.dtype)
    columns[:, : len(rows)] = rows.T
    return columns


def _product(rows: numpy.ndarray, columns: numpy.ndarray) -> numpy.ndarray:
    """Return ``rows @ columns``; equal `columns` give exactly equal results."""
    groups = -(-len(rows) // _ROWS)
    size = -(-len(rows) // max(1, groups))
    padded = numpy.zeros((groups * size, rows.shape[1]), rows.dtype)
    padded[: len(rows)] = rows
    products = padded.reshape(groups, size, -1) @ columns
    return products.reshape(len(padded), -1)[: len(rows)]
