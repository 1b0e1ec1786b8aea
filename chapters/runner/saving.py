"""Describe what a script's model is trained on, which is saved with the model."""

from typing import List, Optional

import pandas as pd

from chapters.runner.ctr_data import CTRParts
from chapters.runner.failures import in_one_line, warn
from chapters.runner.recommendations import read_titles
from chapters.runner.run import Run
from d2l_recsys.data.interactions import Interactions
from d2l_recsys.engine.saved import Histories, Vocabulary


def describe_recommender(
    run: Run,
    train: pd.DataFrame,
    ratings: bool = False,
    rows: Optional[str] = None,
) -> None:
    """Let `run` save a model of users and items.

    `train` has the training rows. With `ratings`, the model predicts them. For an
    AutoRec, `rows` is 'item' or 'user': what its rows are.
    """
    run.trained_on = lambda: _histories(run, train, ratings, rows)


def describe_ctr_model(run: Run, parts: CTRParts, output: str = "probability") -> None:
    """Let `run` save a model of rows of fields.

    `output` is 'probability' or 'rating'.
    """
    known = parts.train.feat_mapper, parts.train.defaults
    run.trained_on = lambda: Vocabulary(parts.layout, *known, output)


def _histories(
    run: Run, train: pd.DataFrame, ratings: bool, rows: Optional[str]
) -> Histories:
    # A reader's own file may have no times. Then the order of its rows counts.
    order = [name for name in ("user_id", "timestamp") if name in train]
    rated = train.sort_values(order, kind="stable")
    user_ids, item_ids = (train.attrs[name] for name in ("user_ids", "item_ids"))
    users, items = (rated[name].to_numpy() - 1 for name in ("user_id", "item_id"))
    return Histories(
        user_ids,
        item_ids,
        Interactions(users, items, len(user_ids), len(item_ids)),
        rated["rating"].to_numpy(dtype="float32") if ratings else None,
        _titles(run, item_ids),
        rows,
    )


def _titles(run: Run, item_ids: List) -> Optional[List[Optional[str]]]:
    """Return the titles of the items, or None if there are none."""
    try:
        return read_titles(run.folder, item_ids)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:
        warn(f"no titles were saved: {in_one_line(error) or repr(error)}")
        return None
