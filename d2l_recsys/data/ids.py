"""Check ids. MXNet silently clips ids that are out of range."""

from typing import Any, Dict, Iterable, Mapping, Optional, Sequence, Tuple, Union

import numpy

Ids = Union[Sequence[int], numpy.ndarray]  # MXNet arrays work, too


def single_items(
    test_items: Mapping[int, Iterable[int]], num_users: int, num_items: int
) -> Dict[int, int]:
    """Return {user: held-out item} from {user: [held-out item]}.

    Raises a ValueError that names a user without exactly one item, or an id that is out
    of range.
    """
    check_dictionary(test_items, "test_input")
    held_out = {}
    for user, items in test_items.items():
        items = list(items)
        if len(items) != 1:
            raise ValueError(
                f"user {user} has {len(items)} held-out items, but the evaluation "
                "needs exactly one per user: split with split_mode='seq-aware'"
            )
        held_out[int(user)] = int(items[0])
    id_pairs(list(held_out), list(held_out.values()), num_users, num_items)
    return held_out


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

    Raises ValueError if their lengths differ, or if an id is not in 0..num_users-1 or
    0..num_items-1; the message names its row.
    """
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


def _integers(ids: Any, limit: int, what: str) -> numpy.ndarray:
    """Return `ids` as an array; raise ValueError for an id outside 0..limit-1."""
    ids = ids.asnumpy() if hasattr(ids, "asnumpy") else numpy.asarray(ids)
    row = row_outside(ids, 0, limit - 1, what)
    if row is not None:
        raise ValueError(
            f"row {row}: {what} {ids[row]} is not in 0..{limit - 1}; ids count from 0, "
            "as load_data_ml100k returns them"
        )
    return ids.astype("int64") if ids.dtype.kind == "f" else ids
