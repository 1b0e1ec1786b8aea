"""The boxes of a section page: editions, the book's figures, and the data used."""

import re
from typing import Any, Dict, List

import nbformat
from links import link_errata
from notebook_cache import Record
from section_facts import FACTS, section_numbers

from chapters.runner.data import DATA_TITLES
from chapters.runner.printed import printed_figures
from chapters.runner.report import EXPLAINED

BOOKS_DATA = ("ml-100k", "ctr")
NAMES = {
    "users": "users",
    "items": "items",
    "sparsity": "sparsity",
    "train_loss": "train loss",
    "test_rmse": "test RMSE",
    "test_hit_rate": "test hit rate",
    "test_auc": "test AUC",
    "train_acc": "train accuracy",
    "test_acc": "test accuracy",
    "examples_per_sec": "examples per second",
    "rating_20_30": "rating of (20, 30)",
    "record_0": "record 0",
}
# Figures that a script prints and does not save.
PRINTED = {
    "rating_20_30": r"predicted rating of .*: ([\d.]+)",
    "examples_per_sec": r"([\d.]+) examples/sec",
}


def box(title: str, text: str, kind: str = "note") -> str:
    """Return an admonition."""
    return f"::::{{admonition}} {title}\n:class: {kind}\n\n{text.strip()}\n::::"


def edition_box(slug: str, number: int) -> str:
    """Return the box with the section's number and differences in each edition."""
    lines = ["| edition | section | differences |", "|:--|:--|:--|"]
    for year, name, section in section_numbers(number):
        there = "; ".join(FACTS[slug].editions.get(year, ["none in names"]))
        lines.append(f"| **{year}**, {name} | {section} | {link_errata(there)} |")
    lines += [
        "",
        "To run the book's own cells, replace their import of `d2l` with",
        "`from d2l_recsys import d2l`.",
    ]
    return box("Your edition", "\n".join(lines))


def data_box(record: Record) -> str:
    """Return a warning if the notebook was not run on the book's data, or nothing."""
    if record["data"] in BOOKS_DATA:
        return ""
    text = (
        "The book's data was not available when this page was made. The outputs and "
        f"figures come from **{DATA_TITLES[record['data']]}** in the same format. "
        "They are not comparable with the book's."
    )
    return box("Not the book's data", text, "warning")


def own_figure(metric: str, record: Record, notebook: nbformat.NotebookNode) -> str:
    """Return the figure of the executed notebook, as the script prints it, or "–"."""
    history: List[Dict[str, Any]] = record["history"]
    value = record["metrics"].get(metric, (history or [{}])[-1].get(metric))
    if metric in PRINTED:
        outputs = [o for c in notebook.cells for o in c.get("outputs", [])]
        text = "".join(o.text for o in outputs if o.output_type == "stream")
        found = re.search(PRINTED[metric], text)
        value = found and found[1]
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value)


def figures_box(slug: str, record: Record, notebook: nbformat.NotebookNode) -> str:
    """Return the box with the figures of all editions, and the reasons for differences.

    Nothing is returned for a section without figures in the book.
    """
    table = printed_figures(slug)
    if table.empty:
        return ""
    lines = ["| | here | the book prints |", "|:--|:--|:--|"]
    for metric, rows in table.groupby("metric", sort=False):
        book = []
        for row in rows.itertuples():
            marks = " ".join(f"[{e}](#{e.lower()})" for e in row.because.split())
            value = f"**{row.value}**" if len(row.value) < 20 else row.value
            book.append(f"{value} {marks} *{row.edition}, {row.framework}*")
        here = own_figure(str(metric), record, notebook)
        lines.append(f"| {NAMES[str(metric)]} | **{here}** | {'<br>'.join(book)} |")
    return "## Here and in the Book\n\n" + box(
        "What the book prints, and why it differs",
        "\n".join([*lines, "", *_reasons(slug, record, table)]),
        "important",
    )


def _reasons(slug: str, record: Record, table: Any) -> List[str]:
    """Return the list of reasons why the figures differ."""
    causes = sorted({e for cell in table["because"] for e in cell.split()})
    reasons = [f"- [{e}](#{e.lower()}): {EXPLAINED[e]}." for e in causes]
    if record["data"] not in BOOKS_DATA:
        reasons.append("- All figures here come from other data than the book's.")
    elif not record["history"]:
        reasons.append("- The figures describe the data, so they are the same.")
    else:
        reasons.append(
            "- All other differences come from initial parameters, split, framework "
            f"and machine. [Results](../results.md#{slug}) has means over seeds."
        )
    return reasons
