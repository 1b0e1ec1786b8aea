"""Negative sampling: draw items that a user has not interacted with, uniformly."""

import os
from typing import Optional, Union

import numpy

from d2l_recsys.data.interactions import Interactions, UserItems
from d2l_recsys.data.sizes import generator

Candidates = Union[Interactions, UserItems]


class NegativeSampler:
    """Draw negative items for users, each allowed item with the same probability.

    A user's `seen` items and `held_out` items (if given) are excluded; all others are
    allowed. A draw takes one random number r and finds the r-th allowed item. There are
    i minus the number of smaller excluded items before item i, so one binary search
    among the excluded items is enough. No draw is rejected, and memory is linear in the
    number of interactions.
    """

    def __init__(
        self,
        seen: Candidates,
        num_users: int,
        num_items: int,
        held_out: Optional[Candidates] = None,
        seed: int = 0,
    ) -> None:
        keys = Interactions.of(seen, num_users, num_items).keys()
        if held_out is not None:
            more = Interactions.of(held_out, num_users, num_items, "test_items").keys()
            keys = numpy.union1d(keys, more)
        users, items = numpy.divmod(keys, num_items)
        counts = numpy.bincount(users, minlength=num_users)
        self._first = numpy.cumsum(counts) - counts
        # The number of allowed items before each excluded one. An offset of
        # num_items + 1 per user keeps the users apart, so one search serves them all.
        place = numpy.arange(len(keys)) - self._first[users]
        self._step = num_items + 1
        self._preceding = users * self._step + items - place
        self.allowed = num_items - counts
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
        return numpy.array([self._step - 2])

    def check(self, users: numpy.ndarray) -> None:
        """Raise a ValueError that names the first user for whom no item is allowed."""
        empty = numpy.flatnonzero(self.allowed[users] < 1)
        if len(empty):
            raise ValueError(
                f"user {numpy.ravel(users)[empty[0]]} (counted from 0) has interacted "
                "with every item: no negative item can be drawn. Leave out this user's "
                "rows."
            )

    def sample(self, users: numpy.ndarray) -> numpy.ndarray:
        """Draw one item for each user; return int32 of the shape of `users`.

        Every user must pass :meth:`check`.
        """
        users = numpy.asarray(users)
        drawn = self.rng.integers(self.allowed[users])
        key = users.astype("int64") * self._step + drawn
        # Sorted queries are faster: neighboring searches read the same cache lines.
        flat, smaller = key.ravel(), numpy.empty(key.size, dtype="int64")
        order = numpy.argsort(flat)
        smaller[order] = numpy.searchsorted(self._preceding, flat[order], side="right")
        smaller = smaller.reshape(key.shape)
        return (drawn + smaller - self._first[users]).astype("int32")
