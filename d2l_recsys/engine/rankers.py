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
from d2l_recsys.engine.all_items import AllItems, Scorer, table, with_ones
from d2l_recsys.engine.fold_in import decoded_for_new_user, last_layer, with_new_user
from d2l_recsys.engine.predict import forward
from d2l_recsys.engine.saved import Histories, trained_on
from d2l_recsys.runtime.backend import gluon, np
from d2l_recsys.runtime.devices import devices_of

_CELLS = 2**24  # cells of the rating matrix at a time
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
        return _autoencoder(net, data.seen, _completed(net, data.seen, data.ratings))
    if data.rows == "item":
        return _autoencoder(net, data.seen, _decoded(net, data))
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
        return _autoencoder(net, seen, _completed(net, seen, ratings))
    if data.rows == "item":
        hidden = _hidden(net, data)
        scores = decoded_for_new_user(net, hidden, items, ratings)
        return _autoencoder(net, seen, lambda users: scores[None][users])
    return Ranker(with_new_user(net, items, ratings), seen, _latest(net, seen))


class _Autoencoder(gluon.Block):
    """An AutoRec as a net with a method ``all_items``."""

    def __init__(self, net: gluon.Block, seen: Interactions, scorer: Scorer) -> None:
        super().__init__()
        self.net, self.num_users, self.num_items = net, seen.num_users, seen.num_items
        self.scorer = scorer

    def all_items(self) -> Scorer:
        """Return a function of users (B,) that returns the scores (B, num_items)."""
        return self.scorer


def _autoencoder(net: gluon.Block, seen: Interactions, scorer: Scorer) -> Ranker:
    return Ranker(_Autoencoder(net, seen, scorer), seen)


def _completed(net: gluon.Block, seen: Interactions, ratings: Any) -> Scorer:
    """Return the scorer of a user-based AutoRec, which completes a user's row."""
    ratings, devices = numpy.asarray(ratings), devices_of(net)
    return lambda users: forward(net, [_rows(seen, ratings, users)], devices)


def _decoded(net: gluon.Block, data: Histories) -> Scorer:
    """Return the scorer of an item-based AutoRec.

    The last layer has a row of weights for each user. The input of this layer is
    computed once for all items, which takes far less memory than the scores.
    """
    last = last_layer(net)
    weights = numpy.hstack([table(last), last.bias.list_data()[0].asnumpy()[:, None]])
    scores = AllItems((weights, with_ones(_hidden(net, data))))
    if last.act is None:
        return scores
    return lambda users: last.act(np.array(scores(users))).asnumpy()


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


def _hidden(net: gluon.Block, data: Histories) -> numpy.ndarray:
    """Return the input of an item-based AutoRec's last layer for each item."""
    layers = gluon.nn.Sequential()
    layers.add(net.encoder)
    if isinstance(net.decoder, gluon.nn.HybridSequential):
        layers.add(*[*net.decoder][:-1])
    seen, devices = data.seen, devices_of(net)
    order = numpy.argsort(seen.items, kind="stable")
    ratings = numpy.asarray(data.ratings)[order]
    raters = Interactions(
        seen.items[order], seen.users[order], seen.num_items, seen.num_users
    )
    size = max(1, _CELLS // seen.num_users)
    chunks = (
        numpy.arange(start, min(start + size, seen.num_items))
        for start in range(0, seen.num_items, size)
    )
    rows = (_rows(raters, ratings, chunk) for chunk in chunks)
    return numpy.concatenate([forward(layers, [part], devices) for part in rows])


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
