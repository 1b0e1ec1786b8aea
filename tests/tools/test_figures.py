import io

import matplotlib
import pandas as pd
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from d2l_recsys.tools.figures import histogram, legend_below, new_figure


def drawn():
    figure, axes = new_figure("Title", "epoch", "loss")
    axes.plot([1, 2], [3, 4], label="a label")
    legend_below(figure)
    return figure


@pytest.mark.parametrize("format", ["png", "svg"])
def test_equal_figures_are_equal_files_whatever_the_settings(format):
    before = dict(matplotlib.rcParams)
    one = drawn().picture(format)
    assert dict(matplotlib.rcParams) == before
    other = {"font.size": 30, "lines.linewidth": 9, "svg.hashsalt": "x"}
    with rc_context({**other, "axes.grid": False, "figure.dpi": 20}):
        figure = drawn()
        figure.picture("png" if format == "svg" else "svg")  # another one before
        assert figure.picture(format) == one


def test_a_picture_is_drawn_once(monkeypatch):
    draws = []
    draw = Figure.draw
    monkeypatch.setattr(Figure, "draw", lambda *args: [draws.append(1), draw(*args)])
    figure = drawn()
    for format in ("png", "svg"):
        figure.picture(format)
    assert len(draws) == 2


def test_text_is_text_and_has_no_date():
    picture = drawn().picture("svg").decode()
    assert ">a label</text>" in picture
    assert "<dc:date>" not in picture


def test_a_legend_below_hides_nothing():
    figure = drawn()
    figure.draw_without_rendering()
    (axes,), (legend,) = figure.axes, figure.legends
    assert not legend.get_window_extent().overlaps(axes.get_tightbbox())


def test_a_title_hides_no_power_of_ten():
    ratings = pd.Series([1, 2]).repeat(1_000_000)
    figure = histogram(ratings, "Distribution of Ratings in MovieLens 25M", "rating")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    power = axes.yaxis.get_offset_text()
    assert power.get_text() == "1e6"
    assert not axes.title.get_window_extent().overlaps(power.get_window_extent())


def test_a_notebook_gets_a_picture_for_fine_screens():
    data, metadata = drawn().output()
    with Image.open(io.BytesIO(data["image/png"])) as image:
        assert (image.format, image.size) == ("PNG", (1000, 720))
    assert metadata["image/png"] == {"width": 500}


def test_histogram():
    figure = histogram(pd.Series([3, 1, 3, 5]), "T", "rating")
    (axes,) = figure.axes
    bars = {round(b.get_x() + b.get_width() / 2): b.get_height() for b in axes.patches}
    assert bars == {1: 1, 3: 2, 5: 1}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("rating", "count")


@pytest.mark.parametrize(
    ("values", "width"), [([0.5, 1, 5], 0.45), ([1, 3, 5], 0.9), ([4], 0.9)]
)
def test_bars_do_not_overlap(values, width):
    (axes,) = histogram(pd.Series(values), "T", "rating").axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(
        [width] * len(values)
    )
