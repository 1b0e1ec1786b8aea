"""AutoRec: rating prediction with autoencoders. Section: ``autorec``."""

from typing import Optional, Sequence

import numpy

from d2l_recsys.mf import finite_rmse
from d2l_recsys.runtime.backend import autograd, gluon, mx, nn, np
from d2l_recsys.runtime.devices import devices_of, split_and_load
from d2l_recsys.runtime.workers import worker


class AutoRec(nn.HybridBlock):
    """An autoencoder of rows of the rating matrix: ``W sigmoid(V r + mu) + b``.

    Item based, as in the book, a row holds the ratings of an item by all `num_users`
    users, 0 where there is none. User based it holds those of a user, and the second
    argument is the number of items: see :func:`arrange`.

    Sedhain et al., "AutoRec: autoencoders meet collaborative filtering", WWW 2015.
    Section: ``autorec``.
    """

    def __init__(
        self, num_hidden: int, num_users: int, dropout: float = 0.05, **kwargs
    ):
        super().__init__(**kwargs)
        self.encoder = nn.Dense(num_hidden, activation="sigmoid", in_units=num_users)
        self.decoder = nn.Dense(num_users, in_units=num_hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input):
        """Reconstruct rows (B, n); in training, 0 where `input` has no rating."""
        pred = super().forward(input)
        # Asked here, not in the graph, which would keep the first answer for ever.
        if not autograd.is_training():
            return pred
        return pred * (input != 0).astype("float32")  # booleans multiply slowly

    def hybrid_forward(self, F, input):
        """Reconstruct rows (B, n) in full."""
        return self.decoder(self.dropout(self.encoder(input)))


def arrange(inter_mat: np.ndarray, by: str = "item") -> np.ndarray:
    """Return the matrix (num_items, num_users) with a row for each 'item' or 'user'."""
    if by not in ("item", "user"):
        raise ValueError(f"by is 'item' or 'user', not {by!r}")
    return inter_mat if by == "item" else inter_mat.T


def evaluator(
    network: gluon.Block,
    inter_matrix,
    test_data: np.ndarray,
    devices: Optional[Sequence[mx.Context]] = None,
) -> float:
    """Return the root of the mean squared error over the held-out ratings.

    `inter_matrix` yields the rows of the training matrix in order, in batches (B, n);
    `test_data`, of shape (rows, n), holds the held-out ratings, 0 where there is none.

    Raises ValueError where their shapes differ, where no rating is held out, or for a
    loader that shuffles.
    Section: ``autorec``.
    """
    devices = devices_of(network, devices)
    if getattr(inter_matrix, "shuffle", False):
        raise ValueError("inter_matrix shuffles its rows: test_data is in their order")
    held_out = test_data.asnumpy() if isinstance(test_data, np.ndarray) else test_data
    squared_error, num_ratings, rows = 0.0, 0, 0
    for batch in inter_matrix:
        if batch.shape[1:] != held_out.shape[1:]:
            raise ValueError(
                f"the rows of inter_matrix have {batch.shape[1]} places, those of "
                f"test_data {held_out.shape[1]}: arrange both by item, or both by user"
            )
        ratings = held_out[rows : rows + len(batch)]
        rows += len(batch)
        own = worker.rows(len(batch))
        tested = own.start + numpy.flatnonzero(ratings[own].any(axis=1))
        ratings = ratings[tested]  # the other rows need no reconstruction
        batch = batch[np.array(tested, ctx=batch.ctx)]
        for piece in split_and_load(batch, devices):
            recons = network(piece).asnumpy()
            expected, ratings = ratings[: len(recons)], ratings[len(recons) :]
            rated = numpy.flatnonzero(expected != 0)
            error = expected.ravel()[rated] - recons.ravel()[rated]
            squared_error += numpy.square(error, dtype="float64").sum()
            num_ratings += len(rated)
    if rows != len(held_out):
        raise ValueError(
            f"inter_matrix has {rows} rows and test_data {len(held_out)}: both must "
            "hold a row for each item, in one order"
        )
    return finite_rmse(*worker.sum([squared_error, num_ratings]))
