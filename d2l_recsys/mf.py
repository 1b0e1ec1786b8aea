"""Matrix factorization: the model, its evaluator and its trainer. Section: ``mf``."""

from typing import Callable, Optional, Sequence

import numpy

from d2l_recsys.engine.checkpoint import Checkpoint, History
from d2l_recsys.engine.layers import RankingModel
from d2l_recsys.engine.loop import Step, fit, mean_output
from d2l_recsys.engine.metrics import rmse
from d2l_recsys.engine.predict import predict
from d2l_recsys.runtime.backend import gluon, mx, nn


class MF(RankingModel):
    """Matrix factorization with biases: ``p_u . q_i + b_u + b_i``.

    Koren, Bell and Volinsky, "Matrix factorization techniques for recommender
    systems", Computer 42(8), 2009. Section: ``mf``.
    """

    def __init__(self, num_factors: int, num_users: int, num_items: int, **kwargs):
        super().__init__(**kwargs)
        self.num_users, self.num_items = num_users, num_items
        self.P = nn.Embedding(num_users, num_factors)
        self.Q = nn.Embedding(num_items, num_factors)
        self.user_bias = nn.Embedding(num_users, 1)
        self.item_bias = nn.Embedding(num_items, 1)

    def hybrid_forward(self, F, user_id, item_id):
        """Score `item_id` (B,) or (B, n) for `user_id` (B,); return its shape."""
        users = F.np.expand_dims(user_id, 1)  # (B, 1)
        items = F.npx.reshape(item_id, (-2, -1))  # (B, n), n = 1 for flat ids
        p_u, q_i = self.P(users), self.Q(items)  # (B, 1, k), (B, n, k)
        b_u, b_i = self.user_bias(users), self.item_bias(items)  # (B, 1, 1), (B, n, 1)
        outputs = F.npx.batch_dot(q_i, p_u, transpose_b=True) + b_u + b_i
        return F.npx.reshape_like(outputs, item_id)


def evaluator(
    net: gluon.Block, test_iter, devices: Optional[Sequence[mx.Context]] = None
) -> float:
    """Return the root of the mean squared error over all rows of `test_iter`.

    A batch is [users (B,), items (B,), ratings (B,)].

    Differs from the book: the mean is over rows, not over running means of batches, so
    it does not depend on the batch size or the order of rows (E11), and devices
    without rows do not count (E12). Section: ``mf``.
    """
    predicted, ratings = predict(net, test_iter, devices)
    return rmse(numpy.square(predicted - ratings, dtype="float64").sum(), len(ratings))


def train_recsys_rating(
    net: gluon.Block,
    train_iter,
    test_iter,
    loss: gluon.loss.Loss,
    trainer: gluon.Trainer,
    num_epochs: int,
    devices: Optional[Sequence[mx.Context]] = None,
    evaluator: Callable = evaluator,
    inter_mat=None,
    on_epoch: Optional[Callable[[History], None]] = None,
    checkpoint: Optional[Checkpoint] = None,
) -> History:
    """Train a model of ratings, print the book's two lines and return the history.

    A training batch is [users (B,), items (B,), ratings (B,)], or for an autoencoder
    one matrix (B, n) of ratings, 0 where there is none, which is input and label.
    ``evaluator(net, test_iter, devices)`` gives the test RMSE; for an autoencoder it is
    ``evaluator(net, test_iter, inter_mat, devices)``, `inter_mat` the held-out ratings.

    The printed loss is the mean of the last epoch over ratings; the printed speed is
    examples (rows of batches) per second of training. `devices` defaults to those of
    the net. ``on_epoch(history)`` is called after each epoch; `checkpoint` saves it.

    Differs from the book: its printed loss sums running sums, and its examples are
    cells for an autoencoder (E13, E14); batches may be of any size (E34, E35); the
    history is returned. Section: ``mf``.
    """
    step = Step(net, loss, devices, _losses if inter_mat is None else _losses_of_rows)

    def evaluate(entry, outputs):
        if inter_mat is None:
            return {"test_rmse": evaluator(net, test_iter, step.devices)}
        return {
            "train_loss": entry["train_loss"] / mean_output(outputs),
            "test_rmse": evaluator(net, test_iter, inter_mat, step.devices),
        }

    hooks = on_epoch, checkpoint
    return fit(step, train_iter, trainer, num_epochs, evaluate, _line, *hooks)


def _losses(F, net, loss, *batch):
    *ids, ratings = batch
    return loss(net(*ids), ratings)


def _losses_of_rows(F, net, loss, rows):
    # L2Loss averages over the cells of a row; only the rated ones have an error.
    return loss(net(rows), rows), F.np.mean((rows != 0).astype("float32"), axis=1)


def _line(history):
    return "train loss {train_loss:.3f}, test RMSE {test_rmse:.3f}".format(
        **history[-1]
    )
