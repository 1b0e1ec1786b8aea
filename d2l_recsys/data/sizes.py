"""Check sizes, rates, seeds, paths and lists. Errors name the argument."""

import math
import os
from numbers import Integral, Real
from typing import Any, List

import numpy

from d2l_recsys.data.lines import shown

MAX_SIZE = 2**31 - 1  # so that all ids fit into int32
MAX_NUMBERS = 2**31 - 2  # in an array of MXNet


def is_integer_type(kind: type) -> bool:
    """Tell whether values of a type are integers; True and False are not."""
    return issubclass(kind, Integral) and not issubclass(kind, bool)


def check_size(size: Any, what: str, least: int = 1) -> None:
    """Raise ValueError if the size called `what` is not an integer in least..2^31-1."""
    if not is_integer_type(type(size)):
        raise ValueError(f"{what} must be an integer, not {shown(size)}")
    if size < least:
        raise ValueError(f"{what} must be at least {least}, not {size}")
    if size > MAX_SIZE:
        raise ValueError(f"{what} must be at most 2^31-1, not {size}")


def check_positive(**sizes: Any) -> None:
    """Raise ValueError that names the first of `sizes` not in 1..2^31-1."""
    for what, size in sizes.items():
        check_size(size, what)


def check_each_positive(sizes: Any, what: str) -> None:
    """Raise ValueError if `sizes` is not a sequence of integers in 1..2^31-1."""
    single = isinstance(sizes, (str, bytes)) or getattr(sizes, "ndim", 1) < 1
    if single or not hasattr(sizes, "__len__"):
        raise ValueError(f"{what} must be a list of integers, not {shown(sizes)}")
    for place, size in enumerate(sizes):
        check_size(size, f"{what}[{place}]")


def field_sizes(field_dims: Any) -> List[int]:
    """Return the number of values of each field of CTR data, as a list.

    An array may have floats, as the book's has.

    Raises ValueError that names the field if one is not an integer of at least 1, if
    there is no field, or if the sum exceeds 2^31-1.
    """
    sizes = field_dims
    if getattr(field_dims, "ndim", 0) == 1:
        sizes = [int(x) if x == x // 1 else x for x in field_dims.tolist()]
    check_each_positive(sizes, "field_dims")
    if not len(sizes):
        raise ValueError("field_dims is empty: pass the number of values of each field")
    check_size(sum(sizes), "the sum of field_dims")
    return list(sizes)


def check_rate(rate: Any, what: str) -> None:
    """Raise ValueError if the dropout rate called `what` is not in [0, 1)."""
    if not _is_number(rate) or not 0 <= rate < 1:
        raise ValueError(f"{what} must be at least 0 and below 1, not {shown(rate)}")


def check_share(share: Any, what: str) -> None:
    """Raise ValueError if the share called `what` is not in (0, 1)."""
    if not _is_number(share) or not 0 < share < 1:
        raise ValueError(f"{what} must be between 0 and 1, not {shown(share)}")


def check_number(number: Any, what: str) -> None:
    """Raise ValueError if the argument called `what` is not a finite number."""
    if not _is_number(number) or not math.isfinite(number):
        raise ValueError(f"{what} must be a number, not {shown(number)}")


def check_list(values: Any, what: str, kind: str) -> None:
    """Raise ValueError if the argument called `what` is text or no iterable.

    `kind` says what it must be.
    """
    try:
        iter(values)
    except TypeError:
        pass
    else:
        if not isinstance(values, (str, bytes)):
            return
    raise ValueError(f"{what} must be {kind}, not {shown(values)}")


def check_path(path: Any, what: str) -> None:
    """Raise ValueError if the argument called `what` is not a path.

    ``open`` would take a number for an open file.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"{what} must be a path, not {shown(path)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def generator(seed: Any) -> numpy.random.Generator:
    """Return a NumPy generator with this seed; raise ValueError for an invalid one."""
    if not is_integer_type(type(seed)) or seed < 0:
        raise ValueError(f"seed must be a non-negative integer, not {shown(seed)}")
    return numpy.random.default_rng(seed)
