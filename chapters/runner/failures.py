"""How a script ends that does not end well: in one line, without a traceback."""

import os
import sys
import traceback
from pathlib import Path

import d2l_recsys

_OURS = [Path(__file__).parents[1], Path(d2l_recsys.__file__).parent]


def report(kind, error, trace) -> None:
    """Print what went wrong: the ``sys.excepthook`` of scripts.

    An interrupt ends with exit code 130 and the metrics so far, an error that this
    package raised with code 1 and its text; any other one keeps its traceback.
    """
    sys.stdout.flush()
    if issubclass(kind, KeyboardInterrupt):
        print(f"\ninterrupted{_so_far(error)}", file=sys.stderr, flush=True)
        os._exit(130)  # at once: MXNet may be in the middle of something
    if issubclass(kind, ValueError) and _raised_by_us(trace):
        print(f"{_program()}: error: {error}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def _so_far(error):
    """Return the metrics of the last epoch that ended, noted by ``engine.loop.fit``."""
    history = getattr(error, "history", [])
    if not history:
        return " before the end of the first epoch"
    metrics = ", ".join(
        f"{name.replace('_', ' ')} {value:.3f}"
        for name, value in history[-1].items()
        if name not in ("epoch", "seconds", "examples_per_sec")
    )
    return f"; after epoch {history[-1]['epoch']}: {metrics}"


def _raised_by_us(trace):
    last = Path(traceback.extract_tb(trace)[-1].filename)
    return any(folder in last.parents for folder in _OURS)


def _program():
    return f"python -m chapters.{Path(sys.argv[0]).stem}"
