"""The figures that the book's editions print, from ``printed.csv``.

`where` is the section number in that edition. `because` lists the errata that distort a
figure; if it is empty, the figure is correct.
"""

from pathlib import Path
from typing import Dict, Iterable

import pandas as pd

# From the newest to the oldest.
EDITIONS = {"2026": "newest, 2026", "2020": "first, 2020"}


def printed_figures(section: str = "") -> pd.DataFrame:
    """Return the figures of one section, or of all, as text."""
    table = pd.read_csv(
        Path(__file__).with_name("printed.csv"), dtype=str, keep_default_na=False
    )
    return table[table["section"] == section] if section else table


def correct_figures(
    section: str, metrics: Iterable[str], data: str
) -> Dict[str, Dict[str, float]]:
    """Return {metric: {label: value}}: the undistorted figures, to be drawn.

    A label names the edition. MXNet's figure comes first; PyTorch's replaces it if an
    erratum distorts it. `data` is the name of the data set that was used here.
    """
    table = printed_figures(section)
    table = table[table["because"] == ""]
    other = "" if data in ("ml-100k", "ctr") else ", on other data"
    found: Dict[str, Dict[str, float]] = {}
    for metric in metrics:
        lines = found.setdefault(metric, {})
        rows = table[table["metric"] == metric].sort_values("framework", kind="stable")
        for edition, name in EDITIONS.items():
            for row in rows[rows["edition"] == edition][:1].itertuples():
                framework = "" if row.framework == "MXNet" else f", {row.framework}"
                label = f"book ({name}{framework}){other}: {row.value}"
                lines[label] = float(row.value)
    return found


def words(metric: str) -> str:
    """Return the name of a metric as it is printed: ``test RMSE``."""
    text = metric.replace("rating_20_30", "rating of user 20 for item 30")
    text = text.replace("examples_per_sec", "examples/s").replace("_", " ")
    for short, name in (
        ("rmse", "RMSE"),
        ("auc", "AUC"),
        ("acc", "accuracy"),
        ("bpr", "BPR"),
        ("ndcg", "NDCG"),
        ("mf on", "MF on"),
    ):
        text = text.replace(short, name)
    return text
