"""Metrics: from ranks for ranking, from logits for click-through rates.

The rank of a held-out item is 1 plus the number of candidates that are scored as high
as it or higher: ties count against it, so that a model which gives all items one score
gets no credit (E28).
"""

from typing import Dict, Sequence

import numpy


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


def accuracy(logits: numpy.ndarray, labels: numpy.ndarray) -> float:
    """Return the share of rows on whose side of 0 the logit lies.

    `logits` (rows,) above 0 predict the label 1, all others 0; `labels` (rows,) are 0
    and 1. Logit 0 is probability 1/2.

    Differs from the book: it compares the output itself with the label (E45).
    """
    return float(numpy.mean((logits > 0) == (labels > 0)))


def log_loss(logits: numpy.ndarray, labels: numpy.ndarray) -> float:
    """Return the mean negative log-likelihood in nats of `labels` 0 and 1, (rows,).

    From `logits` (rows,) without a detour over probabilities: it stays finite.
    """
    logits = numpy.asarray(logits, dtype="float64")
    return float(numpy.mean(numpy.logaddexp(0, logits) - logits * labels))


def roc_auc(logits: numpy.ndarray, labels: numpy.ndarray) -> float:
    """Return the probability that a row of label 1 has the higher logit than one of 0.

    `logits` and `labels` have shape (rows,); a tie counts half. NaN where all labels
    are alike, for then there is nothing to compare.
    """
    values, place, counts = numpy.unique(
        logits, return_inverse=True, return_counts=True
    )
    positive = numpy.bincount(place, labels, len(values))  # rows of label 1 by value
    negative = counts - positive
    pairs = positive.sum() * negative.sum()
    if not pairs:
        return float("nan")
    lower = numpy.cumsum(negative) - negative / 2  # ties half
    return float((positive * lower).sum() / pairs)
