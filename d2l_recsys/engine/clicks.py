"""Metrics of click-through rates (CTR), computed from logits.

Logits and labels have shape (rows,) or (rows, 1), and labels are 0 or 1.
"""

from typing import Any, Dict, Iterable, Optional, Sequence, Tuple

import numpy

from d2l_recsys.engine.checkpoint import History
from d2l_recsys.engine.errors import NonFiniteLoss
from d2l_recsys.engine.predict import predict
from d2l_recsys.engine.snapshot import kept_epoch
from d2l_recsys.runtime.backend import gluon, mx
from d2l_recsys.runtime.workers import worker


def accuracy(logits: numpy.ndarray, labels: numpy.ndarray) -> float:
    """Return the share of rows whose label is predicted correctly.

    A logit above 0 (a probability above 1/2) predicts label 1, any other label 0.

    Differs from the book, which compares the output itself with the label (E45).
    """
    logits, labels = _rows(logits, labels)
    return float(numpy.mean((logits > 0) == (labels > 0)))


def log_loss(logits: numpy.ndarray, labels: numpy.ndarray) -> float:
    """Return the mean negative log-likelihood of the labels, in nats.

    It is computed without probabilities, so it is finite for every finite logit.
    """
    logits, labels = _rows(logits, labels)
    return float(numpy.mean(numpy.logaddexp(0, logits) - logits * labels))


def roc_auc(logits: numpy.ndarray, labels: numpy.ndarray) -> float:
    """Return the area under the ROC curve.

    It is the probability that a row with label 1 has a higher logit than a row with
    label 0, where a tie counts half. It is NaN if all labels are equal.
    """
    logits, labels = _rows(logits, labels)
    values, place, counts = numpy.unique(
        logits, return_inverse=True, return_counts=True
    )
    positive = numpy.bincount(place, labels, len(values))  # rows with label 1 by logit
    negative = counts - positive
    pairs = positive.sum() * negative.sum()
    if not pairs:
        return float("nan")
    lower = numpy.cumsum(negative) - negative / 2  # negatives below; ties count half
    return float((positive * lower).sum() / pairs)


def _rows(logits: Any, labels: Any) -> Tuple[numpy.ndarray, numpy.ndarray]:
    """Return both as float64 (rows,).

    Raises ValueError if a shape is not (rows,) or (rows, 1), the numbers of rows
    differ, a logit is NaN or infinite, or a label is not 0 or 1.
    """
    logits, labels = (
        numpy.asarray(x.asnumpy() if hasattr(x, "asnumpy") else x, dtype="float64")
        for x in (logits, labels)
    )
    if not logits.shape[:1] or not len(logits):
        raise ValueError("logits and labels must have shape (rows,) or (rows, 1)")
    for name, x in (("logits", logits), ("labels", labels)):
        if x.shape not in ((len(logits),), (len(logits), 1)):
            raise ValueError(
                f"{name} must have shape ({len(logits)},) or ({len(logits)}, 1), not "
                f"{x.shape}"
            )
    check_clicks(labels.ravel())
    if not numpy.isfinite(logits).all():
        raise ValueError("some logits are NaN or infinite")
    return logits.ravel(), labels.ravel()


def evaluate_ctr(
    net: gluon.Block,
    data_iter: Iterable,
    devices: Optional[Sequence[mx.Context]] = None,
    threshold: float = 0.0,
) -> Dict[str, float]:
    """Return acc, log_loss (in nats) and auc of the logits of `net` on `data_iter`.

    For the accuracy, logits above `threshold` predict the label 1.

    Raises ValueError if a label is not 0 or 1. Differs from the book: every row counts
    once (E46).
    """
    logits, labels = predict(net, data_iter, devices)
    check_clicks(labels)
    if not numpy.isfinite(logits).all():
        raise NonFiniteLoss("some logits are NaN or infinite")
    return {
        "acc": accuracy(logits - threshold, labels),
        "log_loss": log_loss(logits, labels),
        "auc": roc_auc(logits, labels),
    }


def training_accuracy(
    outputs: Iterable[Sequence[numpy.ndarray]], threshold: float = 0.0
) -> float:
    """Return the accuracy over an epoch's batches of logits and labels.

    Logits above `threshold` predict the label 1. With several workers, the batches of
    all of them count.
    """
    right = rows = 0
    for batch in outputs:
        logits, labels = (x.ravel() for x in batch)
        right += round(accuracy(logits - threshold, labels) * len(labels))
        rows += len(labels)
    total_right, total_rows = worker.sum([right, rows])
    return float(total_right / total_rows)


def check_clicks(labels: numpy.ndarray) -> None:
    """Raise ValueError unless all `labels` are 0 or 1."""
    other = labels[(labels != 0) & (labels != 1)]
    if len(other):
        raise ValueError(
            f"labels must be 0 or 1, not {float(other[0])}: for ratings, use "
            "train_recsys_rating"
        )


def print_log_loss(history: History) -> None:
    """Print log loss and AUC of the epoch that was kept, if there are any."""
    shown = kept_epoch(history)
    part = "test" if "test_acc" in shown else "valid"
    if f"{part}_log_loss" in shown:
        print(
            f"{part} log loss {shown[f'{part}_log_loss']:.3f}, "
            f"{part} AUC {shown[f'{part}_auc']:.3f}"
        )
