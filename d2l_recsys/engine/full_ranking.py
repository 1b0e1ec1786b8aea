"""Score all items for many users, to rank held-out items and to recommend."""

from functools import partial
from typing import Any, Iterator, List, Optional, Sequence, Tuple

import numpy

from d2l_recsys.data.ids import check_range, flat, numbers
from d2l_recsys.data.interactions import Interactions
from d2l_recsys.data.sampling import Candidates
from d2l_recsys.data.sizes import check_size
from d2l_recsys.engine.all_items import scorer_of
from d2l_recsys.engine.errors import NonFiniteLoss
from d2l_recsys.engine.id_check import check_inputs
from d2l_recsys.engine.metrics import HeldOutRanks
from d2l_recsys.engine.predict import forward
from d2l_recsys.engine.rankers import History, ranker_of, ranker_of_new_user
from d2l_recsys.runtime.backend import gluon, mx, np
from d2l_recsys.runtime.devices import devices_of
from d2l_recsys.runtime.workers import worker

PAIRS = 2**22  # user-item pairs scored at a time
PAIRS_CALLED = 2**16  # if the net is called, which takes several numbers per pair
_Cells = Tuple[numpy.ndarray, numpy.ndarray]  # rows and columns


def scores_of_all_items(
    net: gluon.Block,
    users: numpy.ndarray,
    seq: Optional[numpy.ndarray],
    num_items: int,
    devices: Sequence[mx.Context],
    pairs: Optional[int] = None,
) -> Iterator[Tuple[numpy.ndarray, numpy.ndarray]]:
    """Yield users (B,) and the scores (B, num_items) of all items for them.

    The items are 0 to ``num_items - 1``, which may be fewer than the net has.

    A net with a method ``all_items()`` need not be called for them: see
    :mod:`d2l_recsys.engine.all_items`. One with the attribute ``scores_lists`` is
    called with lists of items, ``net(user_id (B,), [seq (B, L),] item_id (B, n))``.
    Other nets are called as in the book, with flat ids (B * n,). No array has more than
    `pairs` scores, unless there are more items.

    Raises NonFiniteLoss that names a user if a score is NaN, and ValueError if the net
    has too few users or items.
    """
    users = numpy.asarray(users, dtype="int32")
    num_users = users.max(initial=-1) + 1
    check_sizes(net, num_users, num_items)
    seq = as_sequences(net, seq, num_users)
    contexts = [users] if seq is None else [users, seq[users]]
    check_inputs(net, [*contexts, numpy.array([num_items - 1])])
    scorer, most = scorer_of(net, devices), PAIRS
    if scorer is None:
        scorer, most = partial(_called, net, num_items, devices), PAIRS_CALLED
    size = max(1, (pairs or most) // max(1, num_items))
    for start in range(0, len(users), size):
        chunk = [context[start : start + size] for context in contexts]
        scores = scorer(*chunk)[:, :num_items]
        if scores.dtype.kind != "f":
            scores = scores.astype("float64")  # so that they can be NaN
        with numpy.errstate(over="ignore", invalid="ignore"):
            total = scores.sum()
        if numpy.isnan(total):  # perhaps because of inf and -inf
            bad = numpy.flatnonzero(numpy.isnan(scores).any(axis=1))
            if len(bad):
                raise NonFiniteLoss(f"some scores of user {chunk[0][bad[0]]} are NaN")
        yield chunk[0], scores


def _called(
    net: gluon.Block, num_items: int, devices: Sequence[mx.Context], *contexts: Any
) -> numpy.ndarray:
    """Return the scores (B, num_items) of users (B,) by calling the net."""
    items = numpy.tile(numpy.arange(num_items, dtype="int32"), (len(contexts[0]), 1))
    inputs = [*contexts, items]
    if not getattr(net, "scores_lists", False):
        inputs = [numpy.repeat(x, num_items, axis=0) for x in contexts]
        inputs.append(items.ravel())
    return forward(net, inputs, devices).reshape(items.shape)


def check_sizes(net: gluon.Block, num_users: int, num_items: int) -> None:
    """Raise ValueError if `net` has fewer users or items, by its own attributes.

    MXNet silently clips out-of-range ids.
    """
    for what, number in (("users", num_users), ("items", num_items)):
        known = getattr(net, f"num_{what}", number)
        if known < number:
            raise ValueError(f"the net has {known} {what}, but {number} are needed")


def as_sequences(net: gluon.Block, seq: Any, num_users: int) -> Optional[numpy.ndarray]:
    """Return `seq` as an array of integers (num_users or more, L), or None.

    Raises ValueError if it is not, if `net` needs sequences and `seq` is None, or if
    `net` takes none and `seq` is given.
    """
    takes = getattr(net, "takes", None)
    if takes is not None and ("seq" in takes) != (seq is not None):
        needs = "needs sequences" if seq is None else "takes no sequences"
        raise ValueError(f"seq: {type(net).__name__} {needs}: {net.advice()}")
    if seq is None:
        return None
    array = seq.asnumpy() if isinstance(seq, np.ndarray) else numpy.asarray(seq)
    advice = "pass test_seq of a SeqDataset"
    if array.ndim != 2:
        raise ValueError(
            f"seq must have shape (num_users, L), not {array.shape}: {advice}"
        )
    if len(array) < num_users:
        raise ValueError(
            f"seq has {len(array)} rows, but needs one for each of {num_users} users: "
            f"{advice} with all of them"
        )
    ids = numbers(array.ravel(), "item", " of seq, flattened")
    if ids.dtype.kind == "f":
        raise ValueError(f"seq must hold integers, the ids of items: {advice}")
    return ids.reshape(array.shape)


def converted(
    net: gluon.Block, test: Tuple, sizes: Tuple[int, int]
) -> Tuple[Interactions, Optional[numpy.ndarray], Interactions]:
    """Convert `test`, the second to fourth arguments of :func:`rank_held_out`.

    The results can be passed in their place. Raises its ValueError for bad arguments.
    """
    test_input, seq, candidates = test
    held_out, seq = _held_out(test_input, *sizes), as_sequences(net, seq, sizes[0])
    return held_out, seq, Interactions.of(candidates, *sizes)


def rank_held_out(
    net: gluon.Block,
    test_input: Candidates,
    seq: Optional[np.ndarray],
    candidates: Candidates,
    sizes: Tuple[int, int],
    devices: Optional[Sequence[mx.Context]] = None,
    pairs: Optional[int] = None,
) -> HeldOutRanks:
    """Rank each user's held-out items among the items that the user has not seen.

    The arguments are those of ``evaluate_ranking``; `sizes` are the numbers of users
    and items. Ties count against held-out items. With several workers, each worker
    scores its share of the users, and all return the same result.

    Raises ValueError if there is no user, or if a held-out item was seen in training.
    The message names the user.
    """
    held_out = _held_out(test_input, *sizes)
    seen = Interactions.of(candidates, *sizes)
    users = numpy.flatnonzero(held_out.counts)
    above = numpy.zeros(len(held_out), dtype="float32")
    ranked = numpy.zeros(held_out.num_users, dtype="float32")
    todo = users[worker.rank :: worker.num_workers]
    devices = devices_of(net, devices)
    for chunk, scores in scores_of_all_items(
        net, todo, seq, seen.num_items, devices, pairs
    ):
        known, cells = seen.cells(chunk), held_out.cells(chunk)
        scores[known] = numpy.nan  # ranks neither above nor below
        own = scores[cells]
        _check_unseen(chunk, cells, own)
        scores[cells] = numpy.nan
        # Row by row: a user with many held-out items would need as many copies.
        above[held_out.places(chunk)] = [
            numpy.count_nonzero(scores[row] >= limit)
            for row, limit in zip(cells[0], own)
        ]
        rivals = [*map(numpy.count_nonzero, scores == scores)]
        ranked[chunk] = rivals + held_out.counts[chunk]
    above, ranked = worker.merge(above), worker.merge(ranked)
    # Sort the items of each user by the number of rivals above them.
    above = above[numpy.lexsort((above, held_out.users))].astype("int64")
    starts, counts = held_out.offsets[users], held_out.counts[users]
    place = numpy.arange(len(above)) - numpy.repeat(starts, counts)
    return HeldOutRanks(above + place + 1, starts, ranked[users].astype("int64"))


def _held_out(test_input: Candidates, num_users: int, num_items: int) -> Interactions:
    """Return the held-out items; check that each user has some, and none twice."""
    if not isinstance(test_input, Interactions):
        users, items, sizes = flat(test_input, "test_input")
        for user, size in zip(test_input, sizes):
            if not size:
                raise ValueError(
                    f"user {user} (counted from 0) has no held-out item: leave the "
                    "user out of test_input"
                )
        check_range(users, items, num_users, num_items, "test_input")
        test_input = Interactions(users, items, num_users, num_items)
    if not len(test_input):
        raise ValueError("test_input is empty: there is nothing to rank")
    keys, counts = numpy.unique(
        test_input.users * num_items + test_input.items, return_counts=True
    )
    if counts.max() > 1:
        user, item = divmod(int(keys[counts.argmax()]), num_items)
        raise ValueError(
            f"item {item} of user {user} (both counted from 0) is held out twice"
        )
    return test_input


def _check_unseen(users: numpy.ndarray, cells: _Cells, scores: numpy.ndarray) -> None:
    """Raise a ValueError that names a user and a held-out item without a score."""
    (both,) = numpy.nonzero(numpy.isnan(scores))
    if len(both):
        row, item = (each[both[0]] for each in cells)
        raise ValueError(
            f"item {item} of user {users[row]} is held out, but was also seen in "
            "training: the training and test sets must not overlap"
        )


def recommend(
    net: gluon.Block,
    user: Optional[int],
    n: int,
    candidates: Optional[Candidates] = None,
    num_users: Optional[int] = None,
    num_items: Optional[int] = None,
    seq: Optional[np.ndarray] = None,
    devices: Optional[Sequence[mx.Context]] = None,
    history: Optional[History] = None,
) -> List[Tuple[int, float]]:
    """Return the top `n` items that `user` has not seen, as (item, score) pairs.

    Among items with equal scores, the one with the lower id comes first. If there are
    fewer unseen items, the list is shorter. The other arguments are those of
    ``evaluate_ranking``. For a net from :func:`d2l_recsys.load`, they can be left out.

    For a new user, pass None as `user`, and the user's items as `history`, the latest
    last. For MF and AutoRec, it may be {item: rating}; an item without a rating counts
    as rated highest. How each model uses it: see
    :func:`d2l_recsys.engine.rankers.ranker_of_new_user`.

    Raises ValueError that names a user or an item that the net does not know, or if `n`
    is below 1.
    """
    check_size(n, "n")
    if history is not None:
        if user is not None:
            raise ValueError("pass a user or a history, and None for the other")
        net, seen, seq = ranker_of_new_user(net, history)
        user, devices = 0, None
    elif candidates is None:
        net, seen, seq = ranker_of(net)
    else:
        if num_users is None or num_items is None:
            raise ValueError("candidates need num_users and num_items")
        seen = Interactions.of(candidates, num_users, num_items)
    num_users = seen.num_users if num_users is None else num_users
    check_size(user, "user", 0)
    if user is None or user >= num_users:
        raise ValueError(f"user {user} is not in 0..{num_users - 1}")
    ((_, best),) = top_unseen(net, numpy.array([user]), n, seen, seq, devices)
    return best


def top_unseen(
    net: gluon.Block,
    users: numpy.ndarray,
    n: int,
    seen: Interactions,
    seq: Optional[np.ndarray] = None,
    devices: Optional[Sequence[mx.Context]] = None,
) -> Iterator[Tuple[int, List[Tuple[int, float]]]]:
    """Yield each of `users` with the top `n` items that the user has not seen.

    The items are (item, score) pairs, ordered as those of :func:`recommend`.
    """
    devices = devices_of(net, devices)
    for chunk, scores in scores_of_all_items(net, users, seq, seen.num_items, devices):
        scores[seen.cells(chunk)] = numpy.nan
        for user, row in zip(chunk.tolist(), scores):
            yield user, _top(row, n)


def _top(scores: numpy.ndarray, n: int) -> List[Tuple[int, float]]:
    """Return the `n` items with the highest scores (items,); NaN is left out."""
    last = -numpy.partition(-scores, n - 1)[n - 1] if n <= len(scores) else numpy.nan
    # With fewer than n items, `last` is NaN, too.
    items = numpy.flatnonzero(scores == scores if numpy.isnan(last) else scores >= last)
    best = items[numpy.argsort(-scores[items], kind="stable")[:n]]
    return [(int(item), float(scores[item])) for item in best]
