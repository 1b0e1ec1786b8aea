"""Print the recommendations of a ranking model as movie titles."""

from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy
import pandas as pd

from chapters.runner.failures import in_one_line, warn
from chapters.runner.printed import words
from chapters.runner.run import Run
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
    """Print the user's last five movies and the ten best unseen ones.

    A failure is a warning, because the results are already saved.
    """
    try:
        _print(run, net, data, candidates, num_users, num_items, seq, user)
    except Exception as error:
        warn(f"no recommendations: {in_one_line(error) or repr(error)}")


def _print(run, net, data, candidates, num_users, num_items, seq, user) -> None:
    titles = titles_of(run.folder, data.attrs["item_ids"])
    movies = "items" if run.folder.is_file() else "movies"
    best = recommend(net, user, 10, candidates, num_users, num_items, seq, run.devices)
    seen = candidates.get(user, [])
    user_id = data.attrs["user_ids"][user]
    who = f"user {user_id}"
    print(f"last {movies} of {who}:" if seen else f"{who} has no {movies} yet")
    for item in seen[-5:]:
        print(f"    {titles[item]}")
    print("recommendations (score, title):")
    for item, score in best:
        print(f"    {score:7.3f}  {titles[item]}")


def print_ranking_metrics(metrics: Dict[str, float], k: int) -> None:
    """Print precision, recall and NDCG at `k` in one line."""
    names = ("precision", "recall", "ndcg")
    print(", ".join(f"{words(x)}@{k} {metrics[f'{x}@{k}']:.3f}" for x in names))


def titles_of(folder: Path, item_ids: Sequence[int]) -> List[str]:
    """Return the titles of the items, or "item ID" if the data has no titles.

    The id None, which pads a short sequence, is "no item".
    """
    try:
        titles = read_titles(folder, item_ids)
    except (FileNotFoundError, NotADirectoryError):
        titles = [None] * len(item_ids)
    return [
        "no item" if item is None else title or f"item {item}"
        for title, item in zip(titles, item_ids)
    ]


def read_titles(folder: Path, item_ids: Sequence[int]) -> List[Optional[str]]:
    """Return the titles of the items, None for an item without a title.

    Raises FileNotFoundError or NotADirectoryError if the data has no titles.
    """
    titles = read_movies(folder)["title"].to_dict()
    return [titles.get(item) for item in item_ids]
