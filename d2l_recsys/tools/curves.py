"""Draw curves of a training: live in a notebook, to files in a script."""

import sys
import time
from typing import Any, Dict, List, Mapping, Optional, Tuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from tqdm import tqdm

from d2l_recsys.engine.checkpoint import History
from d2l_recsys.tools.figures import (
    StyledFigure,
    contain,
    legend_below,
    marker_for_one_point,
    new_figure,
    new_panels,
    styled,
)

__all__ = ["Curves", "in_notebook", "new_figure"]
# How the lines of the book's values are dashed.
_DASHES = ((0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))


def in_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook: Jupyter's, Colab's, ..."""
    if "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    # The class of the shell has another name in each product.
    return getattr(shell, "kernel", None) is not None


class Curves:
    """Show the progress of a training: pass an instance as ``on_epoch``.

    `labels` maps keys of the history to labels of the legend. Losses have their own
    panel. `ylim` limits the other panel, unless the data exceeds it. `book` maps keys
    of the history to {label: value}, the values that the book prints; they are drawn as
    dashed lines.

    In a notebook, a figure shows the curves after each epoch. In a terminal, a progress
    bar moves on stderr. In a log file, an epoch gets a line if the last line is at
    least `log_seconds` old.
    """

    log_seconds = 10.0

    def __init__(
        self,
        num_epochs: int,
        labels: Dict[str, str],
        ylim: Tuple[float, float],
        book: Optional[Mapping[str, Mapping[str, float]]] = None,
    ) -> None:
        self.num_epochs, self.labels, self.ylim = num_epochs, labels, ylim
        self.book = book or {}
        self.history: History = []
        self.live = in_notebook()
        self.output: Any = None  # of the notebook
        self.bar: Any = None
        self.last_line = time.monotonic()
        if not self.live and sys.stderr and sys.stderr.isatty():  # or it is closed
            self.bar = tqdm(total=num_epochs, unit="epoch", leave=False, mininterval=0)

    def __call__(self, history: History) -> None:
        """Show the latest epoch of `history`."""
        self.history = list(history)
        last = history[-1]
        known = [key for key in self.labels if key in last]
        text = ", ".join(f"{self.labels[key]} {last[key]:.3f}" for key in known)
        if self.live:
            self._show(self._drawn(""))
        elif self.bar is None:
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
        """Draw the curves of the whole training into a new figure.

        In a notebook, they replace the figure of the last epoch.
        """
        figure = self._drawn(title, ylabel)
        if self.live and self.output is not None:
            self._show(figure)
            figure.shown = True
        return figure

    def _show(self, figure: StyledFigure) -> None:
        """Display `figure` in a notebook, in the place of the last one."""
        from IPython.display import display

        data, metadata = figure.output()
        if self.output is None:
            self.output = display(data, metadata=metadata, raw=True, display_id=True)
        else:
            self.output.update(data, metadata=metadata, raw=True)

    @styled
    def _drawn(self, title: str, ylabel: Optional[str] = None) -> StyledFigure:
        losses = [key for key in self.labels if key.endswith("loss")]
        others = [key for key in self.labels if key not in losses]
        panels = [keys for keys in (losses, others) if keys]
        heights, size = ([2, 3], (5, 4.6)) if len(panels) > 1 else (None, None)
        figure, axes = new_panels(len(panels), 1, heights, size, sharex=True)
        for panel, keys in zip(axes, panels):
            self._draw(panel, keys)
            if keys is losses:
                _scale_of_losses(panel)
            else:
                contain(panel, *self.ylim)
        axes[0].set_title(title)
        axes[-1].set_xlabel("epoch")
        axes[-1].set_ylabel(ylabel or "")
        legend_below(figure)
        return figure

    def _draw(self, axes: Axes, keys: List[str]) -> None:
        """Draw the curves of `keys`, and the book's values of them."""
        colours = {key: f"C{i}" for i, key in enumerate(self.labels)}
        for key in keys:
            label, colour = self.labels[key], colours[key]
            points = [(e["epoch"], e[key]) for e in self.history if key in e]
            axes.plot(*zip(*points), color=colour, label=label)
            draw_book(axes, self.book.get(key, {}), colour)
        marker_for_one_point(axes)
        axes.set_xlim(1, max(self.num_epochs, 2))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_book(axes: Axes, values: Mapping[str, float], colour: str) -> None:
    """Draw the values that the book prints, {label: value}, as dashed lines."""
    for (label, value), dashes in zip(values.items(), _DASHES):
        axes.axhline(
            value, color=colour, linestyle=dashes, linewidth=1.4, label=label, zorder=1
        )


def _scale_of_losses(axes: Axes) -> None:
    """Make the scale logarithmic: the first epoch's loss is many times the last's."""
    axes.set_ylabel("loss (log scale)")
    if axes.dataLim.y0 > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=9))
        axes.yaxis.set_minor_locator(LogLocator(subs=()))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    else:
        axes.set_ylabel("loss")
