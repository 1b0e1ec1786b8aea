"""Report a failure of a script in one line, without a traceback."""

import atexit
import errno
import io
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Optional, Type

import d2l_recsys
from d2l_recsys.tools.command_line import expect_ctrl_c, tell

interrupted_run: Any = None  # the Run that a Ctrl-C would interrupt
_OURS = [Path(__file__).parents[1], Path(d2l_recsys.__file__).parent]


def install() -> None:
    """Set up ``sys.excepthook``, Ctrl-C and the standard streams for a script."""
    sys.excepthook = report
    expect_ctrl_c()
    if sys.stderr is None:  # it is closed
        sys.stderr = io.StringIO()
    if isinstance(sys.stdout, io.TextIOWrapper):  # not if stdout is closed
        sys.stdout = Stdout(sys.stdout)
    atexit.register(_empty_stderr)


def _empty_stderr() -> None:
    """Discard what a full disk did not take, which would make Python exit with 120."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


class Stdout(io.TextIOWrapper):
    """A stdout whose errors do not end a training.

    Characters that the terminal cannot show are replaced. If text cannot be written,
    for example because the disk is full, there is one warning, and later text is
    skipped. A closed pipe (``| head``) ends the script without a message.
    """

    def __init__(self, stdout: io.TextIOWrapper) -> None:
        super().__init__(
            stdout.buffer,
            encoding=stdout.encoding,
            errors="replace",
            line_buffering=True,  # so that an error is noticed here
        )
        self.failed = False

    def write(self, text: str) -> int:
        """Write `text`, unless an earlier write has failed."""
        try:
            return len(text) if self.failed else super().write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """Flush what was written, unless a write has failed."""
        try:
            if not self.failed:
                super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.failed = True
        # Discard what is left in the buffer, which would fail again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
        if error.errno == errno.EPIPE:
            raise error
        warn(f"cannot print to stdout: {error.strerror}")


def report(
    kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]
) -> None:
    """Report an uncaught exception: the ``sys.excepthook`` of scripts.

    An interrupt prints the metrics so far, saves them and the model, and exits with
    code 130. A ValueError from this package or an OSError prints its message and exits
    with code 1. Other exceptions print their traceback.
    """
    if issubclass(kind, KeyboardInterrupt):
        try:
            tell_interrupted(error)
            expect_ctrl_c()  # which ends the saving
            save_interrupted(error)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        finally:
            os._exit(130)  # immediately, because MXNet may still be busy
    sys.stdout.flush()
    if issubclass(kind, BrokenPipeError) and getattr(sys.stdout, "failed", False):
        return  # whoever read the output has read enough
    line = in_one_line(error, trace)
    if line is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(f"{_program()}: error: {line}", file=sys.stderr)


def tell_interrupted(error: BaseException) -> None:
    """Print that a training was interrupted, and its metrics so far."""
    with suppress(OSError):  # Ctrl-C also ends a `tee` that reads the output
        sys.stdout.flush()
    tell(f"\ninterrupted{_so_far(error)}")


def save_interrupted(error: BaseException) -> None:
    """Save metrics and model of a training that `error`, a KeyboardInterrupt, ended.

    If ``engine.loop.fit`` was running, it attached them to the error.
    """
    try:
        if interrupted_run is not None and hasattr(error, "net"):
            interrupted_run.save_interrupted(error.history, error.net)
    except Exception as failure:
        warn(f"no results were saved: {in_one_line(failure) or repr(failure)}")


def in_one_line(
    error: BaseException, trace: Optional[TracebackType] = None
) -> Optional[str]:
    """Return the message of an error that needs no traceback, or None."""
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}"
    if isinstance(error, OSError) or _raised_by_us(error, trace):
        return " ".join(str(error).split("\n"))
    homeless = os.path.expanduser("~") == "~"
    if homeless and isinstance(error, (RuntimeError, KeyError)):
        return "this account has no home folder: set HOME to a folder"
    return None


def warn(message: str) -> None:
    """Print a warning on stderr, in one line."""
    line = " ".join(message.split("\n"))
    print(f"{_program()}: warning: {line}", file=sys.stderr, flush=True)


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


def _raised_by_us(error: BaseException, trace: Optional[TracebackType]) -> bool:
    frames = traceback.extract_tb(trace or error.__traceback__)
    if not isinstance(error, ValueError) or not frames:
        return False
    last = Path(frames[-1].filename)
    return any(folder in last.parents for folder in _OURS)


def _program() -> str:
    script = Path(sys.argv[0])
    names = ["chapters", "runner"] if script.parent.name == "runner" else ["chapters"]
    names += [script.stem] if script.stem != "__main__" else []
    return f"python -m {'.'.join(names)}"
