"""Who had to do with what: one container, compressed by user, linear in the data."""

from itertools import chain
from typing import Dict, Iterable, Mapping, Optional, Union

import numpy


class Interactions:
    """The items of each user, in compressed sparse rows.

    ``items[offsets[u]:offsets[u + 1]]`` are the items of user u in the order given.
    `users` and `items` have shape (n,) and hold ids from 0; memory is linear in n.

    Raises ValueError naming the row of an id outside 0..num_users-1 or 0..num_items-1.
    """

    def __init__(self, users, items, num_users: int, num_items: int):
        self.num_users, self.num_items = num_users, num_items
        users, items = id_pairs(users, items, num_users, num_items)
        counts = numpy.bincount(users, minlength=num_users)
        self.offsets = numpy.concatenate([[0], numpy.cumsum(counts)])
        if numpy.any(users[1:] < users[:-1]):
            items = items[numpy.argsort(users, kind="stable")]
        self.items = items.astype("int32")

    @classmethod
    def of(
        cls,
        candidates: "Union[Interactions, Mapping[int, Iterable[int]]]",
        num_users: int,
        num_items: int,
    ) -> "Interactions":
        """Return `candidates`, the book's dictionary {user: items}, as interactions.

        Raises ValueError for anything else, and for interactions of other numbers of
        users and items.
        """
        if isinstance(candidates, cls):
            have = candidates.num_users, candidates.num_items
            if have[0] > num_users or have[1] != num_items:
                raise ValueError(
                    "candidates are the interactions of {} users with {} items, not of "
                    "{} with {}".format(*have, num_users, num_items)
                )
            return candidates
        check_dictionary(candidates, "candidates")
        sizes = [len(items) for items in candidates.values()]
        users = numpy.repeat(numpy.array(list(candidates), dtype="int64"), sizes)
        items = numpy.fromiter(
            chain.from_iterable(candidates.values()), dtype="int64", count=len(users)
        )
        return cls(users, items, num_users, num_items)

    def __len__(self):
        return len(self.items)

    @property
    def counts(self) -> numpy.ndarray:
        """The number of items of each user, shape (num_users,)."""
        return numpy.diff(self.offsets)

    @property
    def users(self) -> numpy.ndarray:
        """The user of each of `items`, shape (n,)."""
        return numpy.repeat(numpy.arange(self.num_users), self.counts)

    def of_user(self, user: int) -> numpy.ndarray:
        """Return the items of one user in the order given."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def keys(self) -> numpy.ndarray:
        """Return ``user * num_items + item`` of all pairs, sorted, each once."""
        return numpy.unique(self.users * self.num_items + self.items)


def single_items(
    test_items: Mapping[int, Iterable[int]], num_users: int, num_items: int
) -> Dict[int, int]:
    """Return {user: held-out item} from {user: [held-out item]}.

    Raises ValueError naming a user with more than one item or an id out of range.
    """
    check_dictionary(test_items, "test_input")
    held_out = {}
    for user, items in test_items.items():
        items = list(items)
        if len(items) != 1:
            raise ValueError(
                f"user {user} has {len(items)} held-out items: ranking is evaluated on "
                "one per user, as split_mode='seq-aware' holds them out"
            )
        held_out[int(user)] = int(items[0])
    id_pairs(list(held_out), list(held_out.values()), num_users, num_items)
    return held_out


def num_users_of(candidates: "Union[Interactions, Mapping[int, Iterable[int]]]") -> int:
    """Return how many users there are, or in a dictionary the highest id and 1."""
    if isinstance(candidates, Interactions):
        return candidates.num_users
    check_dictionary(candidates, "candidates")
    return max(candidates, default=-1) + 1


def check_dictionary(items, what: str) -> None:
    """Raise ValueError where the argument `what` is no dictionary {user: items}."""
    if not isinstance(items, Mapping):
        raise ValueError(
            f"{what} is a dictionary {{user: [items]}}, as load_data_ml100k returns "
            f"with feedback='implicit', not of type {type(items).__name__}"
        )


def id_pairs(users, items, num_users: int, num_items: int):
    """Return users and items (n,) as arrays of integers.

    Raises ValueError where their lengths differ, and naming the row of what is not in
    0..num_users-1 or 0..num_items-1.
    """
    if len(users) != len(items):
        raise ValueError(f"{len(users)} users do not go with {len(items)} items")
    return _integers(users, num_users, "user"), _integers(items, num_items, "item")


def row_outside(ids: numpy.ndarray, first: int, last: int, what: str) -> Optional[int]:
    """Return the first row of `ids` (n,) that is no integer in first..last, if any.

    Raises ValueError where the ids of `what` are no numbers.
    """
    if ids.dtype.kind not in "iuf":
        raise ValueError(f"{what} ids are numbers, not of type {ids.dtype}")
    inside = (ids >= first) & (ids <= last)
    if ids.dtype.kind == "f":
        inside &= ids == numpy.floor(ids)
    return None if inside.all() else int(inside.argmin())


def _integers(ids, limit, what):
    ids = ids.asnumpy() if hasattr(ids, "asnumpy") else numpy.asarray(ids)
    row = row_outside(ids, 0, limit - 1, what)
    if row is not None:
        raise ValueError(
            f"row {row}: {what} {ids[row]} is not in 0..{limit - 1}; load_data_ml100k "
            "gives ids from 0"
        )
    return ids.astype("int64") if ids.dtype.kind == "f" else ids
