"""Read CSV and TSV files with a header, and find the line of a row."""

import csv
import io
import os
from pathlib import Path
from typing import Any, List, NoReturn, Sequence, Union

import pandas as pd

from d2l_recsys.data.lines import SEPARATORS, content_of, encoding_of, separator_of


class CSVFile:
    """A text file whose first line names the columns.

    Its tabs or semicolons, or else commas, separate the fields, which may be in quotes.
    The text is UTF-8, with or without a byte order mark, or Latin-1. Empty
    lines are skipped.

    Raises a ValueError that names file and line if a line does not have as many fields
    as the header, a quote is not closed, there are no rows, or the header has commas
    and semicolons outside quotes.
    """

    def __init__(self, path: "Union[str, os.PathLike[str]]") -> None:
        self.path = Path(path)
        self._content = content_of(self.path)
        self._encoding = encoding_of(self._content)
        if b"\0" in self._content:
            line = self._content.count(b"\n", 0, self._content.index(b"\0")) + 1
            raise ValueError(
                f"{self.path}, line {line}: the line contains a zero byte: save the "
                "file as text in UTF-8"
            )
        first = self._content.lstrip(b"\r\n").split(b"\n", 1)[0]
        header = first.decode(self._encoding)
        self.separator = separator_of(header, f"{self.path}, line 1")
        self.names: List[str] = []
        try:
            self.names = next(filter(None, self._rows()), [])
            sizes = {*map(len, self._rows())}
        except csv.Error:
            self._raise_fault()
        self.names = [name.strip() for name in self.names]
        if not self.names:
            raise ValueError(f"{self.path}, line 1: the file is empty")
        if sizes - {0, len(self.names)}:
            self._raise_fault()

    def columns(self, places: Sequence[int]) -> List[pd.Categorical]:
        """Return the columns at these places, counted from 0, as categories of text."""
        names = [str(place) for place in range(len(self.names))]
        try:
            data = pd.read_csv(
                io.BytesIO(self._content),
                sep=self.separator,
                header=0,
                names=names,
                usecols=[str(place) for place in places],
                index_col=False,
                dtype="category",  # stores each distinct value once
                na_filter=False,
                encoding=self._encoding,
            )
        except ValueError as error:
            raise ValueError(
                f"{self.path}: pandas cannot read the file: {error}"
            ) from None
        if not len(data):
            raise ValueError(f"{self.path}, line 2: no rows follow the header")
        return [data[str(place)].array for place in places]

    def line_of(self, row: int) -> int:
        """Return the line on which a row begins, counted from 1."""
        reader, count, line = self._rows(), -2, 0
        while count < row:
            line = reader.line_num + 1
            count += bool(next(reader))
        return line

    def _rows(self) -> Any:
        text = io.TextIOWrapper(
            io.BytesIO(self._content), encoding=self._encoding, newline=""
        )
        return csv.reader(text, delimiter=self.separator, strict=True)

    def _raise_fault(self) -> NoReturn:
        """Raise a ValueError for the first line that is invalid."""
        reader, line, expected = self._rows(), 0, len(self.names)
        try:
            for fields in reader:
                if fields and expected and len(fields) != expected:
                    break
                line = reader.line_num
        except csv.Error as error:
            fault = str(error)
        else:
            fault = (
                f"{len(fields)} fields instead of {expected}, as in the header "
                f"(separated by {SEPARATORS[self.separator]})"
            )
        raise ValueError(f"{self.path}, line {line + 1}: {fault}")
