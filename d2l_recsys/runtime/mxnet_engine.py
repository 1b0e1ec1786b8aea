"""Let MXNet compute in the thread that calls it.

MXNet's usual engine hands each operation to another thread. On a CPU, waking up this
thread, and the caller afterwards, takes longer than many operations of this chapter.
"""

import os
from contextlib import contextmanager
from typing import Any, Iterator

_CHOICE = "MXNET_ENGINE_TYPE"


def compute_at_once(mx: Any) -> None:
    """Choose the engine that computes at once, if there is no other choice.

    This has an effect only before the first operation. GPUs need the usual engine, to
    compute while Python goes on.
    """
    if os.environ.get(_CHOICE) or mx.runtime.Features().is_enabled("CUDA"):
        return
    os.environ[_CHOICE] = "NaiveEngine"
    with _quiet():
        mx.nd.waitall()  # this creates the engine
    del os.environ[_CHOICE]  # other programs may choose for themselves


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what MXNet writes to stderr: that this is not its usual engine."""
    try:
        stderr = os.dup(2)
    except OSError:  # there is none
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
