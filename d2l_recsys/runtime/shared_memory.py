"""Memory that all workers of one machine share, and a place in it to meet."""

import mmap
import os
import platform
import tempfile
import time
from contextlib import ExitStack, suppress
from typing import BinaryIO, Callable, Optional

import numpy

from d2l_recsys.runtime.workers import Worker

_FOLDER = "/dev/shm"  # Linux keeps its files in memory
_LINE = 64  # bytes that a CPU caches together: each worker writes its own
_LONGEST_NAME = 256
# What an x86 CPU writes becomes visible to other cores in the same order; a worker that
# arrives has then written its gradients.
_KEEPS_ORDER = platform.machine() in ("x86_64", "AMD64")
_PAUSE = 1e-5  # seconds, for other processes on a busy machine


class SharedMemory:
    """Arrays of `size` numbers, float32, that all workers can read and write.

    `weight`, `mean` and `var` (size,) are those of Adam; `grads` are `num_workers` such
    arrays, one for each worker. `own` is the part of the first three that this worker
    updates.
    """

    def __init__(self, worker: Worker, memory: mmap.mmap, size: int) -> None:
        self._worker, self._meetings = worker, 0
        n = worker.num_workers
        lines = numpy.frombuffer(memory, "float64", n * _LINE // 8).reshape(n, -1)
        self._arrivals, self._numbers = lines[:, 0], lines[:, 1:]
        arrays = numpy.frombuffer(memory, "float32", (3 + n) * size, n * _LINE)
        self.weight, self.mean, self.var, *self.grads = arrays.reshape(3 + n, size)
        self.own = worker.rows(size)

    def all_gather(self, *numbers: float) -> numpy.ndarray:
        """Wait for all workers; return the numbers of each, (n, num_workers)."""
        self._numbers[self._worker.rank, : len(numbers)] = numbers
        self.meet()
        return self._numbers[:, : len(numbers)].T.copy()

    def update(self, rule: Callable, *settings: float) -> None:
        """Update `own` by the gradients of all workers, and wait for the others.

        ``rule(weight, grads, mean, var, *settings)`` changes arrays in place.
        """
        own = self.own
        grads = [grad[own] for grad in self.grads]
        rule(self.weight[own], grads, self.mean[own], self.var[own], *settings)
        self.meet()

    def meet(self) -> None:
        """Wait until all workers have called this method as often as this one."""
        self._meetings += 1
        self._arrivals[self._worker.rank] = self._meetings
        with self._worker.waiting():
            while (self._arrivals < self._meetings).any():
                time.sleep(_PAUSE)


def shared_memory(worker: Worker, size: int) -> Optional[SharedMemory]:
    """Return memory for `size` numbers, or None if the workers cannot share any.

    They can't if they run on several machines, if there is too little memory, if the
    size is 0 on one of them, or on an ARM CPU.
    """
    # From here on, no worker waits for one that fails, and leaves a file behind.
    if not _all_have(worker, size and _KEEPS_ORDER):
        return None
    file, memory = _same_file(worker), None
    if file:
        num_bytes = worker.num_workers * (_LINE + 4 * size) + 12 * size
        with file, suppress(OSError, ValueError):
            _reserve(file.fileno(), num_bytes)
            memory = mmap.mmap(file.fileno(), num_bytes)
        if not _all_have(worker, memory):
            memory = None
    return SharedMemory(worker, memory, size) if memory else None


def _same_file(worker: Worker) -> Optional[BinaryIO]:
    """Return an empty file, open on all workers but without a name, or None."""
    with ExitStack() as named, ExitStack() as unless_returned:
        name, file = b"", None
        if worker.rank == 0:
            folder = _FOLDER if os.path.isdir(_FOLDER) else None
            with suppress(OSError):
                made = named.enter_context(tempfile.NamedTemporaryFile(dir=folder))
                name = os.fsencode(made.name)
        codes = worker.sum([*name.ljust(_LONGEST_NAME, b"\0")])
        name = bytes(codes.astype("uint8")).rstrip(b"\0")
        # Another machine does not have the file.
        with suppress(OSError, ValueError):
            file = unless_returned.enter_context(open(name, "r+b"))
        if not _all_have(worker, file):
            return None
        unless_returned.pop_all()
        return file


def _all_have(worker: Worker, value: object) -> bool:
    return worker.sum([bool(value)])[0] == worker.num_workers


def _reserve(file: int, num_bytes: int) -> None:
    """Make room in a file. Raises OSError if there is none."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, num_bytes)
    else:
        os.truncate(file, num_bytes)
