"""The MovieLens data set: reading, splitting and loading. Section: ``movielens``."""

import os
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

import numpy
import pandas as pd

from d2l_recsys.data.catalog import DATASETS, fetch
from d2l_recsys.data.ids import row_outside
from d2l_recsys.data.ratings import FORMATS, read_ratings
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.runtime.backend import np

_PathLike = Union[str, "os.PathLike[str]"]


class MovieLens(NamedTuple):
    """What :func:`read_data_ml100k` returns, in the book's order."""

    data: pd.DataFrame
    num_users: int
    num_items: int


class LoadedData(NamedTuple):
    """What :func:`load_data_ml100k` returns, in the book's order."""

    users: numpy.ndarray
    items: numpy.ndarray
    scores: numpy.ndarray
    inter: "Union[np.ndarray, Dict[int, List[int]]]"


def read_data_ml100k(
    data_dir: Optional[_PathLike] = None,
    duplicates: str = "error",
    name: str = "ml-100k",
) -> MovieLens:
    """Read the ratings of MovieLens 100K, or of the set of MovieLens called `name`.

    Returns `data`, a frame with the columns user_id, item_id, rating and timestamp
    (seconds since 1970) in the order of the file, then the numbers of users and items.
    Ids count from 1 without gaps; where the file's own ids have gaps they are
    renumbered in their order, and ``data.attrs['item_ids'][i - 1]`` is what the file
    calls item `i` (``'user_ids'`` likewise).

    `data_dir` is passed to :func:`d2l_recsys.data.catalog.fetch`. A user who rated an
    item twice is an error, unless `duplicates` is 'first' or 'last': the row to keep,
    in file order. `name` is 'ml-100k', 'ml-1m', 'ml-10m', 'ml-20m', 'ml-25m', 'ml-32m'
    or 'ml-latest-small'; with all but the first two there are half stars.

    Raises ValueError for another name, and naming file and line for a line without four
    fields, a field that is no number, an id below 1 or a rating that cannot be: see
    :func:`d2l_recsys.data.ratings.read_ratings`.

    Differs from the book: ids with gaps are renumbered (E06). Section: ``movielens``.
    """
    if name not in FORMATS:
        raise ValueError(f"no MovieLens {name!r}: choose from {', '.join(FORMATS)}")
    path = fetch(name, data_dir) / DATASETS[name].members[0]
    data = read_ratings(path, duplicates, name)
    for column in ("user_id", "item_id"):
        numbers, ids = pd.factorize(data[column].to_numpy(), sort=True)
        if ids[-1] != len(ids):
            data[column] = numbers + 1
        data.attrs[f"{column}s"] = ids
    num_users, num_items = (len(data.attrs[k]) for k in ("user_ids", "item_ids"))
    return MovieLens(data, num_users, num_items)


def split_data_ml100k(
    data: pd.DataFrame,
    num_users: int,
    num_items: int,
    split_mode: str = "random",
    test_ratio: float = 0.1,
    seed: int = 0,
) -> Tuple[pd.DataFrame, pd.DataFrame]:
    """Split ratings into a training and a test frame, columns kept.

    'random' draws each row into the test set with probability `test_ratio`; the same
    `seed` draws the same rows on every machine. 'seq-aware' holds out the last rating
    of each user, and orders the training rows by user, then time. Of several rows with
    a user's last timestamp the first in the order of `data` is held out (E02): a
    holdout for each user on his own, with no common point in time (E03).

    Raises ValueError for another mode, a ratio outside (0, 1), or a ratio other than
    the default in 'seq-aware' mode, which has no use for one (E10).

    Differs from the book: the random split has a seed of its own (E04); the seq-aware
    one keeps the columns (E06). Section: ``movielens``.
    """
    if split_mode == "random":
        if not 0 < test_ratio < 1:
            raise ValueError(f"test_ratio must lie between 0 and 1, not {test_ratio}")
        rng = numpy.random.default_rng(seed)
        in_test = rng.random(len(data)) >= 1 - test_ratio
        return data[~in_test], data[in_test]
    if split_mode != "seq-aware":
        raise ValueError(f"split_mode is 'random' or 'seq-aware', not {split_mode!r}")
    if test_ratio != 0.1:
        raise ValueError(
            "test_ratio has no meaning in 'seq-aware' mode, which holds out one rating "
            "per user: leave it out, or split with split_mode='random'"
        )
    return _hold_out_last(data)


def _hold_out_last(data):
    users, times = (data.iloc[:, column].to_numpy() for column in (0, 3))
    order = _by_user_and_time(users, times)
    users, times = users[order], times[order]
    starts = numpy.ones(len(users), dtype=bool)  # of a user's rows of one moment
    starts[1:] = (users[1:] != users[:-1]) | (times[1:] != times[:-1])
    starts = numpy.flatnonzero(starts)
    last = numpy.ones(len(starts), dtype=bool)
    last[:-1] = users[starts[1:]] != users[starts[:-1]]
    held_out, owners = order[starts[last]], users[starts[last]]
    in_train = numpy.ones(len(users), dtype=bool)
    in_train[held_out] = False
    train_data = data.iloc[order[in_train[order]]]
    # Users stand in the order in which they first appear, as in the book.
    first_seen = data.iloc[:, 0].unique()
    test_data = data.iloc[held_out[numpy.searchsorted(owners, first_seen)]]
    for part in (train_data, test_data):
        part.index = pd.RangeIndex(len(part))
    return train_data, test_data


def _by_user_and_time(users, times):
    """Return the stable order: rows of a user's one moment stay as they are."""
    users, times = (
        x.astype("int64", copy=False) if x.dtype.kind in "iu" else x
        for x in (users, times)
    )  # a product of narrower ones would overflow
    first, last = int(times.min()), int(times.max())
    span = last - first + 1
    if (int(users.max()) + 1) * span >= 2**63 or users.min() < 0:
        return numpy.lexsort((times, users))
    # One sort of one number is ten times as fast, on rows that stand by user.
    return numpy.argsort(users * numpy.int64(span) + (times - first), kind="stable")


def load_data_ml100k(
    data: pd.DataFrame, num_users: int, num_items: int, feedback: str = "explicit"
) -> LoadedData:
    """Turn a frame of ratings into arrays with ids from 0.

    Returns users and items, int32 of shape (n,), and scores, float32 of shape (n,): the
    ratings when `feedback` is 'explicit', ones when it is 'implicit'. `inter` is the
    rating matrix of shape (num_items, num_users), 0 where nothing was rated, or with
    implicit feedback a dictionary from each user to the list of his items in the order
    of `data`.

    Raises ValueError naming the row for an id outside 1..num_users or 1..num_items, and
    for a matrix of 2^31 cells or more, which MXNet cannot hold: such data is loaded
    with implicit feedback, or with :func:`split_and_load_ml100k`.
    Section: ``movielens``.
    """
    if feedback == "explicit" and num_items * num_users >= 2**31:
        raise ValueError(
            f"a matrix of {num_items} items and {num_users} users has 2^31 cells or "
            "more, which MXNet cannot hold: use feedback='implicit' or "
            "split_and_load_ml100k, which make none, or a smaller set"
        )
    users, items, scores = _load_arrays(data, num_users, num_items, feedback)
    if feedback == "implicit":
        return LoadedData(users, items, scores, items_of_users(users, items))
    inter = numpy.zeros((num_items, num_users), dtype="float32")
    inter[items, users] = scores
    return LoadedData(users, items, scores, np.array(inter))


def items_of_users(users: numpy.ndarray, items: numpy.ndarray) -> Dict[int, List[int]]:
    """Return {user: list of his items} in the order of the arrays, both (n,)."""
    order = numpy.argsort(users, kind="stable")
    owners, firsts = numpy.unique(users[order], return_index=True)
    # One int object for each item, not for each of its occurrences, saves a gigabyte.
    ints = numpy.arange(items.max(initial=-1) + 1).astype(object)
    lists = numpy.split(ints[items[order]], firsts[1:])
    return {owner: part.tolist() for owner, part in zip(owners.tolist(), lists)}


def split_and_load_ml100k(
    split_mode: str = "seq-aware",
    feedback: str = "explicit",
    test_ratio: float = 0.1,
    batch_size: int = 256,
    seed: int = 0,
    data_dir: Optional[_PathLike] = None,
    name: str = "ml-100k",
) -> Tuple[int, int, BatchLoader, BatchLoader]:
    """Return the numbers of users and items and the training and test loaders.

    A batch is a list of users (B,), items (B,), both int32, and scores (B,), float32.
    The training loader shuffles, and comes to every row once in each epoch. `data_dir`
    and `name` are passed to :func:`read_data_ml100k`.

    Differs from the book: no row waits for the next epoch (E48).
    Section: ``movielens``.
    """
    data, num_users, num_items = read_data_ml100k(data_dir, name=name)
    parts = split_data_ml100k(data, num_users, num_items, split_mode, test_ratio, seed)
    train, test = (_load_arrays(d, num_users, num_items, feedback) for d in parts)
    return (
        num_users,
        num_items,
        BatchLoader(train, batch_size, shuffle=True, seed=seed),
        BatchLoader(test, batch_size),
    )


def _load_arrays(data, num_users, num_items, feedback):
    if feedback not in ("explicit", "implicit"):
        raise ValueError(f"feedback is 'explicit' or 'implicit', not {feedback!r}")
    ids = []
    for column, limit, what in ((0, num_users, "user"), (1, num_items, "item")):
        values = data.iloc[:, column].to_numpy()
        row = row_outside(values, 1, limit, what)
        if row is not None:
            raise ValueError(
                f"row {row} of data: {what} id {values[row]} is not in 1..{limit}; ids "
                "count from 1 without gaps, as read_data_ml100k returns them"
            )
        ids.append((values - 1).astype("int32"))
    if feedback == "implicit":
        scores = numpy.ones(len(data), dtype="float32")
    else:
        scores = data.iloc[:, 2].to_numpy().astype("float32")
    return ids[0], ids[1], scores
