"""The columns of a CTR file, and the checks of its lines. Section: ``ctr``."""

import codecs
import csv
import math
import re
from datetime import datetime
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

from d2l_recsys.data.lines import NUMBER, SEPARATORS, shown, with_point
from d2l_recsys.data.sizes import check_size


class Layout(NamedTuple):
    """The columns of a CTR file and their roles."""

    separator: str
    columns: Tuple[str, ...]  # in the order of the file
    label: Optional[str]  # tells whether the user clicked; None: no column does
    dropped: Tuple[str, ...] = ()  # columns that are ignored
    numeric: Tuple[str, ...] = ()  # columns of numbers; empty text is a missing number
    hour: Optional[str] = None  # a time YYMMDDHH, split into weekday and hour of day
    quoted: bool = False  # whether fields may be in quotes, as in CSV files
    header: bool = False  # whether the first line names the columns
    decimal: str = "."  # or ",": the decimal mark in columns of numbers

    @property
    def fields(self) -> Tuple[str, ...]:
        """The names of the fields in the order of the table."""
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

    def without_labels(self, num_columns: int) -> "Layout":
        """Return the layout of a file whose labels are ignored or left out.

        `num_columns` is the number of columns in the file.
        """
        if num_columns == len(self.columns) - 1:
            columns = tuple(c for c in self.columns if c != self.label)
            return self._replace(columns=columns, label=None)
        dropped = tuple(c for c in self.columns if c in (self.label, *self.dropped))
        return self._replace(dropped=dropped, label=None)


def tabbed(num_feat: int, numeric: Sequence[Any] = ()) -> Layout:
    """Return the book's layout: a label and `num_feat` fields, separated by tabs.

    `numeric` lists the fields that hold numbers, counted from 1.

    Raises ValueError if `num_feat` is below 1 or `numeric` names an unknown field.
    Section: ``ctr``.
    """
    check_size(num_feat, "num_feat")
    for number in numeric:
        if number not in range(1, num_feat + 1):
            raise ValueError(
                f"numeric: there is no field {number!r}; the fields are 1 to {num_feat}"
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
    """Return what is wrong with `line`, or None if it is valid."""
    try:
        fields = split(line.rstrip(b"\n").decode(), layout)
    except UnicodeDecodeError as error:
        return f"not UTF-8 ({error.reason} at byte {error.start})"
    except ValueError as error:
        return str(error)
    if len(fields) != len(layout.columns):
        cut = "" if line.endswith(b"\n") else "; the file may be truncated here"
        mark = SEPARATORS.get(layout.separator, layout.separator)
        labeled = ", including the label" if layout.label else ""
        return (
            f"{len(fields)} fields instead of {len(layout.columns)} (separated by "
            f"{mark}{labeled}){cut}"
        )
    if "\0" in line.decode():
        return "the line contains a zero byte"
    if b"\r" in line:
        return "the line contains a carriage return"
    if line.startswith(codecs.BOM_UTF8):
        return "the line starts with a byte order mark"
    try:
        for name, value in zip(layout.columns, fields):
            if is_checked(name, layout):
                check(name, value, layout)
    except ValueError as error:
        return str(error)
    return None


def split(line: str, layout: Layout) -> List[str]:
    """Return the fields of a line; raise ValueError if a quote is not closed."""
    if not (layout.quoted and '"' in line):
        return line.split(layout.separator)
    try:
        return next(csv.reader([line], delimiter=layout.separator, strict=True))
    except csv.Error as error:
        raise ValueError(f"{error} in {shown(line)}") from None


def is_checked(name: str, layout: Layout) -> bool:
    """Tell whether the column `name` accepts only some texts."""
    return name in (layout.label, layout.hour, *layout.numeric)


def check(name: str, value: str, layout: Layout) -> None:
    """Raise ValueError if the column `name` cannot hold the text `value`."""
    if name == layout.label:
        if value not in ("0", "1"):
            raise ValueError(f"the label must be 0 or 1, not {shown(value)}")
    elif name == layout.hour:
        time_of(value)
    elif value:
        try:
            text = with_point(value, layout.decimal)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
        # float() alone would accept blanks, underscores and non-ASCII digits.
        if not (NUMBER.fullmatch(text) and math.isfinite(float(text))):
            raise ValueError(f"{name} {shown(value)} is not a number")


def time_of(text: str) -> datetime:
    """Return the time that `text` gives as YYMMDDHH, or raise ValueError."""
    try:
        if re.fullmatch("[0-9]{8}", text):
            return datetime.strptime(text, "%y%m%d%H")
    except ValueError:
        pass
    raise ValueError(f"the hour must have the form YYMMDDHH, not {shown(text)}")
