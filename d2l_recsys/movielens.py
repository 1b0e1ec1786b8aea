"""Read, split and load the MovieLens data set. Section: ``movielens``."""

import os
from random import Random
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

import numpy
import pandas as pd

from d2l_recsys.data import frames
from d2l_recsys.data.catalog import DATASETS, fetch
from d2l_recsys.data.ratings import FORMATS, read_ratings
from d2l_recsys.data.sizes import check_share, check_size, generator
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.runtime.backend import np

_PathLike = Union[str, "os.PathLike[str]"]


class MovieLens(NamedTuple):
    """The result of :func:`read_data_ml100k`, in the book's order."""

    data: pd.DataFrame
    num_users: int
    num_items: int


class LoadedData(NamedTuple):
    """The result of :func:`load_data_ml100k`, in the book's order."""

    users: numpy.ndarray
    items: numpy.ndarray
    scores: numpy.ndarray
    inter: "Union[np.ndarray, Dict[int, List[int]]]"


def read_data_ml100k(
    data_dir: Optional[_PathLike] = None,
    duplicates: str = "error",
    name: str = "ml-100k",
) -> MovieLens:
    """Read the ratings of MovieLens 100K, or of another MovieLens data set.

    Returns `data`, a frame with the columns user_id, item_id, rating and timestamp
    (seconds since 1970) in file order, and the numbers of users and items. The ids
    count from 1 without gaps. If the ids in the file have gaps, they are renumbered in
    ascending order. ``data.attrs['item_ids'][i - 1]`` is the id of item `i` in the
    file; ``data.attrs['user_ids']`` has those of the users. Both are lists.

    `data_dir` is passed to :func:`d2l_recsys.data.catalog.fetch`. If a user rated an
    item twice, that is an error, unless `duplicates` is 'first' or 'last': the row to
    keep, in file order. `name` is 'ml-100k', 'ml-1m', 'ml-10m', 'ml-20m', 'ml-25m',
    'ml-32m' or 'ml-latest-small'. All but the first two have half stars.

    Raises ValueError for an unknown name. Raises a ValueError that names file and line
    for an invalid line: see :func:`d2l_recsys.data.ratings.read_ratings`.

    Differs from the book: ids with gaps are renumbered (E06). Section: ``movielens``.
    """
    if name not in FORMATS:
        raise ValueError(
            f"unknown MovieLens data set {name!r}: choose from {', '.join(FORMATS)}"
        )
    path = fetch(name, data_dir) / DATASETS[name].members[0]
    data = read_ratings(path, duplicates, name)
    for column in ("user_id", "item_id"):
        numbers, ids = pd.factorize(data[column].to_numpy(), sort=True)
        if ids[-1] != len(ids):
            data[column] = numbers + 1
        data.attrs[f"{column}s"] = ids.tolist()  # pandas compares attrs with ==
    num_users, num_items = (len(data.attrs[k]) for k in ("user_ids", "item_ids"))
    return MovieLens(data, num_users, num_items)


def split_data_ml100k(
    data: pd.DataFrame,
    num_users: int,
    num_items: int,
    split_mode: str = "random",
    test_ratio: float = 0.1,
    seed: Union[int, str] = 0,
) -> Tuple[pd.DataFrame, pd.DataFrame]:
    """Split ratings into a training frame and a test frame.

    'random' puts each row into the test set with probability `test_ratio`. The same
    `seed` gives the same rows on every machine. ``seed='book'`` gives the split of the
    newest edition: of MovieLens 100K, 10,021 test rows.

    'seq-aware' holds out the last rating of each user, and sorts the training rows by
    user and time. If several rows share a user's last timestamp, the first in the order
    of `data` is held out (E02). Users are split separately, so the test rows share
    no common point in time (E03). Timestamps are numbers or datetime64.

    Raises ValueError for an unknown mode or seed, for a ratio outside (0, 1), for data
    without rows, and in 'seq-aware' mode for any ratio but the default, because it has
    no effect (E10). Raises a ValueError that names the row of a user or a timestamp
    that is missing or not a number.

    Differs from the book: the random split has its own seed (E04), and the seq-aware
    split keeps the columns (E06). Section: ``movielens``.
    """
    frames.check_frame(data)
    if split_mode == "random":
        check_share(test_ratio, "test_ratio")
        in_test = _draws(seed, len(data)) >= 1 - test_ratio
        return data[~in_test], data[in_test]
    if split_mode != "seq-aware":
        raise ValueError(
            f"split_mode must be 'random' or 'seq-aware', not {split_mode!r}"
        )
    if test_ratio != 0.1:
        raise ValueError(
            "test_ratio has no meaning in 'seq-aware' mode, which holds out one rating "
            "per user: omit it, or use split_mode='random'"
        )
    return _hold_out_last(data)


def _draws(seed: Union[int, str], rows: int) -> numpy.ndarray:
    """Return a random number between 0 and 1 for each row."""
    if seed == "book":
        book = Random(0)
        return numpy.fromiter((book.random() for _ in range(rows)), "float64", rows)
    if isinstance(seed, str):
        raise ValueError(f"seed must be an integer or 'book', not {seed!r}")
    return generator(seed).random(rows)


def _hold_out_last(data: pd.DataFrame) -> Tuple[pd.DataFrame, pd.DataFrame]:
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
    train_data = data.iloc[order[in_train[order]]]
    # The test users are in the order of their first rows, as in the book.
    test_data = data.iloc[held_out[numpy.searchsorted(owners, pd.unique(given))]]
    for part in (train_data, test_data):
        part.index = pd.RangeIndex(len(part))
    return train_data, test_data


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


def load_data_ml100k(
    data: pd.DataFrame, num_users: int, num_items: int, feedback: str = "explicit"
) -> LoadedData:
    """Convert a frame of ratings to arrays with ids from 0.

    Returns users and items, int32 of shape (n,), scores, float32 of shape (n,), and
    `inter`. With 'explicit' `feedback`, the scores are the ratings, and `inter` is the
    rating matrix of shape (num_items, num_users), with 0 for missing ratings. With
    'implicit' feedback, the scores are ones, and `inter` is a dictionary
    {user: [items]} with the items in the order of `data`.

    Raises a ValueError that names the row for an id outside 1..num_users or
    1..num_items, for a rating that is missing or not a number, and with 'explicit'
    feedback for a rating of 0. Raises ValueError for a matrix of 2^31 cells or more,
    which MXNet does not support. Use implicit feedback or :func:`split_and_load_ml100k`
    for such data. Section: ``movielens``.
    """
    check_size(num_users, "num_users", 0)
    check_size(num_items, "num_items", 0)
    if feedback == "explicit" and num_items * num_users >= 2**31:
        raise ValueError(
            f"a matrix of {num_items} items and {num_users} users has 2^31 cells or "
            "more, which MXNet does not support: use a smaller data set, or "
            "feedback='implicit' or split_and_load_ml100k, which create no matrix"
        )
    users, items, scores = _load_arrays(data, num_users, num_items, feedback)
    if feedback == "implicit":
        return LoadedData(users, items, scores, items_of_users(users, items))
    frames.check_not_zero(data, scores)
    inter = numpy.zeros((num_items, num_users), dtype="float32")
    inter[items, users] = scores
    return LoadedData(users, items, scores, np.array(inter))


def items_of_users(users: numpy.ndarray, items: numpy.ndarray) -> Dict[int, List[int]]:
    """Return {user: [items]} in the order of the arrays, both of shape (n,)."""
    order = numpy.argsort(users, kind="stable")
    owners, firsts = numpy.unique(users[order], return_index=True)
    distinct = numpy.arange(min(items.max(initial=-1), len(items)) + 1)
    if len(distinct) > len(items):  # there are high ids, so list only those in use
        distinct, items = numpy.unique(items, return_inverse=True)
    # Sharing one int object per item saves a gigabyte on the largest data sets.
    ints = distinct.astype(object)
    lists = numpy.split(ints[items[order]], firsts[1:])
    return {owner: part.tolist() for owner, part in zip(owners.tolist(), lists)}


def split_and_load_ml100k(
    split_mode: str = "seq-aware",
    feedback: str = "explicit",
    test_ratio: float = 0.1,
    batch_size: int = 256,
    seed: Union[int, str] = 0,
    data_dir: Optional[_PathLike] = None,
    name: str = "ml-100k",
    duplicates: str = "error",
) -> Tuple[int, int, BatchLoader, BatchLoader]:
    """Return the numbers of users and items, and loaders for training and test.

    A batch is a list of users and items, int32 of shape (B,), and scores, float32 of
    shape (B,). The training loader shuffles. `data_dir`, `name` and `duplicates` are
    passed to :func:`read_data_ml100k`; `split_mode`, `test_ratio` and `seed` are passed
    to :func:`split_data_ml100k`.

    Differs from the book: every epoch contains all training rows (E48).
    Section: ``movielens``.
    """
    data, num_users, num_items = read_data_ml100k(data_dir, duplicates, name)
    parts = split_data_ml100k(data, num_users, num_items, split_mode, test_ratio, seed)
    train, test = (_load_arrays(d, num_users, num_items, feedback) for d in parts)
    return (
        num_users,
        num_items,
        BatchLoader(
            train, batch_size, shuffle=True, seed=0 if isinstance(seed, str) else seed
        ),
        BatchLoader(test, batch_size),
    )


def _load_arrays(
    data: pd.DataFrame, num_users: int, num_items: int, feedback: str
) -> Tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    if feedback not in ("explicit", "implicit"):
        raise ValueError(f"feedback must be 'explicit' or 'implicit', not {feedback!r}")
    users = frames.ids_from_0(data, 0, num_users, "user id")
    items = frames.ids_from_0(data, 1, num_items, "item id")
    if feedback == "implicit":
        return users, items, numpy.ones(len(data), dtype="float32")
    return users, items, frames.ratings(data)
