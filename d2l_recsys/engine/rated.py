"""Compute an autoencoder of ratings at the rated cells only.

In MovieLens 100K, 6 % of the cells are rated. The others are zeros in the input and add
nothing to the loss, so sums over the rated cells replace products of whole matrices.
"""

import math
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy

from d2l_recsys.engine.all_items import is_as_defined, offered
from d2l_recsys.engine.compiled_loops import compiled_loops
from d2l_recsys.engine.id_check import check_inputs
from d2l_recsys.engine.predict import forward
from d2l_recsys.engine.program import Program
from d2l_recsys.runtime.backend import gluon, mx, nn
from d2l_recsys.runtime.memory import finish, in_memory, to_numpy
from d2l_recsys.runtime.workers import worker

Arrays = List[numpy.ndarray]  # V, mu, W and b, or their gradients
_MOST = 0.1  # share of rated cells; with more, products of matrices are faster


class Cells(NamedTuple):
    """Some cells of a matrix of this shape: their rows, columns and values."""

    shape: Tuple[int, ...]
    rows: numpy.ndarray
    columns: numpy.ndarray
    values: numpy.ndarray


def cells_of(matrix: numpy.ndarray, loops: Any = numpy) -> Cells:
    """Return the cells of `matrix` (B, n) that are not 0. `loops` may be compiled."""
    places = loops.flatnonzero((matrix != 0).ravel())
    starts = numpy.arange(len(matrix)) * matrix.shape[1]  # of the rows
    counts = numpy.diff(numpy.searchsorted(places, starts), append=len(places))
    rows = numpy.repeat(numpy.arange(len(matrix)), counts)
    return Cells(matrix.shape, rows, places - starts[rows], matrix.ravel()[places])


class RatedCells:
    """The model ``W sigmoid(V r + mu) + b`` for rows r of n ratings, on CPUs.

    The encoder has V (m, n) and mu (m,), the decoder W (n, m) and b (n,). Call
    ``finish()`` before each use.

    Raises NotImplementedError for other layers, on GPUs, if compiled code is not
    worthwhile or not available, or if a parameter is NaN or infinite: products of whole
    matrices show that even if nobody has rated the item.
    """

    def __init__(
        self, encoder: nn.Dense, dropout: nn.Dropout, decoder: nn.Dense
    ) -> None:
        V, W = encoder.weight, decoder.weight
        self._parameters = [V, encoder.bias, W, decoder.bias]
        plain = type(dropout) is nn.Dropout and not dropout._axes
        if not plain or None in self._parameters or W.shape != V.shape[::-1]:
            raise NotImplementedError
        shared = len({*map(id, self._parameters)}) < 4
        on_cpus = all(device.device_type == "cpu" for device in V.list_ctx())
        self.loops: Any = compiled_loops(math.prod(V.shape)) if on_cpus else None
        if shared or self.loops is None:
            raise NotImplementedError
        self._views: Dict[Any, Tuple[mx.nd.NDArray, numpy.ndarray]] = {}
        if not all(
            numpy.isfinite(x).all() for x in self.parameters_on(V.list_ctx()[0])
        ):
            raise NotImplementedError
        self._buffer = numpy.empty(W.shape, "float32")  # for V.T, or its gradient
        self.rate = dropout._rate

    def cells(self, ratings: Any) -> Optional[Cells]:
        """Return the rated cells, or None if MXNet must compute this batch.

        It must if many cells are rated, or for numbers of another shape or type.
        """
        types = {numpy.dtype(x.dtype) for x in (ratings, *self._parameters)}
        width = self._parameters[0].shape[1:]
        if ratings.shape[1:] != width or types != {numpy.dtype("float32")}:
            return None
        cells = cells_of(to_numpy(ratings), self.loops)
        return cells if len(cells.values) <= _MOST * ratings.size else None

    def parameters_on(self, device: mx.Context) -> Arrays:
        """Return V, mu, W and b."""
        return [self._view((p, device), p.data(device)) for p in self._parameters]

    def gradients_on(self, device: mx.Context) -> Arrays:
        """Return the gradients: of a frozen parameter, an array that nobody reads."""
        arrays = []
        for p in self._parameters:
            if p.grad_req == "null":
                arrays.append(numpy.empty(p.shape, "float32"))
            else:
                p.data(device)._fresh_grad = True  # as after Gluon's backward pass
                arrays.append(self._view((p, device, "gradient"), p.grad(device)))
        return arrays

    def hidden(self, parameters: Arrays, cells: Cells) -> numpy.ndarray:
        """Return ``sigmoid(V r + mu)`` (B, m) for the rows r with these cells."""
        V, mu, *_ = parameters
        self._buffer[:] = V.T
        z = numpy.repeat(mu[None], cells.shape[0], axis=0)
        self.loops.add_rows(cells.rows, cells.columns, cells.values, self._buffer, z)
        with numpy.errstate(over="ignore"):  # 1 / inf is right
            numpy.exp(-z, out=z)
        z += 1
        return numpy.reciprocal(z, out=z)

    def outputs(
        self, parameters: Arrays, cells: Cells, hidden: numpy.ndarray
    ) -> numpy.ndarray:
        """Return ``W h + b`` at the cells, for the rows h of `hidden` (B, m)."""
        *_, W, b = parameters
        outputs = numpy.empty(len(cells.rows), "float32")
        self.loops.dot_rows(cells.rows, cells.columns, hidden, W, outputs)
        outputs += b[cells.columns]
        return outputs

    def backward(
        self,
        parameters: Arrays,
        gradients: Arrays,
        cells: Cells,
        hidden: numpy.ndarray,
        mask: numpy.ndarray,
        d_outputs: numpy.ndarray,
    ) -> None:
        """Write all `gradients`, given those of the outputs, of shape (cells,).

        `hidden` (B, m) are the hidden units before dropout, and `mask` is its mask.
        """
        shape, rows, columns, ratings = cells
        W, add_rows = parameters[2], self.loops.add_rows
        d_V, d_mu, d_W, d_b = gradients
        d_z = numpy.zeros_like(hidden)
        add_rows(rows, columns, d_outputs, W, d_z)
        d_z *= mask
        d_z *= hidden * (1 - hidden)
        d_z.sum(axis=0, out=d_mu)
        d_b[:] = numpy.bincount(columns, d_outputs, shape[1])
        # In the order of columns, add_rows is faster. NumPy sorts 16 bits fastest.
        small = columns.astype(numpy.min_scalar_type(shape[1]))
        order = numpy.argsort(small, kind="stable")
        columns, rows = columns[order], rows[order]
        d_W[:] = 0
        add_rows(columns, rows, d_outputs[order], hidden * mask, d_W)
        self._buffer[:] = 0
        add_rows(columns, rows, ratings[order], d_z, self._buffer)
        d_V[:] = self._buffer.T

    def _view(self, key: Any, array: mx.nd.NDArray) -> numpy.ndarray:
        if key not in self._views or self._views[key][0] is not array:
            self._views[key] = array, in_memory(array)
        return self._views[key][1]


class RatedProgram(Program):
    """Run ``L2Loss`` of a model that has :class:`RatedCells`.

    The outputs are the losses (B,) and the shares of rated cells (B, 1).
    """

    def __init__(self, model: RatedCells, *graph: Any) -> None:
        super().__init__(*graph)
        self._model = model

    def __call__(
        self, devices: Sequence[mx.Context], pieces: Sequence[Sequence]
    ) -> List[Sequence[numpy.ndarray]]:
        """Write the gradients of one piece per device; return the outputs of each."""
        finish()
        alone = all(len(piece) == 1 for piece in pieces)  # and not with other labels
        cells = [self._model.cells(x) for x, *_ in pieces] if alone else [None]
        found = [x for x in cells if x is not None]
        if len(found) < len(cells):
            return super().__call__(devices, pieces)
        with numpy.errstate(all="ignore"):  # the caller checks the losses
            return [self._run(*each) for each in zip(devices, found)]

    def _run(self, device: mx.Context, cells: Cells) -> List[numpy.ndarray]:
        num_rows, n = cells.shape
        parameters = self._model.parameters_on(device)
        gradients = self._model.gradients_on(device)
        hidden = self._model.hidden(parameters, cells)
        mask = numpy.ones_like(hidden)
        if self._model.rate:
            self.masks.fill(mask, self._model.rate)
        errors = self._model.outputs(parameters, cells, hidden * mask) - cells.values
        slope = numpy.float32(self._loss._weight / n)  # the loss is a mean of n cells
        d_outputs = slope * errors
        self._model.backward(parameters, gradients, cells, hidden, mask, d_outputs)
        losses = numpy.bincount(cells.rows, errors * errors, num_rows) * slope / 2
        shares = numpy.bincount(cells.rows, minlength=num_rows)[:, None] / n
        return [losses.astype("float32"), shares.astype("float32")]


def rated_program(losses: Callable, net: gluon.Block, loss: gluon.loss.Loss) -> Program:
    """Return the fastest program for the losses of a net that is trained on ratings."""
    known = type(loss) is gluon.loss.L2Loss and loss._batch_axis == 0
    model = offered(net, "rated_cells") if known and is_as_defined(loss) else None
    graph = losses, net, loss
    return RatedProgram(model, *graph) if model else Program(*graph)


def predictions_at_labels(
    net: gluon.Block, batches: Iterable[Sequence], devices: Sequence[mx.Context]
) -> Iterator[Tuple[numpy.ndarray, numpy.ndarray]]:
    """Yield the outputs of `net` where there are labels, and these labels.

    A batch is [ratings (B, n), labels (B, n)], arrays of NumPy. A missing label is 0.
    Each worker takes its share of a batch.
    """
    model = offered(net, "rated_cells")
    finish()
    for batch in batches:
        ratings, labels = worker.share(batch)
        if not len(labels):
            continue
        rated = model and model.cells(ratings)
        cells = cells_of(labels, model.loops if model else numpy)
        if rated:
            parameters = model.parameters_on(devices[0])
            hidden = model.hidden(parameters, rated)
            yield model.outputs(parameters, cells, hidden), cells.values
        else:
            check_inputs(net, [ratings])
            outputs = forward(net, [ratings], devices)
            yield outputs[cells.rows, cells.columns], cells.values
