"""Reading files of advertisements: a label and fields per line, faults named by line.

A file becomes a :class:`Table`: each field's distinct texts, and for each row the
number of its text. A large file is read block by block, so that its text is never in
memory as a whole. What stands where is told by a layout: see ``ctr_layouts``.
"""

import codecs
import csv
import io
import os
import warnings
from pathlib import Path
from typing import Iterator, List, NamedTuple, Sequence, Tuple, Union

import numpy as np
import pandas as pd

from d2l_recsys.data.ctr_layouts import Layout, check, fault_of, is_checked, time_of

_BLOCK_BYTES = 2**24  # read at a time: some 50,000 lines
_PathLike = Union[str, "os.PathLike[str]"]


class Table(NamedTuple):
    """The rows of a file, coded: row r has ``values[f][codes[r, f]]`` in field f."""

    fields: Tuple[str, ...]
    numeric: Tuple[str, ...]  # those of the fields that hold numbers
    values: List[List[str]]  # of each field, distinct
    codes: np.ndarray  # int32 (rows, fields)
    labels: np.ndarray  # float32 (rows,)
    skipped: int = 0  # lines left out

    def rows(self, chosen) -> "Table":
        """Return the table of the rows `chosen`, a mask or indices."""
        return self._replace(codes=self.codes[chosen], labels=self.labels[chosen])


def read_table(
    paths: Union[_PathLike, Sequence[_PathLike]], layout: Layout, on_error="raise"
) -> Table:
    """Read one file or several, UTF-8, one after the other into one table.

    A first line that holds the names of the columns is passed over. The last line need
    not end with a newline.

    Raises ValueError naming file and line for another number of fields than the
    layout's, a label other than 0 or 1, text in a field of numbers, a time that is
    none, bytes that are not UTF-8, or a file without rows. With ``on_error='skip'``
    such lines are left out and counted, with a UserWarning that names the first.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error is 'raise' or 'skip', not {on_error!r}")
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    coder = _Coder(layout)
    for path in paths:
        before = coder.rows
        first, skipped = "", 0
        for text, number in _blocks(Path(path), layout):
            if not coder.add(text):
                skip = on_error == "skip"
                text, fault, count = _without_faults(text, number, layout, skip)
                if fault and not skip:
                    raise ValueError(f"{path}, {fault}")
                if not fault or not coder.add(text):
                    raise ValueError(f"{path}, line {number}: cannot be read from here")
                first, skipped = first or fault, skipped + count
        if skipped:
            message = f"{path}: {skipped} lines skipped, the first: {first}"
            warnings.warn(message, stacklevel=3)
        if coder.rows == before:
            raise ValueError(f"{path}, line 1: the file has no rows to read")
        coder.skipped += skipped
    return coder.table()


def _blocks(path, layout) -> Iterator[Tuple[bytes, int]]:
    """Yield whole lines, `_BLOCK_BYTES` at a time, and the number of the first."""
    names = layout.separator.join(layout.columns).encode()
    number = 1
    with open(path, "rb") as file:
        while True:
            text = file.read(_BLOCK_BYTES)
            text += file.readline()
            if not text:
                return
            if number == 1 and text.startswith(codecs.BOM_UTF8):
                text = text[len(codecs.BOM_UTF8) :]
            if b"\r" in text:
                text = text.replace(b"\r\n", b"\n")
            if number == 1 and text.split(b"\n", 1)[0] == names:
                text, number = text[len(names) + 1 :], 2
            if text:
                yield text, number
            number += text.count(b"\n")


class _Coder:
    """Collects blocks of lines, and numbers each field's texts as they come."""

    def __init__(self, layout):
        self.layout = layout
        self.numbers = [{} for _ in layout.fields]  # of each field: {text: its number}
        self.codes, self.labels = [], []
        self.rows = self.skipped = 0

    def add(self, text) -> bool:
        """Add a block of lines; if there is a fault in it, add none, return False."""
        if not text:
            return True
        columns = _parse(text, self.layout)
        if columns is None:
            return False
        labels = columns.pop(self.layout.label)
        self.labels.append(_recoded(labels, [float(v) for v in labels.categories]))
        codes = np.empty((len(labels), len(self.layout.fields)), dtype="int32")
        for field, column in enumerate(self._split(columns)):
            known = self.numbers[field]
            new = [known.setdefault(v, len(known)) for v in column.categories]
            codes[:, field] = _recoded(column, new)
        self.codes.append(codes)
        self.rows += len(codes)
        return True

    def _split(self, columns):
        """Yield the fields: the columns, the hour as two."""
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

    def table(self):
        return Table(
            self.layout.fields,
            self.layout.numeric,
            [list(known) for known in self.numbers],
            np.concatenate(self.codes),
            np.concatenate(self.labels).astype("float32"),
            self.skipped,
        )


class _Column(NamedTuple):
    """As much of a pandas Categorical as is needed; texts may come twice."""

    codes: np.ndarray
    categories: List[str]


def _recoded(column, new):
    return np.asarray(new)[column.codes]


def _parse(text, layout):
    """Return {column: Categorical} of lines at C speed, or None if there is a fault."""
    if not _counts_are_right(text, layout) or b"\0" in text or b"\r" in text:
        return None
    # pandas passes over a mark at the start of a block.
    if text.startswith(codecs.BOM_UTF8) or b"\n" + codecs.BOM_UTF8 in text:
        return None
    try:
        frame = pd.read_csv(
            io.BytesIO(text),
            sep=layout.separator,
            names=layout.columns,
            usecols=[c for c in layout.columns if c not in layout.dropped],
            dtype="category",  # keeps each distinct text once, as text
            na_filter=False,
            quoting=csv.QUOTE_NONE,
            lineterminator="\n",
            skip_blank_lines=False,
        )
        columns = {name: frame[name].array for name in frame}
        for name, column in columns.items():
            for value in column.categories if is_checked(name, layout) else ():
                check(name, value, layout)
    except ValueError:
        return None
    return columns


def _counts_are_right(text, layout):
    """Tell whether all lines have the layout's number of separators."""
    characters = np.frombuffer(text, dtype="uint8")
    ends = np.flatnonzero(characters == ord("\n"))
    if text[-1:] != b"\n":
        ends = np.append(ends, len(text))
    at = np.flatnonzero(characters == ord(layout.separator))
    if len(at) != len(ends) * (len(layout.columns) - 1):
        return False
    at = at.reshape(len(ends), -1)
    # The first of each row lies after the line before, the last within its own.
    return bool((at[1:, 0] > ends[:-1]).all() and (at[:, -1] < ends).all())


def _without_faults(text, number, layout, skip):
    """Return the good lines, what is wrong with the first other one, and their count.

    Without `skip` it goes no further than that one.
    """
    good, first, count = [], "", 0
    for at, line in enumerate(io.BytesIO(text), number):
        fault = fault_of(line, layout)
        if not fault:
            good.append(line)
            continue
        first, count = first or f"line {at}: {fault}", count + 1
        if not skip:
            break
    return b"".join(good), first, count
