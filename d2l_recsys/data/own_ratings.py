"""Read a reader's own ratings: a CSV or TSV file with a header, or a frame.

Errors name the file, the line and the column. Section: ``movielens``.
"""

import math
import os
import re
from functools import partial
from numbers import Integral, Real
from typing import (
    Any,
    Callable,
    Dict,
    Hashable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Tuple,
    Union,
)

import numpy
import pandas as pd

from d2l_recsys.data import frames
from d2l_recsys.data.column_names import COLUMN_OF, find_columns
from d2l_recsys.data.csv_files import CSVFile
from d2l_recsys.data.lines import NUMBER, shown, with_point
from d2l_recsys.data.sizes import check_path

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
_INTEGER = re.compile(r"-?[0-9]{1,19}")  # times in nanoseconds have 19 digits
# pandas would read other words, such as CET, as UTC.
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]+ ?(Z|UTC|[-+][0-9:]+)?)?")
_PathLike = Union[str, "os.PathLike[str]"]
Scale = Tuple[float, float]


class _Column(NamedTuple):
    """A column: row r has ``values[codes[r]]``, or no value if ``codes[r]`` is -1."""

    name: Hashable
    codes: Any  # an array, or slice(None) if the values are those of the rows
    values: Any  # distinct, or for int64 times one per row


class _Source(NamedTuple):
    """The columns by role, and how errors name a row."""

    columns: Dict[str, _Column]
    file: Optional[CSVFile]

    def where(self, row: int) -> str:
        """Return the place of a row: a line of the file, or a row of the frame."""
        if self.file is None:
            return f"row {row} of data"
        return f"{self.file.path}, line {self.file.line_of(row)}"

    def converted(self, role: str, convert: Callable[[Any], Any]) -> List[Any]:
        """Return ``convert(value)`` of each distinct value of a column.

        Raises a ValueError that names a row without a value, or with one for which
        `convert` raises a ValueError.
        """
        name, codes, values = self.columns[role]
        result, faults = [], {-1: f"the {role} is missing"}
        for code, value in enumerate(values):
            try:
                if isinstance(value, str) and not value.strip():
                    raise ValueError(faults[-1])
                result.append(convert(value))
            except ValueError as error:
                faults[code] = str(error)
        wrong = numpy.isin(codes, list(faults))
        if wrong.any():
            row = int(wrong.argmax())
            fault = faults[int(codes[row])]
            raise ValueError(f"{self.where(row)}, column {name}: {fault}")
        return result


def read_own_ratings(
    source: Union[_PathLike, pd.DataFrame],
    names: Mapping[str, Optional[Hashable]],
    duplicates: str = "error",
    min_rating: Optional[float] = None,
    scale: Optional[Scale] = None,
) -> pd.DataFrame:
    """Return the ratings of a file or a frame as read_data_ml100k returns them.

    `names` maps user, item, rating and time to the names of their columns, or to None
    for a usual name. See :func:`d2l_recsys.movielens.read_ratings`.
    """
    _check_options(duplicates, scale)
    read = _of_frame if isinstance(source, pd.DataFrame) else _of_file
    found = read(source, names)
    if min_rating is not None and "rating" not in found.columns:
        raise ValueError("min_rating needs a column of ratings, and there is none")
    data, ids = pd.DataFrame(), {}
    for role in ("user", "item"):
        numbers, ids[COLUMN_OF[role]] = _numbered(found, role)
        data[COLUMN_OF[role]] = numbers
    if "rating" in found.columns:
        decimal = "," if found.file and found.file.separator == ";" else "."
        convert = partial(_rating, scale=scale, decimal=decimal)
        values = found.converted("rating", convert)
        data["rating"] = _exact(values)[found.columns["rating"].codes]
    if "time" in found.columns:
        data["timestamp"] = _times(found)[found.columns["time"].codes]
    data = _without_duplicates(data, duplicates, found, ids)
    limits = scale or (data["rating"].agg(["min", "max"]) if "rating" in data else None)
    data = frames.numbered_from_1(data, min_rating, ids)
    if limits is not None:
        data.attrs["scale"] = numpy.asarray(limits).tolist()
    return data


def _check_options(duplicates: str, scale: Optional[Scale]) -> None:
    if duplicates not in ("error", "first", "last"):
        raise ValueError(
            f"duplicates must be 'error', 'first' or 'last', not {duplicates!r}"
        )
    if scale is None:
        return
    limits = [*map(_number, scale)] if isinstance(scale, (tuple, list)) else []
    low, high = limits if len(limits) == 2 else (None, None)
    if low is None or high is None or low >= high:
        raise ValueError(
            f"scale must be the lowest and the highest rating, as (1, 5), not {scale!r}"
        )


def _of_file(path: _PathLike, names: Mapping[str, Optional[Hashable]]) -> _Source:
    check_path(path, "source")
    file = CSVFile(path)
    places = find_columns(file.names, names, f"{file.path}, line 1")
    columns = {}
    found = file.columns([*places.values()], places.get("time"))
    for (role, place), column in zip(places.items(), found):
        if role == "time":
            codes, values = _coded(column)
        else:
            codes, values = column.cat.codes.to_numpy(), column.cat.categories
        columns[role] = _Column(file.names[place], codes, _plain(role, values))
    return _Source(columns, file)


def _of_frame(data: pd.DataFrame, names: Mapping[str, Optional[Hashable]]) -> _Source:
    frames.check_frame(data)
    places = find_columns(list(data.columns), names, "data")
    columns = {}
    for role, place in places.items():
        column = data.iloc[:, place]
        codes, values = _coded(column) if role == "time" else pd.factorize(column)
        columns[role] = _Column(data.columns[place], codes, values)
    return _Source(columns, None)


def _coded(times: pd.Series) -> Tuple[Any, Any]:
    """Return the codes and the values of a column of times."""
    if times.dtype == "int64":  # needs no check
        return slice(None), times.to_numpy()
    return pd.factorize(times)


def _plain(role: str, texts: Any) -> Any:
    """Return the ids in a file as integers if all of them are."""
    if isinstance(texts, numpy.ndarray) and texts.dtype == "int64":
        return texts
    texts = [text.strip() for text in texts]
    if role in ("user", "item") and all(map(_WHOLE.fullmatch, texts)):
        return [int(text) for text in texts]
    return texts


def _numbered(found: _Source, role: str) -> Tuple[numpy.ndarray, List[Any]]:
    """Return ids from 1 in ascending order, and the reader's own ids in this order."""
    kinds = {str if isinstance(x, str) else int for x in found.columns[role].values}

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            if int in kinds:
                raise ValueError(f"id {shown(value)} is text, but others are numbers")
            return value
        whole = isinstance(value, (Integral, float)) and float(value).is_integer()
        if isinstance(value, (bool, numpy.bool_)) or not whole:
            raise ValueError(f"id {shown(value)} is neither text nor an integer")
        return int(value)

    values = found.converted(role, plain)
    ids = sorted({*values})
    place = {value: number for number, value in enumerate(ids, 1)}
    numbers = numpy.array([place[value] for value in values])
    return numbers[found.columns[role].codes], ids


def _rating(value: Any, scale: Optional[Scale], decimal: str) -> float:
    """Return a rating as a number; raise ValueError if it is not a number."""
    text = with_point(value, decimal) if isinstance(value, str) else value
    number = _number(text)
    if number is None:
        raise ValueError(f"rating {shown(value)} is not a number")
    if scale and not scale[0] <= number <= scale[1]:
        raise ValueError(f"rating {value} is outside {scale[0]:g}-{scale[1]:g}")
    return number


def _number(value: Any) -> Optional[float]:
    if isinstance(value, str):
        value = float(value) if NUMBER.fullmatch(value.strip()) else math.nan
    number = isinstance(value, Real) and not isinstance(value, (bool, numpy.bool_))
    return float(value) if number and math.isfinite(value) else None


def _times(found: _Source) -> numpy.ndarray:
    """Return the values of the times as numbers, dates as seconds since 1970."""
    _, codes, values = found.columns["time"]
    if isinstance(values, numpy.ndarray) and values.dtype == "int64":
        return values
    dates = _dates(values) if codes.min() >= 0 else None
    if dates is not None:
        return dates
    if any(_number(value) is not None for value in values):
        return _exact(found.converted("time", _as_time))
    return _exact(found.converted("time", _seconds))


def _dates(values: Any) -> Optional[numpy.ndarray]:
    """Return dates as seconds since 1970 at C speed, or None if one is not plain."""
    if not isinstance(values, pd.DatetimeIndex):
        texts = [isinstance(value, str) and _DATE.fullmatch(value) for value in values]
        zones = {bool(text[2]) for text in texts if text}
        # Some releases of pandas give dates without a zone that of the date before.
        if not all(texts) or len(zones) > 1:
            return None
    try:
        dates = pd.to_datetime(values, utc=True, format="ISO8601")
        times = dates.to_numpy("datetime64[ns]").astype("int64")
    except ValueError:
        return None
    if (times % 10**9).any():
        return _exact([time / 10**9 for time in times.tolist()])
    return times // 10**9


def _as_time(value: Any) -> Union[int, float]:
    number = _number(value)
    if number is None:
        raise ValueError(f"time {shown(value)} is not a number, but others are")
    whole = isinstance(value, str) and _INTEGER.fullmatch(value.strip())
    return int(value) if whole or isinstance(value, Integral) else number


def _seconds(value: Any) -> Union[int, float]:
    """Return a date as seconds since 1970, a whole number if possible."""
    try:
        if isinstance(value, str) and not _DATE.fullmatch(value.strip()):
            raise ValueError
        time = pd.Timestamp(value)
        time = (
            time.tz_localize("UTC") if time.tzinfo is None else time.tz_convert("UTC")
        )
        whole, rest = divmod(time.value, 10**9)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(
            f"time {shown(value)} is neither a number nor a date like 2024-12-31 or "
            "2024-12-31T23:59:59, with or without Z or +01:00, from 1678 to 2261"
        ) from None
    return time.value / 10**9 if rest else whole


def _exact(values: List[Union[int, float]]) -> numpy.ndarray:
    """Return whole numbers as int64, and others as floats."""
    whole = all(float(value).is_integer() and abs(value) < 2**63 for value in values)
    return numpy.array(values, dtype="int64" if whole else "float64")


def _without_duplicates(
    data: pd.DataFrame, duplicates: str, found: _Source, ids: Mapping[str, List[Any]]
) -> pd.DataFrame:
    again = frames.repeated(data, "last" if duplicates == "last" else "first")
    if not again.any():
        return data
    if duplicates != "error":
        return data[~again].reset_index(drop=True)
    row = int(again.argmax())
    pair = data[["user_id", "item_id"]].iloc[row]
    first = int((data[pair.index] == pair).all(axis=1).to_numpy().argmax())
    user, item = (ids[name][number - 1] for name, number in pair.items())
    raise ValueError(
        f"{found.where(row)}: user {user} already rated item {item} "
        f"({found.where(first)}): keep one of the two with duplicates='first' or "
        "'last' (in the scripts: --duplicates first or last)"
    )
