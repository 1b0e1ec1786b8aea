"""Metrics of ratings and ranks.

The rank of a held-out item is 1 plus the number of other candidates with the same or a
higher score. Ties count against the held-out item, so a model that gives all items the
same score gets no credit (E28).
"""

from math import isfinite, sqrt
from typing import Any, Dict, NamedTuple, Sequence

import numpy

from d2l_recsys.data.ids import numbers
from d2l_recsys.data.sizes import check_each_positive, check_size
from d2l_recsys.engine.errors import NonFiniteLoss


def rmse(squared_error: float, rows: int) -> float:
    """Return the root mean squared error from the sum of squared errors.

    Raises NonFiniteLoss if it is NaN or infinite, and ValueError if there are no rows.
    """
    if not rows:
        raise ValueError("there is no held-out rating to test with")
    if not isfinite(squared_error):
        raise NonFiniteLoss("some test predictions are NaN or infinite")
    return sqrt(squared_error / rows)


class RankingScores(NamedTuple):
    """The result of ``evaluate_ranking``, in the book's order."""

    hit_rate: float
    auc: float


def hit_rate(ranks: numpy.ndarray, k: int) -> float:
    """Return the share of `ranks` (users,) that are at most `k`."""
    check_size(k, "k")
    return float(numpy.mean(_ranks(ranks) <= k))


def auc(ranks: numpy.ndarray, candidates: numpy.ndarray) -> float:
    """Return the mean share of the other candidates that rank below the held-out item.

    `ranks` and `candidates` have shape (users,). `candidates` is the number of ranked
    items, including the held-out item. If there is no other item, the AUC is 1.
    """
    above, others = _ranks(ranks) - 1, _ranks(candidates) - 1
    if len(above) != len(others) or (above > others).any():
        raise ValueError("each rank needs a number of candidates that is not below it")
    return float(numpy.mean(1 - above / numpy.maximum(others, 1)))


def ranking_metrics(ranks: numpy.ndarray, ks: Sequence[int]) -> Dict[str, float]:
    """Return precision, recall, NDCG and MRR at each k for one held-out item per user.

    With a single relevant item, recall is the hit rate, and precision is the hit rate
    divided by k. NDCG is the mean of 1 / log2(1 + rank) and MRR the mean of 1 / rank,
    where ranks above k count as 0. The keys have the form ``"ndcg@10"``.
    """
    check_each_positive(ks, "ks")
    ranks, metrics = _ranks(ranks), {}
    for k in ks:
        hit = ranks <= k
        metrics[f"precision@{k}"] = float(hit.mean() / k)
        metrics[f"recall@{k}"] = float(hit.mean())
        metrics[f"ndcg@{k}"] = float(numpy.mean(hit / numpy.log2(1 + ranks)))
        metrics[f"mrr@{k}"] = float(numpy.mean(hit / ranks))
    return metrics


def _ranks(ranks: Any) -> numpy.ndarray:
    """Return ranks (users,) as integers; raise ValueError for any below 1 or none."""
    array = numbers(ranks, "rank")
    if not len(array) or array.dtype.kind != "i" or array.min() < 1:
        raise ValueError("ranks must be integers of at least 1, one for each user")
    return array
