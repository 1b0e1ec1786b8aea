"""Find and check the columns of a frame of ratings.

The columns user_id, item_id, rating and timestamp are found by name, in any order. A
frame that has none of these names has them in this order.
"""

from typing import Any, List, Mapping, Optional, Tuple

import numpy
import pandas as pd

from d2l_recsys.data.ids import numbers, row_outside
from d2l_recsys.data.lines import shown
from d2l_recsys.data.sizes import check_number, check_size

NAMES = ("user_id", "item_id", "rating", "timestamp")


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
    check_size(limit, ("num_users", "num_items")[place], 0)
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
        for number, name in (
            (data.iloc[row, _place(data, place, "id")], f"{NAMES[place]}s")
            for place in (0, 1)
        )
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
    place = _place(data, 3, "timestamp")
    if data.dtypes.iloc[place].kind == "M":
        dates = pd.DatetimeIndex(data.iloc[:, place])
        if dates.hasnans:
            row = int(dates.isna().argmax())
            raise ValueError(f"row {row} of data: timestamp NaT is not a time")
        return dates.asi8
    return _column(data, 3, "timestamp")


def check_frame(data: Any) -> None:
    """Raise ValueError if `data` is not a DataFrame with rows."""
    if not isinstance(data, pd.DataFrame):
        raise ValueError(
            f"data must be a pandas DataFrame, not of type {type(data).__name__}"
        )
    if not len(data):
        raise ValueError(
            "data has no rows: there is nothing to split or to load (a random split of "
            "a few rows can leave a part empty: use more data)"
        )


def _column(data: pd.DataFrame, place: int, what: str) -> numpy.ndarray:
    """Return a column as numbers; raise a ValueError that names a row without one."""
    check_frame(data)
    return numbers(data.iloc[:, _place(data, place, what)], what, " of data")


def numbered_from_1(
    data: pd.DataFrame,
    min_rating: Optional[float] = None,
    ids: Optional[Mapping[str, List[Any]]] = None,
) -> pd.DataFrame:
    """Return the ratings of at least `min_rating`, with ids from 1 without gaps.

    The attributes user_ids and item_ids list the ids of `data` in ascending order, or
    those that they stand for: ``ids[column][id - 1]``.
    """
    if min_rating is not None:
        data = at_least(data, min_rating)
    attrs = {}
    for column in ("user_id", "item_id"):
        numbers, old = _from_1(data[column].to_numpy())
        if old[-1] != len(old):
            data = data.copy(deep=False)  # assign() would copy the other columns, too
            data[column] = numbers
        names = old.tolist() if ids is None else [ids[column][i - 1] for i in old]
        attrs[f"{column}s"] = names  # lists: pandas compares attrs with ==
    data.attrs.update(attrs)
    return data


def _from_1(ids: numpy.ndarray) -> Tuple[numpy.ndarray, numpy.ndarray]:
    """Return positive `ids` (n,) numbered from 1, and the distinct ids, ascending."""
    if ids.max() > 2 * len(ids):
        places, old = pd.factorize(ids, sort=True)
        return places + 1, old
    used = numpy.zeros(ids.max() + 1, dtype=bool)
    used[ids] = True
    old = numpy.flatnonzero(used)
    return ids if old[-1] == len(old) else numpy.cumsum(used)[ids], old


def repeated(data: pd.DataFrame, keep: str = "first") -> numpy.ndarray:
    """Tell for each row whether another row of the same user and item is kept instead.

    `keep` is 'first' or 'last'. The columns user_id and item_id are positive integers.
    """
    users, items = data["user_id"].to_numpy(), data["item_id"].to_numpy()
    next_user, next_item = users[1:] > users[:-1], items[1:] > items[:-1]
    if (next_user | (next_item & (users[1:] == users[:-1]))).all():
        return numpy.zeros(len(users), dtype=bool)  # sorted, as the large data sets are
    width = int(items.max()) + 1
    if (int(users.max()) + 1) * width >= 2**63:
        return data.duplicated(["user_id", "item_id"], keep).to_numpy()
    pairs = users * width + items
    return pd.Series(pairs).duplicated(keep).to_numpy()


def at_least(data: pd.DataFrame, min_rating: float) -> pd.DataFrame:
    """Return the rows with a rating of at least `min_rating`.

    Raises ValueError if there is none.
    """
    check_number(min_rating, "min_rating")
    values = _column(data, 2, "rating")
    if values.max() < min_rating:
        raise ValueError(
            f"no rating is at least {min_rating:g}: min_rating must be at most "
            f"{values.max():g}, the highest rating"
        )
    return data[values >= min_rating].reset_index(drop=True)


def has_times(data: pd.DataFrame) -> bool:
    """Tell whether `data` has a column of timestamps."""
    return _found(data, 3) is not None


def _place(data: pd.DataFrame, place: int, what: str) -> int:
    """Return where the column NAMES[place] is; raise ValueError if it is missing."""
    found = _found(data, place)
    if found is not None:
        return found
    name, columns = NAMES[place], list(data.columns)
    if not {*NAMES} & {*columns}:
        raise ValueError(
            f"data has {len(columns)} columns, but column {place + 1} must be the "
            f"{what}: the columns are {', '.join(NAMES)}"
        )
    more = ""
    if name == "timestamp":
        more = ", or use split_mode='random' or 'item-cold', which need no times"
    raise ValueError(
        f"data has no column {name}, only {shown_names(columns)}: add it, or give a "
        f"column this name{more}"
    )


def _found(data: pd.DataFrame, place: int) -> Optional[int]:
    """Return where the column NAMES[place] is, or None if it is missing.

    Raises ValueError if two columns have this name.
    """
    columns = list(data.columns)
    if not {*NAMES} & {*columns}:
        return place if place < len(columns) else None
    count = columns.count(NAMES[place])
    if count > 1:
        raise ValueError(f"data has {count} columns called {NAMES[place]}: drop one")
    return columns.index(NAMES[place]) if count else None


def shown_names(names: Any) -> str:
    """Return the names of columns for an error message, the first ten at most."""
    texts = [name if isinstance(name, str) else shown(name) for name in names]
    more = f" and {len(texts) - 10} more" if len(texts) > 10 else ""
    return ", ".join(texts[:10]) + more
