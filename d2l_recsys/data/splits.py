"""Which rows of a frame of ratings are held out."""

from random import Random
from typing import Tuple, Union

import numpy
import pandas as pd

from d2l_recsys.data import frames
from d2l_recsys.data.sizes import generator

Split = Tuple[pd.DataFrame, pd.DataFrame]


def draws(seed: Union[int, str], count: int) -> numpy.ndarray:
    """Return `count` random numbers between 0 and 1; with seed 'book', the book's.

    Raises ValueError for another text.
    """
    if seed == "book":
        book = Random(0)
        return numpy.fromiter((book.random() for _ in range(count)), "float64", count)
    if isinstance(seed, str):
        raise ValueError(f"seed must be an integer or 'book', not {seed!r}")
    return generator(seed).random(count)


def random_rows(data: pd.DataFrame, test_ratio: float, seed: Union[int, str]) -> Split:
    """Hold out each row with probability `test_ratio`."""
    in_test = draws(seed, len(data)) >= 1 - test_ratio
    if in_test.all():
        raise ValueError(
            f"all {len(data)} rows were drawn for testing, so none is left for "
            "training: use more data, or another seed or test_ratio"
        )
    return data[~in_test], data[in_test]


def last_of_each_user(data: pd.DataFrame) -> Split:
    """Hold out the last rating of each user."""
    given, times = frames.users(data), frames.times(data)
    order = _by_user_and_time(given, times)
    users, times = given[order], times[order]
    first = numpy.ones(len(users), dtype=bool)  # among rows of one user and time
    first[1:] = (users[1:] != users[:-1]) | (times[1:] != times[:-1])
    starts = numpy.flatnonzero(first)
    last = numpy.ones(len(starts), dtype=bool)
    last[:-1] = users[starts[1:]] != users[starts[:-1]]
    held_out, owners = order[starts[last]], users[starts[last]]
    in_train = numpy.ones(len(users), dtype=bool)
    in_train[held_out] = False
    if not in_train.any():
        raise ValueError(
            "each user has a single row, which is held out, so none is left for "
            "training: use more data or split_mode='random' (of the script mf: "
            "--split random)"
        )
    train_data = data.iloc[order[in_train[order]]]
    # The test users are in the order of their first rows, as in the book.
    test_data = data.iloc[held_out[numpy.searchsorted(owners, pd.unique(given))]]
    return _renumbered(train_data), _renumbered(test_data)


def after_a_time(data: pd.DataFrame, test_ratio: float) -> Split:
    """Hold out the latest rows, a share `test_ratio` or more if times are equal."""
    users, times = frames.users(data), frames.times(data)
    count = max(1, round(test_ratio * len(data)))
    cut = numpy.partition(times, len(times) - count)[len(times) - count]
    if cut == times.min():
        raise ValueError(
            f"the latest {test_ratio:.0%} of the rows, and those of the same time, are "
            "all there are, so none is left for training: use another split_mode"
        )
    return _divided(data, users, times, times >= cut)


def some_items(data: pd.DataFrame, test_ratio: float, seed: Union[int, str]) -> Split:
    """Hold out all rows of a random share `test_ratio` of the items, at least one."""
    items, places = numpy.unique(frames.items(data), return_inverse=True)
    if len(items) < 2:
        raise ValueError("data has a single item, so none is left for training")
    count = min(max(1, round(test_ratio * len(items))), len(items) - 1)
    cold = numpy.zeros(len(items), dtype=bool)
    cold[numpy.argsort(draws(seed, len(items)))[:count]] = True
    times = frames.times(data) if frames.has_times(data) else numpy.zeros_like(places)
    return _divided(data, frames.users(data), times, cold[places])


def _divided(
    data: pd.DataFrame,
    users: numpy.ndarray,
    times: numpy.ndarray,
    in_test: numpy.ndarray,
) -> Split:
    """Return the training and the test rows, each sorted by user and time."""
    order = _by_user_and_time(users, times)
    parts = (data.iloc[order[x[order]]] for x in (~in_test, in_test))
    train_data, test_data = (_renumbered(part) for part in parts)
    return train_data, test_data


def _renumbered(part: pd.DataFrame) -> pd.DataFrame:
    part.index = pd.RangeIndex(len(part))
    return part


def _by_user_and_time(users: numpy.ndarray, times: numpy.ndarray) -> numpy.ndarray:
    """Return the order of a stable sort by user and time."""
    if users.dtype.kind != "i" or times.dtype.kind != "i":
        return numpy.lexsort((times, users))  # the product below would lose digits
    users, times = (x.astype("int64", copy=False) for x in (users, times))
    first, last = int(times.min()), int(times.max())
    span = last - first + 1
    if (int(users.max()) + 1) * span >= 2**63 or users.min() < 0:
        return numpy.lexsort((times, users))
    # One key instead of two is ten times as fast if the rows are sorted by user.
    return numpy.argsort(users * numpy.int64(span) + (times - first), kind="stable")
