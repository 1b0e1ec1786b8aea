"""Checks of ids, which MXNet would clip silently where they are out of range."""

from typing import Dict, Iterable, Mapping, Optional

import numpy


def single_items(
    test_items: Mapping[int, Iterable[int]], num_users: int, num_items: int
) -> Dict[int, int]:
    """Return {user: held-out item} from {user: [held-out item]}.

    Raises ValueError naming a user with more than one item or an id out of range.
    """
    check_dictionary(test_items, "test_input")
    held_out = {}
    for user, items in test_items.items():
        items = list(items)
        if len(items) != 1:
            raise ValueError(
                f"user {user} has {len(items)} held-out items: ranking is evaluated on "
                "one per user, as split_mode='seq-aware' holds them out"
            )
        held_out[int(user)] = int(items[0])
    id_pairs(list(held_out), list(held_out.values()), num_users, num_items)
    return held_out


def check_dictionary(items, what: str) -> None:
    """Raise ValueError where the argument `what` is no dictionary {user: items}."""
    if not isinstance(items, Mapping):
        raise ValueError(
            f"{what} is a dictionary {{user: [items]}}, as load_data_ml100k returns "
            f"with feedback='implicit', not of type {type(items).__name__}"
        )


def id_pairs(users, items, num_users: int, num_items: int):
    """Return users and items (n,) as arrays of integers.

    Raises ValueError where their lengths differ, and naming the row of what is not in
    0..num_users-1 or 0..num_items-1.
    """
    if len(users) != len(items):
        raise ValueError(f"{len(users)} users do not go with {len(items)} items")
    return _integers(users, num_users, "user"), _integers(items, num_items, "item")


def row_outside(ids: numpy.ndarray, first: int, last: int, what: str) -> Optional[int]:
    """Return the first row of `ids` (n,) that is no integer in first..last, if any.

    Raises ValueError where the ids of `what` are no numbers.
    """
    if ids.dtype.kind not in "iuf":
        raise ValueError(f"{what} ids are numbers, not of type {ids.dtype}")
    inside = (ids >= first) & (ids <= last)
    if ids.dtype.kind == "f":
        inside &= ids == numpy.floor(ids)
    return None if inside.all() else int(inside.argmin())


def _integers(ids, limit, what):
    ids = ids.asnumpy() if hasattr(ids, "asnumpy") else numpy.asarray(ids)
    row = row_outside(ids, 0, limit - 1, what)
    if row is not None:
        raise ValueError(
            f"row {row}: {what} {ids[row]} is not in 0..{limit - 1}; load_data_ml100k "
            "gives ids from 0"
        )
    return ids.astype("int64") if ids.dtype.kind == "f" else ids
