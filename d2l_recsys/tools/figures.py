"""Make figures that all look alike, without pyplot.

So scripts need no display and no backend, and do not change matplotlib's global state.
The style is always ``d2l_recsys.mplstyle``, whatever matplotlibrc says.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from io import BytesIO
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Optional, Tuple

import pandas as pd
from matplotlib import rc_params_from_file, rcParams
from matplotlib import style as styles
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

STYLE = rc_params_from_file(
    Path(__file__).with_name("d2l_recsys.mplstyle"), use_default_template=False
)
DPI = 200


def style() -> AbstractContextManager:
    """Return a context in which matplotlib draws in the style of this package."""
    # Only this style has this salt. To enter it again would only take time.
    if rcParams["svg.hashsalt"] == STYLE["svg.hashsalt"]:
        return nullcontext()
    return styles.context(["default", STYLE])


def styled(function: Callable) -> Callable:
    """Return `function`, drawing in the style of this package."""

    @wraps(function)
    def in_style(*args: Any, **kwargs: Any) -> Any:
        with style():
            return function(*args, **kwargs)

    return in_style


class StyledAxes(Axes):
    """Axes whose methods draw in the style, wherever they are called."""


for _name in (
    *("annotate", "axhline", "axline", "axvline", "axvspan", "bar", "bar_label"),
    *("barh", "errorbar", "fill_between", "hist", "imshow", "legend", "plot"),
    *("scatter", "set_title", "set_xlabel", "set_xticks", "set_ylabel"),
    *("set_yticks", "text"),
):
    setattr(StyledAxes, _name, styled(getattr(Axes, _name)))


class StyledFigure(Figure):
    """A figure that is drawn in the style, and that notebooks show as a picture."""

    # Whether a notebook shows it already; then it is not shown a second time.
    shown = False

    def picture(self, format: str = "png") -> bytes:
        """Return the figure as the content of a PNG or SVG file.

        Equal figures give equal bytes, because the file has no date.
        """
        file = BytesIO()
        options: Dict[str, Any] = {"metadata": {"Date": None}}
        if format == "png":
            # Level 6, the default, takes half as long again and saves a tenth.
            options = {"pil_kwargs": {"compress_level": 3}}
        with style():
            if isinstance(self.get_layout_engine(), ConstrainedLayoutEngine):
                # Each layout differs slightly from the last, so there is only one. Any
                # engine, even "none", would make savefig draw everything twice.
                self.get_layout_engine().execute(self)
                self.set_layout_engine(None)
            self.savefig(file, format=format, dpi=DPI, **options)
        return file.getvalue()

    def output(self) -> Tuple[dict, dict]:
        """Return the figure as data and metadata of a notebook's output."""
        width = int(self.get_figwidth() * 100)  # in pixels, for screens with more dots
        data = {"image/png": self.picture(), "text/plain": repr(self)}
        return data, {"image/png": {"width": width}}

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if not self.shown:
            data, metadata = self.output()
            display(data, metadata=metadata, raw=True)
        self.shown = False  # a second wish is a real one


@styled
def new_figure(
    title: str, xlabel: str, ylabel: Optional[str] = None
) -> Tuple[StyledFigure, Axes]:
    """Return a new figure and its axes, with a grid, a title and labels."""
    figure, (axes,) = new_panels(1)
    axes.set_title(title)
    axes.set_xlabel(xlabel)
    if ylabel:
        axes.set_ylabel(ylabel)
    return figure, axes


@styled
def new_panels(
    rows: int,
    columns: int = 1,
    heights: Optional[Iterable[float]] = None,
    size: Optional[Tuple[float, float]] = None,
    sharex: bool = False,
) -> Tuple[StyledFigure, Any]:
    """Return a new figure and the array of its axes, (rows * columns,).

    `heights` are the relative heights of the rows; `size` is in inches.
    """
    figure = StyledFigure(figsize=size, layout="constrained")
    axes = figure.subplots(
        rows,
        columns,
        sharex=sharex,
        squeeze=False,
        height_ratios=heights,
        subplot_kw={"axes_class": StyledAxes},
    )
    return figure, axes.ravel()


@styled
def legend_below(figure: Figure, columns: Optional[int] = None) -> None:
    """Add a legend of all lines, bars and areas below the axes, where it hides nothing.

    It has two columns if they fit, or one.
    """
    entries: Dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        entries.update(zip(labels, handles))
    if entries:
        labels, half = [*entries], (len(entries) + 1) // 2
        letters = max(map(len, labels[:half])) + max(map(len, labels[half:] or [""]))
        fit = letters < 11 * figure.get_figwidth()
        place = {"loc": "outside lower center", "ncols": columns or (2 if fit else 1)}
        figure.legend([*entries.values()], labels, **place)


def marker_for_one_point(axes: Axes) -> None:
    """Put markers on lines that have a single point and would be invisible."""
    for line in axes.get_lines():
        if len(line.get_xdata()) == 1:
            line.set_marker("o")


def contain(axes: Axes, low: float, high: float) -> None:
    """Set the limits to `low` and `high`, or to the data where they exceed these.

    So figures of usual results can be compared, and unusual ones are not clipped.
    """
    bottom, top = axes.dataLim.intervaly
    margin = 0.05 * (max(high, top) - min(low, bottom))
    axes.set_ylim(
        low if bottom >= low else bottom - margin, high if top <= high else top + margin
    )


@styled
def histogram(values: pd.Series, title: str, xlabel: str) -> Figure:
    """Draw a bar for each distinct value, as high as its count."""
    counts = values.value_counts().sort_index()
    figure, axes = new_figure(title, xlabel, "count")
    step = min([1, *counts.index.to_series().diff().dropna()])  # 0.5 with half stars
    bars = axes.bar(counts.index, counts, width=0.9 * step)
    axes.bar_label(bars, fmt="{:,.0f}", fontsize=10 if len(bars) < 7 else 7)
    axes.grid(False, axis="x")
    return figure
