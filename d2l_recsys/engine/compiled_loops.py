"""Load compiled code where that is worthwhile."""

from typing import Any

WORTHWHILE = 2**18  # parameters; for fewer, loading the code takes longer than it saves


def compiled_loops(size: int) -> Any:
    """Return the module ``engine.compiled``, or None if it is not worthwhile.

    `size` is the number of parameters. Also return None if Numba does not load: it may
    be missing, and each release refuses later releases of NumPy.
    """
    if size < WORTHWHILE:
        return None
    try:
        from d2l_recsys.engine import compiled
    except (ImportError, OSError):  # OSError if a library of it does not load
        return None
    return compiled
