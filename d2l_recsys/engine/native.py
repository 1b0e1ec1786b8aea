"""Load compiled code where it pays."""

from typing import Any

LARGE = 2**18  # numbers; for fewer, loading the code takes longer than it saves


def compiled_loops(size: int) -> Any:
    """Return the module ``engine.compiled``, or None for parameters of a smaller size.

    Also return None without Numba. It has no wheels for Intel Macs, and a release of it
    does not work with later ones of NumPy.
    """
    if size < LARGE:
        return None
    try:
        from d2l_recsys.engine import compiled
    except ImportError:
        return None
    return compiled
