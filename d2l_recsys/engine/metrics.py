"""Metrics of ratings and of ranks.

The rank of a held-out item is 1 plus the number of candidates that are scored as high
as it or higher: ties count against it, so that a model which gives all items one score
gets no credit (E28).
"""

from math import isfinite, sqrt
from typing import Dict, NamedTuple, Sequence

import numpy

from d2l_recsys.engine.errors import NonFiniteLoss


def rmse(squared_error: float, rows: int) -> float:
    """Return the root of the mean; raise NonFiniteLoss where it is NaN or infinite.

    Raises ValueError where there are no rows.
    """
    if not rows:
        raise ValueError("there is no held-out rating to test with")
    if not isfinite(squared_error):
        raise NonFiniteLoss("the test predictions became NaN or infinite at the end")
    return sqrt(squared_error / rows)


class RankingScores(NamedTuple):
    """What ``evaluate_ranking`` returns, in the book's order."""

    hit_rate: float
    auc: float


def hit_rate(ranks: numpy.ndarray, k: int) -> float:
    """Return the share of `ranks` (users,) that are `k` or better."""
    return float(numpy.mean(ranks <= k))


def auc(ranks: numpy.ndarray, candidates: numpy.ndarray) -> float:
    """Return the mean share of the other candidates that rank below the held-out item.

    `ranks` and `candidates`, the number of candidates ranked with the held-out item
    among them, have shape (users,). A user without any other candidate counts as 1.
    """
    others = numpy.asarray(candidates) - 1
    above = numpy.asarray(ranks) - 1
    return float(numpy.mean(1 - above / numpy.maximum(others, 1)))


def ranking_metrics(ranks: numpy.ndarray, ks: Sequence[int]) -> Dict[str, float]:
    """Return precision, recall, NDCG and MRR at each k for one held-out item per user.

    With a single relevant item, recall is the hit rate, precision the hit rate over k,
    NDCG the mean of 1 / log2(1 + rank) and MRR of 1 / rank, both 0 beyond rank k.
    Keys are like ``"ndcg@10"``.
    """
    ranks = numpy.asarray(ranks, dtype="float64")
    metrics = {}
    for k in ks:
        hit = ranks <= k
        metrics[f"precision@{k}"] = float(hit.mean() / k)
        metrics[f"recall@{k}"] = float(hit.mean())
        metrics[f"ndcg@{k}"] = float(numpy.mean(hit / numpy.log2(1 + ranks)))
        metrics[f"mrr@{k}"] = float(numpy.mean(hit / ranks))
    return metrics
