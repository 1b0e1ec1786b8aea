"""The book's functions from the installed ``d2l``, set up to run without output."""

import contextlib
import io
import time

from d2l import mxnet as d2l

from d2l_recsys.data import catalog


class _NoAnimator:
    """Replace the book's Animator, so that drawing is not measured."""

    def __init__(self, **_):
        pass

    def add(self, *_):
        pass


def prepare():
    """Return ``d2l``, changed to read the data this package finds and draw nothing."""
    folder = catalog.fetch("ml-100k")
    d2l.download_extract = lambda name, folder_=None: str(folder)
    d2l.Animator = _NoAnimator
    return d2l


def timed(function, *args, repeat=1):
    """Return the shortest time of `repeat` calls, in seconds, and the last result."""
    best, result = float("inf"), None
    for _ in range(repeat):
        with contextlib.redirect_stdout(io.StringIO()):
            start = time.perf_counter()
            result = function(*args)
            best = min(best, time.perf_counter() - start)
    return best, result
