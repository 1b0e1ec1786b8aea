"""What the command lines have in common. It needs nothing but Python."""

import argparse
from typing import List, Tuple


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> None:
        """Print one line and exit with code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def positive(text: str) -> int:
    """Return the whole number that an option is; 0 and below are errors."""
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return value


def read_devices(text: str) -> Tuple[str, List[int]]:
    """Return the kind of device that `text` names, 'cpu' or 'gpu', and the numbers.

    'cpu' is cpu(0), 'cpu:2' two CPU contexts, 'gpu' is gpu(0), 'gpu:0,1' two GPUs.

    Raises ValueError for any other text.
    """
    kind, _, rest = text.partition(":")
    ids = rest.split(",") if rest else ["1" if kind == "cpu" else "0"]
    numbers = [int(i) for i in ids if i.isdecimal()]
    if kind == "cpu" and len(numbers) == len(ids) == 1 and numbers[0] > 0:
        return kind, [*range(numbers[0])]
    if kind == "gpu" and len(numbers) == len(ids) == len({*numbers}):
        return kind, numbers
    raise ValueError(
        f"{text!r} is neither cpu, cpu:N (N contexts), gpu nor gpu:0,1 (by number)"
    )
