"""Let MXNet compute in the thread that calls it.

MXNet's usual engine hands each operation to another thread. On a CPU, waking up this
thread, and the caller afterwards, takes longer than many operations of this chapter.
"""

import importlib.metadata
import os
import sys
from contextlib import contextmanager
from typing import Any, Iterator

from d2l_recsys.runtime import cuda

_CHOICE = "MXNET_ENGINE_TYPE"
_IN_CALLER = "NaiveEngine"


def choose() -> None:
    """Set MXNET_ENGINE_TYPE, if it is empty, before MXNet is imported.

    Only for the build for CPUs: GPUs need the usual engine, to compute while Python
    goes on. And only for scripts: programs that a process starts inherit the choice,
    and their threads may share arrays, for which they need the usual engine.

    The variable stays set, because MXNet reads it again after a fork.
    """
    imported = "mxnet" in sys.modules  # and has read the variable
    if not imported and not os.environ.get(_CHOICE) and _is_build_for_cpus():
        os.environ[_CHOICE] = _IN_CALLER


def start(mx: Any) -> None:
    """Create the engine without MXNet's line on stderr that names it."""
    if os.environ.get(_CHOICE) == _IN_CALLER:
        with _quiet():
            mx.nd.waitall()  # the first call creates the engine


def _is_build_for_cpus() -> bool:
    return _is_installed("mxnet") and not _is_installed(cuda.WHEEL)


def _is_installed(wheel: str) -> bool:
    try:
        importlib.metadata.version(wheel)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what is written to stderr, unless it is closed."""
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
