"""Several workers that train as one: sums over them, on MXNet's parameter server.

:data:`worker` is this process among them. By itself it is the only one and its sums are
what went in, so that whoever uses it need not ask. :meth:`Worker.join` makes it one of
several, started by ``python -m d2l_recsys launch``. What is summed is summed by all, in
the same order.
"""

import atexit
import os
import sys
import threading
import time
import zlib
from contextlib import contextmanager
from typing import List, Sequence

import numpy

from d2l_recsys.runtime.backend import gluon, mx, np

PATIENCE_SECONDS = 300  # D2L_RECSYS_PATIENCE_SECONDS in the environment is another
GIVEN_UP = 75  # the exit code where it ran out: EX_TEMPFAIL
_NEEDED = [
    "DMLC_PS_ROOT_URI",
    "DMLC_PS_ROOT_PORT",
    "DMLC_NUM_WORKER",
    "DMLC_NUM_SERVER",
]


class Worker:
    """This process: number `rank` of `num_workers`, counted from 0."""

    def __init__(self):
        self.rank, self.num_workers = 0, 1
        self._store = None
        self._keys = {}  # of the store, by shape and dtype
        self._waits_since = None

    def join(self) -> None:
        """Become one of the workers that the environment describes, and wait for all.

        From now on this process ends at once where it ends badly, by an exception or
        ``sys.exit``, and with the others where it ends well. It waits for them for 300
        seconds at a time, or what the environment gives as D2L_RECSYS_PATIENCE_SECONDS:
        then it ends with exit code 75 and a line on stderr.

        Raises ValueError naming what is missing in the environment.
        """
        if self._store is not None:
            return  # MXNet waits for ever for the second store of a process
        for name in _NEEDED:
            if not os.environ.get(name):
                raise ValueError(
                    f"dist_sync: {name} is not set; start the workers with "
                    "python -m d2l_recsys launch -n 2 -- COMMAND"
                )
        patience = _patience()
        threading.Thread(target=self._watch, args=(patience,), daemon=True).start()
        with self._waiting():
            self._store = mx.kv.create("dist_sync")
        self.rank, self.num_workers = self._store.rank, self._store.num_workers
        _end_at_once_where_it_ends_badly()
        atexit.register(self._leave)

    def rows(self, size: int) -> slice:
        """Return which of `size` rows are this worker's: as many as all, or 1 more."""
        cuts = [size * k // self.num_workers for k in (self.rank, self.rank + 1)]
        return slice(*cuts)

    def share(self, arrays: Sequence) -> Sequence:
        """Return this worker's rows of arrays of one length; there may be none."""
        if self._store is None:
            return arrays
        rows = self.rows(len(arrays[0]))
        return [array[rows] for array in arrays]

    def sum(self, values: Sequence[float]) -> numpy.ndarray:
        """Return the sum over workers of a few `values` (n,), in float64."""
        values = numpy.asarray(values, dtype="float64")
        if self._store is None:
            return values
        # The store rounds to float32, through which 16 bits at a time come whole.
        parts = values.view("uint16")
        table = numpy.zeros((self.num_workers, len(parts)), dtype="float32")
        table[self.rank] = parts
        return self.merge(table).astype("uint16").view("float64").sum(axis=0)

    def merge(self, array: numpy.ndarray) -> numpy.ndarray:
        """Return `array`, float32, with the values that the other workers have in it.

        Each has its own in other places, and zeros in theirs.
        """
        if self._store is None:
            return array
        return self._sum(np.array(array)).asnumpy()

    def check_same(self, value, what: str) -> None:
        """Raise ValueError naming `what` where `value` is not that of worker 0."""
        mine = zlib.crc32(repr(value).encode())
        if self.sum([0 if self.rank else mine])[0] != mine:
            raise ValueError(
                f"worker {self.rank} has other {what} than worker 0: start all workers "
                "with the same"
            )

    def broadcast(self, net: gluon.Block) -> None:
        """Give `net` the parameters that it has on worker 0.

        Raises ValueError naming a parameter whose shape is not known yet.
        """
        if self._store is None:
            return
        parameters = list(net.collect_params().values())
        for parameter in parameters:
            if parameter._data is None:
                raise ValueError(
                    f"{parameter.name} has no values yet: give the layer its in_units, "
                    "or call the net once before it is trained by several workers"
                )
        values = [parameter.list_data()[0] for parameter in parameters]
        flat = _flat(values)
        total = self._sum(np.zeros_like(flat) if self.rank else flat)
        for parameter, value in zip(parameters, _cut(total, values)):
            parameter.set_data(value)

    def sum_gradients(
        self, trainer: gluon.Trainer, losses: List[mx.nd.NDArray]
    ) -> List[mx.nd.NDArray]:
        """Sum the gradients over workers, and the losses; return these as one array.

        The sum stands on the first of this process's devices and zeros on the others,
        for the trainer itself sums over devices.
        """
        if self._store is None:
            return losses
        gradients = [p.list_grad() for p in trainer._params if p.grad_req != "null"]
        device, dtype = gradients[0][0].ctx, gradients[0][0].dtype
        mine = np.zeros(1, dtype=dtype, ctx=device)
        for loss in losses:
            mine = mine + loss.sum().astype(dtype).as_in_ctx(device)
        flat = _flat([first for first, *_ in gradients])
        for others in zip(*(rest for _, *rest in gradients)):
            flat = flat + _flat(others).as_in_ctx(device)
        *sums, total = _cut(
            self._sum(np.concatenate([flat, mine])),
            [*(first for first, *_ in gradients), mine],
        )
        for (first, *rest), value in zip(gradients, sums):
            first[:] = value
            for other in rest:
                other[:] = 0
        return [total]

    def _sum(self, array):
        """Return the sum over workers; `array` is gone then: MXNet writes into it."""
        kind = array.shape, array.dtype
        with self._waiting():
            if kind not in self._keys:
                self._keys[kind] = len(self._keys)
                self._store.init(self._keys[kind], np.zeros_like(array))
            self._store.push(self._keys[kind], array)
            self._store.pull(self._keys[kind], out=array)
            array.wait_to_read()
        return array

    def _leave(self):
        """Wait until all have come to their end; worker 0 then ends the servers."""
        with self._waiting():
            self._store = None

    @contextmanager
    def _waiting(self):
        self._waits_since = time.monotonic()
        try:
            yield
        finally:
            self._waits_since = None

    def _watch(self, patience):
        """End the process when it has waited too long. Runs in a thread of its own."""
        while True:
            time.sleep(min(1, patience / 4))
            since = self._waits_since
            if since is not None and time.monotonic() - since > patience:
                who = f"worker {self.rank}" if self._store else "a worker"
                line = (
                    f"{who} has waited {patience:g} s for the others: one "
                    "of them, a server or the scheduler may have died; ending\n"
                )
                os.write(2, line.encode())
                os._exit(GIVEN_UP)


worker = Worker()


def _patience():
    text = os.environ.get("D2L_RECSYS_PATIENCE_SECONDS") or PATIENCE_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not seconds > 0:
        raise ValueError(
            f"D2L_RECSYS_PATIENCE_SECONDS={text} is not a number of seconds above 0"
        )
    return seconds


def _end_at_once_where_it_ends_badly():
    """Keep exceptions and exit codes from waiting for the others at the exit.

    MXNet waits there for those that wait for this process: for ever.
    """
    hook, leave = sys.excepthook, sys.exit

    def report(*error):
        hook(*error)
        _flush()
        os._exit(1)

    def end(status=None):
        if status is None or status == 0:
            leave(status)
        if not isinstance(status, int):
            print(status, file=sys.stderr)
        _flush()
        os._exit(status if isinstance(status, int) else 1)

    sys.excepthook, sys.exit = report, end


def _flush():
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def _flat(arrays):
    return np.concatenate([array.reshape(-1) for array in arrays])


def _cut(flat, like):
    """Return the pieces of `flat` in the shapes of the arrays `like`."""
    pieces, at = [], 0
    for array in like:
        pieces.append(flat[at : at + array.size].reshape(array.shape))
        at += array.size
    return pieces
