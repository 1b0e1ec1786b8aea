"""Read, split and load MovieLens, or your own ratings. Section: ``movielens``."""

import os
from typing import Any, Dict, Hashable, List, NamedTuple, Optional, Tuple, Union

import numpy
import pandas as pd

from d2l_recsys.data import frames, splits
from d2l_recsys.data.catalog import DATASETS, SUBSTITUTE, fetch
from d2l_recsys.data.own_ratings import read_own_ratings
from d2l_recsys.data.ratings import FORMATS, read_movielens_ratings
from d2l_recsys.data.sizes import check_share
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.runtime.backend import np

_PathLike = Union[str, "os.PathLike[str]"]


class Ids(NamedTuple):
    """The ids in the file, by the index in a net: ``users[i]``, ``items[i]``."""

    users: List[Any]
    items: List[Any]


class MovieLens(NamedTuple):
    """The result of :func:`read_data_ml100k`, in the book's order."""

    data: pd.DataFrame
    num_users: int
    num_items: int

    @property
    def ids(self) -> Ids:
        """The ids in the file of the users and items, which nets count from 0."""
        return Ids(self.data.attrs["user_ids"], self.data.attrs["item_ids"])


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
    min_rating: Optional[float] = None,
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
    'ml-32m' or 'ml-latest-small'. All but the first two have half stars. It may also be
    the synthetic 'ml-100k-synthetic'. Ratings below `min_rating` are left out, and so
    are users and items without other ratings.

    Raises ValueError for an unknown name. Raises a ValueError that names file and line
    for an invalid line: see :func:`d2l_recsys.data.ratings.read_movielens_ratings`.

    Differs from the book: ids with gaps are renumbered (E06). Section: ``movielens``.
    """
    if name not in (*FORMATS, SUBSTITUTE):
        raise ValueError(
            f"unknown MovieLens data set {name!r}: choose from {', '.join(FORMATS)}; "
            "read_ratings reads your own file"
        )
    path = fetch(name, data_dir) / DATASETS[name].members[0]
    form = "ml-100k" if name == SUBSTITUTE else name
    data = read_movielens_ratings(path, duplicates, form)
    return _counted(frames.numbered_from_1(data, min_rating))


def read_ratings(
    source: Union[_PathLike, pd.DataFrame],
    user: Optional[Hashable] = None,
    item: Optional[Hashable] = None,
    rating: Optional[Hashable] = None,
    time: Optional[Hashable] = None,
    duplicates: str = "error",
    min_rating: Optional[float] = None,
    scale: Optional[Tuple[float, float]] = None,
) -> MovieLens:
    """Read your own ratings, and return them as :func:`read_data_ml100k` does.

    `source` is a DataFrame, or a CSV or TSV file whose first line names the columns.
    `user`, `item`, `rating` and `time` are the names of the columns. Without them,
    usual names such as userId, item_id, stars or date are recognized. Users and items
    are text or integers. Ratings are numbers. Times are numbers, or dates such as
    2024-12-31 or 2024-12-31T23:59:59, which become seconds since 1970, in UTC unless
    they have an offset.

    ``ids.users[i]`` and ``ids.items[i]`` of the result are your ids of the user and the
    item that a net knows as `i`. ``data.attrs['scale']`` is `scale`, or else the lowest
    and the highest rating, as a list. A rating outside `scale` is an error.

    Without a column of times, ``split_mode`` must be 'random' or 'item-cold'. Without a
    column of ratings, the rows are implicit feedback for ranking models
    (``feedback='implicit'``). `min_rating` turns ratings into implicit feedback: lower
    ratings are left out, and so are users and items without other ratings. `duplicates`
    is as in :func:`read_data_ml100k`.

    Raises a ValueError for a missing or invalid value, which names file, line and
    column, or the row of a DataFrame. Raises a ValueError for a missing column, which
    lists the columns.

    An addition to the book. Section: ``movielens``.
    """
    names = {"user": user, "item": item, "rating": rating, "time": time}
    return _counted(read_own_ratings(source, names, duplicates, min_rating, scale))


def _counted(data: pd.DataFrame) -> MovieLens:
    return MovieLens(data, len(data.attrs["user_ids"]), len(data.attrs["item_ids"]))


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

    'seq-aware' holds out the last rating of each user. If several rows share a user's
    last timestamp, the first in the order of `data` is held out (E02). Users are split
    separately, so the test rows share no common point in time (E03).

    Two more modes hold out a share `test_ratio`. 'time' holds out the latest ratings,
    so they are all later than the training ratings. 'item-cold' holds out all ratings
    of randomly drawn items.

    All modes but 'random' sort the training rows by user and time. Timestamps are
    numbers or datetime64.

    Raises ValueError for an unknown mode or seed, for a ratio outside (0, 1), for data
    without rows, if no training row would be left, and in 'seq-aware' mode for any
    ratio but the default, because it has no effect (E10). Raises a ValueError that
    names the row of a user, an item or a timestamp that is missing or not a number.

    Differs from the book: the random split has its own seed (E04). With the default, it
    has 9905 test rows of MovieLens 100K, of which ``seed='book'`` shares 991. The
    seq-aware split keeps the columns (E06). The last two modes are an addition.
    Section: ``movielens``.
    """
    frames.check_frame(data)
    if split_mode == "seq-aware":
        if test_ratio != 0.1:
            raise ValueError(
                "test_ratio has no meaning in 'seq-aware' mode, which holds out one "
                "rating per user: omit it, or use split_mode='random'"
            )
        return splits.last_of_each_user(data)
    check_share(test_ratio, "test_ratio")
    if split_mode == "random":
        return splits.random_rows(data, test_ratio, seed)
    if split_mode == "time":
        return splits.after_a_time(data, test_ratio)
    if split_mode == "item-cold":
        return splits.some_items(data, test_ratio, seed)
    raise ValueError(
        "split_mode must be 'random', 'seq-aware', 'time' or 'item-cold', not "
        f"{split_mode!r}"
    )


def load_data_ml100k(
    data: pd.DataFrame,
    num_users: int,
    num_items: int,
    feedback: str = "explicit",
    min_rating: Optional[float] = None,
) -> LoadedData:
    """Convert a frame of ratings to arrays with ids from 0.

    Returns users and items, int32 of shape (n,), scores, float32 of shape (n,), and
    `inter`. With 'explicit' `feedback`, the scores are the ratings, and `inter` is the
    rating matrix of shape (num_items, num_users), with 0 for missing ratings. With
    'implicit' feedback, the scores are ones, and `inter` is a dictionary
    {user: [items]} with the items in the order of `data`. Ratings below `min_rating`
    are left out; the ids stay as they are.

    Raises a ValueError that names the row for an id outside 1..num_users or
    1..num_items, for a rating that is missing or not a number, and with 'explicit'
    feedback for a rating of 0. Raises ValueError for a matrix of 2^31 cells or more,
    which MXNet does not support. Use implicit feedback or :func:`split_and_load_ml100k`
    for such data.

    Differs from the book: users, items and scores are arrays, not lists.
    Section: ``movielens``.
    """
    if min_rating is not None:
        data = frames.at_least(data, min_rating)
    users, items, scores = _load_arrays(data, num_users, num_items, feedback)
    if feedback == "explicit" and num_items * num_users >= 2**31:
        raise ValueError(
            f"a matrix of {num_items} items and {num_users} users has 2^31 cells or "
            "more, which MXNet does not support: use a smaller data set, or "
            "feedback='implicit' or split_and_load_ml100k, which create no matrix"
        )
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
    owned = distinct.astype(object)[items[order]]
    spans = zip(owners.tolist(), firsts, [*firsts[1:], len(owned)])
    return {owner: owned[start:end].tolist() for owner, start, end in spans}


def rating_loader(
    data: pd.DataFrame,
    num_users: int,
    num_items: int,
    batch_size: int = 256,
    feedback: str = "explicit",
    shuffle: bool = False,
    seed: int = 0,
) -> BatchLoader:
    """Return a loader like those of :func:`split_and_load_ml100k`, for one frame.

    Raises ValueError as :func:`load_data_ml100k` does. Section: ``movielens``.
    """
    arrays = _load_arrays(data, num_users, num_items, feedback)
    return BatchLoader(arrays, batch_size, shuffle=shuffle, seed=seed)


def split_and_load_ml100k(
    split_mode: str = "seq-aware",
    feedback: str = "explicit",
    test_ratio: float = 0.1,
    batch_size: int = 256,
    seed: Union[int, str] = 0,
    data_dir: Optional[_PathLike] = None,
    name: str = "ml-100k",
    duplicates: str = "error",
    data: Optional[MovieLens] = None,
) -> Tuple[int, int, BatchLoader, BatchLoader]:
    """Return the numbers of users and items, and loaders for training and test.

    A batch is a list of users and items, int32 of shape (B,), and scores, float32 of
    shape (B,). The training loader shuffles. `data_dir`, `name` and `duplicates` are
    passed to :func:`read_data_ml100k`; `split_mode`, `test_ratio` and `seed` are passed
    to :func:`split_data_ml100k`. With `data`, the result of :func:`read_ratings` or
    :func:`read_data_ml100k`, nothing is read.

    Differs from the book: the loaders are instances of :class:`BatchLoader`, ids are
    integers (E39), and every epoch contains all training rows (E48).
    Section: ``movielens``.
    """
    if data is not None and not isinstance(data, tuple):
        raise ValueError("data must be what read_ratings or read_data_ml100k returns")
    read = data or read_data_ml100k(data_dir, duplicates, name)
    _, num_users, num_items = read
    parts = split_data_ml100k(*read, split_mode, test_ratio, seed)
    settings = num_users, num_items, batch_size, feedback
    order = 0 if isinstance(seed, str) else seed
    train = rating_loader(parts[0], *settings, shuffle=True, seed=order)
    return num_users, num_items, train, rating_loader(parts[1], *settings)


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
