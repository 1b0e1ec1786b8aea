"""Let MXNet compute in the thread that calls it.

MXNet's usual engine hands each operation to another thread. On a CPU, waking up this
thread, and the caller afterwards, takes longer than many operations of this chapter.
"""

import os
from contextlib import contextmanager
from typing import Any, Iterator

_CHOICE = "MXNET_ENGINE_TYPE"


def compute_in_caller(mx: Any) -> None:
    """Make MXNet compute in the thread that calls it.

    Not if MXNET_ENGINE_TYPE is set, nor with a build for GPUs, which need the usual
    engine, to compute while Python goes on. This has no effect once MXNet has computed
    something.
    """
    if os.environ.get(_CHOICE) or mx.runtime.Features().is_enabled("CUDA"):
        return
    os.environ[_CHOICE] = "NaiveEngine"
    with _quiet():
        mx.nd.waitall()  # this creates the engine
    del os.environ[_CHOICE]  # programs started from here choose for themselves


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the line on stderr that names an engine other than the usual one."""
    try:
        stderr = os.dup(2)
    except OSError:  # stderr is closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
