"""Score all items for many users, if scores combine user vectors with item vectors.

The score of such a model is ``x . y + h . mlp(a + c)``. The vectors x and a depend on
the user, and y and c on the item, so they are computed once for each user or item, not
for each pair. A model offers this as a method ``all_items()``, which returns an
:class:`AllItems` or another function of the users. NumPy computes the scores on the
CPU.
"""

from typing import Any, Callable, Optional, Sequence, Tuple, Union

import numpy

from d2l_recsys.engine.hidden_layers import HiddenLayers, as_columns, multiply
from d2l_recsys.engine.layers import JoinedDense
from d2l_recsys.runtime.backend import gluon, mx, nn

_CALLS = "__call__", "forward", "hybrid_forward"
Scorer = Callable[..., numpy.ndarray]  # users (B,), [sequences (B, L)] -> (B, items)


def scorer_of(net: gluon.Block, devices: Sequence[mx.Context]) -> Optional[Scorer]:
    """Return ``net.all_items()``, or None if `net` must be called for its scores.

    On GPUs, a net that scores lists of items is called, because that is faster.
    """
    gpus = any(device.device_type != "cpu" for device in devices)
    if gpus and getattr(net, "scores_lists", False):
        return None
    with numpy.errstate(over="ignore", invalid="ignore"):  # callers check the scores
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
        self._hidden, self._x = hidden, None
        if product:
            self._x, y = product
            self._columns, self._num_items = as_columns(y), len(y)
        elif hidden:
            self._columns, self._num_items = hidden.columns, hidden.num_items

    @numpy.errstate(over="ignore", invalid="ignore")  # callers check the scores
    def __call__(self, users: numpy.ndarray, *inputs: numpy.ndarray) -> numpy.ndarray:
        """Return the scores (B, num_items) of all items for `users` (B,)."""
        x = self._x
        if x is None:
            shape = len(users), self._columns.shape[1]
            scores = numpy.zeros(shape, self._columns.dtype)
        else:
            x = x(users, *inputs) if callable(x) else x[users]
            scores = multiply(x, self._columns)
        if self._hidden:
            self._hidden.add_to(scores, users)
        return scores[:, : self._num_items]


def hidden_layers_of(
    users: gluon.Block, items: gluon.Block, mlp: gluon.Block, last: numpy.ndarray
) -> HiddenLayers:
    """Return the hidden layers of an MLP on embeddings of a user and an item."""
    first, *others = (dense(layer, "relu") for layer in mlp)
    of_users, of_items = first.weights()
    a, rows = table(users) @ of_users.T + _values(first.bias), table(items)
    c = multiply(of_items, as_columns(rows))[:, : len(rows)].T
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
