"""Rating prediction from biases alone: the baseline for factor models."""

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
    def fit(
        cls,
        users: numpy.ndarray,
        items: numpy.ndarray,
        ratings: numpy.ndarray,
        num_users: int,
        num_items: int,
    ) -> "BiasBaseline":
        """Estimate the biases from arrays (n,) by regularized least squares."""
        mean = float(numpy.mean(ratings, dtype="float64"))
        user_bias = numpy.zeros(num_users)
        for _ in range(10):  # alternating; this is enough to converge
            rest = ratings - mean - user_bias[users]
            item_bias = _shrunk_mean(items, rest, num_items)
            rest = ratings - mean - item_bias[items]
            user_bias = _shrunk_mean(users, rest, num_users)
        return cls(mean, user_bias, item_bias)

    def predict(self, users: numpy.ndarray, items: numpy.ndarray) -> numpy.ndarray:
        """Return the predicted ratings (n,) of `items` (n,) by `users` (n,)."""
        return self.mean + self.user_bias[users] + self.item_bias[items]


def _shrunk_mean(
    ids: numpy.ndarray, values: numpy.ndarray, size: int, strength: float = 5
) -> numpy.ndarray:
    """Return the mean of each id's values and `strength` additional zeros."""
    sums = numpy.bincount(ids, values, minlength=size)
    return sums / (numpy.bincount(ids, minlength=size) + strength)
