"""Print the recommendations of a ranking model as movie titles."""

from pathlib import Path
from typing import Dict, List, Optional

import numpy
import pandas as pd

from chapters.runner.options import Run
from d2l_recsys.data.movies import read_movies
from d2l_recsys.engine.full_ranking import recommend
from d2l_recsys.runtime.backend import gluon


def print_recommendations(
    run: Run,
    net: gluon.Block,
    data: pd.DataFrame,
    candidates: Dict[int, List[int]],
    num_users: int,
    num_items: int,
    seq: Optional[numpy.ndarray] = None,
    user: int = 0,
) -> None:
    """Print the user's last five movies and the ten best unseen ones."""
    titles = _titles(run.folder, data.attrs["item_ids"])
    best = recommend(net, user, 10, candidates, num_users, num_items, seq, run.devices)
    seen = candidates.get(user, [])
    print(f"last movies of user {user}:" if seen else f"user {user} has no movies yet")
    for item in seen[-5:]:
        print(f"    {titles[item]}")
    print("recommendations (score, title):")
    for item, score in best:
        print(f"    {score:7.3f}  {titles[item]}")


def _titles(folder: Path, item_ids: List[int]) -> List[str]:
    """Return the titles of the items, or "item ID" if the data has no titles."""
    try:
        titles = read_movies(folder)["title"].to_dict()
    except FileNotFoundError:
        titles = {}
    return [titles.get(item, f"item {item}") for item in item_ids]
