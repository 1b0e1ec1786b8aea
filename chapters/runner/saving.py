"""Save the model that a script has trained, for ``d2l_recsys.load``."""

from typing import Callable, List, Optional, Union

import pandas as pd

from chapters.runner.ctr_data import CTRParts
from chapters.runner.failures import in_one_line, warn
from chapters.runner.recommendations import read_titles
from chapters.runner.run import Run
from d2l_recsys.data.interactions import Interactions
from d2l_recsys.engine.saved import Histories, Vocabulary, save
from d2l_recsys.runtime.backend import gluon
from d2l_recsys.runtime.workers import worker


def save_recommender(
    run: Run,
    net: gluon.Block,
    train: pd.DataFrame,
    ratings: bool = False,
    rows: Optional[str] = None,
) -> None:
    """Write a model of users and items to ``OUT/SLUG``; on worker 0 only.

    `train` has the training rows. With `ratings`, the model predicts them. `rows` tells
    whether 'item' or 'user' is a row of an AutoRec. A failure is a warning.
    """
    _save(run, net, lambda: _histories(run, train, ratings, rows))


def save_ctr_model(
    run: Run, net: gluon.Block, parts: CTRParts, output: str = "probability"
) -> None:
    """Write a model of rows of fields to ``OUT/SLUG``; on worker 0 only.

    `output` is 'probability' or 'rating'. A failure is a warning.
    """
    known = parts.train.feat_mapper, parts.train.defaults
    _save(run, net, lambda: Vocabulary(parts.layout, *known, output))


def _save(
    run: Run, net: gluon.Block, make: Callable[[], Union[Histories, Vocabulary]]
) -> None:
    if worker.rank:
        return
    settings = {**vars(run.args), "data": run.data_name}
    try:
        save(run.out / run.slug, net, make(), settings)
    except Exception as error:
        warn(f"no model was saved: {in_one_line(error) or repr(error)}")


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
