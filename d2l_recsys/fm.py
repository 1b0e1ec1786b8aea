"""Factorization machines: the model and the trainer of CTR models. Section: ``fm``."""

from typing import Callable, Dict, Optional, Sequence, Tuple

import numpy

from d2l_recsys.engine.checkpoint import Checkpoint
from d2l_recsys.engine.loop import (
    BestEpoch,
    History,
    NonFiniteLoss,
    examples_per_sec,
    fit,
    make_step,
)
from d2l_recsys.engine.metrics import accuracy, log_loss, roc_auc
from d2l_recsys.runtime.backend import gluon, mx, nn
from d2l_recsys.runtime.devices import devices_of, split_and_load
from d2l_recsys.runtime.workers import worker


class FM(nn.HybridBlock):
    """Factorization machine of order two: ``w0 + sum w_i + sum_(i<j) v_i . v_j``.

    The sums are over a row's indices, one for each field; `field_dims` (fields,) are
    the numbers of values of the fields. ``num_factors=0`` leaves logistic regression.

    The score is what the loss makes of it: a logit with SigmoidBCELoss, a rating with
    L2Loss, a rank with a loss of pairs, such as BPRLoss.

    Rendle, "Factorization Machines", ICDM 2010. Differs from the book: the linear part
    has a bias and no second weight (E54); returns logits in all editions (E44).
    Section: ``fm``.
    """

    def __init__(self, field_dims: Sequence[int], num_factors: int, **kwargs):
        super().__init__(**kwargs)
        num_inputs = int(sum(field_dims))
        self.linear = nn.Embedding(num_inputs, 1)
        self.bias = self.params.get("bias", shape=(1,), init="zeros")
        self.embedding = nn.Embedding(num_inputs, num_factors) if num_factors else None

    def hybrid_forward(self, F, x, bias):
        """Return the scores (B,) of rows of indices `x` (B, fields), int."""
        scores = F.np.sum(self.linear(x), axis=(1, 2)) + bias
        if self.embedding is None:
            return scores
        return scores + pairwise(F, self.embedding(x))


def pairwise(F, vectors):
    """Return the sum of ``v_i . v_j`` over pairs i < j, (B,), of `vectors` (B, n, k).

    In O(nk): the square of a sum is the sum of squares and twice the products.
    """
    # A product with ones is a sum over n: MXNet's own, over a middle axis, takes 20
    # times as long, and nearly all of the time of the model.
    ones = F.np.ones_like(F.npx.slice(vectors, (None, None, 0), (None, None, 1)))
    square_of_sum = F.np.square(F.npx.batch_dot(ones, vectors, transpose_a=True))
    sum_of_squares = F.npx.batch_dot(ones, F.np.square(vectors), transpose_a=True)
    return 0.5 * F.np.sum(square_of_sum - sum_of_squares, axis=(1, 2))


def predict(
    net: gluon.Block, data_iter, devices: Optional[Sequence[mx.Context]] = None
) -> Tuple[numpy.ndarray, numpy.ndarray]:
    """Return scores and labels, both (rows,), of all rows of `data_iter`, each once.

    A batch is [indices (B, fields), labels (B, 1)]; `net` returns (B,) or (B, 1). Of
    several workers each scores its share of a batch, and all get all scores.
    """
    devices = devices_of(net, devices)
    scores, labels = [], []
    for x, y in data_iter:
        own = worker.rows(len(x))
        parts = [net(piece).asnumpy() for piece in split_and_load(x[own], devices)]
        scores.append(numpy.zeros(len(x), dtype="float32"))
        if parts:
            scores[-1][own] = numpy.concatenate(parts).ravel()
        labels.append(y.asnumpy().ravel())
    if not labels:
        raise ValueError(
            "no batch to evaluate on: the iterator is empty; pass test_iter=None to "
            "train without a test set"
        )
    return worker.merge(numpy.concatenate(scores)), numpy.concatenate(labels)


def evaluate_ctr(
    net: gluon.Block, data_iter, devices: Optional[Sequence[mx.Context]] = None
) -> Dict[str, float]:
    """Return acc, log_loss (in nats) and auc of the logits of `net` on `data_iter`.

    Raises ValueError for a label other than 0 and 1. Differs from the book: every row
    counts once (E46).
    """
    logits, labels = predict(net, data_iter, devices)
    _check_clicks(labels)
    if not numpy.isfinite(logits).all():
        raise NonFiniteLoss("the logits became NaN or infinite at the end")
    return {
        "acc": accuracy(logits, labels),
        "log_loss": log_loss(logits, labels),
        "auc": roc_auc(logits, labels),
    }


def _check_clicks(labels):
    """Raise ValueError for ratings and the like: of them the metrics make nonsense."""
    other = labels[(labels != 0) & (labels != 1)]
    if len(other):
        raise ValueError(
            f"labels are 0 or 1, not {float(other[0])}: for ratings use "
            "train_recsys_rating"
        )


def train_ch13(
    net: gluon.Block,
    train_iter,
    test_iter,
    loss: gluon.loss.Loss,
    trainer: gluon.Trainer,
    num_epochs: int,
    devices: Optional[Sequence[mx.Context]] = None,
    patience: Optional[int] = None,
    valid_iter=None,
    on_epoch: Optional[Callable[[History], None]] = None,
    checkpoint: Optional[Checkpoint] = None,
) -> History:
    """Train a model of clicks, print the book's two lines and a third, return history.

    A batch is [indices (B, fields), labels (B, 1)]; `net` returns logits (B,) or
    (B, 1). The history holds train_loss and train_acc, both of the predictions that
    the batches of the epoch were trained on, and test_acc, test_log_loss and test_auc
    after the epoch. The third line tells the last two. With None for `test_iter` there
    are none of these three, neither in the history nor in what is printed.

    With `patience`, training ends when the log loss on `valid_iter` has not fallen for
    so many epochs; the net gets the parameters of its best epoch back, and this epoch
    is the one that is printed. The history has valid_acc, valid_log_loss and valid_auc
    then. `devices` defaults to those of the net.

    gluon's SigmoidBinaryCrossEntropyLoss serves well: its gradient is wrong only at
    logits of exactly 0, which random initial weights do not give.

    Differs from the book: accuracies are of logits (E45), any number of batches of any
    size will do (E47, E48), the history is returned. Section: ``fm``, ``deepfm``.

    Raises ValueError for a label other than 0 and 1, for one of `patience` and
    `valid_iter` without the other, for a patience below 1, and for `patience` with
    `checkpoint`, which does not hold the parameters of the best epoch.
    """
    if patience is not None and checkpoint is not None:
        raise ValueError("patience= and checkpoint= cannot be used together")
    if (patience is None) != (valid_iter is None):
        raise ValueError(
            "patience= and valid_iter= belong together: the epoch to keep is chosen on "
            "rows that are neither trained nor tested on"
        )
    devices = devices_of(net, devices)
    batches = _Tally(train_iter, make_step(_losses_and_logits, net, loss))

    def evaluate(_):
        metrics = {"train_acc": batches.accuracy()}
        for part, rows in (("test", test_iter), ("valid", valid_iter)):
            if rows is not None:
                found = evaluate_ctr(net, rows, devices)
                metrics.update({f"{part}_{name}": found[name] for name in found})
        return metrics

    best = BestEpoch(net, "valid_log_loss", patience) if patience is not None else None
    history = fit(
        net,
        batches,
        trainer,
        num_epochs,
        devices,
        batches.step,
        evaluate,
        on_epoch=on_epoch,
        stop=best,
        checkpoint=checkpoint,
    )
    if best:
        best.restore()
    _report(history, devices)
    return history


def kept_epoch(history: History) -> Dict[str, float]:
    """Return the epoch whose parameters :func:`train_ch13` left in the net.

    That is the last one, or with `patience` the best in validation.
    """
    if "valid_log_loss" not in history[-1]:
        return history[-1]
    return min(history, key=lambda epoch: epoch["valid_log_loss"])


def _losses_and_logits(F, net, loss, x, y):
    logits = net(x)
    return loss(logits, y), logits


class _Tally:
    """Batches as they come, and how many of their rows were predicted right."""

    def __init__(self, train_iter, step):
        self.train_iter, self._step = train_iter, step
        self.pieces, self.rows_due = [], 0

    @property
    def state(self):
        return self.train_iter.state

    @state.setter
    def state(self, state):
        self.train_iter.state = state

    def __iter__(self):
        self.pieces = []
        for batch in self.train_iter:
            own = worker.rows(len(batch[0]))
            self.rows_due = own.stop - own.start
            yield batch

    def step(self, x, y):
        """Return the losses (B,) and note the logits."""
        losses, logits = self._step(x, y)
        if self.rows_due:  # else a device without rows repeats those of another
            self.pieces.append((logits, y))
            self.rows_due -= len(x)
        return losses

    def accuracy(self):
        """Return the accuracy over the epoch."""
        right = rows = 0
        for logits, labels in self.pieces:
            logits, labels = logits.asnumpy().ravel(), labels.asnumpy().ravel()
            _check_clicks(labels)
            right += round(accuracy(logits, labels) * len(labels))
            rows += len(labels)
        right, rows = worker.sum([right, rows])
        return float(right / rows)


def _report(history, devices):
    shown = kept_epoch(history)
    test = "test_acc" in shown
    line = f"loss {shown['train_loss']:.3f}, train acc {shown['train_acc']:.3f}"
    print(line + (f", test acc {shown['test_acc']:.3f}" if test else ""))
    print(f"{examples_per_sec(history):.1f} examples/sec on {devices}")
    kept = ""
    if "valid_log_loss" in shown:
        kept = f" (epoch {shown['epoch']} of {len(history)}, the best in validation)"
    part = "test" if test else "valid"
    if test or kept:
        print(
            f"{part} log loss {shown[f'{part}_log_loss']:.3f}, "
            f"{part} AUC {shown[f'{part}_auc']:.3f}{kept}"
        )
