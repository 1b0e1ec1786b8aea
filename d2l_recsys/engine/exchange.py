"""Let each worker take its share of every batch, and combine the gradients of all."""

import zlib
from contextlib import nullcontext
from itertools import islice
from typing import Any, ContextManager, Iterator, List, Sequence, Tuple

import numpy

from d2l_recsys.engine.adam import FlatTrainer, trained_by
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.table_rows import TableRows
from d2l_recsys.runtime.backend import gluon
from d2l_recsys.runtime.memory import finish, to_numpy
from d2l_recsys.runtime.shared_memory import SharedMemory, shared_memory
from d2l_recsys.runtime.workers import worker


class Exchange:
    """Sum gradients over MXNet's parameter server, if there are several workers.

    If `step` runs a program, only the rows of large tables that a batch looks up are
    exchanged.
    """

    def __init__(self, step: Any, trainer: gluon.Trainer) -> None:
        self.step, self.trainer = step, trainer
        several = worker.num_workers > 1
        self._compared = not several
        self._find_rows = TableRows(step.graph) if several else None

    def epoch(self) -> ContextManager:
        """Return a context in which an epoch is trained."""
        return nullcontext()

    def shares(self, loader: Any) -> Iterator[Sequence]:
        """Yield this worker's rows, possibly none, of each batch.

        Raises ValueError if the first batch is not the same on all workers.
        """
        for batch in self.step.batches(loader):
            self._batch = self._checked(batch)
            if not self._compared:
                self._compare([*map(_checksum, self._batch)])
            yield worker.share(self._batch)

    def sum(self, losses: List[numpy.ndarray]) -> Tuple[List[numpy.ndarray], int]:
        """Complete the gradients; return all losses, or a sum, and the batch size."""
        rows = {}
        if self._find_rows and self.step.runs_program:
            rows = self._find_rows(self._batch)
        parameters = trained_by(self.trainer) if rows else self.trainer._params
        losses = worker.sum_gradients(parameters, losses, rows)
        return losses, len(self._batch[0])

    def _checked(self, batch: Any) -> Sequence:
        batch = batch if isinstance(batch, (list, tuple)) else [batch]
        self.step.check_batch(batch)
        return batch

    def _compare(self, batches: Sequence) -> None:
        worker.check_same(batches, "batches")
        self._compared = True


class SharedExchange(Exchange):
    """Train in memory that all workers share. Each reads its share of the data only."""

    def __init__(self, step: Any, trainer: FlatTrainer, shared: SharedMemory) -> None:
        super().__init__(step, trainer)
        self._shared, self._views = shared, trainer.views_of(shared)

    def epoch(self) -> ContextManager:
        """Return a context in which the parameters are in the shared memory."""
        return self.trainer.sharing(self._shared, self._views)

    def shares(self, loader: Any) -> Iterator[Sequence]:
        """Yield this worker's rows, possibly none, of each batch.

        Raises ValueError if the first batch is not the same on all workers, or if their
        number is not.
        """
        own = type(loader) is BatchLoader and loader.can_share
        if not own or not self.step.runs_program:
            for share in super().shares(loader):
                self._rows = len(share[0])
                yield share
            return
        if not self._compared:
            state = loader.state
            for batch in islice(loader.in_numpy(), 1):
                self._compare([len(loader), *map(_checksum, self._checked(batch))])
            loader.state = state
        for share in loader.shares(worker.rows):
            self._rows = len(share[0])
            yield self._checked(share)

    def sum(self, losses: List[numpy.ndarray]) -> Tuple[List[numpy.ndarray], int]:
        """Wait for the gradients of all; return their losses and the batch size."""
        total = sum(loss.sum(dtype="float64") for loss in losses)
        finish()  # the gradients may still be in the making
        totals, sizes = self._shared.all_gather(total, self._rows)
        return [totals], int(sizes.sum())


def exchange_for(step: Any, trainer: gluon.Trainer) -> Exchange:
    """Return the fastest way that the trainer and the workers' machines allow."""
    if worker.num_workers > 1:
        flat = trainer if isinstance(trainer, FlatTrainer) else None
        # Workers on a GPU must say so to the others, which would wait for them.
        shared = shared_memory(worker, flat.sharable_size() if flat else 0)
        if flat and shared:
            return SharedExchange(step, flat, shared)
    return Exchange(step, trainer)


def _checksum(column: Any) -> int:
    return zlib.crc32(to_numpy(column).tobytes())
