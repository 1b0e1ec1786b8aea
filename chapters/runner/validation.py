"""Hold out a validation part of the training data, for --validation."""

from typing import Tuple

import numpy
import pandas as pd

from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.movielens import split_data_ml100k


def split_validation(
    data: pd.DataFrame, num_users: int, num_items: int, mode: str, seed: int
) -> Tuple[pd.DataFrame, pd.DataFrame]:
    """Split training rows in the same way as they were split from the test rows.

    'random' holds out a tenth of the rows, 'seq-aware' the last row of each user.
    Returns the rest and the validation rows.
    """
    # Another seed: the same draws would hold out neighbors of the test rows.
    seed = 2**31 + seed
    if mode == "seq-aware":
        users = data["user_id"].nunique()
        _check(len(data) - users, users)
    return split_data_ml100k(data, num_users, num_items, mode, seed=seed)


def _check(train: int, valid: int) -> None:
    """Raise ValueError if a part has no rows."""
    if not train or not valid:
        raise ValueError(
            f"--validation: of {train + valid} training rows, {valid} would be held "
            "out: use more data, or leave out --validation"
        )


def split_loader(
    train_iter: BatchLoader, mode: str, seed: int
) -> Tuple[BatchLoader, BatchLoader]:
    """Split the rows of a loader of users, items and ratings in the same way.

    The rows must be as ``split_and_load_ml100k`` returns them.
    """
    arrays = train_iter.dataset.arrays
    users = arrays[0]
    if mode == "random":
        held_out = numpy.random.default_rng(2**31 + seed).random(len(users)) >= 0.9
    else:  # the rows are sorted by user and time
        held_out = numpy.append(users[1:] != users[:-1], True)
    _check((~held_out).sum(), held_out.sum())
    train, valid = ([x[part] for x in arrays] for part in (~held_out, held_out))
    size = train_iter.batch_size
    return BatchLoader(train, size, shuffle=True, seed=seed), BatchLoader(valid, size)
