"""Matrix factorization: model, evaluator and training loop. Section: ``mf``."""

from typing import Any, Callable, Dict, Iterable, Optional, Sequence

import numpy

from d2l_recsys.engine.all_items import AllItems, table, with_ones
from d2l_recsys.engine.checkpoint import Checkpoint, History
from d2l_recsys.engine.layers import RankingModel, mean_of_rows, sum_over_factors
from d2l_recsys.engine.loop import Outputs, Step, fit, mean_output
from d2l_recsys.engine.metrics import rmse
from d2l_recsys.engine.predict import predict
from d2l_recsys.engine.rated import rated_program
from d2l_recsys.engine.snapshot import check_validation
from d2l_recsys.runtime.backend import gluon, mx, nn, np


class MF(RankingModel):
    """Matrix factorization with biases: ``p_u . q_i + b_u + b_i``.

    ``biases=False`` leaves out ``b_u`` and ``b_i``.

    Koren, Bell and Volinsky, "Matrix factorization techniques for recommender
    systems", Computer 42(8), 2009. Section: ``mf``.
    """

    def __init__(
        self,
        num_factors: int,
        num_users: int,
        num_items: int,
        biases: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_factors, num_users, num_items, **kwargs)
        self.biases = biases
        self.P = nn.Embedding(num_users, num_factors)
        self.Q = nn.Embedding(num_items, num_factors)
        if biases:
            self.user_bias = nn.Embedding(num_users, 1)
            self.item_bias = nn.Embedding(num_items, 1)

    def hybrid_forward(self, F, user_id, item_id):
        """Score `item_id` (B,) or (B, n), in its shape, for users `user_id` (B,)."""
        users = F.np.expand_dims(user_id, 1)  # (B, 1)
        items = F.npx.reshape(item_id, (-2, -1))  # (B, n), n = 1 for flat ids
        p_u, q_i = self.P(users), self.Q(items)  # (B, 1, k), (B, n, k)
        outputs = sum_over_factors(F, p_u * q_i)  # (B, n, 1)
        if self.biases:
            outputs = outputs + self.user_bias(users) + self.item_bias(items)
        return F.npx.reshape_like(outputs, item_id)

    def all_items(self) -> AllItems:
        """Return a function that scores all items for many users."""
        p, q = table(self.P), table(self.Q)
        if self.biases:
            p = numpy.hstack([with_ones(p), table(self.user_bias)])
            q = with_ones(numpy.hstack([q, table(self.item_bias)]))
        return AllItems((p, q))


def evaluator(
    net: gluon.Block,
    test_iter: Iterable,
    devices: Optional[Sequence[mx.Context]] = None,
) -> float:
    """Return the root mean squared error (RMSE) over all rows of `test_iter`.

    A batch is [users (B,), items (B,), ratings (B,)].

    Differs from the book: the mean is taken over rows, not over running means of
    batches, so it does not depend on the batch size or the order of the rows (E11).
    Devices without rows are left out (E12). Section: ``mf``.
    """
    predicted, ratings = predict(net, test_iter, devices)
    return rmse(numpy.square(predicted - ratings, dtype="float64").sum(), len(ratings))


def train_recsys_rating(
    net: gluon.Block,
    train_iter: Iterable,
    test_iter: Optional[Iterable],
    loss: gluon.loss.Loss,
    trainer: gluon.Trainer,
    num_epochs: int,
    devices: Optional[Sequence[mx.Context]] = None,
    evaluator: Callable = evaluator,
    inter_mat: Optional[np.ndarray] = None,
    on_epoch: Optional[Callable[[History], None]] = None,
    checkpoint: Optional[Checkpoint] = None,
    valid_iter: Any = None,
) -> History:
    """Train a rating model, print the book's two lines and return the history.

    A training batch is [users (B,), items (B,), ratings (B,)], and the test RMSE is
    ``evaluator(net, test_iter, devices)``. For an autoencoder, a batch is a matrix of
    ratings (B, n), 0 if missing. It is both input and label. Pass the held-out ratings
    as `inter_mat`. The test RMSE is ``evaluator(net, test_iter, inter_mat, devices)``.
    Without `test_iter`, there is no test RMSE.

    With `valid_iter` (for an autoencoder, a matrix like `inter_mat`), the net ends with
    the parameters of the epoch with the lowest RMSE on it, and the metrics of this
    epoch are printed.

    The printed loss is the mean over the ratings of the last epoch. The printed speed
    is in examples (rows of batches) per second of training. `devices` defaults to the
    net's. After each epoch, `checkpoint` saves it and ``on_epoch(history)`` is called.

    Differs from the book: the printed loss does not sum running sums (E13), examples of
    an autoencoder are rows, not cells (E14), batches may have any size (E34, E35), and
    the history is returned. Section: ``mf``.
    """
    check_validation(valid_iter, checkpoint=checkpoint)
    step = Step(net, loss, devices, _losses, rated_program)
    tests = {"test_rmse": [test_iter], "valid_rmse": [valid_iter]}
    if inter_mat is not None:
        tests = {n: [test_iter, m] for n, m in zip(tests, (inter_mat, valid_iter))}
    tests = {name: x for name, x in tests.items() if not any(a is None for a in x)}

    def evaluate(entry: Dict[str, float], outputs: Outputs) -> Dict[str, float]:
        metrics = {n: evaluator(net, *x, step.devices) for n, x in tests.items()}
        if outputs:  # the shares of rated cells, which an autoencoder's loss ignores
            metrics["train_loss"] = entry["train_loss"] / mean_output(outputs)
        return metrics

    labels = {"train_loss": "train loss", "test_rmse": "test RMSE"}
    hooks = on_epoch, checkpoint
    return fit(step, train_iter, trainer, num_epochs, evaluate, labels, *hooks)


def _losses(F, net, loss, *batch):
    *ids, ratings = batch
    if ids:
        return loss(net(*ids), ratings)
    # L2Loss averages over all cells of a row, but only rated cells have an error.
    rated = mean_of_rows(F, (ratings != 0).astype("float32"))
    return loss(net(ratings), ratings), rated
