"""Processes of our own, on all cores that this one may use."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Callable


def start_pool(size: int, begin: Callable, *args: Any) -> ProcessPoolExecutor:
    """Start processes that ignore Ctrl-C, and that end when this one ends.

    Each first calls ``begin(*args)``.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")  # MXNet does not survive a fork
    pool = ProcessPoolExecutor(size, context, _begin, (begin, *args))
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which they inherit
    for _ in range(size):
        pool.submit(int)  # starts a process
    signal.signal(signal.SIGINT, handler)
    return pool


def end_processes() -> None:
    """End the processes that this one has started, even if they are stopped."""
    for process in multiprocessing.active_children():
        process.kill()


def _begin(begin: Callable, *args: Any) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    begin(*args)


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()  # type: ignore[union-attr]
    os._exit(1)
