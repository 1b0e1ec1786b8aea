"""Read CSV and TSV files with a header, and find the line of a row."""

import csv
import io
import os
import re
import warnings
from pathlib import Path
from typing import Any, Dict, List, NoReturn, Optional, Sequence, Union

import pandas as pd

from d2l_recsys.data.lines import (
    SEPARATORS,
    all_have,
    content_of,
    encoding_of,
    separator_of,
)

_BLOCK_BYTES = 2**24  # checked at a time


class CSVFile:
    """A text file whose first line names the columns.

    If it has tabs, they separate the fields, or else semicolons, or else commas. Fields
    may be in quotes. The text is UTF-8, with or without a byte order mark, or Latin-1.
    Empty lines are skipped.

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
        first = re.match(rb"[\r\n]*([^\n]*)", self._content)
        header = first[1].decode(self._encoding) if first else ""
        self.separator = separator_of(header, f"{self.path}, line 1")
        self.names: List[str] = []
        try:
            names: List[str] = next(filter(None, self._rows()), [])
        except csv.Error:
            self._raise_fault()
        self.names = [name.strip() for name in names]
        if not self.names:
            raise ValueError(f"{self.path}, line 1: the file is empty")
        if not (self._is_plain() or self._is_regular()):
            self._raise_fault()

    def _is_plain(self) -> bool:
        """Tell at C speed whether the lines are valid and have no quotes."""
        start, end = self._content.find(b"\n") + 1, len(self._content)
        quotes = self._content.find(b'"', start) >= 0
        if quotes or self._content.count(b"\r") != self._content.count(b"\r\n"):
            return False
        while start < end:
            stop = self._content.find(b"\n", start + _BLOCK_BYTES) + 1 or end
            lines = self._content[start:stop]
            # The csv module, which finds the line of a row, refuses longer fields.
            half = csv.field_size_limit() // 2
            starts = range(0, len(lines) - half, half)
            if any(lines.find(b"\n", at, at + half) < 0 for at in starts):
                return False
            if not all_have(lines, self.separator, len(self.names) - 1):
                return False
            start = stop
        return True

    def _is_regular(self) -> bool:
        """Tell whether the lines are valid."""
        try:
            return {*map(len, self._rows())} <= {0, len(self.names)}
        except csv.Error:
            return False

    def columns(
        self, places: Sequence[int], numbers: Optional[int] = None
    ) -> List[pd.Series]:
        """Return the columns at these places, counted from 0, as categories of text.

        The column at the place `numbers` is int64 if all its fields are integers.
        Otherwise it is text.
        """
        dtypes = {str(place): "category" for place in places}  # stores each text once
        number = str(numbers)
        dtypes.pop(number, None)
        data = self._parsed([*map(str, places)], dtypes)
        if not len(data):
            raise ValueError(f"{self.path}, line 2: no rows follow the header")
        if number in data:
            column = data[number]
            whole = column.dtype == "int64" and b"+" not in self._content
            # pandas accepts plus signs, and may mix numbers and text.
            if not whole and pd.api.types.infer_dtype(column, skipna=False) != "string":
                data[number] = self._parsed([number], {number: "str"})[number]
        return [data[str(place)] for place in places]

    def _parsed(self, places: List[str], dtypes: Dict[str, str]) -> pd.DataFrame:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", pd.errors.DtypeWarning)
                return pd.read_csv(
                    io.BytesIO(self._content),
                    sep=self.separator,
                    header=0,
                    names=[str(place) for place in range(len(self.names))],
                    usecols=places,
                    index_col=False,
                    dtype=dtypes,
                    na_filter=False,
                    encoding=self._encoding,
                )
        except ValueError as error:
            raise ValueError(
                f"{self.path}: pandas cannot read the file: {error}"
            ) from None

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
