"""Draw curves and figures: live in a notebook, to files in a script.

Figures are created without pyplot. So scripts need no display and no backend, and they
do not change matplotlib's global state.
"""

import sys
import time
from io import BytesIO
from typing import Any, Dict, Optional, Tuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from tqdm import tqdm

from d2l_recsys.engine.checkpoint import History
from d2l_recsys.runtime import compat


def in_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook: Jupyter's, Colab's, ..."""
    if "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    # The class of the shell has another name in each product.
    return getattr(shell, "kernel", None) is not None


class NotebookFigure(Figure):
    """A figure that notebooks show as a picture, although pyplot does not know it."""

    def _repr_png_(self) -> bytes:
        picture = BytesIO()
        self.savefig(picture, format="png", dpi=100)
        return picture.getvalue()


class Curves:
    """Show the progress of a training: pass an instance as ``on_epoch``.

    `labels` maps keys of the history to labels of the legend. In a notebook, the book's
    Animator draws after each epoch. In a terminal, a progress bar moves on stderr. In a
    log file, an epoch gets a line if the last one is at least `log_seconds` old.
    """

    log_seconds = 10.0

    def __init__(
        self, num_epochs: int, labels: Dict[str, str], ylim: Tuple[float, float]
    ) -> None:
        self.num_epochs, self.labels, self.ylim = num_epochs, labels, ylim
        self.history: History = []
        self.animator: Any = None
        self.bar: Any = None
        self.last_line = time.monotonic()
        if in_notebook():
            self.animator = self._animator()
        elif sys.stderr.isatty():
            self.bar = tqdm(total=num_epochs, unit="epoch", leave=False, mininterval=0)

    def _animator(self) -> Any:
        """Return the book's Animator; None, and a line, where d2l is not installed."""
        try:
            from d2l import mxnet as d2l
        except ModuleNotFoundError:
            print(f"No live curves: {compat.HOW_TO_ADD_D2L}")
            return None
        return d2l.Animator(
            xlabel="epoch",
            xlim=[1, max(self.num_epochs, 2)],
            ylim=list(self.ylim),
            legend=list(self.labels.values()),
        )

    def __call__(self, history: History) -> None:
        """Show the latest epoch of `history`."""
        self.history = list(history)
        last = history[-1]
        values = [last[key] for key in self.labels]
        if self.animator is not None:
            self.animator.add(last["epoch"], values)
        pairs = zip(self.labels.values(), values)
        text = ", ".join(f"{k} {v:.3f}" for k, v in pairs)
        if self.bar is None and self.animator is None:
            self._log(f"epoch {last['epoch']}/{self.num_epochs}: {text}")
        if self.bar is not None:
            self.bar.set_postfix_str(text)
            self.bar.update(len(history) - self.bar.n)
            if last["epoch"] == self.num_epochs:
                self.bar.close()

    def _log(self, line: str) -> None:
        """Print a line, unless it is too early or the results follow anyway."""
        now, ended = time.monotonic(), len(self.history) == self.num_epochs
        if now - self.last_line >= self.log_seconds and not ended:
            self.last_line = now
            print(line, flush=True)

    def figure(self, title: str, ylabel: Optional[str] = None) -> Figure:
        """Draw the curves of the whole training into a new figure."""
        figure, axes = new_figure(title, "epoch", ylabel)
        epochs = [epoch["epoch"] for epoch in self.history]
        for (key, label), style in zip(self.labels.items(), ("-", "--", "-.", ":")):
            axes.plot(epochs, [e[key] for e in self.history], style, label=label)
        marker_for_one_point(axes)
        axes.set_xlim(1, max(self.num_epochs, 2))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(*self.ylim)
        axes.legend()
        return figure


def marker_for_one_point(axes: Axes) -> None:
    """Put markers on lines that have a single point and would be invisible."""
    for line in axes.get_lines():
        if len(line.get_xdata()) == 1:
            line.set_marker("o")


def new_figure(
    title: str, xlabel: str, ylabel: Optional[str] = None
) -> Tuple[Figure, Axes]:
    """Return a new figure and its axes, with a grid, a title and labels."""
    figure = NotebookFigure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    axes.set_xlabel(xlabel)
    if ylabel:
        axes.set_ylabel(ylabel)
    axes.grid(True, alpha=0.4)
    axes.set_axisbelow(True)
    return figure, axes


def histogram(values: pd.Series, title: str, xlabel: str) -> Figure:
    """Draw a bar for each distinct value, as high as its count."""
    counts = values.value_counts().sort_index()
    figure, axes = new_figure(title, xlabel, "Count")
    step = min([1, *counts.index.to_series().diff().dropna()])  # 0.5 with half stars
    bars = axes.bar(counts.index, counts, width=0.9 * step, edgecolor="black")
    axes.bar_label(bars, fmt="{:,.0f}", fontsize=8)
    return figure
