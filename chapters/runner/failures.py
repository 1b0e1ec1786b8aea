"""Report a failure of a script in one line, without a traceback."""

import os
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Optional, Type

import d2l_recsys

_OURS = [Path(__file__).parents[1], Path(d2l_recsys.__file__).parent]


def report(
    kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]
) -> None:
    """Report an uncaught exception: the ``sys.excepthook`` of scripts.

    An interrupt prints the metrics so far and exits with code 130. A ValueError raised
    by this package prints its message and exits with code 1. Other exceptions print
    their traceback.
    """
    sys.stdout.flush()
    if issubclass(kind, KeyboardInterrupt):
        print(f"\ninterrupted{_so_far(error)}", file=sys.stderr, flush=True)
        os._exit(130)  # immediately, because MXNet may still be busy
    if issubclass(kind, ValueError) and _raised_by_us(trace):
        print(f"{_program()}: error: {error}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def _so_far(error: BaseException) -> str:
    """Describe the last complete epoch, as recorded by ``engine.loop.fit``."""
    history = getattr(error, "history", [])
    if not history:
        return " before the end of the first epoch"
    metrics = ", ".join(
        f"{name.replace('_', ' ')} {value:.3f}"
        for name, value in history[-1].items()
        if name not in ("epoch", "seconds", "examples_per_sec")
    )
    return f"; after epoch {history[-1]['epoch']}: {metrics}"


def _raised_by_us(trace: Optional[TracebackType]) -> bool:
    last = Path(traceback.extract_tb(trace)[-1].filename)
    return any(folder in last.parents for folder in _OURS)


def _program() -> str:
    return f"python -m chapters.{Path(sys.argv[0]).stem}"
