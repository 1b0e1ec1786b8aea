"""Compute an autoencoder of ratings at the rated cells only.

About one cell in twenty is rated. The others are zeros in the input, and no part of the
loss. So sums over the rated cells replace the products of whole matrices.

This loads compiled code: see :mod:`d2l_recsys.engine.native`.
"""

from typing import Any, Callable, Dict, List, Optional, Sequence

import numpy

from d2l_recsys.engine import compiled
from d2l_recsys.engine.predict import Cells, cells_of
from d2l_recsys.engine.program import Program
from d2l_recsys.runtime.backend import gluon, mx, nn
from d2l_recsys.runtime.memory import finish, in_memory, to_numpy

_FEW = 0.1  # of all cells: if more are rated, products of matrices are faster


class Autoencoder:
    """``W sigmoid(V r + mu) + b`` for rows r of n ratings, with m hidden units.

    V (m, n) and mu (m,) are the parameters of the encoder, W (n, m) and b (n,) those of
    the decoder. It runs on CPUs only; call ``finish()`` before each use.
    """

    def __init__(
        self, encoder: nn.Dense, dropout: nn.Dropout, decoder: nn.Dense
    ) -> None:
        layers = encoder, decoder
        self._parameters = [p for x in layers for p in (x.weight, x.bias)]
        self._transposed = numpy.empty(decoder.weight.shape, "float32")  # of V
        self._views: Dict[int, numpy.ndarray] = {}  # of arrays, by their id
        self.rate = dropout._rate

    def cells(self, device: mx.Context, ratings: Any) -> Optional[Cells]:
        """Return the rated cells of a batch, or None if it needs the whole matrices."""
        _, n = self._parameters[0].shape
        if device.device_type != "cpu" or ratings.shape[1:] != (n,):
            return None
        cells = cells_of(to_numpy(ratings))
        few = len(cells.values) <= _FEW * ratings.size
        return cells if few and cells.values.dtype == "float32" else None

    def hidden(self, device: mx.Context, cells: Cells) -> numpy.ndarray:
        """Return ``sigmoid(V r + mu)`` (B, m) for the rows r with these cells."""
        V, mu, *_ = self._on(device)
        self._transposed[:] = V.T
        z = numpy.repeat(mu[None], cells.shape[0], axis=0)
        compiled.add_rows(*cells[1:], self._transposed, z)
        with numpy.errstate(over="ignore"):  # 1 / inf is right
            numpy.exp(-z, out=z)
        z += 1
        return numpy.reciprocal(z, out=z)

    def outputs(
        self, device: mx.Context, cells: Cells, hidden: numpy.ndarray
    ) -> numpy.ndarray:
        """Return ``W h + b`` at the cells, for the rows h of `hidden` (B, m)."""
        *_, W, b = self._on(device)
        outputs = numpy.empty(len(cells.rows), "float32")
        compiled.dot_rows(cells.rows, cells.columns, hidden, W, outputs)
        outputs += b[cells.columns]
        return outputs

    def backward(
        self,
        device: mx.Context,
        cells: Cells,
        hidden: numpy.ndarray,
        mask: numpy.ndarray,
        d_outputs: numpy.ndarray,
    ) -> None:
        """Write all gradients, given those of the outputs at the cells.

        `hidden` (B, m) was multiplied by the dropout mask (B, m).
        """
        shape, rows, columns, ratings = cells
        n = shape[1]
        W = self._on(device)[2]
        d_V, d_mu, d_W, d_b = self._gradients(device)
        d_z = numpy.zeros_like(hidden)
        compiled.add_rows(rows, columns, d_outputs, W, d_z)
        d_z *= mask
        d_z *= hidden * (1 - hidden)
        d_z.sum(axis=0, out=d_mu)
        d_b[:] = numpy.bincount(columns, d_outputs, n)
        # Column by column. NumPy sorts 16-bit numbers fastest.
        small = columns.astype(numpy.min_scalar_type(n))
        order = numpy.argsort(small, kind="stable")
        columns, rows = columns[order], rows[order]
        d_W[:] = 0
        compiled.add_rows(columns, rows, d_outputs[order], hidden * mask, d_W)
        self._transposed[:] = 0
        compiled.add_rows(columns, rows, ratings[order], d_z, self._transposed)
        d_V[:] = self._transposed.T

    def program(
        self, losses: Callable, net: gluon.Block, loss: gluon.loss.Loss
    ) -> Optional["RatedProgram"]:
        """Return a program for ``L2Loss``, or None for another loss."""
        known = type(loss) is gluon.loss.L2Loss and loss._batch_axis == 0
        return RatedProgram(self, losses, net, loss) if known else None

    def _on(self, device: mx.Context) -> List[numpy.ndarray]:
        return [self._view(p.data(device)) for p in self._parameters]

    def _view(self, array: mx.nd.NDArray) -> numpy.ndarray:
        if id(array) not in self._views:
            self._views[id(array)] = in_memory(array)  # which keeps the array alive
        return self._views[id(array)]

    def _gradients(self, device: mx.Context) -> List[numpy.ndarray]:
        """Return where to write the gradients: for a frozen parameter, anywhere."""
        arrays = []
        for p in self._parameters:
            if p.grad_req == "null":
                arrays.append(numpy.empty(p.shape, "float32"))
            else:
                p.data(device)._fresh_grad = True  # as after Gluon's backward pass
                arrays.append(self._view(p.grad(device)))
        return arrays


class RatedProgram(Program):
    """Return ``L2Loss`` of an :class:`Autoencoder`, and the shares of rated cells.

    Batches with many rated cells, and those on a GPU, run as a graph.
    """

    def __init__(self, model: Autoencoder, *graph: Any) -> None:
        super().__init__(*graph)
        self._model = model

    def __call__(
        self, devices: Sequence[mx.Context], pieces: Sequence[Sequence]
    ) -> List[Sequence[numpy.ndarray]]:
        """Write the gradients of one piece per device; return the outputs of each."""
        finish()
        cells = [self._model.cells(d, *piece) for d, piece in zip(devices, pieces)]
        found = [x for x in cells if x]
        if len(found) < len(cells):
            return super().__call__(devices, pieces)
        with numpy.errstate(all="ignore"):  # the caller checks the losses
            return [self._run(*each) for each in zip(devices, found)]

    def _run(self, device: mx.Context, cells: Cells) -> List[numpy.ndarray]:
        num_rows, n = cells.shape
        hidden = self._model.hidden(device, cells)
        mask = numpy.ones_like(hidden)
        if self._model.rate:
            self.masks.fill(mask, self._model.rate)
        errors = self._model.outputs(device, cells, hidden * mask) - cells.values
        slope = numpy.float32(self._loss._weight / n)  # the loss is a mean of n cells
        self._model.backward(device, cells, hidden, mask, slope * errors)
        losses = numpy.bincount(cells.rows, errors * errors, num_rows) * slope / 2
        shares = numpy.bincount(cells.rows, minlength=num_rows)[:, None] / n
        return [losses.astype("float32"), shares.astype("float32")]
