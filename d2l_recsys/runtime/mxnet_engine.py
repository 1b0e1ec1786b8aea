"""Let MXNet compute in the thread that calls it.

MXNet's usual engine hands each operation to another thread. On a CPU, waking this
thread, and then the caller, takes longer than many operations of this chapter.
"""

import os
import sys
from contextlib import contextmanager
from typing import Any, Iterator

from d2l_recsys.runtime import cores, cuda

_CHOICE = "MXNET_ENGINE_TYPE"
_IN_CALLER = "NaiveEngine"


def choose() -> None:
    """Choose NaiveEngine if MXNET_ENGINE_TYPE is not set and MXNet not yet imported.

    With MXNet's build for GPUs, the usual engine stays, so that Python goes on while
    they compute. Call this only in scripts. In other programs, threads may share
    arrays, which NaiveEngine does not allow, and child processes inherit the variable.

    It stays set, because MXNet reads it again after a fork.
    """
    imported = "mxnet" in sys.modules  # and may have created its engine
    if not imported and not os.environ.get(_CHOICE) and _is_build_for_cpus():
        os.environ[_CHOICE] = _IN_CALLER
        cores.choose()  # it sets the number for operations in this thread only


def start(mx: Any) -> None:
    """Create NaiveEngine, if chosen, and hide the line in which MXNet names it."""
    if os.environ.get(_CHOICE) == _IN_CALLER:
        with _quiet():
            mx.nd.waitall()  # the first call creates the engine


def _is_build_for_cpus() -> bool:
    return bool(cuda.version_of(cuda.CPU_WHEEL) and not cuda.version_of(cuda.WHEEL))


@contextmanager
def _quiet() -> Iterator[None]:
    """Discard what MXNet's library writes to stderr, unless stderr is closed."""
    try:
        stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:
        yield
        return
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
