"""The options for a reader's own data, which ``--data FILE`` names."""

import argparse
import re
from functools import partial
from pathlib import Path
from typing import Any, Iterable, Tuple

from chapters.runner.settings import Settings, number
from d2l_recsys.data.column_names import COLUMN_OF


def add_own_ratings(options: Settings) -> None:
    """Add --columns and --scale, for --data FILE."""
    _add_columns(options, COLUMN_OF, "user=userId item=movieId rating=stars time=when")
    options.add_argument(
        "--scale",
        type=scale,
        metavar="LOW-HIGH",
        help="with --data FILE: the scale of the ratings, such as 1-10; ratings "
        "outside are errors (default: from the lowest to the highest rating)",
    )
    options.need("--scale", "--data FILE", is_own)


def add_own_clicks(options: Settings) -> None:
    """Add --columns and --test, for --data FILE."""
    _add_columns(options, ["label"], "label=bought")
    options.add_argument(
        "--test",
        type=Path,
        metavar="FILE",
        help="with --data FILE: the test rows, with the same columns (default: a "
        "random sixth of the rows)",
    )
    options.need("--test", "--data FILE", is_own)


def _add_columns(options: Settings, roles: Iterable[str], example: str) -> None:
    options.add_argument(
        "--columns",
        type=partial(column, tuple(roles)),
        nargs="+",
        action=OncePerRole,
        metavar="ROLE=NAME",
        help=f"with --data FILE: names of columns, such as {example}; usual names are "
        "recognized without this option",
    )
    options.need("--columns", "--data FILE", is_own)


class OncePerRole(argparse.Action):
    """Collect the values of --columns; refuse a role that is there twice."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: Any = None,
    ) -> None:
        """Add `values` to those of an earlier --columns."""
        pairs = [*(getattr(namespace, self.dest) or ()), *values]
        roles = [role for role, _ in pairs]
        for role in roles:
            if roles.count(role) > 1:
                raise argparse.ArgumentError(self, f"{role}= is there twice")
        setattr(namespace, self.dest, pairs)


def is_own(args: argparse.Namespace) -> bool:
    """Tell whether --data names a file."""
    return Path(args.data).is_file()


def column(roles: Tuple[str, ...], text: str) -> Tuple[str, str]:
    """Convert an option such as user=userId to one of `roles` and a name."""
    role, equals, name = text.partition("=")
    if role not in roles or not (equals and name):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not ROLE=NAME, with one of the roles {', '.join(roles)}"
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
