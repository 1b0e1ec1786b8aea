"""Load compiled code where that is worthwhile."""

from functools import lru_cache
from typing import Any

WORTHWHILE = 2**18  # parameters; for fewer, loading the code takes longer than it saves


def compiled_loops(size: int) -> Any:
    """Return the module ``engine.compiled``, or None if it is not worthwhile.

    `size` is the number of parameters. Also return None if Numba does not load: it may
    be missing, and each release refuses later releases of NumPy.
    """
    return _loaded() if size >= WORTHWHILE else None


@lru_cache(maxsize=None)
def _loaded() -> Any:
    try:
        from d2l_recsys.engine import compiled
    except Exception:  # whatever fails in a broken environment
        return None
    return compiled
