"""Run the chapter with several seeds; write docs/results.md and README.md's table."""

import json
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple

import numpy
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from chapters.runner.printed import correct_figures, printed_figures, words
from chapters.runner.results import write
from d2l_recsys.runtime import cores
from d2l_recsys.tools.curves import draw_book
from d2l_recsys.tools.figures import contain, new_panels, style

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
# Section, title, options (None: same run as before), metrics to report.
RUNS = [
    ("mf", "seq-aware split", [], ["test_rmse", "train_loss"]),
    ("mf", "random split", ["--split", "random"], ["test_rmse", "train_loss"]),
    ("autorec", "random split", [], ["test_rmse", "train_loss"]),
    ("neumf", "the book's protocol", [], ["test_hit_rate", "test_auc", "train_loss"]),
    ("neumf", "strict protocol", None, ["strict_test_hit_rate", "strict_test_auc"]),
    ("seqrec", "the book's protocol", [], ["test_hit_rate", "test_auc", "train_loss"]),
    ("seqrec", "strict protocol", ["--strict"], ["test_hit_rate", "test_auc"]),
    ("fm", "", [], ["test_acc", "test_auc", "train_loss"]),
    ("deepfm", "", [], ["test_acc", "test_auc", "train_loss"]),
]
EXPLAINED = {
    "E11": "mean of running means over batches, not over rows",
    "E13": "running sums are added up and divided by the batch size twice",
    "E14": "divided by all cells of the matrix (PyTorch: summed over an item's cells)",
    "E27": "only the first 943 items are ranked",
    "E31": "the timer is never restarted and includes the evaluation",
    "E32": "running sums are added up",
    "E44": "a sigmoid before a loss that applies another",
    "E45": "logits are compared with labels",
}


Record = Dict[str, Any]  # the contents of a section's JSON file


class Result(NamedTuple):
    """The records of one run, one for each seed."""

    section: str
    title: str
    metrics: List[str]
    records: List[Record]


def write_report(args: Namespace) -> None:
    """Run all sections with the seeds 0 to ``args.seeds - 1`` and write the tables."""
    seeds = range(args.seeds)
    results: List[Result] = []
    for slug, name, more, metrics in RUNS:
        if more is None:  # part of the previous run
            records = results[-1].records
        else:
            records = [_run(args, slug, more, seed) for seed in seeds]
        results.append(Result(slug, name, metrics, records))
        print(f"{slug} {name}: {_means(metrics, records)}", flush=True)
    page = ROOT / "docs" / "results.md"
    _replace(page, "\n\n".join(_sections(results, args.seeds)))
    _replace(ROOT / "README.md", _summary(results, args.seeds))
    picture = _curves(results).picture()
    write(ROOT / "docs" / "curves.png", picture)
    print(f"wrote {page.relative_to(ROOT)}, docs/curves.png and README.md's table")


def _run(args: Namespace, slug: str, more: List[str], seed: int) -> Record:
    """Run a script in a new process, as users do, and return its results."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", f"chapters.{slug}", "--seed", str(seed), *more]
        command += ["--out", out]
        if args.data_dir:
            command += ["--data-dir", str(args.data_dir.resolve())]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        return json.loads((Path(out) / f"{slug}.json").read_text(encoding="utf-8"))


def _values(metric: str, records: List[Record]) -> List[float]:
    values = [r["metrics"].get(metric, r["history"][-1].get(metric)) for r in records]
    return [float("nan") if value is None else value for value in values]


def _spread(metric: str, records: List[Record]) -> str:
    values = _values(metric, records)
    spread = numpy.std(values, ddof=1) if len(values) > 1 else 0
    return f"{numpy.mean(values):.3f} ± {spread:.3f}"


def _means(metrics: List[str], records: List[Record]) -> str:
    return ", ".join(f"{_words(m)} {_spread(m, records)}" for m in metrics)


def _words(metric: str) -> str:
    """Return the name of a metric as it is written in the tables."""
    return words(metric).replace("strict ", "").replace("test ", "")


def _speed(records: List[Record]) -> float:
    return float(numpy.mean([r["history"][-1]["examples_per_sec"] for r in records]))


def _sections(results: List[Result], seeds: int) -> Iterator[str]:
    """Yield the introduction and the sections of docs/results.md."""
    data = sorted({record["data"] for r in results for record in r.records})
    yield (
        f"Means ± standard deviations over {seeds} seeds, with the book's settings, on "
        f"{cores.available()} CPU cores; data: {', '.join(data)}. The speed does not "
        "include the evaluation. An erratum in parentheses distorts the figure before "
        "it: see [errata.md](errata.md). Written by "
        f"`python -m chapters --seeds {seeds} --report`."
    )
    for slug in dict.fromkeys(result.section for result in results):
        lines = [f"## {slug}", "", "| | figures |", "|:--|:--|"]
        for _, name, metrics, records in (r for r in results if r.section == slug):
            speed = (
                f", {_speed(records):,.0f} examples/s" if "strict" not in name else ""
            )
            synthetic = (
                "" if records[0]["data"] in ("ml-100k", "ctr") else " (synthetic)"
            )
            what = f"here{synthetic}, {name}".strip(" ,")
            lines.append(f"| **{what}** | **{_means(metrics, records)}**{speed} |")
        yield "\n".join([*lines, *_book_rows(slug)])


def _book_rows(slug: str) -> Iterator[str]:
    table = printed_figures(slug)
    causes: Dict[str, None] = {}  # in order, each once
    for key, rows in table.groupby(["edition", "framework", "where"], sort=False):
        cells = []
        for row in rows.itertuples():
            cells.append(f"{_words(row.metric)} {row.value}")
            if row.because:
                cells[-1] += f" ({row.because.replace(' ', ', ')})"
                causes.update(dict.fromkeys(row.because.split(" ")))
        yield f"| {key[0]}, {key[1]} ({key[2]}) | {', '.join(cells)} |"
    if causes:
        notes = "; ".join(f"{cause}: {EXPLAINED[cause]}" for cause in sorted(causes))
        yield f"\n{notes}."


def _summary(results: List[Result], seeds: int) -> str:
    lines = [
        f"Means ± standard deviations over {seeds} seeds; "
        "[docs/results.md](docs/results.md) has all figures and explains the "
        "differences.",
        "",
        "| section | here | the book, 2026 (MXNet) |",
        "|:--|:--|:--|",
    ]
    for slug, name, metrics, records in results:
        table = printed_figures(slug)
        table = table[(table["edition"] == "2026") & (table["framework"] == "MXNet")]
        book = dict(zip(table["metric"], table["value"]))
        shown = [m for m in metrics if "loss" not in m]
        theirs = ", ".join(f"{_words(m)} {book[m]}" for m in shown if m in book)
        if "strict" in name or (slug, name) == ("mf", "random split"):
            theirs = ""  # the book has no such run
        synthetic = "" if records[0]["data"] in ("ml-100k", "ctr") else "synthetic data"
        theirs = f"{theirs}, on other data" if synthetic else theirs
        what = ", ".join(x for x in (slug, name, synthetic) if x)
        lines.append(f"| {what} | {_means(shown, records)} | {theirs} |")
    return "\n".join(lines)


# Title and limits of a panel; section, title, metric and label of its curves.
PANELS = [
    (
        ("test RMSE, random split", 0.85, 2),
        [
            ("mf", "random split", "test_rmse", "MF"),
            ("autorec", "random split", "test_rmse", "AutoRec"),
        ],
    ),
    (
        ("test RMSE, seq-aware split", 0.85, 2),
        [("mf", "seq-aware split", "test_rmse", "MF")],
    ),
    (
        ("test hit rate at 50", 0, 0.5),
        [
            ("neumf", "the book's protocol", "test_hit_rate", "NeuMF"),
            ("seqrec", "the book's protocol", "test_hit_rate", "Caser"),
        ],
    ),
    (
        ("test AUC", 0.75, 0.95),
        [
            ("neumf", "the book's protocol", "test_auc", "NeuMF"),
            ("seqrec", "the book's protocol", "test_auc", "Caser"),
        ],
    ),
]


def _curves(results: List[Result]) -> Figure:
    """Draw the test metrics over the epochs: a thin line per seed, and the mean.

    The book's values are dashed.
    """
    found = {(r.section, r.title): r.records for r in results}
    colours = {"MF": "C0", "AutoRec": "C1", "NeuMF": "C2", "Caser": "C3"}
    figure, axes = new_panels(2, 2, size=(7.2, 6.4))
    for panel, ((title, low, high), curves) in zip(axes, PANELS):
        for slug, run, metric, label in curves:
            records = found[slug, run]
            seeds = [[e[metric] for e in r["history"]] for r in records]
            epochs = range(1, len(seeds[0]) + 1)
            for values in seeds:
                panel.plot(epochs, values, color=colours[label], lw=0.7, alpha=0.6)
            means = numpy.mean(seeds, axis=0)
            panel.plot(epochs, means, color=colours[label], label=label)
            if (slug, run) != ("mf", "random split"):  # which the book has not
                book = correct_figures(slug, [metric], records[0]["data"])[metric]
                narrow = {k.replace(", PyTorch", ",\nPyTorch"): book[k] for k in book}
                draw_book(panel, narrow, colours[label])
        panel.set_title(title)
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        contain(panel, low, high)
        place = "center right" if "RMSE" in title else "lower right"
        panel.legend(fontsize=9.5, loc=place)
    seeds = max(len(records) for records in found.values())
    with style():
        note = f"thin: each of {seeds} seeds; thick: their mean; dashed: the book"
        figure.supxlabel(note, fontsize=10)
    return figure


def _replace(path: Path, text: str) -> None:
    """Replace the text between the markers of a page."""
    page = path.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    write(path, f"{before}{BEGIN}\n{text}\n{END}{after}".encode())
