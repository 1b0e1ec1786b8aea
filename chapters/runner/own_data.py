"""The options for a reader's own data, which ``--data FILE`` names."""

import argparse
import re
from pathlib import Path
from typing import Tuple

from chapters.runner.settings import Settings, number
from d2l_recsys.data.column_names import COLUMN_OF


def add_own_ratings(options: Settings) -> None:
    """Add --columns and --scale, for --data FILE."""
    options.add_argument(
        "--columns",
        type=column,
        nargs="+",
        metavar="ROLE=NAME",
        help="with --data FILE: names of columns, as in user=userId item=movieId "
        "rating=stars time=when; usual names are recognised without it",
    )
    options.add_argument(
        "--scale",
        type=scale,
        metavar="LOW-HIGH",
        help="with --data FILE: the scale of the ratings, as in 1-10; ratings "
        "outside are errors (default: from the lowest to the highest)",
    )
    for option in ("--columns", "--scale"):
        options.need(option, "--data FILE", lambda args: Path(args.data).is_file())


def column(text: str) -> Tuple[str, str]:
    """Convert an option such as user=userId to a role and a name."""
    role, equals, name = text.partition("=")
    if role not in COLUMN_OF or not (equals and name):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not ROLE=NAME, with one of the roles {', '.join(COLUMN_OF)}"
        )
    return role, name


def scale(text: str) -> Tuple[float, float]:
    """Convert an option such as 1-10 to two numbers."""
    match = re.fullmatch(r"(-?[0-9.]+)-(-?[0-9.]+)", text)
    if match:
        low, high = map(number, match.groups())
        if low < high:
            return low, high
    raise argparse.ArgumentTypeError(
        f"{text!r} is not LOW-HIGH, the lowest and the highest rating"
    )
