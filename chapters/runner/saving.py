"""Save the model that a script has trained, for ``d2l_recsys.load``."""

from typing import List, Optional, Union

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
    if worker.rank:
        return
    rated = train.sort_values(["user_id", "timestamp"], kind="stable")
    user_ids, item_ids = (train.attrs[name] for name in ("user_ids", "item_ids"))
    users, items = (rated[name].to_numpy() - 1 for name in ("user_id", "item_id"))
    histories = Histories(
        user_ids,
        item_ids,
        Interactions(users, items, len(user_ids), len(item_ids)),
        rated["rating"].to_numpy(dtype="float32") if ratings else None,
        _titles(run, item_ids),
        rows,
    )
    _save(run, net, histories)


def save_ctr_model(
    run: Run, net: gluon.Block, parts: CTRParts, output: str = "probability"
) -> None:
    """Write a model of rows of fields to ``OUT/SLUG``; on worker 0 only.

    `output` is 'probability' or 'rating'. A failure is a warning.
    """
    if not worker.rank:
        train = parts.train
        known = Vocabulary(parts.layout, train.feat_mapper, train.defaults, output)
        _save(run, net, known)


def _save(run: Run, net: gluon.Block, trained_on: Union[Histories, Vocabulary]) -> None:
    settings = {**vars(run.args), "data": run.data_name}
    try:
        save(run.out / run.slug, net, trained_on, settings)
    except Exception as error:
        warn(f"no model was saved: {in_one_line(error) or repr(error)}")


def _titles(run: Run, item_ids: List) -> Optional[List[Optional[str]]]:
    """Return the titles of the items, or None if there are none."""
    try:
        return read_titles(run.folder, item_ids)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:
        warn(f"no titles were saved: {in_one_line(error) or repr(error)}")
        return None
