"""The one epoch loop. A section supplies the step, the loop owns the bookkeeping."""

import math
import time
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import Callable, Dict, Optional, Sequence

import numpy

from d2l_recsys.engine.checkpoint import Checkpoint, History
from d2l_recsys.runtime.backend import autograd, gluon, mx, nn
from d2l_recsys.runtime.devices import devices_of, split_and_load
from d2l_recsys.runtime.workers import worker

_RANKS_APART = 2**20  # more than the epochs of any training


class NonFiniteLoss(ValueError):
    """The training loss became NaN or infinite; the text says where."""


def fit(
    net: gluon.Block,
    train_iter,
    trainer: gluon.Trainer,
    num_epochs: int,
    devices: Sequence[mx.Context],
    step: Callable,
    evaluate: Callable[[int], Dict[str, float]],
    count: Optional[Callable[[list], float]] = None,
    on_epoch: Optional[Callable[[History], None]] = None,
    stop: Optional[Callable[[History], bool]] = None,
    checkpoint: Optional[Checkpoint] = None,
) -> History:
    """Train `net`, and return one dictionary for each epoch.

    ``step(*piece)``, called under ``autograd.record()``, returns the losses of a
    device's piece of the batch; their sum is differentiated. ``evaluate(epoch)``
    returns the epoch's metrics by name; those it leaves out stay as they were. The
    history holds these and

    * epoch, from 1; seconds and examples_per_sec, of training alone;
    * train_loss, the sum of the epoch's losses over the number of its rows, or over
      the sum of ``count(batch)``.

    ``on_epoch(history)`` is called after each epoch, and training ends early where
    ``stop(history)`` is true. With `checkpoint` the start and each epoch are saved, and
    what was found there is gone on from. MXNet's generator is seeded anew for each
    epoch, from its state at the start, because its state cannot be saved.

    Of several workers (see ``distributed``) each takes its share of every batch, and
    all get the same net and figures, those of a single worker but for rounding and for
    the masks of dropout. They begin with the parameters of worker 0. `train_iter` must
    give all of them the same batches, and `evaluate` and `stop` the same answers.

    Raises :class:`NonFiniteLoss` at the first loss, parameter or test score that is NaN
    or infinite. The net then has the parameters with which that epoch began. A
    KeyboardInterrupt passes with the history so far as its attribute. Raises ValueError
    for devices that are not those of the net, and for gradients that add up.
    """
    if num_epochs < 1:
        raise ValueError(f"num_epochs must be at least 1, not {num_epochs}")
    _check_gradients(net, devices)
    worker.broadcast(net)
    history, seed = [], int(mx.np.random.randint(0, 2**30).item())
    seed = int(worker.sum([0 if worker.rank else seed])[0])
    if checkpoint is not None:
        found = checkpoint.restore(net, trainer, train_iter)
        history, seed = found or (history, seed)
        if not found:
            checkpoint.save(net, trainer, train_iter, history, seed)
    if history and on_epoch is not None:
        on_epoch(history)
    try:
        for epoch in range(len(history) + 1, num_epochs + 1):
            mx.random.seed(seed + epoch + worker.rank * _RANKS_APART)
            with _undoing(net, trainer, epoch):
                entry = {"epoch": epoch}
                entry.update(_train_epoch(train_iter, trainer, devices, step, count))
                _check_parameters(net)
                entry.update(evaluate(epoch))
            history.append({**(history[-1] if history else {}), **entry})
            if checkpoint is not None:
                checkpoint.save(net, trainer, train_iter, history, seed)
            if on_epoch is not None:
                on_epoch(history)
            if stop is not None and stop(history):
                break
    except KeyboardInterrupt as interrupt:
        interrupt.history = history
        raise
    return history


class OneGraph(nn.HybridBlock):
    """``function(F, net, loss, *piece)`` as a single hybridized block."""

    def __init__(self, function, net, loss):
        super().__init__()
        self.function, self.net, self.loss = function, net, loss

    def hybrid_forward(self, F, *piece):
        """Return the losses of a piece of a batch."""
        # MXNet runs operations on its own arrays together, on a caller's one by one.
        piece = [F.np.copy(x) for x in piece]
        return self.function(F, self.net, self.loss, *piece)


def make_step(function: Callable, net: gluon.Block, loss: gluon.Block) -> Callable:
    """Return ``step(*piece)`` that calls ``function(F, net, loss, *piece)``.

    F is the module of MXNet's operators, as in ``hybrid_forward``. If the net was
    hybridized, net and loss become one graph, with the flags of the net: one call of
    MXNet in each direction in place of two, which a small model feels. The loss is then
    what it was when training began, and stays itself as it is.
    """
    written = [getattr(type(x), "hybrid_forward", None) for x in (net, loss)]
    abstract = (None, nn.HybridBlock.hybrid_forward, gluon.loss.Loss.hybrid_forward)
    if not getattr(net, "_active", False) or any(f in abstract for f in written):
        return partial(function, mx.nd, net, loss)
    step = OneGraph(function, net, copy(loss))
    step.hybridize(**dict(net._flags))
    return step


def examples_per_sec(history: History) -> float:
    """Return the examples trained on per second, over all epochs of `history`."""
    rows = sum(epoch["examples_per_sec"] * epoch["seconds"] for epoch in history)
    return rows / sum(epoch["seconds"] for epoch in history)


def _check_gradients(net, devices):
    """Raise ValueError where a step would take other gradients than its batch's."""
    if {*devices} != {*devices_of(net)}:
        raise ValueError(
            f"the net is on {devices_of(net)}, not on {devices}: net.reset_ctx(devices)"
        )
    for name, parameter in net.collect_params().items():
        if parameter.grad_req == "add":
            raise ValueError(f"{name} adds its gradients up: set grad_req to 'write'")


@contextmanager
def _undoing(net, trainer, epoch):
    """Give the net its parameters back where something becomes NaN or infinite."""
    begin = _parameters(net)
    try:
        yield
    except NonFiniteLoss as error:
        _restore(net, begin)
        if epoch == 1 and str(error).endswith("in batch 1"):
            raise NonFiniteLoss(
                f"{error} of epoch 1, before any step: look for NaN in the data, in "
                "the initial parameters and in the loss"
            ) from None
        raise NonFiniteLoss(
            f"{error} of epoch {epoch}, with learning rate {trainer.learning_rate:g}: "
            "lower it, with a new trainer. The net has the parameters of epoch "
            f"{epoch - 1}'s end again."
        ) from None


def _train_epoch(train_iter, trainer, devices, step, count):
    """Train for an epoch; return what the history says of it."""
    total, weight, rows, last = 0.0, 0.0, 0, None
    start = time.perf_counter()
    for number, batch in enumerate(train_iter, 1):
        batch = batch if isinstance(batch, (list, tuple)) else [batch]
        try:
            losses, size = _gradients(batch, devices, step), len(batch[0])
        except NonFiniteLoss as error:  # a loss that checks its scores
            raise NonFiniteLoss(f"{error} in batch {number}") from None
        losses = worker.sum_gradients(trainer, losses)
        trainer.step(size)
        rows, weight = rows + size, weight + (count(batch) if count else size)
        # Read a batch late: while MXNet computes this one, Python prepares the next.
        total, last = total + _finite_sum(last, number - 1), losses
    if last is None:
        raise ValueError(
            "train_iter gave no batch: it has fewer rows than a batch, and last_batch "
            "is 'rollover' or 'discard'; lower batch_size or let it be 'keep'"
        )
    total += _finite_sum(last, number)
    mx.nd.waitall()
    seconds = time.perf_counter() - start
    return {
        "train_loss": total / weight,
        "seconds": seconds,
        "examples_per_sec": rows / seconds,
    }


def _check_parameters(net):
    for name, values in _parameters(net).items():
        if not numpy.isfinite(values.asnumpy()).all():
            raise NonFiniteLoss(f"{name} became NaN or infinite at the end")


def _gradients(batch, devices, step):
    """Run `step` forward and backward on every device; return the losses."""
    share = worker.share(batch)
    pieces = list(zip(*(split_and_load(data, devices) for data in share)))
    idle = devices[len(pieces) :]
    example = pieces[0] if pieces else [data[:1] for data in batch]
    with autograd.record():
        losses = [step(*piece) for piece in pieces]
        # A device without rows still owes the trainer a gradient: zero.
        zeros = [step(*(x.as_in_ctx(d) for x in example)) * 0 for d in idle]
    autograd.backward(losses + zeros)
    return losses


def _finite_sum(losses, number):
    if losses is None:
        return 0.0
    total = sum(float(loss.asnumpy().sum(dtype="float64")) for loss in losses)
    if not math.isfinite(total):
        raise NonFiniteLoss(f"the training loss became {total} in batch {number}")
    return total


def _parameters(net):
    """Return a copy of the parameters that have values already."""
    return {
        name: parameter.list_data()[0].copy()
        for name, parameter in net.collect_params().items()
        if parameter._data is not None
    }


def _restore(net, parameters):
    for name, parameter in net.collect_params().items():
        if name in parameters:
            parameter.set_data(parameters[name])


class BestEpoch:
    """Remember the parameters of the epoch with the lowest `key`: pass it as ``stop``.

    Training ends when `key` has not fallen for `patience` epochs.
    """

    def __init__(self, net: gluon.Block, key: str, patience: int):
        if patience < 1:
            raise ValueError(f"patience must be at least 1, not {patience}")
        self.net, self.key, self.patience = net, key, patience
        self.epoch, self.lowest, self.parameters = 0, math.inf, {}

    def __call__(self, history: History) -> bool:
        """Look at the newest epoch, and tell whether it is time to stop."""
        epoch, value = len(history), history[-1][self.key]
        if value < self.lowest:
            self.epoch, self.lowest = epoch, value
            self.parameters = _parameters(self.net)
        return epoch - self.epoch >= self.patience

    def restore(self) -> None:
        """Give the net the parameters of its best epoch."""
        _restore(self.net, self.parameters)
