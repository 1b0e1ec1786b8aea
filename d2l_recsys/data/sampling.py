"""Negative sampling: items that a user has not interacted with, each as likely."""

import os
from typing import Iterable, Mapping, Optional, Union

import numpy

from d2l_recsys.data.interactions import Interactions

Candidates = Union[Interactions, Mapping[int, Iterable[int]]]


class NegativeSampler:
    """Draw items uniformly from those that each user may be given.

    Not allowed are a user's `seen` items and, where given, his `held_out` ones. A draw
    takes one random number r and finds the r-th item that is allowed: item i is
    preceded by i minus the number of smaller forbidden items, so a binary search among
    the forbidden ones tells. Nothing is rejected, and memory is linear in `seen`.
    """

    def __init__(
        self,
        seen: Candidates,
        num_users: int,
        num_items: int,
        held_out: Optional[Candidates] = None,
        seed: int = 0,
    ):
        keys = Interactions.of(seen, num_users, num_items).keys()
        if held_out is not None:
            more = Interactions.of(held_out, num_users, num_items).keys()
            keys = numpy.union1d(keys, more)
        users, items = numpy.divmod(keys, num_items)
        counts = numpy.bincount(users, minlength=num_users)
        self._first = numpy.cumsum(counts) - counts
        # How many allowed items precede each forbidden one, users kept apart by steps
        # of num_items + 1, which no count of a user's items can bridge.
        place = numpy.arange(len(keys)) - self._first[users]
        self._step = num_items + 1
        self._preceding = users * self._step + items - place
        self.allowed = num_items - counts
        self.seed, self._rng = seed, numpy.random.default_rng(seed)
        self._process = os.getpid()

    @property
    def rng(self) -> numpy.random.Generator:
        """The generator; in a forked worker one of its own, else all draw the same."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._rng = numpy.random.default_rng([abs(self.seed), self._process])
        return self._rng

    def check(self, users: numpy.ndarray) -> None:
        """Raise ValueError naming the first of `users` for whom no item is left."""
        empty = numpy.flatnonzero(self.allowed[users] < 1)
        if len(empty):
            raise ValueError(
                f"user {numpy.ravel(users)[empty[0]]} has interacted with every item: "
                "no negative can be drawn. Leave the user out."
            )

    def sample(self, users: numpy.ndarray) -> numpy.ndarray:
        """Draw an item for each of `users`; return int32 of the same shape.

        Every user must pass :meth:`check`.
        """
        users = numpy.asarray(users)
        drawn = self.rng.integers(self.allowed[users])
        key = users.astype("int64") * self._step + drawn
        # In ascending order, searches near each other find their data in the cache.
        flat, smaller = key.ravel(), numpy.empty(key.size, dtype="int64")
        order = numpy.argsort(flat)
        smaller[order] = numpy.searchsorted(self._preceding, flat[order], side="right")
        smaller = smaller.reshape(key.shape)
        return (drawn + smaller - self._first[users]).astype("int32")
