"""The parts that all command lines share. This module needs only Python."""

import argparse
import math
import signal
import sys
import time
from contextlib import suppress
from typing import Any, List, NoReturn, Tuple

_IGNORED = signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # since the process began
_SOON = 1  # second
_raised = -math.inf  # when the last Ctrl-C raised KeyboardInterrupt
_MAX_CONTEXTS = 64  # MXNet starts threads for each; with thousands of them, it hangs


class Parser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line. It knows full names only.

    Scripts look for options such as --resume themselves, so ``--resum`` must not work.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def expect_ctrl_c() -> None:
    """Let the next Ctrl-C raise KeyboardInterrupt, and others soon after it do nothing.

    So they cannot disturb the code that handles the first one. From 1 s on, Ctrl-C
    raises again, because a library may have caught the first.
    """
    global _raised
    _raised = -math.inf
    if not _IGNORED:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(*_: Any) -> None:
    global _raised
    now = time.monotonic()
    if now - _raised > _SOON:
        _raised = now
        raise KeyboardInterrupt


def tell(text: str, end: str = "\n") -> None:
    """Print text on stderr, if it can be written.

    A disk may be full, and Ctrl-C also ends a ``tee`` that reads the output.
    """
    with suppress(OSError):
        print(text, end=end, file=sys.stderr, flush=True)


def in_one_line(error: Exception) -> str:
    """Return the message of an error, with the file that an OSError is about."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split("\n"))


def positive(text: str) -> int:
    """Convert an option to an integer of at least 1."""
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return value


def positive_number(text: str) -> float:
    """Convert an option to a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def read_devices(text: str) -> Tuple[str, List[int]]:
    """Return the kind of device, 'cpu' or 'gpu', and the device numbers in `text`.

    'cpu' means cpu(0), 'cpu:2' two CPU contexts, 'gpu' gpu(0), and 'gpu:0,1' two GPUs.

    Raises ValueError for any other text, and for more than 64 CPU contexts.
    """
    kind, _, rest = text.partition(":")
    ids = rest.split(",") if rest else ["1" if kind == "cpu" else "0"]
    numbers = [int(i) for i in ids if i.isdecimal()]
    if kind == "cpu" and len(numbers) == len(ids) == 1 and numbers[0] > 0:
        if numbers[0] > _MAX_CONTEXTS:
            raise ValueError(f"{text!r} is too many: at most cpu:{_MAX_CONTEXTS}")
        return kind, [*range(numbers[0])]
    if kind == "gpu" and len(numbers) == len(ids) == len({*numbers}):
        return kind, numbers
    raise ValueError(
        f"{text!r} is neither cpu, cpu:N (N contexts), gpu nor gpu:0,1 (GPU numbers)"
    )
