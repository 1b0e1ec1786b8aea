"""Fast matrix products on processors that are newer than OpenBLAS.

MXNet 1.9.1 brings OpenBLAS 0.3.13, and NumPy 1.23 brings 0.3.20. Both recognize
processors by their models. For models that they do not know, they use kernels for very
old processors, which take two to four times as long. The processor's flags tell which
kernels it can run.
"""

import os
from contextlib import suppress
from typing import Set

_CPUINFO = "/proc/cpuinfo"
# OpenBLAS's names of kernels, the fastest first, and the flags that they need.
_KERNELS = {
    "SkylakeX": {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"},
    "Haswell": {"avx2", "fma"},
}


def choose_kernels() -> None:
    """Set OPENBLAS_CORETYPE, if it is empty, for libraries that are loaded later.

    Only on Linux, and on x86, where OpenBLAS's choice depends on the model.
    """
    if not os.environ.get("OPENBLAS_CORETYPE"):
        name = kernels_for(_flags())
        if name:
            os.environ["OPENBLAS_CORETYPE"] = name


def kernels_for(flags: Set[str]) -> str:
    """Return the name of the fastest kernels for a processor's flags, or ''."""
    return next((name for name, needed in _KERNELS.items() if needed <= flags), "")


def _flags() -> Set[str]:
    with suppress(OSError), open(_CPUINFO, "rb") as file:
        for line in file:  # those of the first core are enough
            if line.startswith(b"flags"):
                return {*line.decode("ascii", "replace").split()}
    return set()
