"""Hold out a validation part of the training data, for --validation."""

from typing import Tuple

import pandas as pd

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
    train, valid = split_data_ml100k(data, num_users, num_items, mode, seed=seed)
    _check(len(train), len(valid))
    return train, valid


def _check(train: int, valid: int) -> None:
    """Raise ValueError if a part has no rows."""
    if not train or not valid:
        raise ValueError(
            f"--validation: of {train + valid} training rows, {valid} would be held "
            "out: use more data, or leave out --validation"
        )
