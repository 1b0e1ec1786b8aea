"""Score all items for many users, to rank held-out items and to recommend."""

from typing import Any, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy

from d2l_recsys.data.ids import numbers, single_items
from d2l_recsys.data.interactions import Interactions
from d2l_recsys.data.sampling import Candidates
from d2l_recsys.data.sizes import check_size
from d2l_recsys.engine.errors import NonFiniteLoss
from d2l_recsys.engine.id_check import check_inputs
from d2l_recsys.engine.predict import forward
from d2l_recsys.runtime.backend import gluon, mx, np
from d2l_recsys.runtime.devices import devices_of
from d2l_recsys.runtime.workers import worker

PAIRS = 2**16  # user-item pairs scored at a time


def scores_of_all_items(
    net: gluon.Block,
    users: numpy.ndarray,
    seq: Optional[numpy.ndarray],
    num_items: int,
    devices: Sequence[mx.Context],
    pairs: int = PAIRS,
) -> Iterator[Tuple[numpy.ndarray, numpy.ndarray]]:
    """Yield users (B,) and the scores (B, num_items) of all items for them.

    The items are 0 to ``num_items - 1``, which may be fewer than the net has.

    The ranking models of this package have the attribute ``scores_lists``. They are
    called with lists of items, ``net(user_id (B,), [seq (B, L),] item_id (B, n))``, and
    compute the user's part only once. Other nets are called as in the book, with flat
    ids (B * n,).

    Raises NonFiniteLoss that names a user if a score is NaN, and ValueError if the net
    has too few users or items.
    """
    users = numpy.asarray(users, dtype="int32")
    num_users = users.max(initial=-1) + 1
    check_sizes(net, num_users, num_items)
    seq = as_sequences(net, seq, num_users)
    size = max(1, pairs // max(1, num_items))
    contexts = [users] if seq is None else [users, seq[users]]
    check_inputs(net, [*contexts, numpy.array([num_items - 1])])
    all_items = numpy.arange(num_items, dtype="int32")
    for start in range(0, len(users), size):
        chunk = users[start : start + size]
        items = numpy.tile(all_items, (len(chunk), 1))
        inputs = [chunk, items] if seq is None else [chunk, seq[chunk], items]
        if not getattr(net, "scores_lists", False):
            inputs = [numpy.repeat(x, num_items, axis=0) for x in inputs[:-1]]
            inputs.append(items.ravel())
        scores = forward(net, inputs, devices).reshape(len(chunk), num_items)
        bad = numpy.flatnonzero(numpy.isnan(scores).any(axis=1))
        if len(bad):
            raise NonFiniteLoss(f"some scores of user {chunk[bad[0]]} are NaN")
        yield chunk, scores


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

    Raises ValueError if it is not, or if `net` needs sequences and there are none, or
    the other way round.
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


def rank_held_out(
    net: gluon.Block,
    test_input: Mapping[int, Sequence[int]],
    seq: Optional[np.ndarray],
    candidates: Candidates,
    sizes: Tuple[int, int],
    devices: Optional[Sequence[mx.Context]] = None,
    pairs: int = PAIRS,
) -> Tuple[numpy.ndarray, numpy.ndarray]:
    """Rank each user's held-out item among the items that the user has not seen.

    The arguments are those of ``evaluate_ranking``; `sizes` are the numbers of users
    and items. For each user of `test_input`, returns the rank, from 1, and the number
    of ranked items. Ties count against the held-out item. With several workers, each
    worker scores its share of the users, and all return the same result.

    Raises ValueError if there is no user, or if a held-out item was seen in training.
    The message names the user.
    """
    held_out = single_items(test_input, *sizes)
    seen = Interactions.of(candidates, *sizes)
    for user, item in held_out.items():
        if item in seen.of_user(user):
            raise ValueError(
                f"item {item} of user {user} is held out, but was also seen in "
                "training: the training and test sets must not overlap"
            )
    if not held_out:
        raise ValueError("test_input is empty: there is nothing to rank")
    users, items = (numpy.array(list(x)) for x in (held_out, held_out.values()))
    ranks, ranked = result = numpy.zeros((2, len(users)), dtype="float32")
    todo = numpy.arange(worker.rank, len(users), worker.num_workers)
    devices = devices_of(net, devices)
    for chunk, scores in scores_of_all_items(
        net, users[todo], seq, seen.num_items, devices, pairs
    ):
        now, todo = todo[: len(chunk)], todo[len(chunk) :]
        own_score = numpy.take_along_axis(scores, items[now, None], axis=1)
        unseen = numpy.ones(scores.shape, dtype=bool)
        unseen[seen_cells(seen, chunk)] = False
        ranks[now] = (unseen & (scores >= own_score)).sum(axis=1)
        ranked[now] = unseen.sum(axis=1)
    ranks, ranked = worker.merge(result).astype("int64")
    return ranks, ranked


def seen_cells(
    seen: Interactions, users: numpy.ndarray
) -> Tuple[numpy.ndarray, numpy.ndarray]:
    """Return the cells of a (B, items) matrix that `users` (B,) have seen."""
    counts = seen.counts[users]
    rows = numpy.repeat(numpy.arange(len(users)), counts)
    starts = numpy.cumsum(counts) - counts
    within = numpy.arange(len(rows)) - numpy.repeat(starts, counts)
    return rows, seen.items[numpy.repeat(seen.offsets[users], counts) + within]


def recommend(
    net: gluon.Block,
    user: int,
    n: int,
    candidates: Candidates,
    num_users: int,
    num_items: int,
    seq: Optional[np.ndarray] = None,
    devices: Optional[Sequence[mx.Context]] = None,
) -> List[Tuple[int, float]]:
    """Return the top `n` items that `user` has not seen, as (item, score) pairs.

    Among items with equal scores, the one with the lower id comes first. If there are
    fewer unseen items, the list is shorter. The other arguments are those of
    ``evaluate_ranking``. Raises ValueError if `n` is below 1 or there is no such user.
    """
    seen = Interactions.of(candidates, num_users, num_items)
    check_size(n, "n")
    check_size(user, "user", 0)
    if user >= num_users:
        raise ValueError(f"user {user} is not in 0..{num_users - 1}")
    devices = devices_of(net, devices)
    users = numpy.array([user])
    ((_, scores),) = scores_of_all_items(net, users, seq, num_items, devices)
    unseen = numpy.setdiff1d(numpy.arange(num_items), seen.of_user(user))
    best = unseen[numpy.argsort(-scores[0, unseen], kind="stable")[:n]]
    return [(int(item), float(scores[0, item])) for item in best]
