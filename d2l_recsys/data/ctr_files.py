"""Read CTR files: a label and fields per line. Errors name the file and the line.

A file becomes a :class:`Table`: the distinct values of each field, and for each row the
code of its value. Files are read block by block, so a large file is never in memory as
text. The layout of a line is described in ``ctr_layouts``. Section: ``ctr``.
"""

import codecs
import csv
import io
import os
import warnings
from pathlib import Path
from typing import (
    Any,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import numpy as np
import pandas as pd

from d2l_recsys.data.ctr_layouts import (
    Layout,
    check,
    fault_of,
    is_checked,
    split,
    time_of,
)
from d2l_recsys.data.lines import field_ends, line_blocks, with_point
from d2l_recsys.data.sizes import check_list, check_path

_BLOCK_BYTES = 2**23  # read at a time: about 30,000 lines
# Mask n keeps the first n bytes of a number of eight.
_MASKS = np.array([256**n - 1 for n in range(9)], dtype="uint64")
_PathLike = Union[str, "os.PathLike[str]"]


class Table(NamedTuple):
    """The encoded rows of a file: row r has ``values[f][codes[r, f]]`` in field f."""

    fields: Tuple[str, ...]
    numeric: Tuple[str, ...]  # the fields that hold numbers
    values: List[List[str]]  # distinct values of each field
    codes: np.ndarray  # int32 (rows, fields)
    labels: np.ndarray  # float32 (rows,); zeros if the layout has no labels
    skipped: int = 0  # number of invalid lines that were left out

    def rows(self, chosen: Union[np.ndarray, slice]) -> "Table":
        """Return a table of the rows `chosen`: a mask, indices or a slice."""
        return self._replace(codes=self.codes[chosen], labels=self.labels[chosen])


def read_table(
    paths: Union[_PathLike, Sequence[_PathLike]],
    layout: Layout,
    on_error: str = "raise",
) -> Table:
    """Read one UTF-8 file, or several files in a row, into one table.

    A first line with the names of the columns is skipped. The last line may lack its
    newline.

    Raises a ValueError that names file and line if a line has the wrong number of
    fields, a label other than 0 or 1, text in a numeric field, an invalid time, or
    bytes that are not UTF-8. Raises ValueError, too, if a file has no rows or there is
    no file. With ``on_error='skip'``, invalid lines are left out and counted, and a
    UserWarning names the first one. Section: ``ctr``.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', not {on_error!r}")
    paths = paths_of(paths, "paths")
    encoder = _Encoder(layout)
    for path in paths:
        rows_before = encoder.rows
        first, skipped = "", 0
        for text, number in _blocks(Path(path), layout):
            if not encoder.add(text):
                skip = on_error == "skip"
                text, fault, count = _without_faults(text, number, layout, skip)
                if fault and not skip:
                    raise ValueError(f"{path}, {fault}")
                if not fault or not encoder.add(text):
                    raise ValueError(
                        f"{path}, line {number}: the file cannot be read from here on"
                    )
                first, skipped = first or fault, skipped + count
        if skipped:
            message = f"{path}: {skipped} lines skipped, the first: {first}"
            warnings.warn(message, stacklevel=3)
        if encoder.rows == rows_before:
            raise ValueError(f"{path}, line 1: the file has no rows")
        encoder.skipped += skipped
    return encoder.table()


def paths_of(paths: Any, what: str) -> List[_PathLike]:
    """Return a path or several paths as a list.

    Raises a ValueError that names the argument, `what`, for anything else. An empty
    list is an error, too.
    """
    if isinstance(paths, (str, os.PathLike)):
        return [paths]
    check_list(paths, what, "a path or a list of paths")
    listed = list(paths)
    for place, path in enumerate(listed):
        check_path(path, f"{what}[{place}]")
    if not listed:
        raise ValueError("there is no file to read: pass a path or a list of paths")
    return listed


def _blocks(path: Path, layout: Layout) -> Iterator[Tuple[bytes, int]]:
    """Yield about `_BLOCK_BYTES` of whole lines, and the number of the first line."""
    number = 1
    for text in line_blocks(path, _BLOCK_BYTES):
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n")
        if number == 1 and _is_header(text.split(b"\n", 1)[0], layout):
            text, number = text.partition(b"\n")[2], 2
        if text:
            yield text, number
        number += text.count(b"\n")


def _is_header(line: bytes, layout: Layout) -> bool:
    try:
        names = split(line.decode(), layout)
    except ValueError:
        return False
    return [name.strip(" ") for name in names] == list(layout.columns)


class _Encoder:
    """Collect blocks of lines, and number the values of each field as they appear."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.known: List[Dict[str, int]] = [{} for _ in layout.fields]  # value: code
        self.codes = np.empty((0, len(layout.fields)), dtype="int32")
        self.labels: List[np.ndarray] = []
        self.skipped = 0

    @property
    def rows(self) -> int:
        """Return the number of rows so far."""
        return len(self.codes)

    def add(self, text: bytes) -> bool:
        """Add a block of lines. If one is invalid, add none and return False."""
        if not text:
            return True
        columns = _parse(text, self.layout)
        if columns is None:
            return False
        rows = len(next(iter(columns.values())).codes)
        if self.layout.label is None:
            self.labels.append(np.zeros(rows))
        else:
            labels = columns.pop(self.layout.label)
            self.labels.append(_recode(labels, [float(v) for v in labels.categories]))
        before = self.rows
        self.codes.resize((before + rows, len(self.known)), refcheck=False)  # no copy
        for field, column in enumerate(self._split_hour(columns)):
            known = self.known[field]
            new = [known.setdefault(v, len(known)) for v in column.categories]
            self.codes[before:, field] = _recode(column, new)
        return True

    def _split_hour(self, columns: "Dict[str, _Column]") -> "Iterator[_Column]":
        """Yield the fields: each column, but the hour as weekday and hour of day."""
        for name, column in columns.items():
            if name != self.layout.hour:
                yield column
                continue
            times = [time_of(v) for v in column.categories]
            for texts in (
                [str(time.isoweekday()) for time in times],  # Monday is 1
                [f"{time.hour:02d}" for time in times],
            ):
                yield _Column(column.codes, texts)

    def table(self) -> Table:
        return Table(
            self.layout.fields,
            self.layout.numeric,
            [list(known) for known in self.known],
            self.codes,
            np.concatenate(self.labels).astype("float32"),
            self.skipped,
        )


class _Column(NamedTuple):
    """A column like a pandas Categorical, except that categories may repeat."""

    codes: np.ndarray
    categories: Sequence[str]


def _recode(column: _Column, new: Sequence[Any]) -> np.ndarray:
    """Return the value of each row, given the `new` value of each category."""
    return np.asarray(new)[column.codes]


def _parse(text: bytes, layout: Layout) -> Optional[Dict[str, _Column]]:
    """Return {name: column} of the lines at C speed, or None if a line is invalid."""
    mark = codecs.BOM_UTF8
    if b"\0" in text or b"\r" in text or text.startswith(mark) or b"\n" + mark in text:
        return None
    quoted = layout.quoted and b'"' in text
    columns = {}
    try:
        text.decode()  # tells whether it is UTF-8
        for name, column in (_quoted if quoted else _plain)(text, layout):
            codes, values = column
            for value in values if is_checked(name, layout) else ():
                check(name, value, layout)
            if name in layout.numeric:
                values = [with_point(value, layout.decimal) for value in values]
            columns[name] = _Column(codes, values)
    except (ValueError, csv.Error):
        return None
    return columns


def _plain(text: bytes, layout: Layout) -> Iterator[Tuple[str, _Column]]:
    """Yield each column that is not dropped, and its name.

    Raises ValueError if a line has the wrong number of fields.
    """
    ends = field_ends(text, layout.separator, len(layout.columns) - 1)
    if ends is None:
        raise ValueError("wrong number of fields")
    starts = np.concatenate([[0], ends.ravel()[:-1] + 1]).reshape(ends.shape)
    # The eight bytes from each place of the text on, as a number.
    words: np.ndarray = np.ndarray(
        len(text) + 1, "uint64", text + bytes(8), strides=(1,)
    )
    for place, name in enumerate(layout.columns):
        if name in layout.dropped:
            continue
        start, end = starts[:, place], ends[:, place]
        size = end - start
        if size.max() > 8:
            fields = [text[a:b] for a, b in zip(start.tolist(), end.tolist())]
            codes, values = pd.factorize(np.array(fields, dtype="object"))
        else:  # numbers are found faster than texts
            codes, values = pd.factorize(words[start] & _MASKS[size])
            values = values.view("S8")
        yield name, _Column(codes, [value.decode() for value in values.tolist()])


def _quoted(text: bytes, layout: Layout) -> Iterator[Tuple[str, _Column]]:
    """Yield the same as `_plain` for lines in which fields may be in quotes.

    Raises csv.Error, too, if a quote is not closed.
    """
    lines = text.decode().split("\n")
    if not lines[-1]:
        del lines[-1]
    reader = csv.reader(lines, delimiter=layout.separator, strict=True)
    rows = [row or [""] for row in reader]  # an open quote takes several lines
    if len(rows) != len(lines) or {*map(len, rows)} != {len(layout.columns)}:
        raise ValueError("wrong number of fields")
    for name, fields in zip(layout.columns, zip(*rows)):
        if name not in layout.dropped:
            codes, values = pd.factorize(np.array(fields, dtype="object"))
            yield name, _Column(codes, values.tolist())


def _without_faults(
    text: bytes, number: int, layout: Layout, skip: bool
) -> Tuple[bytes, str, int]:
    """Return the valid lines, the first fault, and the number of invalid lines.

    Without `skip`, stop at the first invalid line. `number` is that of the first line.
    """
    valid, first, count = [], "", 0
    for at, line in enumerate(io.BytesIO(text), number):
        fault = fault_of(line, layout)
        if not fault:
            valid.append(line)
            continue
        first, count = first or f"line {at}: {fault}", count + 1
        if not skip:
            break
    return b"".join(valid), first, count
