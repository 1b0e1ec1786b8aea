"""A reader's own click data: files with a header, and frames. Section: ``ctr``."""

import codecs
import os
import re
from typing import Any, Hashable, List, Optional, Sequence, Union

import numpy
import pandas as pd

from d2l_recsys.data.column_names import named, shown_names
from d2l_recsys.data.ctr_files import Table
from d2l_recsys.data.ctr_layouts import LAYOUTS, Layout, check, split, tabbed
from d2l_recsys.data.lines import NUMBER, separator_of

LABELS = "label click clicked isclick isclicked target y"
_PathLike = Union[str, "os.PathLike[str]"]
Numeric = Sequence[Union[int, str]]


def layout_for(
    paths: Sequence[_PathLike],
    layout: Union[str, Layout, None],
    num_feat: int,
    numeric: Numeric,
    label: Optional[Hashable],
) -> Layout:
    """Return the layout of the files that CTRDataset is given.

    Raises ValueError for an unknown layout, label or numeric field.
    """
    known = layout in LAYOUTS if isinstance(layout, str) else layout is None
    if not known and not isinstance(layout, Layout):
        raise ValueError(
            f"layout must be {', '.join(LAYOUTS)} or a Layout, not {layout!r}"
        )
    if layout is not None:
        return LAYOUTS[layout] if isinstance(layout, str) else layout
    found = layout_of_header(paths[0], label) if len(paths) else None
    if found is None:
        found = tabbed(num_feat)
        tabbed(num_feat, [x for x in numeric if x not in found.fields])  # checks them
    return found._replace(numeric=numeric_names(found.fields, numeric))


def layout_of_header(
    path: _PathLike, label: Optional[Hashable] = None
) -> Optional[Layout]:
    """Return the layout that the first line of a file describes, or None.

    The line is a header if one of its names is `label` or a usual name for the label.
    It is also a header if the next line begins with a label and it does not. Then the
    first column is the label. If the line has tabs, they separate the fields, or else
    semicolons, or else commas. Numbers between semicolons have decimal commas.

    Raises a ValueError that names the columns if there is no `label`, there are several
    usual names, two columns share a name, or the header has commas and semicolons.
    """
    with open(path, "rb") as file:
        first, second = (file.readline().rstrip(b"\r\n") for _ in range(2))
    if first.startswith(codecs.BOM_UTF8):
        first = first[len(codecs.BOM_UTF8) :]
    try:
        text = first.decode()
    except ValueError:
        return None  # read_table tells what is wrong
    if label is None and separator_of_row(text):
        return None
    separator = separator_of(text, f"{path}, line 1")
    decimal = "," if separator == ";" else "."
    layout = Layout(separator, (), "", quoted=True, decimal=decimal)
    try:
        names = [name.strip(" ") for name in split(text, layout)]
    except ValueError:
        return None  # likewise
    if label is None and len(names) < 2:
        return None
    place = named(names, label, "label", LABELS, f"{path}, line 1")
    if place is None:
        text = second.decode(errors="replace")
        values = text.replace('"', "").split(layout.separator)
        if NUMBER.fullmatch(names[0]) or values[0] not in ("0", "1"):
            return None
        place = 0
    for name in names:
        if not name or names.count(name) > 1:
            raise ValueError(
                f"{path}, line 1: {names.count(name)} columns are called {name!r}: the "
                "first line must name each column differently"
            )
    return layout._replace(columns=tuple(names), label=names[place], header=True)


def separator_of_row(line: str) -> Optional[str]:
    """Return what separates the fields of a row, or None if it begins with no label."""
    match = re.match('\ufeff?("?)[01]\\1([,;\t])', line)
    return match and match[2]


def numeric_names(fields: Sequence[str], numeric: Numeric) -> Any:
    """Return the names of the fields `numeric`, which may be numbers from 1."""
    for field in numeric:
        if field not in fields and field not in range(1, len(fields) + 1):
            raise ValueError(
                f"numeric: there is no field {field!r}; the fields are "
                f"{shown_names(fields)}"
            )
    return tuple(
        name
        for place, name in enumerate(fields, 1)
        if name in numeric or place in numeric
    )


def table_of(
    data: pd.DataFrame, label: Optional[Hashable] = None, numeric: Numeric = ()
) -> Table:
    """Return the rows of a frame as a table.

    The label is the column `label`, or one with a usual name, or the first. Values
    become text, whole numbers without a decimal point. Missing values become "".

    Raises a ValueError that names a missing column, or the row of a label other than 0
    or 1 or of text in a numeric field.
    """
    if not len(data):
        raise ValueError("the frame has no rows")
    columns = list(data.columns)
    place = named(columns, label, "label", LABELS, "data") or 0
    names = [str(name) for i, name in enumerate(columns) if i != place]
    if not names or len({*names}) < len(names):
        raise ValueError(
            f"data must have a label and fields, all with different names; it has "
            f"{shown_names(columns)}"
        )
    numbers = numeric_names(names, numeric)
    layout = Layout("", (*names, ""), "", numeric=numbers)
    values, codes = [], numpy.empty((len(data), len(names)), dtype="int32")
    fields = [data.iloc[:, i] for i in range(len(columns)) if i != place]
    for field, (name, column) in enumerate(zip(names, fields)):
        codes[:, field], texts = _as_texts(column)
        values.append(texts)
        if name in numbers:
            _check_each(name, texts, codes[:, field], layout)
    code, texts = _as_texts(data.iloc[:, place])
    _check_each("", texts, code, layout)
    labels = numpy.array([float(text) for text in texts], dtype="float32")[code]
    return Table(tuple(names), numbers, values, codes, labels)


def _as_texts(column: pd.Series) -> Any:
    """Return the codes (n,) and the distinct values of a column, as text."""
    codes, values = pd.factorize(column)
    texts = [*map(_text, values), ""]  # the code of a missing value is -1
    again, distinct = pd.factorize(numpy.array(texts, dtype="object"))
    codes = again[codes]
    used, codes = numpy.unique(codes, return_inverse=True)
    return codes, [distinct[i] for i in used]


def _text(value: Any) -> str:
    if isinstance(value, (bool, numpy.bool_)):
        return str(int(value))
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value)


def _check_each(
    name: str, texts: List[str], codes: numpy.ndarray, layout: Layout
) -> None:
    for code, text in enumerate(texts):
        try:
            check(name, text, layout)
        except ValueError as error:
            row = int((codes == code).argmax())
            raise ValueError(f"row {row} of data: {error}") from None
