"""Scores of all items for many users: what full ranking and recommending need."""

from typing import Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy

from d2l_recsys.data.ids import single_items
from d2l_recsys.data.interactions import Interactions
from d2l_recsys.data.sampling import Candidates
from d2l_recsys.engine.errors import NonFiniteLoss
from d2l_recsys.engine.id_check import check_inputs
from d2l_recsys.engine.predict import forward
from d2l_recsys.runtime.backend import gluon, mx, np
from d2l_recsys.runtime.devices import devices_of
from d2l_recsys.runtime.workers import worker

PAIRS = 2**16  # pairs of user and item scored at a time


def scores_of_all_items(
    net: gluon.Block,
    users: numpy.ndarray,
    seq: Optional[numpy.ndarray],
    num_items: int,
    devices: Sequence[mx.Context],
    pairs: int = PAIRS,
) -> Iterator[Tuple[numpy.ndarray, numpy.ndarray]]:
    """Yield (users (B,), their scores (B, num_items)), chunk by chunk.

    Scored are the items 0..num_items-1, which may be fewer than the net knows.

    A net with the attribute ``scores_lists``, as the ranking models of this package
    have, is called as ``net(user_id (B,), [seq (B, L),] item_id (B, n))``, so that it
    computes the user's part once; another net as in the book, with flat ids (B * n,).

    Raises NonFiniteLoss naming a user with a score that is NaN, and ValueError for a
    net that knows fewer users or items.
    """
    users = numpy.asarray(users, dtype="int32")
    check_sizes(net, users.max(initial=-1) + 1, num_items)
    seq = seq.asnumpy() if isinstance(seq, np.ndarray) else seq
    size = max(1, pairs // num_items)
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
            raise NonFiniteLoss(
                f"the net gives user {chunk[bad[0]]} scores that are NaN at the end"
            )
        yield chunk, scores


def check_sizes(net: gluon.Block, num_users: int, num_items: int) -> None:
    """Raise ValueError where `net` says that it knows fewer users or items.

    MXNet would take the last one it knows for those beyond.
    """
    for what, number in (("users", num_users), ("items", num_items)):
        known = getattr(net, f"num_{what}", number)
        if known < number:
            raise ValueError(f"the net knows {known} {what}, fewer than {number}")


def rank_held_out(
    net: gluon.Block,
    test_input: Mapping[int, Sequence[int]],
    seq,
    candidates: Candidates,
    sizes: Tuple[int, int],
    devices: Optional[Sequence[mx.Context]] = None,
    pairs: int = PAIRS,
) -> Tuple[numpy.ndarray, numpy.ndarray]:
    """Rank each user's held-out item among the items that the user has not seen.

    The arguments are those of ``evaluate_ranking``; `sizes` are the numbers of users
    and items. Returns, for each user of `test_input`, the rank from 1, ties counted
    against the held-out item, and the number of items ranked. With several workers each
    scores its share of the users, and all get the same result.

    Raises ValueError naming a user whose held-out item was seen in training, and where
    there is no user.
    """
    held_out = single_items(test_input, *sizes)
    seen = Interactions.of(candidates, *sizes)
    for user, item in held_out.items():
        if item in seen.of_user(user):
            raise ValueError(
                f"item {item} of user {user} is held out and seen in training: the "
                "split must keep them apart"
            )
    if not held_out:
        raise ValueError("test_input holds no user: there is nothing to rank")
    users, items = (numpy.array(list(x)) for x in (held_out, held_out.values()))
    ranks, ranked = found = numpy.zeros((2, len(users)), dtype="float32")
    due = numpy.arange(worker.rank, len(users), worker.num_workers)
    devices = devices_of(net, devices)
    for chunk, scores in scores_of_all_items(
        net, users[due], seq, seen.num_items, devices, pairs
    ):
        now, due = due[: len(chunk)], due[len(chunk) :]
        goal = numpy.take_along_axis(scores, items[now, None], axis=1)
        unseen = numpy.ones(scores.shape, dtype=bool)
        unseen[seen_cells(seen, chunk)] = False
        ranks[now] = (unseen & (scores >= goal)).sum(axis=1)
        ranked[now] = unseen.sum(axis=1)
    return tuple(worker.merge(found).astype("int64"))


def seen_cells(seen: Interactions, users: numpy.ndarray):
    """Return rows and columns of what `users` (B,) have seen in a (B, items) matrix."""
    counts = seen.counts[users]
    rows = numpy.repeat(numpy.arange(len(users)), counts)
    inside = numpy.arange(len(rows)) - numpy.repeat(
        numpy.cumsum(counts) - counts, counts
    )
    return rows, seen.items[numpy.repeat(seen.offsets[users], counts) + inside]


def recommend(
    net: gluon.Block,
    user: int,
    n: int,
    candidates: Candidates,
    num_users: int,
    num_items: int,
    seq=None,
    devices: Optional[Sequence[mx.Context]] = None,
) -> List[Tuple[int, float]]:
    """Return the `n` best items that `user` has not seen, as (item, score), best first.

    Of items with one score the lower id comes first. Fewer than `n` are returned where
    fewer are unseen. The other arguments are those of ``evaluate_ranking``.
    """
    seen = Interactions.of(candidates, num_users, num_items)
    if not 0 <= user < num_users:
        raise ValueError(f"user {user} is not in 0..{num_users - 1}")
    devices = devices_of(net, devices)
    ((_, scores),) = scores_of_all_items(net, [user], seq, num_items, devices)
    unseen = numpy.setdiff1d(numpy.arange(num_items), seen.of_user(user))
    best = unseen[numpy.argsort(-scores[0, unseen], kind="stable")[:n]]
    return [(int(item), float(scores[0, item])) for item in best]
