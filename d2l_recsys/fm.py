"""Factorization machines, and training of CTR models. Section: ``fm``."""

from typing import Any, Callable, Dict, Iterable, Optional, Sequence

from d2l_recsys.data.sizes import check_size, field_sizes
from d2l_recsys.engine import clicks
from d2l_recsys.engine.checkpoint import Checkpoint, History
from d2l_recsys.engine.layers import Model, sum_of_rows, sum_over_fields
from d2l_recsys.engine.loop import Outputs, Step, fit
from d2l_recsys.engine.snapshot import check_validation
from d2l_recsys.runtime.backend import gluon, mx, nn


class FM(Model):
    """Factorization machine of order two: ``w0 + sum w_i + sum_(i<j) v_i . v_j``.

    The sums are over the indices of a row, one per field. `field_dims` (fields,) holds
    the number of values of each field. ``num_factors=0`` gives logistic regression. The
    output (B, 1) is a logit with SigmoidBCELoss, a rating with L2Loss, and a score with
    a pairwise loss such as BPRLoss.

    Rendle, "Factorization Machines", ICDM 2010. As in the book, the linear part has one
    extra weight (E54). Differs from the book's classic edition: no sigmoid (E44).
    Section: ``fm``.
    """

    def __init__(
        self, field_dims: Sequence[int], num_factors: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        num_inputs = sum(field_sizes(field_dims))
        check_size(num_factors, "num_factors", 0)
        self.embedding = nn.Embedding(num_inputs, num_factors) if num_factors else None
        self.fc = nn.Embedding(num_inputs, 1)
        self.linear_layer = nn.Dense(1, in_units=1)

    def hybrid_forward(self, F, x):
        """Return the scores (B, 1) of rows of indices `x`, int (B, fields)."""
        scores = self.linear_layer(sum_of_rows(F, self.fc(x)))
        if self.embedding is None:
            return scores
        return scores + pairwise(F, self.embedding(x))


def pairwise(F, vectors):
    """Return the sum (B, 1) of ``v_i . v_j`` over i < j for `vectors` (B, n, k).

    In O(nk): half of ``(sum_i v_i)^2 - sum_i v_i^2``, summed over the k factors.
    """
    square_of_sum = sum_of_rows(F, F.np.square(sum_over_fields(F, vectors)))
    sum_of_square = sum_of_rows(F, F.np.square(vectors))
    return 0.5 * (square_of_sum - sum_of_square)


def train_ch13(
    net: gluon.Block,
    train_iter: Iterable,
    test_iter: Optional[Iterable],
    loss: gluon.loss.Loss,
    trainer: gluon.Trainer,
    num_epochs: int,
    devices: Optional[Sequence[mx.Context]] = None,
    patience: Optional[int] = None,
    valid_iter: Optional[Iterable] = None,
    on_epoch: Optional[Callable[[History], None]] = None,
    checkpoint: Optional[Checkpoint] = None,
    threshold: Callable[[Outputs], float] = lambda outputs: 0.0,
) -> History:
    """Train a CTR model, print the book's two lines and a third, return the history.

    A batch is [indices (B, fields), labels (B, 1)]. `net` returns logits (B,) or
    (B, 1). For each epoch, the history holds train_loss and train_acc, both computed
    during training, and test_acc, test_log_loss and test_auc after it. The third line
    prints the last two. `test_iter` may be None. `devices` defaults to the net's.

    With `valid_iter`, the net ends with the parameters of the epoch with the lowest log
    loss on it, and the metrics of this epoch are printed. The history also holds
    valid_acc, valid_log_loss and valid_auc. With `patience`, training ends when the log
    loss has not improved for that many epochs.

    A logit above ``threshold(outputs)``, by default 0, predicts a click. `outputs` are
    those of the epoch.

    Raises ValueError if a label is not 0 or 1, if `patience` is below 1 or given
    without `valid_iter`, or if `valid_iter` is used with `checkpoint`, which does not
    store the parameters of the best epoch.

    Differs from the book: accuracy is computed from logits (E45), any number and size
    of batches works (E47, E48), the history is returned. Section: ``fm``, ``deepfm``.
    """
    check_validation(valid_iter, patience, checkpoint)
    step = Step(net, loss, devices, _losses)

    def evaluate(_: Dict[str, float], outputs: Outputs) -> Dict[str, float]:
        limit = threshold(outputs)
        metrics = {"train_acc": clicks.training_accuracy(outputs, limit)}
        for part, rows in (("test", test_iter), ("valid", valid_iter)):
            if rows is not None:
                found = clicks.evaluate_ctr(net, rows, step.devices, limit)
                metrics.update({f"{part}_{name}": found[name] for name in found})
        return metrics

    labels = {"train_loss": "loss", "train_acc": "train acc", "test_acc": "test acc"}
    hooks = on_epoch, checkpoint, patience
    history = fit(step, train_iter, trainer, num_epochs, evaluate, labels, *hooks)
    clicks.print_log_loss(history)
    return history


def _losses(F, net, loss, x, y):
    logits = net(x)
    return loss(logits, y), logits, y
