"""Find users that a ranking model cannot be trained on, before the training."""

from typing import Sequence

import pandas as pd


def check_users(
    ids: Sequence[int],
    train: pd.DataFrame,
    excluded: pd.DataFrame,
    num_items: int,
    negatives: str = "uniform",
) -> None:
    """Check that each user with training ratings has an item that can be a negative.

    `excluded` holds the ratings whose items are never drawn. ``ids[u - 1]`` is the id
    of user `u` in the file. If `negatives` is 'popularity', only items with training
    ratings are drawn.

    Raises a ValueError that names the id. The data sets would name the index.
    """
    where = ""
    if negatives == "popularity":
        rated = train["item_id"].unique()
        excluded = excluded[excluded["item_id"].isin(rated)]
        num_items, where = len(rated), " in the training data"
    counts = excluded["user_id"].value_counts()
    for user in train["user_id"].unique():
        if counts[user] == num_items:
            raise ValueError(
                f"user {ids[user - 1]} has rated all {num_items} items{where}, so no "
                "item is left to be a negative: leave the user out of the file"
            )


def check_histories(ids: Sequence[int], train: pd.DataFrame, held_out: int = 1) -> None:
    """Check that each user has a rating besides those that are held out.

    Raises a ValueError that names the id of a user who has not.
    """
    some = {*train["user_id"]}
    for index, user_id in enumerate(ids):
        if index + 1 not in some:
            has = "a single rating, which is" if held_out == 1 else "two ratings, both"
            way_out = "" if held_out == 1 else " or leave out --validation"
            raise ValueError(
                f"user {user_id} has {has} held out, so there is no sequence to start "
                f"from: leave the user out of the file{way_out}"
            )
