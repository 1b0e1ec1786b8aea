"""What the notebooks of ``chapters/exercises`` use: options, grids, tables, figures."""

import io
import os
import runpy
import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import pandas as pd
from IPython.utils.capture import capture_output
from matplotlib import pyplot

from chapters.runner import results
from chapters.runner.data import DATA_TITLES
from chapters.runner.experiments import LOWEST, ExperimentFailed, run_all
from d2l_recsys.data.catalog import DatasetUnavailable, fetch
from d2l_recsys.tools.command_line import Parser, positive
from d2l_recsys.tools.curves import in_notebook, new_figure
from d2l_recsys.tools.figures import StyledFigure

NAMES = {
    "setting": "",
    "train_loss": "train loss",
    "test_rmse": "test RMSE",
    "valid_rmse": "validation RMSE",
    "test_hit_rate": "test hit rate",
    "valid_hit_rate": "validation hit rate",
    "test_auc": "test AUC",
    "valid_auc": "validation AUC",
    "test_log_loss": "test log loss",
    "valid_log_loss": "validation log loss",
    "epoch": "epoch",
    "seconds": "seconds",
}


def parser() -> Parser:
    """Return the options of ``python -m chapters.exercises``, without its commands."""
    found = Parser(prog="python -m chapters.exercises")
    found.add_argument(
        "--seeds",
        type=positive,
        default=2,
        metavar="N",
        help="train with the seeds 0 to N-1 (default: 2)",
    )
    found.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="folder to search first for the data",
    )
    found.add_argument(
        "--out",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="folder for results and figures (default: results)",
    )
    found.add_argument(
        "--smoke",
        action="store_true",
        help="use tiny data, two settings, one seed and two epochs",
    )
    return found


class Exercises:
    """The exercises of one section, with the options of the command line.

    In a notebook, the options come from the environment variable D2L_RECSYS_ARGS, as
    for the scripts.
    """

    def __init__(self) -> None:
        given = shlex.split(os.environ.get("D2L_RECSYS_ARGS", ""))
        self.args, _ = parser().parse_known_args(given if in_notebook() else None)
        self.out = self.args.out / "exercises"
        self.smoke = self.args.smoke
        self.seeds = range(1 if self.smoke else self.args.seeds)

    def grid(
        self, slug: str, settings: Mapping[Any, str], common: str = ""
    ) -> pd.DataFrame:
        """Train with each of the settings, {label: options}, and with each seed.

        Returns a frame: see :func:`chapters.runner.experiments.run_all`.
        """
        if self.smoke:
            settings = dict([*settings.items()][:2])
        options = [*self._common, *shlex.split(common)]
        return run_all(slug, settings, self.seeds, options, self.out / "rows")

    def script(self, slug: str, options: str = "") -> Dict[str, Any]:
        """Run a script in this process, and return its variables; print nothing."""
        before, given = sys.argv, os.environ.get("D2L_RECSYS_ARGS")
        hidden = capture_output() if in_notebook() else redirect_stdout(io.StringIO())
        with TemporaryDirectory() as out, hidden:
            words = [*self._common, *shlex.split(options), "--out", out]
            sys.argv = [slug, *words]
            os.environ["D2L_RECSYS_ARGS"] = shlex.join(words)  # in a notebook
            try:
                return runpy.run_module(f"chapters.{slug}", run_name="__main__")
            finally:
                pyplot.close("all")  # the curves that a notebook draws
                sys.argv = before
                del os.environ["D2L_RECSYS_ARGS"]
                os.environ.update({"D2L_RECSYS_ARGS": given} if given else {})

    @property
    def _common(self) -> List[str]:
        """The options of all scripts."""
        options = ["--smoke"] * self.smoke
        if self.args.data_dir:
            options += ["--data-dir", str(self.args.data_dir.resolve())]
        return options

    def find(self, name: str) -> Tuple[Path, str]:
        """Return the folder of a data set, and its name as an option of the scripts.

        If it is not found and cannot be downloaded, print this and return the synthetic
        data set of the same family.

        Raises ExperimentFailed if --data-dir is no folder, or an archive is damaged.
        """
        real = name if name in ("ml-100k", "ctr") else "ctr"
        if self.smoke:
            return fetch(f"{real}-smoke"), "synthetic"
        try:
            return fetch(name, self.args.data_dir), name
        except DatasetUnavailable:
            title = DATA_TITLES[name]
            print(f"{title} was not found. Synthetic data is used instead.\n")
            return fetch(f"{real}-synthetic"), "synthetic"
        except ValueError as error:
            raise ExperimentFailed(f"{name}: {error}") from None

    def save(self, name: str, figure: StyledFigure) -> StyledFigure:
        """Save a figure as ``NAME.png`` among the results; return it, to be shown."""
        self.out.mkdir(parents=True, exist_ok=True)
        results.write(self.out / f"{name}.png", figure.picture())
        return figure


def compare(
    rows: pd.DataFrame,
    title: str,
    valid: str,
    test: Sequence[str],
    book: Any = None,
    more: Sequence[str] = ("train_loss",),
) -> None:
    """Print a table of settings, with the best one on validation data in bold.

    The columns are the setting, called `title`, the metrics `more`, the metric `valid`,
    and its difference from the setting `book` with the same seed. The best mean of
    `valid` over the seeds is chosen. Below the table are the `test` metrics of the
    chosen setting only.
    """
    difference = f"difference from {book}"
    if book in {*rows["setting"]}:
        reference = rows[rows["setting"] == book].set_index("seed")[valid]
        rows = rows.assign(**{difference: rows[valid] - rows["seed"].map(reference)})
    means = rows.groupby("setting", sort=False)[valid].mean()
    best = means.idxmin() if valid in LOWEST else means.idxmax()
    columns = [
        *more,
        valid,
        *(x for x in (difference, "epoch", "seconds") if x in rows),
    ]
    table(rows, title, columns, best)
    chosen = rows[rows["setting"] == best]
    figures = ", ".join(f"{NAMES[x]} {_spread(chosen[x], x)}" for x in test)
    print(f"\nChosen on validation data: {best}, with {figures}.")


def table(
    rows: pd.DataFrame, title: str, columns: Sequence[str], bold: Any = None
) -> None:
    """Print a Markdown table: for each setting, means ± deviations over the seeds.

    The first column is the setting, called `title`. The row of the setting `bold` is
    printed in bold.
    """
    lines: List[List[str]] = [[title, *(NAMES.get(x, x) for x in columns)]]
    for setting, group in rows.groupby("setting", sort=False):
        mark = "**" if setting == bold else ""
        cells = [_spread(group[x], x) for x in columns]
        lines.append([f"{mark}{x}{mark}" for x in (setting, *cells)])
    print_table(lines)
    other = sorted({*rows.get("data", [])} - {"ml-100k", "ctr"})
    if other:
        print(f"\nThe data is not the book's: {', '.join(other)}.")


def print_table(lines: Sequence[Sequence[Any]]) -> None:
    """Print lines of cells as a Markdown table. The first line is the head."""
    head, *rest = [f"| {' | '.join(map(str, line))} |" for line in lines]
    rule = f"|:--|{'--:|' * (len(lines[0]) - 1)}"
    print(*(head, rule, *rest), sep="\n")


def draw(
    rows: pd.DataFrame, title: str, label: str, metric: str, log: bool = False
) -> StyledFigure:
    """Draw the `metric` of each run against its setting, with `label` on the axis.

    Numbers have an axis to scale, logarithmic with `log`. Other settings stand side by
    side.
    """
    figure, axes = new_figure(title, label, NAMES.get(metric, metric))
    settings = [*dict.fromkeys(rows["setting"])]
    numbers = all(isinstance(x, (int, float)) for x in settings)
    places = dict(zip(settings, settings if numbers else range(len(settings))))
    runs = [run for _, run in rows.groupby("seed")]
    means = rows.groupby("setting", sort=False)[[metric]].mean().reset_index()
    for group, style in [*((run, "o-") for run in runs), (means, "s-")]:
        one = group is not means
        look = {"color": "0.6", "linewidth": 1} if one else {"linewidth": 2}
        label_of = "mean" if not one else "one seed" if group is runs[0] else None
        at = group["setting"].map(places)
        axes.plot(at, group[metric], style, markersize=4, label=label_of, **look)
    if log:
        axes.set_xscale("log")
        axes.minorticks_off()
    turn = 0 if numbers or max(map(len, map(str, settings))) < 9 else 20
    axes.set_xticks([*places.values()], [*map(str, settings)], rotation=turn)
    axes.legend()
    return figure


def _spread(values: pd.Series, metric: str) -> str:
    digits = 1 if metric in ("seconds", "epoch") else 3
    sign = "+" if metric.startswith("difference") else ""
    text = f"{values.mean():{sign}.{digits}f}"
    if metric == "seconds" or len(values) < 2:
        return text
    return f"{text} ± {values.std():.{digits}f}"
