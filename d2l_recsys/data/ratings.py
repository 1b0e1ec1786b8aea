"""Read the ratings of MovieLens. Errors name the file and the line."""

import csv
import io
import os
import re
import warnings
from pathlib import Path
from typing import Dict, Iterator, NamedTuple, Optional, Union

import numpy
import pandas as pd

from d2l_recsys.data.frames import repeated
from d2l_recsys.data.lines import (
    content_of,
    fault_of_header,
    fault_of_number,
    line_blocks,
    numbered_lines,
    quoted,
    shown,
)

_BLOCK_BYTES = 2**24  # read at a time: about 600,000 lines
NAMES = ["user_id", "item_id", "rating", "timestamp"]
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_PathLike = Union[str, "os.PathLike[str]"]


class Format(NamedTuple):
    """The format of a file of ratings."""

    separator: str
    header: str = ""  # the first line, if it is not a rating
    halves: bool = False  # ratings are 0.5, 1, ... 5 instead of any number in 1-5


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
_FORMAT_OF_FILE = {"ratings.dat": "ml-10m", "ratings.csv": "ml-25m"}


def read_movielens_ratings(
    path: _PathLike, duplicates: str = "error", name: Optional[str] = None
) -> pd.DataFrame:
    """Read a MovieLens file of ratings, in file order.

    Returns a frame with the columns user_id, item_id, rating and timestamp (seconds
    since 1970). The ids are those in the file. If a user rated an item twice, that is
    an error, unless `duplicates` is 'first' or 'last': the row to keep, in file order.

    `name` is the data set whose format the file has, one of ``FORMATS``. By default the
    name of the file decides:

    * ratings.dat is read as in ml-10m: separated by ``::``, half stars;
    * ratings.csv is read as in ml-25m: a header, separated by commas, half stars;
    * other files are read as u.data: separated by tabs, ratings from 1 to 5.

    Numbers consist of the digits 0-9. A rating may have a decimal point, a timestamp
    may have a minus sign. Blanks, plus signs and exponents are errors. Lines end in LF
    or CR LF. The file may start with a byte order mark, and the names in the header may
    be in quotes.

    Raises a ValueError that names file and line if a line does not have four fields, a
    field is not a number, an id is below 1, a rating is outside 1-5 (with half stars:
    not one of 0.5, 1, ... 5), the header is missing, or there are no ratings.
    Section: ``movielens``.
    """
    path = Path(path)
    form = FORMATS[name or _FORMAT_OF_FILE.get(path.name, "ml-100k")]
    return _without_duplicates(_read_checked(path, form), duplicates, path, form)


def count_ratings(path: _PathLike, name: str) -> int:
    """Count the ratings in a file in the format of the data set `name`.

    The lines are counted, not checked: see :func:`read_movielens_ratings`.
    """
    count, last = 0, b"\n"
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            count, last = count + block.count(b"\n"), block[-1:]
    return count + (last != b"\n") - bool(FORMATS[name].header)


def _fault_of_rating(field: str, form: Format) -> Optional[str]:
    """Return what is wrong with a rating, or None if it is valid."""
    if not _DECIMAL.fullmatch(field):
        return f"rating {shown(field)} is not a number"
    lowest = 0.5 if form.halves else 1
    if not lowest <= float(field) <= 5:
        return f"rating {shown(field)} is outside {lowest}-5"
    if form.halves and float(field) % 0.5:
        return f"rating {shown(field)} is not a multiple of 0.5"
    return None


def _read_checked(path: Path, form: Format) -> pd.DataFrame:
    """Read and check at C speed; check line by line only if something is wrong."""
    dtypes = ("int64", "int64", "float64", "int64")
    columns = {name: numpy.empty(0, dtype) for name, dtype in zip(NAMES, dtypes)}
    try:
        for text in _blocks(path, form.header):
            for name, part in _parsed(text, form).items():
                rows = len(columns[name])
                columns[name].resize(rows + len(part), refcheck=False)  # not copied
                columns[name][rows:] = part
    except (ValueError, OverflowError, TypeError, pd.errors.ParserWarning):
        _raise_fault(path, _with_plain_header(content_of(path), form.header), form)
        raise ValueError(f"{path}, line 1: pandas cannot read the file") from None
    if not len(columns["rating"]):
        _raise_fault(path, content_of(path), form)
    if not (columns["rating"] % 1).any():
        columns["rating"] = columns["rating"].astype("int64")
    return pd.DataFrame(columns, copy=False)


def _blocks(path: Path, header: str) -> Iterator[bytes]:
    """Yield blocks of lines without the `header`; raise ValueError if it is missing."""
    for number, text in enumerate(line_blocks(path, _BLOCK_BYTES)):
        if header and not number:
            first, _, text = _with_plain_header(text, header).partition(b"\n")
            if first not in (header.encode(), header.encode() + b"\r"):
                raise ValueError("the header is missing")
        if text:
            yield text


def _with_plain_header(content: bytes, header: str) -> bytes:
    """Return `content` with a `header` without quotes, if it has a quoted one."""
    other = quoted(header).encode()
    if header and content[: len(other) + 2].splitlines()[:1] == [other]:
        return header.encode() + content[len(other) :]
    return content


def _parsed(text: bytes, form: Format) -> Dict[str, numpy.ndarray]:
    """Parse a block of lines into columns; raise ValueError if something is wrong."""
    separator = form.separator
    if separator == "::":  # pandas is only this fast with a separator of one byte
        if b"\t" in text:
            raise ValueError("there is a tab")
        text, separator = text.replace(b"::", b"\t"), "\t"
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)  # numbers too large for int64
        data = pd.read_csv(
            io.BytesIO(text),
            sep=separator,
            names=NAMES,
            index_col=False,
            # As categories, the few distinct ratings are checked once each.
            dtype={n: "category" if n == "rating" else "int64" for n in NAMES},
            keep_default_na=False,
            encoding="latin-1",
            quoting=csv.QUOTE_NONE,
            skip_blank_lines=False,
            low_memory=False,
        )
    columns = {n: data[n].to_numpy() for n in NAMES if n != "rating"}
    texts = list(data["rating"].cat.categories)
    codes = data["rating"].cat.codes.to_numpy()
    points = numpy.array([rating.count(".") for rating in texts])
    if (
        any(_fault_of_rating(rating, form) for rating in texts)
        # pandas makes numbers from 2^63 on uint64, whatever the dtype.
        or any(column.dtype != "int64" for column in columns.values())
        or min(columns["user_id"].min(), columns["item_id"].min()) < 1
        or not _nothing_else(text, len(data), int(points[codes].sum()))
    ):
        raise ValueError("a line is invalid")
    columns["rating"] = numpy.array([float(rating) for rating in texts])[codes]
    return columns


def _nothing_else(text: bytes, rows: int, points: int) -> bool:
    """Tell whether `text` has only the bytes of `rows` lines with four numbers each.

    pandas also accepts blanks, exponents, 1.0 as an id, separators at the end of a line
    and more. All of these are additional bytes, so it is enough to count the bytes of
    valid lines: digits, minus signs, points in ratings, separators and line ends.
    """
    returns = text.count(b"\r")
    digits = numpy.frombuffer(text, dtype="uint8") - 48  # others become 10 or more
    expected = numpy.count_nonzero(digits < 10) + text.count(b"-") + points
    expected += (len(NAMES) - 1) * rows + rows - (text[-1:] != b"\n") + returns
    line_ends = not returns or returns == text.count(b"\r\n")
    return expected == len(text) and line_ends


def _raise_fault(path: Path, content: bytes, form: Format) -> None:
    """Raise ValueError for the first invalid line, if there is one."""
    number = 0
    for number, line in numbered_lines(content):
        if form.header and number == 1:
            fault = fault_of_header(line, form.header)
        else:
            fault = _fault_of_line(line, form)
        if fault:
            raise ValueError(f"{path}, line {number}: {fault}")
    if number <= bool(form.header):
        what = "no ratings follow the header" if number else "the file is empty"
        raise ValueError(f"{path}, line {number + 1}: {what}")


def _fault_of_line(line: str, form: Format) -> Optional[str]:
    """Return what is wrong with a line of ratings, or None if it is valid."""
    fields = line.split(form.separator)
    if len(fields) != len(NAMES):
        between = {"\t": "tabs", ",": "commas"}.get(form.separator, "::")
        return (
            f"{len(fields)} fields instead of 4 (user, item, rating, timestamp, "
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


def _without_duplicates(
    data: pd.DataFrame, duplicates: str, path: Path, form: Format
) -> pd.DataFrame:
    if duplicates not in ("error", "first", "last"):
        raise ValueError(
            f"duplicates must be 'error', 'first' or 'last', not {duplicates!r}"
        )
    again = repeated(data, "last" if duplicates == "last" else "first")
    if not again.any():
        return data
    if duplicates != "error":
        return data[~again].reset_index(drop=True)
    row = int(again.argmax())
    pair = data[["user_id", "item_id"]].iloc[row]
    first = int((data[pair.index] == pair).all(axis=1).to_numpy().argmax())
    start = 2 if form.header else 1  # the line of row 0
    raise ValueError(
        f"{path}, line {start + row}: user {pair.iloc[0]} already rated item "
        f"{pair.iloc[1]} on line {start + first}: keep one of the two with "
        "duplicates='first' or 'last' (in the scripts: --duplicates first or last)"
    )
