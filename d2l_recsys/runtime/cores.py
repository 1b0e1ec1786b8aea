"""Let MXNet compute large arrays on all cores, and small ones on one.

By itself, MXNet 1.9.1 uses half of the processors, as if each core were two of them.
For most operations, it prefers a single thread even for a million numbers.
"""

import os
from contextlib import suppress
from typing import Optional

_LARGE = 2**17  # numbers, from which on two threads are faster than one
# How often a thread looks for work before it sleeps. With more, training is several
# times slower while other programs use the cores; with fewer, waking up takes long.
_SPINS = 2000
_QUOTA = "/sys/fs/cgroup/cpu.max"  # of a container: time on all cores, per period
_is_chosen = False


def choose() -> None:
    """Let :func:`threads_for` determine the number. MXNet must not yet be imported."""
    global _is_chosen
    for name, value in (
        ("MXNET_OMP_MAX_THREADS", threads()),
        ("MXNET_USE_OPERATOR_TUNING", 0),  # its own choice
        ("GOMP_SPINCOUNT", _SPINS),
    ):
        os.environ.setdefault(name, str(value))
    _is_chosen = True


def threads_for(size: int) -> Optional[int]:
    """Return how many threads are best for arrays of up to `size` numbers.

    In programs that did not :func:`choose`, return None: they keep their number.
    """
    if not _is_chosen:
        return None
    return threads() if size >= _LARGE else 1


def available() -> int:
    """Return the number of cores that this process may use."""
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        count = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError), open(_QUOTA, encoding="ascii") as file:
        quota, period = map(int, file.read().split())  # ValueError for "max"
        count = min(count, max(1, quota // period))
    return count


def threads() -> int:
    """Return OMP_NUM_THREADS, or the number of cores if that is not a number."""
    number = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(number) if number.isdecimal() and int(number) else available()
