"""Negative sampling: draw items that a user has not interacted with."""

import os
from typing import Optional, Union

import numpy

from d2l_recsys.data.interactions import Interactions, UserItems
from d2l_recsys.data.sizes import generator

Candidates = Union[Interactions, UserItems]


def item_weights(
    negatives: str, items: numpy.ndarray, num_items: int
) -> Optional[numpy.ndarray]:
    """Return the `weights` of a sampler: None for 'uniform', else the item counts.

    Raises ValueError unless `negatives` is 'uniform' or 'popularity'.
    """
    if negatives not in ("uniform", "popularity"):
        raise ValueError(
            f"negatives must be 'uniform' or 'popularity', not {negatives!r}"
        )
    if negatives == "uniform":
        return None
    return numpy.bincount(items, minlength=num_items)


class NegativeSampler:
    """Draw negative items for users, with probabilities proportional to `weights`.

    A user's `seen` items and `held_out` items (if given) are excluded; all others are
    allowed. By default, they are equally likely. `weights` are integers (num_items,).

    Think of the items as intervals side by side, each as long as its weight. A draw
    takes a random number r and finds the r-th place in the allowed intervals: r plus
    the lengths of the excluded intervals before it. A binary search over the excluded
    items finds these. With `weights`, a second one finds the item at that place. No
    draw is rejected, and memory is linear in the number of interactions.
    """

    def __init__(
        self,
        seen: Candidates,
        num_users: int,
        num_items: int,
        held_out: Optional[Candidates] = None,
        seed: int = 0,
        weights: Optional[numpy.ndarray] = None,
    ) -> None:
        keys = Interactions.of(seen, num_users, num_items).keys()
        if held_out is not None:
            more = Interactions.of(held_out, num_users, num_items, "test_items").keys()
            keys = numpy.union1d(keys, more)
        users, items = numpy.divmod(keys, num_items)
        counts = numpy.bincount(users, minlength=num_users)
        self._first = numpy.cumsum(counts) - counts
        self._ends = self._skipped = None
        starts, total, skipped = items, num_items, numpy.arange(len(keys) + 1)
        if weights is not None:
            self._ends = numpy.cumsum(weights, dtype="int64")
            starts, total = (self._ends - weights)[items], int(self._ends[-1])
            self._skipped = skipped = numpy.append(0, numpy.cumsum(weights[items]))
        # The number of allowed places before each excluded item. An offset of total + 1
        # per user keeps the users apart, so one search serves them all.
        place = skipped[:-1] - skipped[self._first][users]
        self._step = total + 1
        self._preceding = users * self._step + starts - place
        self.allowed = total - (skipped[self._first + counts] - skipped[self._first])
        self._last_id = num_items - 1
        self.seed, self._rng = seed, generator(seed)
        self._process = os.getpid()

    @property
    def rng(self) -> numpy.random.Generator:
        """The generator. Each forked worker has its own, so that draws differ."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._rng = numpy.random.default_rng([self.seed, self._process])
        return self._rng

    def largest_id(self) -> numpy.ndarray:
        """Return the largest id that can be drawn, shape (1,)."""
        return numpy.array([self._last_id])

    def check(self, users: numpy.ndarray) -> None:
        """Raise a ValueError that names the first user for whom no item is allowed."""
        empty = numpy.flatnonzero(self.allowed[users] < 1)
        if len(empty):
            every = "every item" if self._ends is None else "every item with a weight"
            raise ValueError(
                f"user {numpy.ravel(users)[empty[0]]} (counted from 0) has interacted "
                f"with {every}: no negative item can be drawn. Leave out this user's "
                "rows."
            )

    def draw(self, users: numpy.ndarray) -> numpy.ndarray:
        """Draw a random number for each user: see :meth:`sample`."""
        return self.rng.integers(self.allowed[users])

    def sample(
        self, users: numpy.ndarray, drawn: Optional[numpy.ndarray] = None
    ) -> numpy.ndarray:
        """Draw one item for each user; return int32 of the shape of `users`.

        `drawn` are the results of :meth:`draw`, by default for these users. Every user
        must pass :meth:`check`.
        """
        users = numpy.asarray(users)
        drawn = self.draw(users) if drawn is None else drawn
        key = users.astype("int64") * self._step + drawn
        smaller = self._smaller(key.ravel(), users.ravel()).reshape(key.shape)
        if self._ends is None or self._skipped is None:
            return (drawn + smaller - self._first[users]).astype("int32")
        place = drawn + self._skipped[smaller] - self._skipped[self._first[users]]
        return numpy.searchsorted(self._ends, place, side="right").astype("int32")

    def _smaller(self, keys: numpy.ndarray, users: numpy.ndarray) -> numpy.ndarray:
        """Return, for each of `keys` (n,), how many excluded items are not after it.

        Those of all users count. ``keys[k]`` is a key of ``users[k]``.
        """
        # Successive searches for the same user read the same cache lines. NumPy sorts
        # numbers of 16 bits five times as fast as the keys.
        shift = max(0, (len(self._first) - 1).bit_length() - 16)
        order = numpy.argsort((users >> shift).astype("uint16"), kind="stable")
        smaller = numpy.empty(len(keys), dtype="int64")
        smaller[order] = numpy.searchsorted(self._preceding, keys[order], side="right")
        return smaller
