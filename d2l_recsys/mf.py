"""Matrix factorization: the model, its evaluator and its trainer. Section: ``mf``."""

from math import isfinite, sqrt
from typing import Callable, NamedTuple, Optional, Sequence

import numpy

from d2l_recsys.data.ids import id_pairs
from d2l_recsys.engine.batching import side_by_side
from d2l_recsys.engine.checkpoint import Checkpoint
from d2l_recsys.engine.loop import (
    History,
    NonFiniteLoss,
    examples_per_sec,
    fit,
    make_step,
)
from d2l_recsys.runtime.backend import gluon, mx, nn
from d2l_recsys.runtime.devices import devices_of, split_and_load
from d2l_recsys.runtime.workers import worker


class MF(nn.HybridBlock):
    """Matrix factorization with biases: ``p_u . q_i + b_u + b_i``.

    Koren, Bell and Volinsky, "Matrix factorization techniques for recommender
    systems", Computer 42(8), 2009. Section: ``mf``.
    """

    scores_lists = True  # item_id may be (B, n): scoring and train_ranking ask

    def __init__(self, num_factors: int, num_users: int, num_items: int, **kwargs):
        super().__init__(**kwargs)
        self.num_users, self.num_items = num_users, num_items
        self.P = nn.Embedding(num_users, num_factors)
        self.Q = nn.Embedding(num_items, num_factors)
        self.user_bias = nn.Embedding(num_users, 1)
        self.item_bias = nn.Embedding(num_items, 1)

    def forward(self, user_id, item_id):
        """Score pairs; a single user or item goes with all of the others."""
        return super().forward(*side_by_side(user_id, item_id))

    def hybrid_forward(self, F, user_id, item_id):
        """Score `item_id` (B,) or (B, n) for `user_id` (B,); return its shape."""
        items = F.npx.reshape(item_id, (-2, -1))  # (B, n), n = 1 for flat ids
        p_u = F.np.expand_dims(self.P(user_id), 2)  # (B, k, 1)
        scores = F.npx.batch_dot(self.Q(items), p_u) + self.item_bias(items)
        scores = scores + F.np.expand_dims(self.user_bias(user_id), 2)  # (B, n, 1)
        return F.npx.reshape_like(scores, item_id)


def evaluator(
    net: gluon.Block, test_iter, devices: Optional[Sequence[mx.Context]] = None
) -> float:
    """Return the root of the mean squared error over all rows of `test_iter`.

    A batch is [users (B,), items (B,), ratings (B,)].

    Differs from the book: the mean is over rows, not over running means of batches, so
    it does not depend on the batch size or the order of rows (E11), and devices
    without rows do not count (E12). Section: ``mf``.
    """
    devices = devices_of(net, devices)
    squared_error, rows = 0.0, 0
    for batch in test_iter:
        share = worker.share(batch)
        for *features, ratings in zip(*(split_and_load(x, devices) for x in share)):
            error = (net(*features).reshape(ratings.shape) - ratings).asnumpy()
            squared_error += numpy.square(error, dtype="float64").sum()
            rows += error.size
    return finite_rmse(*worker.sum([squared_error, rows]))


def finite_rmse(squared_error: float, rows: int) -> float:
    """Return the root of the mean; raise NonFiniteLoss where it is NaN or infinite.

    Raises ValueError where there are no rows.
    """
    if not rows:
        raise ValueError("there is no held-out rating to test with")
    if not isfinite(squared_error):
        raise NonFiniteLoss("the test predictions became NaN or infinite at the end")
    return sqrt(squared_error / rows)


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
    examples, that is rows of batches, per second of training. `devices` defaults to
    those of the net. ``on_epoch(history)`` is called after each epoch; `checkpoint`
    saves it.

    Differs from the book: its printed loss sums running sums, and its examples are
    cells for an autoencoder (E13, E14); batches may be of any size (E34, E35); the
    history is returned. Section: ``mf``.
    """
    devices = devices_of(net, devices)

    def rated_share(batch):
        # L2Loss averages over the cells of a row; only the rated ones have an error.
        return numpy.count_nonzero(batch[0].asnumpy() != 0) / batch[0].shape[1]

    def evaluate(_):
        test = (test_iter,) if inter_mat is None else (test_iter, inter_mat)
        return {"test_rmse": evaluator(net, *test, devices)}

    _check_ids(net, train_iter)
    step = make_step(_losses, net, loss)
    count = None if inter_mat is None else rated_share
    history = fit(
        net,
        train_iter,
        trainer,
        num_epochs,
        devices,
        step,
        evaluate,
        count,
        on_epoch,
        checkpoint=checkpoint,
    )
    last = history[-1]
    print(f"train loss {last['train_loss']:.3f}, test RMSE {last['test_rmse']:.3f}")
    print(f"{examples_per_sec(history):.1f} examples/sec on {devices}")
    return history


def _check_ids(net, loader):
    """Raise ValueError for ids above those of MF: MXNet would take its last one."""
    arrays = getattr(getattr(loader, "dataset", None), "arrays", [])
    if isinstance(net, MF) and len(arrays) == 3:
        id_pairs(*arrays[:2], net.num_users, net.num_items)


def _losses(F, net, loss, *piece):
    *features, label = piece
    return loss(net(*features or [label]), label)


class BiasBaseline(NamedTuple):
    """Ratings from the mean and the biases alone, what a factor model has to beat."""

    mean: float
    user_bias: numpy.ndarray  # (num_users,)
    item_bias: numpy.ndarray  # (num_items,)

    @classmethod
    def fit(cls, users, items, ratings, num_users: int, num_items: int):
        """Estimate the biases from arrays of shape (n,) by regularised least squares.

        Koren, "Factorization meets the neighborhood", KDD 2008, section 2.1.
        """
        mean = float(numpy.mean(ratings, dtype="float64"))
        user_bias = numpy.zeros(num_users)
        for _ in range(10):  # one after the other; the figures stand still by then
            rest = ratings - mean - user_bias[users]
            item_bias = _shrunk_mean(items, rest, num_items)
            rest = ratings - mean - item_bias[items]
            user_bias = _shrunk_mean(users, rest, num_users)
        return cls(mean, user_bias, item_bias)

    def predict(self, users, items) -> numpy.ndarray:
        """Return the ratings that `users` (n,) are expected to give `items` (n,)."""
        return self.mean + self.user_bias[users] + self.item_bias[items]


def _shrunk_mean(ids, values, size, strength=5):
    """Return the mean by id as if `strength` zeros had been seen besides."""
    sums = numpy.bincount(ids, values, minlength=size)
    return sums / (numpy.bincount(ids, minlength=size) + strength)
