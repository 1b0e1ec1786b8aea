"""The one epoch loop. A section supplies losses, an evaluation and a line to print."""

import math
import time
from copy import copy
from functools import partial
from typing import Callable, Dict, List, Optional, Sequence, Tuple, Union

import numpy

from d2l_recsys.engine.checkpoint import Checkpoint, History
from d2l_recsys.engine.errors import NonFiniteLoss
from d2l_recsys.engine.id_check import IdCheck, sum_of_scores
from d2l_recsys.engine.snapshot import check_finite, undo_on_divergence
from d2l_recsys.runtime.backend import autograd, gluon, mx, nn
from d2l_recsys.runtime.devices import devices_of, split_and_load
from d2l_recsys.runtime.workers import worker

_RANKS_APART = 2**20  # more than the epochs of any training
Outputs = List[Tuple[mx.nd.NDArray, ...]]


class Step:
    """The forward and backward pass of one batch, a piece of it on each device.

    ``losses(F, net, loss, *piece)`` returns the losses of a piece, or a tuple of the
    losses and of outputs for the section to evaluate. F is the module of MXNet's
    operators, as in ``hybrid_forward``. If the net was hybridized, net and loss become
    one graph with the flags of the net: one call of MXNet in each direction instead of
    two, which matters for small models. That graph keeps the loss as it is now.

    `devices` default to those of the net. Raises ValueError for devices that are not
    those of the net, and for parameters whose gradients add up.
    """

    def __init__(
        self,
        net: gluon.Block,
        loss: gluon.loss.Loss,
        devices: Union[mx.Context, Sequence[mx.Context], None],
        losses: Callable,
    ):
        self.net, self.devices = net, devices_of(net, devices)
        _check_gradients(net, self.devices)
        self._run = _as_graph(losses, net, loss)
        self._check = IdCheck(net, partial(_looked_up, losses, net))
        self._each_batch = True

    def check(self, loader) -> None:
        """Raise ValueError for an id that the net does not have.

        Those of a loader that holds arrays are checked here, once, those of another
        loader batch by batch.
        """
        dataset = getattr(loader, "dataset", None)
        self._each_batch = not hasattr(dataset, "id_columns")
        if not self._each_batch:
            self._check(dataset.id_columns())

    def __call__(self, batch: Sequence) -> Tuple[list, Outputs]:
        """Write the gradients of `batch`; return the losses and outputs by device."""
        if self._each_batch:
            self._check(batch)
        share = worker.share(batch)
        pieces = list(zip(*(split_and_load(data, self.devices) for data in share)))
        idle = self.devices[len(pieces) :]
        example = pieces[0] if pieces else [data[:1] for data in batch]
        with autograd.record():
            results = [_as_tuple(self._run(*piece)) for piece in pieces]
            losses = [loss for loss, *_ in results]
            # A device without rows still owes the trainer a gradient: zero.
            zeros = [
                _as_tuple(self._run(*(x.as_in_ctx(d) for x in example)))[0] * 0
                for d in idle
            ]
        autograd.backward(losses + zeros)
        return losses, [outputs for _, *outputs in results]


class _Graph(nn.HybridBlock):
    """``losses(F, net, loss, *piece)`` as a single hybridized block."""

    def __init__(self, losses, net, loss):
        super().__init__()
        self.losses, self.net, self.loss = losses, net, loss

    def hybrid_forward(self, F, *piece):
        # MXNet runs operations on its own arrays together, on a caller's one by one.
        piece = [F.np.copy(x) for x in piece]
        return self.losses(F, self.net, self.loss, *piece)


def _as_graph(losses, net, loss):
    written = [getattr(type(x), "hybrid_forward", None) for x in (net, loss)]
    abstract = (None, nn.HybridBlock.hybrid_forward, gluon.loss.Loss.hybrid_forward)
    if not getattr(net, "_active", False) or any(f in abstract for f in written):
        return partial(losses, mx.nd, net, loss)
    graph = _Graph(losses, net, copy(loss))
    graph.hybridize(**dict(net._flags))
    return graph


def _looked_up(losses, net, F, *piece):
    return losses(F, net, sum_of_scores, *piece)


def _as_tuple(result):
    return tuple(result) if isinstance(result, (list, tuple)) else (result,)


def fit(
    step: Step,
    train_iter,
    trainer: gluon.Trainer,
    num_epochs: int,
    evaluate: Callable[[Dict[str, float], Outputs], Dict[str, float]],
    line: Optional[Callable[[History], str]] = None,
    on_epoch: Optional[Callable[[History], Optional[bool]]] = None,
    checkpoint: Optional[Checkpoint] = None,
) -> History:
    """Train, print the section's `line` and the speed, return a dict for each epoch.

    ``evaluate(entry, outputs)`` returns metrics by name; what it leaves out stays as it
    was an epoch before. `outputs` are those of the epoch's steps, and `entry` holds

    * epoch, from 1; seconds and examples_per_sec, of training alone;
    * train_loss, the sum of the epoch's losses over the number of its rows.

    ``on_epoch(history)`` is called after each epoch and ends the training by returning
    True. With `checkpoint`, the start and each epoch are saved, and training goes on
    from what was found there. MXNet's generator is seeded for each epoch, because its
    state cannot be saved.

    With several workers (see ``runtime.workers``) each takes its share of every batch.
    All begin with the parameters of worker 0 and end with the same net and figures,
    those of a single worker but for rounding and dropout masks. `train_iter` must give
    all of them the same batches, and `evaluate` and `on_epoch` the same answers.

    Raises :class:`NonFiniteLoss` at the first loss, parameter or test score that is NaN
    or infinite; the net then has the parameters with which that epoch began. A
    KeyboardInterrupt passes with the history so far as its attribute.
    """
    if num_epochs < 1:
        raise ValueError(f"num_epochs must be at least 1, not {num_epochs}")
    net = step.net
    step.check(train_iter)
    worker.broadcast(net)
    history, seed = _start(net, trainer, train_iter, checkpoint)
    stop = bool(history and on_epoch and on_epoch(history))
    try:
        while len(history) < num_epochs and not stop:
            entry = {"epoch": len(history) + 1}
            mx.random.seed(seed + entry["epoch"] + worker.rank * _RANKS_APART)
            with undo_on_divergence(net, trainer, entry["epoch"]):
                figures, outputs = _train_epoch(step, train_iter, trainer)
                entry.update(figures)
                check_finite(net)
                entry.update(evaluate(entry, outputs))
            history.append({**(history[-1] if history else {}), **entry})
            if checkpoint is not None:
                checkpoint.save(net, trainer, train_iter, history, seed)
            stop = on_epoch is not None and bool(on_epoch(history))
    except KeyboardInterrupt as interrupt:
        interrupt.history = history
        raise
    if line is not None:
        print(line(history))
        print(f"{examples_per_sec(history):.1f} examples/sec on {step.devices}")
    return history


def examples_per_sec(history: History) -> float:
    """Return the examples trained on per second, over all epochs of `history`."""
    rows = sum(epoch["examples_per_sec"] * epoch["seconds"] for epoch in history)
    return rows / sum(epoch["seconds"] for epoch in history)


def mean_output(outputs: Outputs) -> float:
    """Return the mean over all rows, of all workers, of an output with one number."""
    values = numpy.concatenate([value.asnumpy() for (value,) in outputs])
    total, rows = worker.sum([values.sum(dtype="float64"), len(values)])
    return float(total / rows)


def _check_gradients(net, devices):
    """Raise ValueError where a step would take other gradients than its batch's."""
    if {*devices} != {*devices_of(net)}:
        raise ValueError(
            f"the net is on {devices_of(net)}, not on {devices}: net.reset_ctx(devices)"
        )
    for name, parameter in net.collect_params().items():
        if parameter.grad_req == "add":
            raise ValueError(f"{name} adds its gradients up: set grad_req to 'write'")


def _start(net, trainer, train_iter, checkpoint):
    """Return the history and the seed to begin with, those of a checkpoint if any."""
    seed = int(mx.np.random.randint(0, 2**30).item())
    seed = int(worker.sum([0 if worker.rank else seed])[0])
    if checkpoint is None:
        return [], seed
    found = checkpoint.restore(net, trainer, train_iter)
    if found:
        return found
    checkpoint.save(net, trainer, train_iter, [], seed)
    return [], seed


def _train_epoch(step, train_iter, trainer):
    """Train for an epoch; return what the history says of it, and all outputs."""
    total, rows, last, collected = 0.0, 0, None, []
    start = time.perf_counter()
    for number, batch in enumerate(train_iter, 1):
        batch = batch if isinstance(batch, (list, tuple)) else [batch]
        try:
            losses, outputs = step(batch)
        except NonFiniteLoss as error:  # a loss that checks its scores
            raise NonFiniteLoss(f"{error} in batch {number}") from None
        losses = worker.sum_gradients(trainer, losses)
        trainer.step(len(batch[0]))
        rows += len(batch[0])
        collected += [x for x in outputs if x]
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
    figures = {
        "train_loss": total / rows,
        "seconds": seconds,
        "examples_per_sec": rows / seconds,
    }
    return figures, collected


def _finite_sum(losses, number):
    if losses is None:
        return 0.0
    total = sum(float(loss.asnumpy().sum(dtype="float64")) for loss in losses)
    if not math.isfinite(total):
        raise NonFiniteLoss(f"the training loss became {total} in batch {number}")
    return total
