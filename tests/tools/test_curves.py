import io
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
from PIL import Image

from d2l_recsys.tools import curves
from d2l_recsys.tools.curves import Curves, histogram

HISTORY = [{"epoch": e, "loss": 2 / e, "rmse": 1 / e} for e in (1, 2, 3)]
LABELS = {"loss": "train loss", "rmse": "test RMSE"}


def followed(history, num_epochs=3):
    curves = Curves(num_epochs, LABELS, ylim=(0, 2))
    for k in range(len(history)):
        curves(history[: k + 1])
    return curves


def test_the_picture_holds_the_history(tmp_path):
    figure = followed(HISTORY).figure("Title")
    (axes,) = figure.axes
    assert axes.get_title() == "Title"
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    assert lines == {
        "train loss": [[1, 2], [2, 1], [3, pytest.approx(2 / 3)]],
        "test RMSE": [[1, 1], [2, 0.5], [3, pytest.approx(1 / 3)]],
    }
    figure.savefig(tmp_path / "a.png", dpi=50)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (300, 200)


def test_one_epoch_can_be_seen():
    (axes,) = followed(HISTORY[:1], 1).figure("Title").axes
    assert [line.get_marker() for line in axes.get_lines()] == ["o", "o"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_sees_a_progress_bar(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    followed(HISTORY)
    assert "3/3" in screen.getvalue()
    assert "train loss 0.667, test RMSE 0.333" in screen.getvalue()


def test_a_log_sees_nothing_of_a_short_training(capsys):
    followed(HISTORY)
    assert capsys.readouterr() == ("", "")


def test_a_log_gets_a_line_for_an_epoch_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(Curves, "log_seconds", 0)
    followed(HISTORY)
    assert capsys.readouterr().out == (
        "epoch 1/3: train loss 2.000, test RMSE 1.000\n"
        "epoch 2/3: train loss 1.000, test RMSE 0.500\n"
    )


def test_histogram():
    figure = histogram(pd.Series([3, 1, 3, 5]), "T", "Rating")
    (axes,) = figure.axes
    bars = {round(b.get_x() + b.get_width() / 2): b.get_height() for b in axes.patches}
    assert bars == {1: 1, 3: 2, 5: 1}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Rating", "Count")


@pytest.mark.parametrize(
    ("values", "width"), [([0.5, 1, 5], 0.45), ([1, 3, 5], 0.9), ([4], 0.9)]
)
def test_bars_do_not_overlap(values, width):
    (axes,) = histogram(pd.Series(values), "T", "Rating").axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(
        [width] * len(values)
    )


def test_this_is_no_notebook():
    assert not curves.in_notebook()


def test_the_kernels_of_jupyter_and_colab_are_notebooks(monkeypatch):
    jupyter = type("ZMQInteractiveShell", (), {"kernel": object()})
    terminal = type("TerminalInteractiveShell", (), {})
    for shell in (jupyter(), type("Shell", (jupyter,), {})(), terminal()):
        ipython = SimpleNamespace(get_ipython=lambda shell=shell: shell)
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        assert curves.in_notebook() == isinstance(shell, jupyter)


def test_a_notebook_without_d2l_trains_and_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(curves, "in_notebook", lambda: True)
    monkeypatch.setitem(sys.modules, "d2l", None)
    follow = curves.Curves(1, {"train_loss": "train loss"}, ylim=(0, 1))
    follow([{"epoch": 1, "train_loss": 0.5}])
    line = "No live curves: the book's package d2l is needed: pip install ipython, then"
    assert capsys.readouterr().out == f"{line} pip install --no-deps d2l==1.0.3\n"


def test_a_notebook_gets_a_picture():
    picture = histogram(pd.Series([3, 1, 3, 5]), "T", "Rating")._repr_png_()
    with Image.open(io.BytesIO(picture)) as image:
        assert (image.format, image.size) == ("PNG", (600, 400))
