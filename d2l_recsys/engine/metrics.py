"""Metrics of ratings and ranks.

The rank of a held-out item is 1 plus the number of ranked items with the same or a
higher score. Ties count against the held-out item, so a model that gives all items the
same score gets no credit (E28). Held-out items of the same user are no rivals: the best
has the first rank, if no other item scores as high.
"""

from math import isfinite, sqrt
from typing import Dict, NamedTuple, Sequence

import numpy

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


class HeldOutRanks(NamedTuple):
    """The ranks of n held-out items, sorted by user and then by rank.

    `ranks` (n,) count from 1. `starts` (users,) are the places of each user's best rank
    in it. `ranked` (users,) are the numbers of ranked items, including the held-out
    ones.
    """

    ranks: numpy.ndarray
    starts: numpy.ndarray
    ranked: numpy.ndarray

    @property
    def counts(self) -> numpy.ndarray:
        """The number of held-out items of each user, shape (users,)."""
        return numpy.diff(self.starts, append=len(self.ranks))

    @property
    def places(self) -> numpy.ndarray:
        """The place from 0 of each rank among those of its user, shape (n,)."""
        return numpy.arange(len(self.ranks)) - numpy.repeat(self.starts, self.counts)

    def sums(self, values: numpy.ndarray) -> numpy.ndarray:
        """Add up `values` (n,) by user, to shape (users,)."""
        return numpy.add.reduceat(values.astype("float64"), self.starts)


def hit_rate(held_out: HeldOutRanks, k: int) -> float:
    """Return the share of users with a held-out item among the first `k`."""
    check_size(k, "k")
    return float(numpy.mean(held_out.ranks[held_out.starts] <= k))


def auc(held_out: HeldOutRanks) -> float:
    """Return the mean over users of the area under the ROC curve.

    For each user, it is the share of the pairs of a held-out item and another ranked
    item in which the held-out item ranks higher. Without another item, it is 1.
    """
    above = held_out.ranks - 1 - held_out.places  # ranked higher and not held out
    others = held_out.ranked - held_out.counts
    pairs = numpy.maximum(others * held_out.counts, 1)
    return float(numpy.mean(1 - held_out.sums(above) / pairs))


def ranking_metrics(held_out: HeldOutRanks, ks: Sequence[int]) -> Dict[str, float]:
    """Return precision, recall, NDCG, MRR and MAP at each k, as means over users.

    A hit is a held-out item of rank k or better, and m the number of the user's
    held-out items.

    * precision: hits / k; recall: hits / m;
    * ndcg: the sum of 1 / log2(1 + rank) over the hits, divided by its highest
      possible value (Järvelin and Kekäläinen, 2002);
    * mrr: 1 / rank of the best hit, or 0;
    * map: the sum of the precision at the rank of each hit, divided by min(m, k).

    The keys have the form ``"ndcg@10"``.
    """
    check_each_positive(ks, "ks")
    ranks, counts = held_out.ranks.astype("float64"), held_out.counts
    metrics = {}
    for k in ks:
        hit, most = ranks <= k, numpy.minimum(counts, k)
        hits = held_out.sums(hit)
        ideal = numpy.cumsum(1 / numpy.log2(2 + numpy.arange(most.max())))
        by_user = {
            "precision": hits / k,
            "recall": hits / counts,
            "ndcg": held_out.sums(hit / numpy.log2(1 + ranks)) / ideal[most - 1],
            "mrr": (hit / ranks)[held_out.starts],
            "map": held_out.sums(hit * (held_out.places + 1) / ranks) / most,
        }
        metrics.update({f"{n}@{k}": float(x.mean()) for n, x in by_user.items()})
    return metrics
