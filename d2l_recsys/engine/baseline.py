"""Ratings from biases alone: what a factor model has to beat."""

from typing import NamedTuple

import numpy


class BiasBaseline(NamedTuple):
    """Predict ratings as ``mean + b_u + b_i``.

    Koren, "Factorization meets the neighborhood", KDD 2008, section 2.1.
    """

    mean: float
    user_bias: numpy.ndarray  # (num_users,)
    item_bias: numpy.ndarray  # (num_items,)

    @classmethod
    def fit(cls, users, items, ratings, num_users: int, num_items: int):
        """Estimate the biases from arrays (n,) by regularised least squares."""
        mean = float(numpy.mean(ratings, dtype="float64"))
        user_bias = numpy.zeros(num_users)
        for _ in range(10):  # one after the other; the figures stand still by then
            rest = ratings - mean - user_bias[users]
            item_bias = _shrunk_mean(items, rest, num_items)
            rest = ratings - mean - item_bias[items]
            user_bias = _shrunk_mean(users, rest, num_users)
        return cls(mean, user_bias, item_bias)

    def predict(self, users, items) -> numpy.ndarray:
        """Return the ratings (n,) that `users` (n,) are expected to give `items`."""
        return self.mean + self.user_bias[users] + self.item_bias[items]


def _shrunk_mean(ids, values, size, strength=5):
    """Return the mean by id as if `strength` zeros had been seen besides."""
    sums = numpy.bincount(ids, values, minlength=size)
    return sums / (numpy.bincount(ids, minlength=size) + strength)
