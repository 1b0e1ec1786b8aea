"""What the editions of the book print: ``printed.csv``, one figure a row.

`where` is the section's number in that edition. `because` holds the errata that make a
figure an artefact of a mistake; where it is empty, the figure is sound.
"""

from pathlib import Path

import pandas as pd


def printed_figures(section: str = "") -> pd.DataFrame:
    """Return the figures of one section, or all: text, as they are printed."""
    table = pd.read_csv(
        Path(__file__).with_name("printed.csv"), dtype=str, keep_default_na=False
    )
    return table[table["section"] == section] if section else table


def in_brief(section: str) -> str:
    """Return what the MXNet editions print of data or test set, in one line."""
    table = printed_figures(section)
    told = table["metric"].str.contains("test_|users|items|sparsity")
    table = table[(table["framework"] == "MXNet") & told]
    return "; ".join(
        f"{edition}: "
        + ", ".join(
            f"{row.metric.replace('_', ' ')} {row.value}" for row in rows.itertuples()
        )
        for edition, rows in table.groupby("edition")
    )
