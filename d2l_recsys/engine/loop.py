"""The epoch loop. A section supplies losses, an evaluation and a line to print."""

import math
import time
from functools import partial
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple, Union

import numpy

from d2l_recsys.data.sizes import check_list, check_size
from d2l_recsys.engine.adam import trained_by
from d2l_recsys.engine.batching import in_numpy, num_rows
from d2l_recsys.engine.checkpoint import Checkpoint, History
from d2l_recsys.engine.errors import NonFiniteLoss
from d2l_recsys.engine.exchange import exchange_for
from d2l_recsys.engine.gradients import (
    check_gradients,
    check_reached,
    check_trainer,
    forget_gradients,
    zero_gradients,
)
from d2l_recsys.engine.id_check import IdCheck, sum_of_scores
from d2l_recsys.engine.program import NoProgram, Program
from d2l_recsys.engine.snapshot import (
    BestEpoch,
    check_finite,
    kept_epoch,
    undo_unfinished,
    which_epoch,
)
from d2l_recsys.runtime.backend import autograd, gluon, mx, np
from d2l_recsys.runtime.devices import devices_of, mxnet_seed, split
from d2l_recsys.runtime.workers import worker

Outputs = List[Sequence[numpy.ndarray]]  # of all batches and devices


class Step:
    """The forward and backward pass of one batch, one piece of it per device.

    ``losses(F, net, loss, *piece)`` returns the losses of a piece, or a tuple of the
    losses and any outputs to evaluate. F is the module of MXNet's operators, as in
    ``hybrid_forward``. If the net is hybridized, and it and the loss define
    ``hybrid_forward``, this runs as ``make_program(losses, net, loss)``. Then the
    losses and outputs are valid only until the next call.

    By default, `devices` are those of the net. Raises ValueError if they are not, or if
    the gradients of a parameter add up.
    """

    def __init__(
        self,
        net: gluon.Block,
        loss: gluon.loss.Loss,
        devices: Union[mx.Context, Sequence[mx.Context], None],
        losses: Callable,
        make_program: Callable[..., Program] = Program,
    ):
        self.net, self.devices = net, devices_of(net, devices)
        check_gradients(net, self.devices)
        self._losses, self._loss, self._program = losses, loss, None
        if Program.can_run(net, loss):
            self._program = make_program(losses, net, loss)
        self._check = IdCheck(net, partial(_with, losses, net, sum_of_scores))
        self._each_batch = True

    def check(self, loader: Any) -> None:
        """Raise ValueError for an id that the net does not have.

        If the loader holds arrays, their ids are checked here, once. Those of another
        loader are checked batch by batch.
        """
        dataset: Any = getattr(loader, "dataset", None)
        self._each_batch = not hasattr(dataset, "id_columns")
        if not self._each_batch:
            self._check(dataset.id_columns())

    def check_batch(self, batch: Sequence) -> None:
        """Raise ValueError for columns of different lengths, or unknown ids."""
        num_rows(batch)
        if self._each_batch:
            self._check(batch)

    def __call__(self, batch: Sequence) -> Tuple[List[numpy.ndarray], Outputs]:
        """Write the gradients of `batch`; return the losses and outputs by device."""
        pieces = list(zip(*(split(data, len(self.devices)) for data in batch)))
        results = self._run_program(pieces)
        if results is None:
            results = self._record(pieces)
        # The trainer needs a gradient from devices without rows, too.
        for device in self.devices[len(pieces) :]:
            zero_gradients(self.net, device)
        return [loss for loss, *_ in results], [outputs for _, *outputs in results]

    def batches(self, loader: Any) -> Iterable[Sequence]:
        """Return the batches of an epoch: for a program, as arrays of NumPy."""
        return in_numpy(loader) if self._program else loader

    def _run_program(self, pieces: Sequence) -> Optional[Outputs]:
        try:
            return self._program(self.devices, pieces) if self._program else None
        except NoProgram:
            self._program = None  # from now on
            return None

    def _record(self, pieces: Sequence) -> Outputs:
        with autograd.record():
            results = []
            for device, piece in zip(self.devices, pieces):
                arrays = [_on_device(x, device) for x in piece]
                losses = self._losses(mx.nd, self.net, self._loss, *arrays)
                results.append(_as_tuple(losses))
        if results:
            autograd.backward([loss for loss, *_ in results])
        return [[x.asnumpy() for x in each] for each in results]

    def seed(self, seed: int) -> None:
        """Determine the dropout masks, and whatever else MXNet's generator draws."""
        mx.random.seed(seed)
        if self._program:
            self._program.masks.seed(seed)

    @property
    def runs_program(self) -> bool:
        """Whether batches run as a program, which may show only at the first one."""
        return self._program is not None

    @property
    def graph(self) -> Callable:
        """A function ``graph(F, *batch)`` that returns the losses of a batch."""
        return partial(_with, self._losses, self.net, self._loss)


def _with(losses, net, loss, F, *piece):
    return losses(F, net, loss, *piece)


def _on_device(x, device):
    of_numpy = isinstance(x, numpy.ndarray)
    return np.array(x, x.dtype, ctx=device) if of_numpy else x.as_in_ctx(device)


def _as_tuple(result):
    return tuple(result) if isinstance(result, (list, tuple)) else (result,)


def fit(
    step: Step,
    train_iter: Any,
    trainer: gluon.Trainer,
    num_epochs: int,
    evaluate: Callable[[Dict[str, float], Outputs], Dict[str, float]],
    labels: Optional[Dict[str, str]] = None,
    on_epoch: Optional[Callable[[History], Optional[bool]]] = None,
    checkpoint: Optional[Checkpoint] = None,
    patience: Optional[int] = None,
) -> History:
    """Train, print the section's two lines, and return one dict per epoch.

    ``evaluate(entry, outputs)`` returns metrics by name. Metrics that it leaves out
    keep the value of the previous epoch. `outputs` are those of the epoch's steps.
    `entry` holds

    * epoch, from 1; seconds and examples_per_sec, of training only;
    * train_loss, the mean loss per row of the epoch.

    The first line has the metrics in `labels`, {metric: its name}, the second the
    speed. Without `labels`, nothing is printed.

    ``on_epoch(history)`` is called after each epoch. Training ends if it returns True.
    If the metrics include one of validation data (see ``snapshot.kept_epoch``), the net
    ends with the parameters of the best epoch, and training ends if it has not improved
    for `patience` epochs.

    With `checkpoint`, the start and each epoch are saved, and training continues from
    the checkpoint that was found. The optimizer must then start with the same learning
    rate and other settings as before; a value changed during training is restored.
    `train_iter` is resumed by its ``state``; without one, it must yield the same
    batches in every epoch. MXNet's generator is seeded before each epoch, because its
    state cannot be saved.

    With several workers (see ``runtime.workers``), each takes its share of every batch.
    All start with the parameters of worker 0 and end with the same net and metrics as a
    single worker, except for rounding and dropout masks. `train_iter` must yield the
    same batches on all workers, and `evaluate` and `on_epoch` return the same values.

    Raises ValueError if `trainer` does not train this net, or if one of its parameters
    gets no gradient from the first batch. Warns if `trainer` trains the net in part.
    Raises :class:`NonFiniteLoss` at the first loss, parameter or test score that is NaN
    or infinite; the net then has the parameters from the start of that epoch. Raises
    :class:`CheckpointError` if the checkpoint does not fit. A KeyboardInterrupt carries
    the history so far and the net as its attributes ``history`` and ``net``. The net
    then has the parameters from the end of the last finished epoch, or of the best one.
    """
    check_size(num_epochs, "num_epochs")
    check_list(train_iter, "train_iter", "a BatchLoader, or an iterable of batches")
    net, best = step.net, BestEpoch(step.net, patience)
    check_trainer(net, trainer)
    step.check(train_iter)
    worker.broadcast(net)
    history, seed = _start(net, trainer, train_iter, num_epochs, checkpoint)
    unchecked, exchange = trained_by(trainer), exchange_for(step, trainer)
    stop = bool(history and on_epoch and on_epoch(history))
    try:
        while len(history) < num_epochs and not stop:
            epoch = len(history) + 1
            entry: Dict[str, float] = {"epoch": epoch}
            step.seed(mxnet_seed(seed, epoch * worker.num_workers + worker.rank))
            with undo_unfinished(net, trainer, epoch):
                with exchange.epoch():
                    figures, outputs = _train_epoch(exchange, train_iter, unchecked)
                entry.update(figures)
                check_finite(net)
                entry.update(evaluate(entry, outputs))
            unchecked = []
            history.append({**(history[-1] if history else {}), **entry})
            if checkpoint is not None:
                checkpoint.save(net, trainer, train_iter, history, seed)
            stop = on_epoch is not None and bool(on_epoch(history))
            stop = best(history) or stop
    except KeyboardInterrupt as interrupt:
        best.restore()
        vars(interrupt).update(history=history, net=net)
        raise
    best.restore()
    if labels:
        kept = kept_epoch(history)
        figures = [f"{labels[key]} {kept[key]:.3f}" for key in labels if key in kept]
        print(", ".join(figures) + which_epoch(history))
        print(f"{examples_per_sec(history):.1f} examples/sec on {step.devices}")
    return history


def examples_per_sec(history: History) -> float:
    """Return the examples trained on per second, over all epochs of `history`."""
    rows = sum(epoch["examples_per_sec"] * epoch["seconds"] for epoch in history)
    return rows / sum(epoch["seconds"] for epoch in history)


def mean_output(outputs: Outputs) -> float:
    """Return the mean of an output with one number per row, over all workers."""
    values = numpy.concatenate([value for (value,) in outputs])
    total, rows = worker.sum([values.sum(dtype="float64"), len(values)])
    return float(total / rows)


def _start(net, trainer, train_iter, num_epochs, checkpoint):
    """Return the history and the seed to start with, from a checkpoint if any."""
    seed = int(mx.np.random.randint(0, 2**30).item())
    seed = int(worker.sum([0 if worker.rank else seed])[0])
    if checkpoint is None:
        return [], seed
    found = checkpoint.restore(net, trainer, train_iter, num_epochs)
    if found:
        return found
    checkpoint.save(net, trainer, train_iter, [], seed)
    return [], seed


def _train_epoch(exchange, train_iter, unchecked):
    """Train for an epoch; return its entry in the history, and all outputs.

    Raises ValueError if the first batch gives no gradient to one of `unchecked`.
    """
    step, trainer = exchange.step, exchange.trainer
    forget_gradients(unchecked)
    total, rows, collected, start = 0.0, 0, [], time.perf_counter()
    for number, batch in enumerate(exchange.shares(train_iter), 1):
        try:
            losses, outputs = step(batch)
        except NonFiniteLoss as error:  # a loss that checks its scores
            raise NonFiniteLoss(f"{error} in batch {number}") from None
        if number == 1:
            check_reached(unchecked)
        losses, size = exchange.sum(losses)
        trainer.step(size)
        rows += size
        collected += [[x.copy() for x in each] for each in outputs if each]
        total += _finite_sum(losses, number)
    if not rows:
        raise ValueError(
            "train_iter gave no batch: it has fewer rows than a batch, and last_batch "
            "is 'rollover' or 'discard'; lower batch_size or use 'keep'"
        )
    mx.nd.waitall()
    seconds = time.perf_counter() - start
    figures = {
        "train_loss": total / rows,
        "seconds": seconds,
        "examples_per_sec": rows / seconds,
    }
    return figures, collected


def _finite_sum(losses, number):
    total = sum(float(loss.sum(dtype="float64")) for loss in losses)
    if not math.isfinite(total):
        raise NonFiniteLoss(f"the training loss became {total} in batch {number}")
    return total
