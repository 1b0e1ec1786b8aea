"""AutoRec: rating prediction with an autoencoder. Section: ``autorec``."""

from typing import Any, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

import numpy

from d2l_recsys.data.sizes import (
    check_each_positive,
    check_list,
    check_positive,
    check_rate,
)
from d2l_recsys.engine.all_items import dense
from d2l_recsys.engine.batching import in_numpy, in_order
from d2l_recsys.engine.layers import Model
from d2l_recsys.engine.metrics import rmse
from d2l_recsys.engine.rated import RatedCells, predictions_at_labels
from d2l_recsys.runtime.backend import autograd, gluon, mx, nn, np
from d2l_recsys.runtime.devices import devices_of
from d2l_recsys.runtime.workers import worker

ACTIVATIONS = ("relu", "sigmoid", "tanh", "softrelu", "softsign")  # those of Gluon


class AutoRec(Model):
    """An autoencoder of rows of the rating matrix: ``W sigmoid(V r + mu) + b``.

    The book's model is item-based: a row holds the ratings of one item by all
    `num_users` users, 0 if missing. For a user-based model, pass rows of the transposed
    matrix, and the number of items as the second argument.

    With several sizes as `num_hidden`, encoder and decoder are stacks of layers: [500,
    100] gives hidden layers of 500, 100 and 500 units. `activation` is for the hidden
    layers, `out_activation` for the output. Each is the name of a Gluon activation, or
    None.

    Raises ValueError if an activation is unknown or there is no hidden layer.

    Sedhain et al., "AutoRec: autoencoders meet collaborative filtering", WWW 2015.
    Section: ``autorec``.
    """

    def __init__(
        self,
        num_hidden: Union[int, Sequence[int]],
        num_users: int,
        dropout: float = 0.05,
        activation: Optional[str] = "sigmoid",
        out_activation: Optional[str] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        hidden: List[Any] = [num_hidden]
        if isinstance(num_hidden, (list, tuple)):
            hidden = list(num_hidden)
        check_positive(num_users=num_users)
        check_each_positive(hidden, "num_hidden")
        check_rate(dropout, "dropout")
        if not hidden:
            raise ValueError("num_hidden is empty: at least one hidden layer is needed")
        for name in (activation, out_activation):
            if name not in (None, *ACTIVATIONS):
                raise ValueError(
                    f"unknown activation {name!r}: choose from {', '.join(ACTIVATIONS)}"
                    " or None"
                )
        sizes = [num_users, *hidden]
        outputs = [activation] * (len(hidden) - 1) + [out_activation]
        self.encoder = _dense(sizes, [activation] * len(hidden))
        self.decoder = _dense(sizes[::-1], outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input: np.ndarray) -> np.ndarray:
        """Reconstruct rows (B, n). In training, missing ratings of `input` give 0."""
        pred = super().forward(input)
        # A hybridized graph would remember the answer of its first call.
        if not autograd.is_training():
            return pred
        return pred * (input != 0).astype("float32")  # booleans multiply slowly

    def hybrid_forward(self, F, input):
        """Reconstruct all cells of rows (B, n)."""
        return self.decoder(self.dropout(self.encoder(input)))

    def rated_cells(self) -> RatedCells:
        """Return this model, computed at the rated cells only.

        Raises NotImplementedError if it is not the book's, or if that is not faster.
        """
        encoder, decoder = dense(self.encoder, "sigmoid"), dense(self.decoder)
        return RatedCells(encoder, self.dropout, decoder)


def _dense(sizes: Sequence[int], activations: Sequence[Optional[str]]) -> gluon.Block:
    """Return dense layers between the sizes: a stack, or a single layer."""
    layers = [
        nn.Dense(units, activation, in_units=size)
        for size, units, activation in zip(sizes, sizes[1:], activations)
    ]
    if len(layers) == 1:
        return layers[0]
    stack = nn.HybridSequential()
    stack.add(*layers)
    return stack


def evaluator(
    network: gluon.Block,
    inter_matrix: Iterable,
    test_data: np.ndarray,
    devices: Optional[Sequence[mx.Context]] = None,
) -> float:
    """Return the root mean squared error (RMSE) over the held-out ratings.

    `inter_matrix` yields the rows of the training matrix in order, in batches (B, n).
    `test_data`, of shape (rows, n), holds the held-out ratings, 0 if missing.

    Raises ValueError if the shapes differ, if no rating is held out, or if
    `inter_matrix` is a loader that does not keep the order. Section: ``autorec``.
    """
    if not in_order(inter_matrix):
        raise ValueError(
            "inter_matrix shuffles or samples its rows, but they must be in the order "
            "of test_data: pass a loader with shuffle=False and without a sampler"
        )
    held_out = numpy.asarray(
        test_data.asnumpy() if isinstance(test_data, np.ndarray) else test_data
    )
    if held_out.ndim != 2:
        raise ValueError(
            f"test_data must be a matrix of ratings, not of shape {held_out.shape}"
        )
    batches = _tested_rows(inter_matrix, held_out)
    squared_error, num_ratings = 0.0, 0
    devices = devices_of(network, devices)
    for predicted, ratings in predictions_at_labels(network, batches, devices):
        error = ratings - predicted
        squared_error += numpy.square(error, dtype="float64").sum()
        num_ratings += len(ratings)
    return rmse(*worker.sum([squared_error, num_ratings]))


def _tested_rows(
    inter_matrix: Iterable, held_out: numpy.ndarray
) -> Iterator[Tuple[numpy.ndarray, numpy.ndarray]]:
    """Yield the rows of each batch that have held-out ratings, and these ratings."""
    check_list(inter_matrix, "inter_matrix", "a matrix, or a loader of its rows")
    rows = 0
    for batch in in_numpy(inter_matrix):  # which picks rows faster
        batch = batch[0] if isinstance(batch, (list, tuple)) else batch
        batch = batch.asnumpy() if isinstance(batch, np.ndarray) else batch
        batch = numpy.asarray(batch)
        if batch.ndim != 2:
            raise ValueError(
                f"a batch of inter_matrix must be a matrix, not of shape {batch.shape}"
            )
        if batch.shape[1:] != held_out.shape[1:]:
            raise ValueError(
                f"inter_matrix has {batch.shape[1]} columns and test_data "
                f"{held_out.shape[1]}: let both have a row per item, or both a row per "
                "user"
            )
        ratings = held_out[rows : rows + len(batch)]
        rows += len(batch)
        tested = numpy.flatnonzero(ratings.any(axis=1))
        if len(tested):
            yield batch[tested], ratings[tested]
    if rows != len(held_out):
        raise ValueError(
            f"inter_matrix has {rows} rows and test_data {len(held_out)}: both must "
            "have a row for each item, in the same order"
        )
