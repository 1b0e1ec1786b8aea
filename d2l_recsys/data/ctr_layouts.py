"""What stands where in files of advertisements, and what is wrong with a line."""

import codecs
import math
import re
from datetime import datetime
from typing import NamedTuple, Optional, Sequence, Tuple

from d2l_recsys.data.lines import shown

_NUMBER = re.compile(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")


class Layout(NamedTuple):
    """What stands where in the lines of a file."""

    separator: str
    columns: Tuple[str, ...]  # of the file, in its order
    label: str
    dropped: Tuple[str, ...] = ()  # columns that are no fields
    numeric: Tuple[str, ...] = ()  # fields of numbers; empty text is a missing one
    hour: Optional[str] = None  # a time YYMMDDHH, split into day of the week and hour

    @property
    def fields(self) -> Tuple[str, ...]:
        """The names of the fields, in the order of the table."""
        kept = [c for c in self.columns if c not in (self.label, *self.dropped)]
        return tuple(
            name
            for column in kept
            for name in (
                (f"{column}: weekday", f"{column}: hour")
                if column == self.hour
                else (column,)
            )
        )


def tabbed(num_feat: int, numeric: Sequence[int] = ()) -> Layout:
    """Return the book's layout: a label, then `num_feat` fields, tabs between.

    `numeric` are the numbers, from 1, of fields that hold numbers. Raises ValueError
    naming one that is no field, and for no fields.
    """
    if num_feat < 1:
        raise ValueError(f"num_feat must be at least 1, not {num_feat}")
    for number in numeric:
        if number not in range(1, num_feat + 1):
            raise ValueError(
                f"numeric: no field {number!r}; fields count from 1 to {num_feat}"
            )
    fields = tuple(f"field {i}" for i in range(1, num_feat + 1))
    return Layout(
        "\t",
        ("label", *fields),
        "label",
        numeric=tuple(f"field {i}" for i in sorted(numeric)),
    )


_INTEGERS = tuple(f"I{i}" for i in range(1, 14))
_AVAZU = (
    "id click hour C1 banner_pos site_id site_domain site_category app_id app_domain "
    "app_category device_id device_ip device_model device_type device_conn_type "
    "C14 C15 C16 C17 C18 C19 C20 C21"
)
LAYOUTS = {
    "criteo": Layout(
        "\t",
        ("label", *_INTEGERS, *(f"C{i}" for i in range(1, 27))),
        "label",
        numeric=_INTEGERS,
    ),
    "avazu": Layout(",", tuple(_AVAZU.split()), "click", ("id",), hour="hour"),
}


def fault_of(line: bytes, layout: Layout) -> Optional[str]:
    """Say what is wrong with `line`, bytes, or return None."""
    try:
        fields = line.rstrip(b"\n").decode().split(layout.separator)
    except UnicodeDecodeError as error:
        return f"not UTF-8 ({error.reason} at byte {error.start})"
    if len(fields) != len(layout.columns):
        cut = "" if line.endswith(b"\n") else "; the line has no end, is the file cut?"
        mark = {"\t": "tabs", ",": "commas"}.get(layout.separator, layout.separator)
        return (
            f"{len(fields)} fields in place of {len(layout.columns)} (separated by "
            f"{mark}, the label among them){cut}"
        )
    if "\0" in line.decode():
        return "a zero byte"
    if b"\r" in line:
        return "a carriage return within the line"
    if line.startswith(codecs.BOM_UTF8):
        return "a byte order mark"
    try:
        for name, value in zip(layout.columns, fields):
            if is_checked(name, layout):
                check(name, value, layout)
    except ValueError as error:
        return str(error)
    return None


def is_checked(name: str, layout: Layout) -> bool:
    """Tell whether not every text may stand in the column `name`."""
    return name in (layout.label, layout.hour, *layout.numeric)


def check(name: str, value: str, layout: Layout) -> None:
    """Raise ValueError for a text that cannot stand in the column `name`."""
    if name == layout.label:
        if value not in ("0", "1"):
            raise ValueError(f"the label is 0 or 1, not {shown(value)}")
    elif name == layout.hour:
        time_of(value)
    # float() alone would take blanks, underscores and the digits of other scripts.
    elif value and not (_NUMBER.fullmatch(value) and math.isfinite(float(value))):
        raise ValueError(f"{name} {shown(value)} is not a number")


def time_of(text: str) -> datetime:
    """Return the time that YYMMDDHH writes, or raise ValueError."""
    try:
        if re.fullmatch("[0-9]{8}", text):
            return datetime.strptime(text, "%y%m%d%H")
    except ValueError:
        pass
    raise ValueError(f"the hour is YYMMDDHH, not {shown(text)}")
