"""Train with several workers as if with one: sums over MXNet's parameter server.

:data:`worker` is this process. By default it is the only worker, and a sum returns its
input, so callers need not distinguish the two cases. :meth:`Worker.join` makes it one
of several workers, which ``python -m d2l_recsys launch`` starts. All workers must call
the methods that exchange data in the same order.
"""

import atexit
import math
import os
import sys
import threading
import time
import zlib
from contextlib import contextmanager
from typing import (
    Any,
    Dict,
    Hashable,
    Iterator,
    List,
    Mapping,
    NoReturn,
    Optional,
    Sequence,
)

import numpy

from d2l_recsys.runtime.backend import gluon, mx, np
from d2l_recsys.runtime.gradient_rows import Gradient, views_of

PATIENCE_SECONDS = 300  # the default of the variable D2L_RECSYS_PATIENCE_SECONDS
EXIT_GAVE_UP = 75  # exit code after waiting that long: EX_TEMPFAIL
_REQUIRED = [
    "DMLC_PS_ROOT_URI",
    "DMLC_PS_ROOT_PORT",
    "DMLC_NUM_WORKER",
    "DMLC_NUM_SERVER",
]


class Worker:
    """This process: number `rank` of `num_workers` workers, counted from 0."""

    def __init__(self) -> None:
        self.rank, self.num_workers = 0, 1
        self._store: Any = None  # MXNet's key-value store, if there are other workers
        self._keys: Dict[Hashable, int] = {}  # {(shape, dtype): key in the store}
        self._buffers: Dict[Hashable, np.ndarray] = {}  # see _buffer
        self._waits_since: Optional[float] = None

    def join(self) -> None:
        """Become one of the workers that the environment describes; wait for all.

        From then on, the process exits at once if it fails, and waits for the others if
        it succeeds. Every wait is limited to 300 seconds, or to the value of the
        environment variable D2L_RECSYS_PATIENCE_SECONDS. After that time the process
        prints a line on stderr and exits with code 75.

        Raises a ValueError that names a variable missing in the environment.
        """
        if self._store is not None:
            return  # MXNet would wait forever for a second store in one process
        for name in _REQUIRED:
            if not os.environ.get(name):
                raise ValueError(
                    f"dist_sync: {name} is not set; start the workers with "
                    "python -m d2l_recsys launch -n 2 -- COMMAND"
                )
        patience = _patience()
        threading.Thread(target=self._watch, args=(patience,), daemon=True).start()
        with self.waiting():
            self._store = mx.kv.create("dist_sync")
        self.rank, self.num_workers = self._store.rank, self._store.num_workers
        _exit_at_once_on_failure()
        atexit.register(self._leave)

    def rows(self, size: int) -> slice:
        """Return this worker's part of `size` rows; parts differ by at most one row."""
        start, end = (size * k // self.num_workers for k in (self.rank, self.rank + 1))
        return slice(start, end)

    def share(self, arrays: Sequence) -> Sequence:
        """Return this worker's rows, possibly none, of arrays of the same length."""
        if self._store is None:
            return arrays
        rows = self.rows(len(arrays[0]))
        return [array[rows] for array in arrays]

    def sum(self, values: Sequence[float]) -> numpy.ndarray:
        """Return the sum of `values` (n,) over all workers, in float64."""
        own = numpy.asarray(values, dtype="float64")
        if self._store is None:
            return own
        # The store rounds to float32, which represents pieces of 16 bits exactly.
        parts = own.view("uint16")
        table = numpy.zeros((self.num_workers, len(parts)), dtype="float32")
        table[self.rank] = parts
        return self.merge(table).astype("uint16").view("float64").sum(axis=0)

    def merge(self, array: numpy.ndarray) -> numpy.ndarray:
        """Return `array`, float32, with the values of all workers.

        Each worker has its values in other places, and zeros elsewhere.
        """
        if self._store is None:
            return array
        return self._sum(np.array(array)).asnumpy()

    def check_same(self, value: object, what: str) -> None:
        """Raise a ValueError that names `what` if `value` differs from worker 0's."""
        mine = zlib.crc32(repr(value).encode())
        if self.sum([0 if self.rank else mine])[0] != mine:
            raise ValueError(
                f"worker {self.rank} has different {what} from worker 0: start all "
                f"workers with the same {what}"
            )

    def broadcast(self, net: gluon.Block) -> None:
        """Copy the parameters of `net` from worker 0.

        Raises a ValueError that names a parameter without a known shape.
        """
        if self._store is None:
            return
        parameters = list(net.collect_params().values())
        for parameter in parameters:
            if parameter._data is None:
                raise ValueError(
                    f"{parameter.name} has no values yet: give the layer its in_units, "
                    "or call the net once before training with several workers"
                )
        values = [parameter.list_data()[0] for parameter in parameters]
        flat = _flatten(values)
        total = self._sum(np.zeros_like(flat) if self.rank else flat)
        news = views_of(total, [value.shape for value in values])
        for parameter, value, new in zip(parameters, values, news):
            # A trainer of several devices forgets its state when values are set.
            if (value != new).any():
                parameter.set_data(new)

    def sum_gradients(
        self,
        parameters: Sequence[gluon.Parameter],
        losses: List[numpy.ndarray],
        rows: Mapping[str, numpy.ndarray],
    ) -> List[numpy.ndarray]:
        """Sum gradients and losses over workers; return the losses as one array.

        `rows`, {name: rows}, names parameters of which only these rows are exchanged,
        because the others are zero on all workers. The first device of this process
        gets the summed gradients. The other devices get zeros, because the trainer
        itself sums over devices.
        """
        if self._store is None:
            return losses
        trained = [p for p in parameters if p.grad_req != "null"]
        gradients = [Gradient(p.list_grad(), rows.get(p.name)) for p in trained]
        device, dtype = gradients[0].copies[0].ctx, gradients[0].copies[0].dtype
        shapes = [*(gradient.shape for gradient in gradients), (1,)]
        used = sum(map(math.prod, shapes))
        flat = self._buffer(used, dtype, device)
        *views, total = views_of(flat, shapes)
        for gradient, view in zip(gradients, views):
            gradient.copy_to(view)
        flat[used:], total[:] = 0, sum(loss.sum(dtype="float64") for loss in losses)
        self._sum(flat)
        for gradient, view in zip(gradients, views):
            gradient.set(view)
        return [total.asnumpy()]

    def _buffer(self, size: int, dtype: Any, device: mx.Context) -> np.ndarray:
        """Return an array for at least `size` numbers, the same one for similar sizes.

        MXNet keeps arrays for each size that it has summed, and the number of rows
        varies. Sizes are therefore rounded up, by at most an eighth.
        """
        size += -size % 2 ** max(0, size.bit_length() - 4)
        key = size, dtype, device
        if key not in self._buffers:
            self._buffers[key] = np.zeros(size, dtype=dtype, ctx=device)
        return self._buffers[key]

    def _sum(self, array: np.ndarray) -> np.ndarray:
        """Replace `array` by its sum over workers, and return it."""
        kind = array.shape, array.dtype
        with self.waiting():
            if kind not in self._keys:
                self._keys[kind] = len(self._keys)
                self._store.init(self._keys[kind], np.zeros_like(array))
            self._store.pushpull(self._keys[kind], array, out=array)
            array.wait_to_read()
        return array

    def _leave(self) -> None:
        """Wait until all workers are finished; worker 0 then stops the servers."""
        with self.waiting():
            self._store = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Limit the time of a wait: see :meth:`_watch`."""
        self._waits_since = time.monotonic()
        try:
            yield
        finally:
            self._waits_since = None

    def _watch(self, patience: float) -> NoReturn:
        """Exit when a wait takes too long. Runs in a thread of its own."""
        while True:
            time.sleep(min(1, patience / 4))
            since = self._waits_since
            if since is not None and time.monotonic() - since > patience:
                who = f"worker {self.rank}" if self._store else "a worker"
                line = (
                    f"{who} gave up after waiting {patience:g} s for the others: a "
                    "worker, a server or the scheduler may have died\n"
                )
                os.write(2, line.encode())
                os._exit(EXIT_GAVE_UP)


worker = Worker()


def _patience() -> float:
    text = os.environ.get("D2L_RECSYS_PATIENCE_SECONDS") or str(PATIENCE_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ValueError(
            f"D2L_RECSYS_PATIENCE_SECONDS must be a positive number, not {text!r}"
        )
    return seconds


def _exit_at_once_on_failure() -> None:
    """Make a process that fails exit without waiting for the other workers.

    Otherwise MXNet would wait at the exit for workers that wait for this process.
    """
    print_error, normal_exit = sys.excepthook, sys.exit

    def report(*error: Any) -> NoReturn:
        print_error(*error)
        _flush()
        os._exit(1)

    def end(status: Any = None) -> NoReturn:
        if status is None or status == 0:
            normal_exit(status)
        if not isinstance(status, int):
            print(status, file=sys.stderr)
        _flush()
        os._exit(status if isinstance(status, int) else 1)

    sys.excepthook, sys.exit = report, end


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def _flatten(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([array.reshape(-1) for array in arrays])
