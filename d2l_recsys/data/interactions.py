"""User-item interactions in one container, with memory linear in their number."""

from typing import Collection, Mapping, Tuple, Union

import numpy

from d2l_recsys.data.ids import Ids, check_range, flat, id_pairs, users_of
from d2l_recsys.data.sizes import MAX_SIZE

UserItems = Mapping[int, Collection[int]]  # the book's {user: [items]}


class Interactions:
    """The items of each user, as compressed sparse rows.

    ``items[offsets[u]:offsets[u + 1]]`` are the items of user u, in the given order.
    The arguments `users` and `items` have shape (n,) and hold ids from 0.

    Raises a ValueError that names the row of an id outside 0..num_users-1 or
    0..num_items-1. Both numbers must be below 2^31.
    """

    def __init__(self, users: Ids, items: Ids, num_users: int, num_items: int) -> None:
        owners, owned = id_pairs(users, items, num_users, num_items)
        self.num_users, self.num_items = num_users, num_items
        counts = numpy.bincount(owners, minlength=num_users)
        self.offsets = numpy.concatenate([[0], numpy.cumsum(counts)])
        if numpy.any(owners[1:] < owners[:-1]):
            owned = owned[numpy.argsort(owners, kind="stable")]
        self.items = owned.astype("int32")

    @classmethod
    def of(
        cls,
        candidates: "Union[Interactions, UserItems]",
        num_users: int,
        num_items: int,
        what: str = "candidates",
    ) -> "Interactions":
        """Convert the book's dictionary {user: items}; return interactions unchanged.

        Raises a ValueError that names the argument, `what`, for other types, for users
        and items that are not integers or out of range, and for interactions with more
        users or another number of items.
        """
        if isinstance(candidates, Interactions):
            have = candidates.num_users, candidates.num_items
            if have[0] > num_users or have[1] != num_items:
                raise ValueError(
                    f"{what} have {have[0]} users and {have[1]} items, but num_users "
                    f"is {num_users} and num_items is {num_items}"
                )
            return candidates
        users, items, _ = flat(candidates, what)
        check_range(users, items, num_users, num_items, what)
        return cls(users, items, num_users, num_items)

    def __len__(self) -> int:
        """Return the number of interactions."""
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
        """Return the items of one user in the given order."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def latest(self, L: int) -> numpy.ndarray:
        """Return the last `L` items of each user, int32 (num_users, L).

        Shorter histories are padded on the left with the id `num_items`.
        """
        latest = numpy.full((self.num_users, L), self.num_items, dtype="int32")
        places = self.offsets[1:, None] + numpy.arange(-L, 0)
        inside = places >= self.offsets[:-1, None]
        latest[inside] = self.items[places[inside]]
        return latest

    def keys(self) -> numpy.ndarray:
        """Return the sorted distinct values of ``user * num_items + item``."""
        return numpy.unique(self.users * self.num_items + self.items)

    def places(self, users: numpy.ndarray) -> numpy.ndarray:
        """Return the places in `items` of the items of `users` (B,), user by user."""
        counts = self.counts[users]
        starts = numpy.cumsum(counts) - counts
        within = numpy.arange(counts.sum()) - numpy.repeat(starts, counts)
        return numpy.repeat(self.offsets[users], counts) + within

    def cells(self, users: numpy.ndarray) -> Tuple[numpy.ndarray, numpy.ndarray]:
        """Return rows and columns of the items of `users` in a matrix (B, items)."""
        rows = numpy.repeat(numpy.arange(len(users)), self.counts[users])
        return rows, self.items[self.places(users)]


def num_users_of(
    candidates: "Union[Interactions, UserItems]", what: str = "candidates"
) -> int:
    """Return the number of users; for a dictionary, the highest user id plus 1.

    Raises a ValueError that names the argument, `what`, and a user that is not an
    integer or is too large.
    """
    if isinstance(candidates, Interactions):
        return candidates.num_users
    last = int(users_of(candidates, what).max(initial=-1))
    if last >= MAX_SIZE:
        raise ValueError(f"{what}: user {last} is too large: ids must fit into int32")
    return last + 1
