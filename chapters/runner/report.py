"""Run the chapter with several seeds; write docs/results.md and the README's table."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy

from chapters.runner.printed import printed_figures
from d2l_recsys.tools.curves import new_figure

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
# Each run: section, what it is called, more options, the metrics to be told.
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
    "E11": "the mean of running means of batches, not of rows",
    "E13": "running sums summed and divided by the batch size twice",
    "E14": "divided by all cells of the matrix (PyTorch: summed over an item's cells)",
    "E27": "only the first 943 items are ranked",
    "E31": "the timer is never restarted, and runs while evaluating",
    "E32": "running sums summed",
    "E44": "a sigmoid before a loss that applies one",
    "E45": "logits compared with labels",
}


def write_report(args) -> None:
    """Run all sections with the seeds 0 to ``args.seeds - 1`` and write the tables."""
    seeds = range(args.seeds)
    results = []
    for slug, name, more, metrics in RUNS:
        if more is None:  # told by the run before
            records = results[-1][3]
        else:
            records = [_run(args, slug, more, seed) for seed in seeds]
        results.append((slug, name, metrics, records))
        print(f"{slug} {name}: {_told(metrics, records)}", flush=True)
    page = ROOT / "docs" / "results.md"
    _replace(page, "\n\n".join(_sections(results, args.seeds)))
    _replace(ROOT / "README.md", _summary(results, args.seeds))
    _curves(results).savefig(ROOT / "docs" / "curves.png", dpi=110)
    print(f"wrote {page.relative_to(ROOT)}, docs/curves.png and README.md's table")


def _run(args, slug, more, seed):
    """Run a script in a process of its own, as a reader would; return its results."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", f"chapters.{slug}", "--seed", str(seed), *more]
        command += ["--out", out]
        if args.data_dir:
            command += ["--data-dir", str(args.data_dir.resolve())]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        return json.loads((Path(out) / f"{slug}.json").read_text(encoding="utf-8"))


def _values(metric, records):
    return [r["metrics"].get(metric, r["history"][-1].get(metric)) for r in records]


def _spread(metric, records):
    values = _values(metric, records)
    spread = numpy.std(values, ddof=1) if len(values) > 1 else 0
    return f"{numpy.mean(values):.3f} ± {spread:.3f}"


def _told(metrics, records):
    return ", ".join(f"{_words(m)} {_spread(m, records)}" for m in metrics)


def _words(metric):
    text = metric.replace("examples_per_sec", "examples/s")
    text = text.replace("rating_20_30", "rating of user 20 for item 30")
    text = text.replace("strict_", "").replace("_", " ").replace("test ", "")
    return text.replace("rmse", "RMSE").replace("auc", "AUC").replace("acc", "accuracy")


def _speed(records):
    return numpy.mean([r["history"][-1]["examples_per_sec"] for r in records])


def _sections(results, seeds):
    """Yield the parts of docs/results.md."""
    data = sorted({record["data"] for *_, records in results for record in records})
    yield (
        f"Means ± standard deviations over {seeds} seeds, the book's settings, on "
        f"{os.cpu_count()} CPU cores; data: {', '.join(data)}. The speed is that of "
        "training alone. A figure of the book is an artefact where an erratum is "
        "named: see [errata.md](errata.md). Written by "
        f"`python -m chapters --seeds {seeds} --report`."
    )
    for slug in dict.fromkeys(result[0] for result in results):
        lines = [f"## {slug}", "", "| | figures |", "|:--|:--|"]
        for _, name, metrics, records in (r for r in results if r[0] == slug):
            speed = (
                f", {_speed(records):,.0f} examples/s" if "strict" not in name else ""
            )
            synthetic = "" if records[0]["data"] in ("ml-100k", "ctr") else " (made up)"
            what = f"here{synthetic}, {name}".strip(" ,")
            lines.append(f"| **{what}** | **{_told(metrics, records)}**{speed} |")
        yield "\n".join([*lines, *_book_rows(slug)])


def _book_rows(slug):
    table, causes = printed_figures(slug), {}
    for key, rows in table.groupby(["edition", "framework", "where"], sort=False):
        cells = []
        for row in rows.itertuples():
            cells.append(f"{_words(row.metric)} {row.value}")
            if row.because:
                cells[-1] += f" ({row.because.replace(' ', ', ')})"
                causes.update(dict.fromkeys(row.because.split(" ")))
        yield f"| {key[0]}, {key[1]} ({key[2]}) | {', '.join(cells)} |"
    if causes:
        told = "; ".join(f"{cause}: {EXPLAINED[cause]}" for cause in sorted(causes))
        yield f"\n{told[0].upper()}{told[1:]}."


def _summary(results, seeds):
    lines = [
        f"Means ± standard deviations over {seeds} seeds; "
        "[docs/results.md](docs/results.md) has all figures, and why some differ.",
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
        made_up = "" if records[0]["data"] in ("ml-100k", "ctr") else "made-up data"
        theirs = f"{theirs}, on other data" if made_up else theirs
        what = ", ".join(x for x in (slug, name, made_up) if x)
        lines.append(f"| {what} | {_told(shown, records)} | {theirs} |")
    return "\n".join(lines)


def _curves(results):
    """Draw the test metrics over the epochs of the first seed."""
    figure, axes = new_figure(
        "Learning curves on MovieLens 100K, seed 0", "epoch", "test metric"
    )
    for slug, metric, label in (
        ("mf", "test_rmse", "MF, RMSE (seq-aware split)"),
        ("autorec", "test_rmse", "AutoRec, RMSE (random split)"),
        ("neumf", "test_auc", "NeuMF, AUC"),
        ("seqrec", "test_auc", "Caser, AUC"),
        ("neumf", "test_hit_rate", "NeuMF, hit rate at 50"),
        ("seqrec", "test_hit_rate", "Caser, hit rate at 50"),
    ):
        history = next(r[3][0]["history"] for r in results if r[0] == slug)
        axes.plot(
            [e["epoch"] for e in history], [e[metric] for e in history], label=label
        )
    axes.set_ylim(0, 1.5)
    axes.legend(fontsize=8)
    return figure


def _replace(path, text):
    """Put `text` between the marks of a page; what is outside them stays."""
    page = path.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
