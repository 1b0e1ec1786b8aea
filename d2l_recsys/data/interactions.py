"""Who had to do with what: one container, compressed by user, linear in the data."""

from itertools import chain
from typing import Iterable, Mapping, Union

import numpy

from d2l_recsys.data.ids import check_dictionary, id_pairs


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


def num_users_of(candidates: "Union[Interactions, Mapping[int, Iterable[int]]]") -> int:
    """Return how many users there are, or in a dictionary the highest id and 1."""
    if isinstance(candidates, Interactions):
        return candidates.num_users
    check_dictionary(candidates, "candidates")
    return max(candidates, default=-1) + 1
