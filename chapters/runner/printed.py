"""The figures that the book's editions print, from ``printed.csv``.

`where` is the section number in that edition. `because` lists the errata that distort a
figure; if it is empty, the figure is correct.
"""

from pathlib import Path

import pandas as pd


def printed_figures(section: str = "") -> pd.DataFrame:
    """Return the figures of one section, or of all, as text."""
    table = pd.read_csv(
        Path(__file__).with_name("printed.csv"), dtype=str, keep_default_na=False
    )
    return table[table["section"] == section] if section else table


def in_brief(section: str) -> str:
    """Return one line with the data and test figures of the MXNet editions."""
    table = printed_figures(section)
    shown = table["metric"].str.contains("test_|users|items|sparsity")
    table = table[(table["framework"] == "MXNet") & shown]
    return "; ".join(
        f"{edition}: "
        + ", ".join(
            f"{row.metric.replace('_', ' ')} {row.value}" for row in rows.itertuples()
        )
        for edition, rows in table.groupby("edition")
    )
