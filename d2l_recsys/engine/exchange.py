"""Let each worker take its share of a batch, and combine gradients of all workers."""

from contextlib import contextmanager
from functools import partial
from typing import Any, Iterable, Iterator, List, Optional, Sequence, Tuple

import numpy

from d2l_recsys.engine.adam import FlatTrainer, trained_by
from d2l_recsys.engine.batching import num_rows
from d2l_recsys.engine.table_rows import TableRows
from d2l_recsys.runtime.backend import gluon
from d2l_recsys.runtime.shared_memory import SharedMemory, shared_memory
from d2l_recsys.runtime.workers import worker

Shares = Iterator[Tuple[int, Sequence]]  # size of a batch, and the worker's rows of it


class Exchange:
    """Sum gradients over MXNet's parameter server. A single worker has nothing to sum.

    If `step` runs a program, only the rows of large tables that a batch looks up are
    exchanged.
    """

    def __init__(self, step: Any, trainer: gluon.Trainer) -> None:
        self._step, self._trainer = step, trainer
        self._batch: Sequence = []
        several = worker.num_workers > 1 and step.runs_program
        self._find_rows = TableRows(step.graph) if several else None

    @contextmanager
    def epoch(self) -> Iterator[None]:
        """Train for an epoch."""
        yield

    def shares(self, loader: Any) -> Shares:
        """Yield the number of rows of each batch, and this worker's share of them."""
        for self._batch in _checked(self._step, loader):
            yield len(self._batch[0]), worker.share(self._batch)

    def sum(self, losses: List[numpy.ndarray]) -> List[numpy.ndarray]:
        """Complete the gradients of the last share, and return all losses or a sum."""
        rows = {}
        if self._find_rows and self._step.runs_program:
            rows = self._find_rows(self._batch)
        parameters = trained_by(self._trainer) if rows else self._trainer._params
        return worker.sum_gradients(parameters, losses, rows)


class SharedExchange:
    """Train in memory that all workers share. They run on the same machine."""

    def __init__(self, step: Any, trainer: FlatTrainer, shared: SharedMemory) -> None:
        self._step, self._trainer, self._shared = step, trainer, shared

    def epoch(self) -> Any:
        """Train for an epoch."""
        return self._trainer.sharing(self._shared)

    def shares(self, loader: Any) -> Shares:
        """Yield the number of rows of each batch, and this worker's share of them."""
        if hasattr(loader, "shares") and self._step.runs_program:
            yield from loader.shares(worker.rows)
            return
        for batch in _checked(self._step, loader):
            yield len(batch[0]), worker.share(batch)

    def sum(self, losses: List[numpy.ndarray]) -> List[numpy.ndarray]:
        """Wait until all gradients are written, and return the sums of the losses."""
        total = sum(loss.sum(dtype="float64") for loss in losses)
        self._shared.losses[worker.rank] = total
        self._shared.meet()
        return [self._shared.losses.copy()]


def exchange_for(step: Any, trainer: gluon.Trainer) -> Any:
    """Return the fastest exchange that fits the trainer and the workers' machines."""
    size = trainer.sharable if isinstance(trainer, FlatTrainer) else 0
    if worker.num_workers > 1 and size:
        shared = shared_memory(worker, size)
        if shared:
            return SharedExchange(step, trainer, shared)
    return Exchange(step, trainer)


def _checked(step: Any, loader: Iterable) -> Iterator[Sequence]:
    for batch in step.batches(loader):
        batch = batch if isinstance(batch, (list, tuple)) else [batch]
        step.check_batch(batch)
        yield batch
