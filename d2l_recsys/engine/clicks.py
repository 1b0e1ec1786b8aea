"""Metrics of click-through rates, from logits.

Logits and labels have shape (rows,) or (rows, 1), and labels are 0 or 1.
"""

from typing import Dict, Optional, Sequence

import numpy

from d2l_recsys.engine.checkpoint import History
from d2l_recsys.engine.errors import NonFiniteLoss
from d2l_recsys.engine.predict import predict
from d2l_recsys.runtime.backend import gluon, mx
from d2l_recsys.runtime.workers import worker


def accuracy(logits: numpy.ndarray, labels: numpy.ndarray) -> float:
    """Return the share of rows on whose side of 0 the logit lies.

    Logits above 0, which is probability 1/2, predict the label 1, all others 0.

    Differs from the book: it compares the output itself with the label (E45).
    """
    logits, labels = _rows(logits, labels)
    return float(numpy.mean((logits > 0) == (labels > 0)))


def log_loss(logits: numpy.ndarray, labels: numpy.ndarray) -> float:
    """Return the mean negative log-likelihood of the labels, in nats.

    From logits without a detour over probabilities: it stays finite.
    """
    logits, labels = _rows(logits, labels)
    return float(numpy.mean(numpy.logaddexp(0, logits) - logits * labels))


def roc_auc(logits: numpy.ndarray, labels: numpy.ndarray) -> float:
    """Return the probability that a row of label 1 has the higher logit than one of 0.

    A tie counts half. NaN where all labels are alike: there is nothing to compare.
    """
    logits, labels = _rows(logits, labels)
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


def _rows(logits, labels):
    """Return both as float64 (rows,).

    Raises ValueError for other shapes than (rows,) or (rows, 1), for rows that do not
    match, for logits that are NaN or infinite and for labels other than 0 and 1.
    """
    logits, labels = (
        numpy.asarray(x.asnumpy() if hasattr(x, "asnumpy") else x, dtype="float64")
        for x in (logits, labels)
    )
    for name, x in (("logits", logits), ("labels", labels)):
        if x.shape not in ((len(logits),), (len(logits), 1)):
            raise ValueError(
                f"{name} have shape {x.shape}, not ({len(logits)},) or "
                f"({len(logits)}, 1)"
            )
    check_clicks(labels.ravel())
    if not numpy.isfinite(logits).all():
        raise ValueError("logits are NaN or infinite")
    return logits.ravel(), labels.ravel()


def evaluate_ctr(
    net: gluon.Block,
    data_iter,
    devices: Optional[Sequence[mx.Context]] = None,
    threshold: float = 0.0,
) -> Dict[str, float]:
    """Return acc, log_loss (in nats) and auc of the logits of `net` on `data_iter`.

    For the accuracy, logits above `threshold` predict the label 1.

    Raises ValueError for a label other than 0 and 1. Differs from the book: every row
    counts once (E46).
    """
    logits, labels = predict(net, data_iter, devices)
    check_clicks(labels)
    if not numpy.isfinite(logits).all():
        raise NonFiniteLoss("the logits became NaN or infinite at the end")
    return {
        "acc": accuracy(logits - threshold, labels),
        "log_loss": log_loss(logits, labels),
        "auc": roc_auc(logits, labels),
    }


def training_accuracy(outputs, threshold: float = 0.0) -> float:
    """Return the accuracy of an epoch's logits and labels, of all workers.

    Logits above `threshold` predict the label 1.
    """
    right = rows = 0
    for logits, labels in outputs:
        logits, labels = logits.asnumpy().ravel(), labels.asnumpy().ravel()
        check_clicks(labels)
        right += round(accuracy(logits - threshold, labels) * len(labels))
        rows += len(labels)
    right, rows = worker.sum([right, rows])
    return float(right / rows)


def check_clicks(labels: numpy.ndarray) -> None:
    """Raise ValueError unless `labels` are 0 and 1: ratings make no sense here."""
    other = labels[(labels != 0) & (labels != 1)]
    if len(other):
        raise ValueError(
            f"labels are 0 or 1, not {float(other[0])}: for ratings use "
            "train_recsys_rating"
        )


def kept_epoch(history: History) -> Dict[str, float]:
    """Return the epoch whose parameters ``train_ch13`` left in the net.

    That is the last one, or with `patience` the best in validation.
    """
    if "valid_log_loss" not in history[-1]:
        return history[-1]
    return min(history, key=lambda epoch: epoch["valid_log_loss"])


def print_log_loss(history: History) -> None:
    """Print log loss and AUC of the epoch that was kept, if anything was tested."""
    shown, kept = kept_epoch(history), ""
    if "valid_log_loss" in shown:
        kept = f" (epoch {shown['epoch']} of {len(history)}, the best in validation)"
    part = "test" if "test_acc" in shown else "valid"
    if f"{part}_log_loss" in shown:
        print(
            f"{part} log loss {shown[f'{part}_log_loss']:.3f}, "
            f"{part} AUC {shown[f'{part}_auc']:.3f}{kept}"
        )
