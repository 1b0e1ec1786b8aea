"""Reading the ratings of MovieLens, with faults named by file and line."""

import csv
import io
import os
import re
import warnings
from pathlib import Path
from typing import NamedTuple, Optional, Union

import numpy
import pandas as pd

from d2l_recsys.data.lines import fault_of_number, numbered_lines, shown

NAMES = ["user_id", "item_id", "rating", "timestamp"]
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_PathLike = Union[str, "os.PathLike[str]"]


class Format(NamedTuple):
    """How a file of ratings is written."""

    separator: str
    header: str = ""  # the first line, if it holds no rating
    halves: bool = False  # ratings are 0.5, 1, ... 5, not anything in 1-5


_CSV = Format(",", "userId,movieId,rating,timestamp", halves=True)
FORMATS = {
    "ml-100k": Format("\t"),
    "ml-1m": Format("::"),
    "ml-10m": Format("::", halves=True),
    "ml-20m": _CSV,
    "ml-25m": _CSV,
    "ml-32m": _CSV,
    "ml-latest-small": _CSV,
}
_NAME_OF = {"ratings.dat": "ml-10m", "ratings.csv": "ml-25m"}


def read_ratings(
    path: _PathLike, duplicates: str = "error", name: Optional[str] = None
) -> pd.DataFrame:
    """Read a file of ratings of MovieLens, in the order of the file.

    Returns a frame with the columns user_id, item_id, rating and timestamp (seconds
    since 1970), ids as in the file. A user who rated an item twice is an error, unless
    `duplicates` is 'first' or 'last': the row to keep, in file order.

    `name` is the set in whose format the file is, one of ``FORMATS``. By default its
    own name tells: ratings.dat is read as that of ml-10m (``::`` between fields, half
    stars), ratings.csv as that of ml-25m (a header, commas, half stars), and any other
    as u.data (tabs, 1-5).

    A number is written in the digits 0-9, with a point in a rating if need be and a
    minus in a timestamp: no blanks, no plus, no exponent. Lines end in LF or CR LF.

    Raises ValueError naming file and line for a line without four fields, a field that
    is no number, an id below 1, a rating outside 1-5, or where there are half stars one
    that is not 0.5, 1, ... 5, a file without its header or without a rating.
    """
    path = Path(path)
    form = FORMATS[name or _NAME_OF.get(path.name, "ml-100k")]
    return _without_duplicates(_read_checked(path, form), duplicates, path, form)


def count_ratings(path: _PathLike, name: str) -> int:
    """Return how many lines a file in the format of the set `name` has for ratings.

    They are not looked at: see :func:`read_ratings`.
    """
    count, last = 0, b"\n"
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            count, last = count + block.count(b"\n"), block[-1:]
    return count + (last != b"\n") - bool(FORMATS[name].header)


def _fault_of_rating(field, form):
    """Say what is wrong with a rating, or return None."""
    if not _DECIMAL.fullmatch(field):
        return f"rating {shown(field)} is not a number"
    lowest = 0.5 if form.halves else 1
    if not lowest <= float(field) <= 5:
        return f"rating {shown(field)} is outside {lowest}-5"
    if form.halves and float(field) % 0.5:
        return f"rating {shown(field)} is not a multiple of 0.5"
    return None


def _read_checked(path, form):
    """Read and check at C speed; look for the line only when there is a fault."""
    content = path.read_bytes()
    # pandas takes one byte as separator at that speed, so :: becomes a tab.
    tabs = form.separator == "::"
    table = content.replace(b"::", b"\t") if tabs else content
    one_byte = b"\t" if tabs else form.separator.encode()
    # pandas takes blanks, exponents, lone CRs and more in its stride. It is only asked
    # where there are none: in digits alone, or after the slow look at each line.
    header = form.header.encode()
    allowed = b"0123456789.\r\n" + one_byte
    plain = not header or table.startswith((header + b"\n", header + b"\r\n"))
    plain &= not (tabs and b"\t" in content)
    plain &= table.translate(None, allowed) == header.translate(None, allowed)
    if not plain or content.count(b"\r") != content.count(b"\r\n"):
        _raise_fault(path, content, form)
    try:
        data = _parsed(table, one_byte, form)
    except (ValueError, OverflowError, TypeError, pd.errors.ParserWarning):
        data = None
    if data is None:
        _raise_fault(path, content, form)
        raise ValueError(f"{path}, line 1: pandas cannot read the file")
    return data


def _parsed(table, separator, form):
    """Return the frame in the bytes `table`, or None where something is wrong."""
    file = io.BytesIO(table)
    lines = bool(form.header and file.readline())
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        data = pd.read_csv(
            file,
            sep=separator.decode(),
            names=NAMES,
            index_col=False,
            # There are few ratings: as categories each text is looked at once.
            dtype={n: "category" if n == "rating" else "int64" for n in NAMES},
            keep_default_na=False,
            encoding="latin-1",
            quoting=csv.QUOTE_NONE,
            skip_blank_lines=False,
        )
    texts, codes = list(data["rating"].cat.categories), data["rating"].cat.codes
    points = [text.count(".") for text in texts]
    sound = (
        not any(_fault_of_rating(text, form) for text in texts)
        # Separators are counted because pandas overlooks one at the end of a line; the
        # points because it takes 1.0 for an id; the types because it makes numbers from
        # 2^63 on uint64, whatever it was told.
        and table.count(separator) == (len(NAMES) - 1) * (lines + len(data))
        and table.count(b".") == numpy.bincount(codes, minlength=len(points)) @ points
        and (data.dtypes.drop("rating") == "int64").all()
        and min(data["user_id"].min(), data["item_id"].min()) > 0
    )
    if not (texts and sound):
        return None
    ratings = numpy.array([float(text) for text in texts])
    ratings = ratings if (ratings % 1).any() else ratings.astype("int64")
    data["rating"] = ratings[codes]
    return data


def _raise_fault(path, content, form):
    """Raise ValueError for the first bad line, if there is one."""
    number = 0
    for number, line in numbered_lines(content):
        if form.header and number == 1:
            fault = None if line == form.header else f"no header {form.header}"
        else:
            fault = _fault_of_line(line, form)
        if fault:
            raise ValueError(f"{path}, line {number}: {fault}")
    if number <= bool(form.header):
        what = "no rating follows the header" if number else "the file is empty"
        raise ValueError(f"{path}, line {number + 1}: {what}")


def _fault_of_line(line, form):
    """Say what is wrong with a line of ratings, or return None."""
    fields = line.split(form.separator)
    if len(fields) != len(NAMES):
        between = {"\t": "tabs", ",": "commas"}.get(form.separator, "::")
        return (
            f"{len(fields)} fields in place of 4 (user, item, rating, timestamp, "
            f"separated by {between})"
        )
    for name, field in zip(NAMES, fields):
        if name == "rating":
            fault = _fault_of_rating(field, form)
        else:
            fault = fault_of_number(name, field)
        if fault:
            return fault
    return None


def _without_duplicates(data, duplicates, path, form):
    if duplicates not in ("error", "first", "last"):
        raise ValueError(
            f"duplicates is 'error', 'first' or 'last', not {duplicates!r}"
        )
    pairs = ["user_id", "item_id"]
    if duplicates != "error":
        return data.drop_duplicates(pairs, keep=duplicates, ignore_index=True)
    if _strictly_ascending(*(data[name].to_numpy() for name in pairs)):
        return data  # as the larger sets stand, and much faster found out
    again = data.duplicated(pairs).to_numpy()
    if again.any():
        row = int(again.argmax())
        user, item = (data[name].iloc[row] for name in pairs)
        first = int(((data[pairs] == [user, item]).all(axis=1)).to_numpy().argmax())
        start = 2 if form.header else 1  # the line of row 0
        raise ValueError(
            f"{path}, line {start + row}: user {user} rated item {item} on line "
            f"{start + first} already; duplicates='first' or 'last' keeps one of them"
        )
    return data


def _strictly_ascending(users, items):
    next_user, next_item = users[1:] > users[:-1], items[1:] > items[:-1]
    return (next_user | (next_item & (users[1:] == users[:-1]))).all()
