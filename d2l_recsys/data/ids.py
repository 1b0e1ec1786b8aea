"""Check ids and numbers. MXNet silently clips ids that are out of range."""

import warnings
from itertools import chain
from numbers import Integral, Real
from typing import (
    Any,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import numpy

from d2l_recsys.data.lines import shown
from d2l_recsys.data.sizes import check_size, is_integer_type

Ids = Union[Sequence[int], numpy.ndarray]  # MXNet arrays work, too
_NO_ID = "is not an integer in the range of int64"


def single_items(
    test_items: Mapping[int, Iterable[int]], num_users: int, num_items: int
) -> Dict[int, int]:
    """Return {user: held-out item} from {user: [held-out item]}.

    Raises a ValueError that names a user without exactly one item, or an id that is not
    an integer or out of range.
    """
    users, items, sizes = flat(test_items, "test_input")
    for user, size in zip(test_items, sizes):
        if size != 1:
            raise ValueError(
                f"user {user} (counted from 0) has {size} held-out items, but there "
                "must be exactly one: evaluate_ranking takes several"
            )
    check_range(users, items, num_users, num_items, "test_input")
    return dict(zip(users.tolist(), items.tolist()))


def flat(lists: Any, what: str) -> Tuple[numpy.ndarray, numpy.ndarray, List[int]]:
    """Return users and items of the dictionary `lists`, {user: [items]}.

    Both are int64 of shape (n,). The third value is the number of items of each user.

    Raises a ValueError that names the argument, `what`, and the user if `lists` is not
    such a dictionary. The users and the items must be integers.
    """
    users = users_of(lists, what)
    values = [v.asnumpy() if hasattr(v, "asnumpy") else v for v in lists.values()]
    try:
        sizes = [_size(items) for items in values]
        items = _int64(list(chain.from_iterable(values)))
    except (TypeError, OverflowError):
        raise ValueError(f"{what}: {_fault_of_items(lists, values)}") from None
    return numpy.repeat(users, sizes), items, sizes


def check_range(
    users: numpy.ndarray,
    items: numpy.ndarray,
    num_users: int,
    num_items: int,
    what: str,
) -> None:
    """Raise a ValueError that names a user or item of a dictionary out of range.

    `users` and `items` are those of :func:`flat`. So is `what`.
    """
    for kind, ids, limit in (("user", users, num_users), ("item", items, num_items)):
        check_size(limit, f"num_{kind}s", 0)
        row = row_outside(ids, 0, limit - 1, kind)
        if row is not None:
            whose = f" of user {users[row]}" if kind == "item" else ""
            raise ValueError(
                f"{what}: {kind} {ids[row]}{whose} is not in 0..{limit - 1}; ids count "
                "from 0, as load_data_ml100k returns them"
            )


def users_of(lists: Any, what: str) -> numpy.ndarray:
    """Return the users of the dictionary `lists`, one for each list."""
    check_dictionary(lists, what)
    try:
        return _int64(list(lists))
    except (TypeError, OverflowError):
        user = next(user for user in lists if not _is_id(user))
        raise ValueError(f"{what}: user {shown(user)} {_NO_ID}") from None


def _int64(values: List[Any]) -> numpy.ndarray:
    """Return integers as an array.

    Raises TypeError for other values: NumPy would convert 0.9 to 0 and "1" to 1.
    """
    if not all(map(is_integer_type, {*map(type, values)})):
        raise TypeError
    return numpy.fromiter(values, dtype="int64", count=len(values))


def _size(items: Any) -> int:
    if isinstance(items, (str, bytes)):
        raise TypeError
    return len(items)


def _fault_of_items(users: Iterable[Any], lists: Iterable[Any]) -> str:
    """Return what is wrong with the items of the users."""
    for user, items in zip(users, lists):
        try:
            _size(items)
        except TypeError:
            kind = type(items).__name__
            return f"the items of user {user} must be a list, not of type {kind}"
        for item in items:
            if not _is_id(item):
                return f"item {shown(item)} of user {user} {_NO_ID}"
    return "the items of each user must be a list of integers"


def _is_id(value: Any) -> bool:
    return is_integer_type(type(value)) and -(2**63) <= value < 2**63


def check_dictionary(items: Any, what: str) -> None:
    """Raise ValueError if the argument called `what` is not a dict {user: items}."""
    if not isinstance(items, Mapping):
        raise ValueError(
            f"{what} must be a dictionary {{user: [items]}}, as load_data_ml100k "
            f"returns it with feedback='implicit', not of type {type(items).__name__}"
        )


def id_pairs(
    users: Ids, items: Ids, num_users: int, num_items: int
) -> Tuple[numpy.ndarray, numpy.ndarray]:
    """Return users and items as integer arrays of shape (n,).

    Raises ValueError if their lengths differ, if a size is not an integer in 0..2^31-1,
    or if an id is not in 0..num_users-1 or 0..num_items-1; the message names its row.
    """
    check_size(num_users, "num_users", 0)
    check_size(num_items, "num_items", 0)
    users, items = numbers(users, "user"), numbers(items, "item")
    if len(users) != len(items):
        raise ValueError(
            f"{len(users)} users do not go with {len(items)} items: pass one item for "
            "each user"
        )
    return _integers(users, num_users, "user"), _integers(items, num_items, "item")


def row_outside(ids: numpy.ndarray, first: int, last: int, what: str) -> Optional[int]:
    """Return the first row of `ids` (n,) that is not an integer in first..last.

    Returns None if there is no such row. Raises a ValueError that names the kind of id,
    `what`, if the ids are not numbers.
    """
    if ids.dtype.kind not in "iuf":
        raise ValueError(f"{what} ids must be numbers, not of type {ids.dtype}")
    inside = (ids >= first) & (ids <= last)
    if ids.dtype.kind == "f":
        inside &= ids == numpy.floor(ids)
    return None if inside.all() else int(inside.argmin())


def numbers(values: Any, what: str, where: str = "") -> numpy.ndarray:
    """Return `values` (n,), an array, a list or a column, as an array of numbers.

    Whole numbers are returned as signed integers if they are in the range of int64,
    whatever their type.

    Raises a ValueError that names the row and the kind of value, `what`, if a value is
    missing, infinite or not a number. `where` follows the row in the message.
    """
    array = _array(values, what, where)
    if array.ndim != 1:
        raise ValueError(f"{what}: the shape must be (n,), not {array.shape}")
    if array.dtype.kind in "bOSU":
        array = _of_objects(array.tolist(), what, where)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{what}s must be numbers, not of type {array.dtype}")
    if array.dtype.kind == "i" or not len(array):
        return array
    if array.dtype.kind == "f":
        finite = numpy.isfinite(array)
        if not finite.all():
            row = int(finite.argmin())
            raise _not_a_number(row, str(array[row]), what, where)
        if (array != numpy.floor(array)).any():
            return array
    exact = array.min() >= -(2.0**63) and array.max() < 2.0**63
    return array.astype("int64") if exact else array


def _array(values: Any, what: str, where: str) -> numpy.ndarray:
    """Return `values` as an array of NumPy; raise ValueError for a missing value."""
    if hasattr(values, "asnumpy"):  # an array of MXNet
        return values.asnumpy()
    kind = getattr(getattr(values, "dtype", None), "numpy_dtype", None)
    if kind is None:
        return _as_objects_if_ragged(values)
    missing = numpy.asarray(values.isna())  # in a nullable column of pandas
    if missing.any():
        raise _not_a_number(int(missing.argmax()), "<NA>", what, where)
    return values.to_numpy(dtype=kind)


def _as_objects_if_ragged(values: Any) -> numpy.ndarray:
    """Return ``numpy.asarray(values)``, also for lists of lists of different sizes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return numpy.asarray(values)
    except (ValueError, Warning):  # a warning before NumPy 1.24
        objects = numpy.empty(len(values), dtype="object")
        objects[:] = values
        return objects


def _of_objects(values: List[Any], what: str, where: str) -> numpy.ndarray:
    """Return Python's numbers as an array of int64, or of float64 if necessary."""
    for row, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, Real):
            raise _not_a_number(row, shown(value), what, where)
        if isinstance(value, Integral) and not _is_id(value):
            raise ValueError(f"row {row}{where}: {what} {shown(value)} {_NO_ID}")
    whole = all(isinstance(value, Integral) for value in values)
    return numpy.array(values, dtype="int64" if whole else "float64")


def _not_a_number(row: int, text: str, what: str, where: str) -> ValueError:
    return ValueError(f"row {row}{where}: {what} {text} is not a number")


def _integers(ids: numpy.ndarray, limit: int, what: str) -> numpy.ndarray:
    """Return `ids` as an array; raise ValueError for an id outside 0..limit-1."""
    row = row_outside(ids, 0, limit - 1, what)
    if row is not None:
        raise ValueError(
            f"row {row}: {what} {ids[row]} is not in 0..{limit - 1}; ids count from 0, "
            "as load_data_ml100k returns them"
        )
    return ids.astype("int64") if ids.dtype.kind == "f" else ids
