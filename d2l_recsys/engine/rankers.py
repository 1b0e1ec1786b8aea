"""Loaded models as models that score all items for a user, known or new."""

from numbers import Integral, Real
from typing import (
    Any,
    Dict,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import numpy

from d2l_recsys.data.interactions import Interactions
from d2l_recsys.data.sizes import check_list
from d2l_recsys.engine.fold_in import decoded_for_new_user, with_new_user
from d2l_recsys.engine.predict import forward
from d2l_recsys.engine.saved import Histories, trained_on
from d2l_recsys.runtime.backend import gluon, np
from d2l_recsys.runtime.devices import devices_of

_ROWS = 1024  # rows of the rating matrix at a time
History = Union[Sequence[int], Mapping[int, float]]  # items, or {item: rating}


class Ranker(NamedTuple):
    """A net for ``scores_of_all_items``, and what its users have seen.

    `seq`, int32 (num_users, L), holds their latest items, if the net needs them.
    """

    net: gluon.Block
    seen: Interactions
    seq: Optional[numpy.ndarray] = None


def ranker_of(net: gluon.Block) -> Ranker:
    """Return a ranker for the users that a loaded `net` was trained on."""
    data = trained_on(net, Histories)
    if data.rows == "user":
        return Ranker(ByUser(net, data.seen, numpy.asarray(data.ratings)), data.seen)
    if data.rows == "item":
        return Ranker(FromTable(net, data.seen, _by_item(net, data).T), data.seen)
    return Ranker(net, data.seen, _latest(net, data.seen))


def ranker_of_new_user(net: gluon.Block, history: History) -> Ranker:
    """Return a ranker for a single user, number 0, with this history.

    A user-based AutoRec gets the ratings as a row. Caser gets the latest items as the
    sequence, and a zero vector for the user. For the other models, the user's part is
    fitted while the items' part stays fixed: see :mod:`d2l_recsys.engine.fold_in`.

    Raises ValueError that names an item or a rating that the net cannot use.
    """
    data = trained_on(net, Histories)
    items, ratings = _checked(history, data)
    seen = Interactions(numpy.zeros_like(items), items, 1, data.seen.num_items)
    if data.rows == "user":
        return Ranker(ByUser(net, seen, numpy.asarray(ratings)), seen)
    if data.rows == "item":
        hidden = _hidden(net, data)
        scores = decoded_for_new_user(net, hidden, items, ratings)
        return Ranker(FromTable(net, seen, scores[None]), seen)
    return Ranker(with_new_user(net, items, ratings), seen, _latest(net, seen))


class _Rows(gluon.Block):
    """An AutoRec that is called as ``net(user_id (B,), item_id (B, n))``."""

    scores_lists = True

    def __init__(self, net: gluon.Block, seen: Interactions) -> None:
        super().__init__()
        self.net, self.num_users, self.num_items = net, seen.num_users, seen.num_items

    def forward(self, user_id: np.ndarray, item_id: np.ndarray) -> np.ndarray:
        """Return the scores (B, n)."""
        scores = self.of_users(user_id.asnumpy(), item_id.ctx)
        chosen = numpy.take_along_axis(scores, item_id.asnumpy(), axis=1)
        return np.array(chosen, ctx=item_id.ctx)

    def of_users(self, users: numpy.ndarray, device: Any) -> numpy.ndarray:
        """Return the scores (B, num_items) of all items for `users` (B,)."""
        raise NotImplementedError


class ByUser(_Rows):
    """A user-based AutoRec: a user's ratings are a row, which it completes."""

    def __init__(
        self, net: gluon.Block, seen: Interactions, ratings: numpy.ndarray
    ) -> None:
        super().__init__(net, seen)
        self.seen, self.ratings = seen, ratings

    def of_users(self, users: numpy.ndarray, device: Any) -> numpy.ndarray:
        """Complete the rows of `users`."""
        return forward(self.net, [_rows(self.seen, self.ratings, users)], [device])


class FromTable(_Rows):
    """An item-based AutoRec, whose outputs are in a table (num_users, num_items)."""

    def __init__(
        self, net: gluon.Block, seen: Interactions, table: numpy.ndarray
    ) -> None:
        super().__init__(net, seen)
        self.table = table

    def of_users(self, users: numpy.ndarray, device: Any) -> numpy.ndarray:
        """Look the scores up."""
        return self.table[users]


def _latest(net: gluon.Block, seen: Interactions) -> Optional[numpy.ndarray]:
    """Return the latest items of the users if `net` takes sequences, as Caser does."""
    return seen.latest(net.L) if hasattr(net, "L") else None


def _rows(
    owners: Interactions, ratings: numpy.ndarray, chosen: numpy.ndarray
) -> numpy.ndarray:
    """Return the rows (B, n) of the rating matrix that are `chosen` (B,)."""
    rows = numpy.zeros((len(chosen), owners.num_items), dtype="float32")
    rows[owners.cells(chosen)] = ratings[owners.places(chosen)]
    return rows


def _by_item(net: gluon.Block, data: Histories) -> numpy.ndarray:
    """Return the outputs of `net` for the ratings of each item, one row per item."""
    users, items, num_items = data.seen.users, data.seen.items, data.seen.num_items
    order = numpy.argsort(items, kind="stable")
    ratings = numpy.asarray(data.ratings)[order]
    raters = Interactions(items[order], users[order], num_items, data.seen.num_users)
    chunks = numpy.split(numpy.arange(num_items), range(_ROWS, num_items, _ROWS))
    devices = devices_of(net)
    rows = (_rows(raters, ratings, chunk) for chunk in chunks)
    return numpy.concatenate([forward(net, [part], devices) for part in rows])


def _hidden(net: gluon.Block, data: Histories) -> numpy.ndarray:
    """Return the input of an AutoRec's last layer for each item."""
    layers = gluon.nn.Sequential()
    layers.add(net.encoder)
    if isinstance(net.decoder, gluon.nn.HybridSequential):
        layers.add(*[*net.decoder][:-1])
    return _by_item(layers, data)


def _checked(
    history: Any, data: Histories
) -> Tuple[numpy.ndarray, Optional[numpy.ndarray]]:
    """Return the items (n,) of a history, and ratings (n,) if the net needs them."""
    check_list(history, "history", "a list of items, or {item: rating}")
    items: List[Any] = list(history)
    if not items:
        raise ValueError("the history is empty: it needs at least one item")
    counts = numpy.bincount(data.seen.items, minlength=data.seen.num_items)
    for item in items:
        number = isinstance(item, Integral) and not isinstance(item, bool)
        if not number or item not in range(len(counts)):
            raise ValueError(
                f"history: item {item} is not in 0..{len(counts) - 1}, the items of "
                "the training data"
            )
        name = data.item_ids[int(item)]
        if not counts[int(item)]:
            raise ValueError(
                f"history: nobody has item {name} in the training data, "
                "so the model knows nothing about it: leave it out"
            )
        if items.count(item) > 1:
            raise ValueError(f"history: item {name} appears twice")
    given: Dict[Any, Any] = dict(history) if isinstance(history, Mapping) else {}
    if data.ratings is None:
        if given:
            raise ValueError(
                "history: this model was trained without ratings: pass only items"
            )
        return numpy.array(items), None
    lowest, highest = data.ratings.min().item(), data.ratings.max().item()
    for item, rating in given.items():
        if not isinstance(rating, Real) or not lowest <= rating <= highest:
            raise ValueError(
                f"history: rating {rating} of item {data.item_ids[item]} is not in "
                f"{lowest:g}..{highest:g}, the ratings of the training data"
            )
    ratings = [given.get(item, highest) for item in items]
    return numpy.array(items), numpy.array(ratings, dtype="float32")
