"""Check the columns of a frame of ratings: user_id, item_id, rating, timestamp."""

from typing import Any

import numpy
import pandas as pd

from d2l_recsys.data.ids import numbers, row_outside


def users(data: pd.DataFrame) -> numpy.ndarray:
    """Return the users (n,); raise a ValueError that names a row without one."""
    return _ids(data, 0, "user id")


def items(data: pd.DataFrame) -> numpy.ndarray:
    """Return the items (n,); raise a ValueError that names a row without one."""
    return _ids(data, 1, "item id")


def _ids(data: pd.DataFrame, place: int, what: str) -> numpy.ndarray:
    ids = _column(data, place, what)
    if ids.dtype.kind == "f":
        row = int((ids != numpy.floor(ids)).argmax())
        raise ValueError(
            f"row {row} of data: {what} {ids[row]} is not an integer in the range of "
            "int64"
        )
    return ids


def ids_from_0(data: pd.DataFrame, place: int, limit: int, what: str) -> numpy.ndarray:
    """Return a column of ids less 1, int32 (n,).

    Raises a ValueError that names the row of an id outside 1..limit.
    """
    ids = _column(data, place, what)
    row = row_outside(ids, 1, limit, what)
    if row is not None:
        raise ValueError(
            f"row {row} of data: {what} {ids[row]} is not in 1..{limit}; ids count "
            "from 1 without gaps, as read_data_ml100k returns them"
        )
    return (ids - 1).astype("int32")


def ratings(data: pd.DataFrame) -> numpy.ndarray:
    """Return the ratings, float32 (n,).

    Raises a ValueError that names a row without a rating in the range of float32.
    """
    values = _column(data, 2, "rating")
    with numpy.errstate(over="ignore"):
        scores = values.astype("float32")
    finite = numpy.isfinite(scores)
    if not finite.all():
        row = int(finite.argmin())
        raise ValueError(f"row {row} of data: rating {values[row]} is too large")
    return scores


def check_not_zero(data: pd.DataFrame, scores: numpy.ndarray) -> None:
    """Raise a ValueError that names the user and the item if one of `scores` is 0."""
    if scores.all():
        return
    row = int((scores == 0).argmax())
    user, item = (
        # The id in the file, if the frame knows it.
        data.attrs[name][int(number) - 1] if name in data.attrs else int(number)
        for number, name in zip(data.iloc[row, :2], ("user_ids", "item_ids"))
    )
    raise ValueError(
        f"row {row} of data: user {user} rated item {item} with 0, but in the rating "
        "matrix 0 means that there is no rating: leave out such rows, or use a scale "
        "without 0"
    )


def times(data: pd.DataFrame) -> numpy.ndarray:
    """Return the timestamps (n,), numbers or datetime64, as numbers in the same order.

    Raises a ValueError that names a row without one.
    """
    if data.shape[1] > 3 and data.dtypes.iloc[3].kind == "M":
        dates = pd.DatetimeIndex(data.iloc[:, 3])
        if dates.hasnans:
            row = int(dates.isna().argmax())
            raise ValueError(f"row {row} of data: timestamp NaT is not a time")
        return dates.asi8
    return _column(data, 3, "timestamp")


def check_frame(data: Any) -> None:
    """Raise ValueError if `data` is not a frame with rows."""
    if not isinstance(data, pd.DataFrame):
        raise ValueError(
            f"data must be a DataFrame of pandas, not of type {type(data).__name__}"
        )
    if not len(data):
        raise ValueError("data has no rows: there is nothing to split or to load")


def _column(data: pd.DataFrame, place: int, what: str) -> numpy.ndarray:
    """Return a column as numbers; raise a ValueError that names a row without one."""
    check_frame(data)
    if data.shape[1] <= place:
        raise ValueError(
            f"data has {data.shape[1]} columns, but column {place + 1} must be the "
            f"{what}: the columns are user_id, item_id, rating, timestamp"
        )
    return numbers(data.iloc[:, place], what, " of data")
