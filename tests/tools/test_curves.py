import io
import sys
from types import SimpleNamespace

import pytest

from d2l_recsys.tools import curves
from d2l_recsys.tools.curves import Curves

HISTORY = [{"epoch": e, "loss": 2 / e, "rmse": 1 / e} for e in (1, 2, 3)]
LABELS = {"loss": "train loss", "rmse": "test RMSE"}


def followed(history, num_epochs=3):
    curves = Curves(num_epochs, LABELS, ylim=(0, 2))
    for k in range(len(history)):
        curves(history[: k + 1])
    return curves


def test_the_picture_holds_the_history():
    figure = followed(HISTORY).figure("Title")
    losses, metrics = figure.axes  # which have other units
    assert losses.get_title() == "Title"
    (loss,), (rmse,) = losses.get_lines(), metrics.get_lines()
    lines = {line.get_label(): line.get_xydata().tolist() for line in (loss, rmse)}
    assert lines == {
        "train loss": [[1, 2], [2, 1], [3, pytest.approx(2 / 3)]],
        "test RMSE": [[1, 1], [2, 0.5], [3, pytest.approx(1 / 3)]],
    }


def test_one_epoch_can_be_seen():
    panels = followed(HISTORY[:1], 1).figure("Title").axes
    lines = [line for axes in panels for line in axes.get_lines()]
    assert [line.get_marker() for line in lines] == ["o", "o"]


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


def test_this_is_no_notebook():
    assert not curves.in_notebook()


def test_the_kernels_of_jupyter_and_colab_are_notebooks(monkeypatch):
    jupyter = type("ZMQInteractiveShell", (), {"kernel": object()})
    terminal = type("TerminalInteractiveShell", (), {})
    for shell in (jupyter(), type("Shell", (jupyter,), {})(), terminal()):
        ipython = SimpleNamespace(get_ipython=lambda shell=shell: shell)
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        assert curves.in_notebook() == isinstance(shell, jupyter)


@pytest.fixture
def shown(monkeypatch):
    """Stand in a notebook; return the pictures that each of its outputs shows."""
    outputs = []

    class Output:
        def __init__(self):
            self.pictures = []
            outputs.append(self.pictures)

        def update(self, data, metadata, raw):
            self.pictures.append(data["image/png"])

    def display(data, metadata, raw, display_id=None):
        output = Output()
        output.update(data, metadata, raw)
        return output

    monkeypatch.setattr(curves, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    return outputs


def test_a_notebook_shows_the_curves_once(shown):
    curves = followed(HISTORY)
    assert [len(pictures) for pictures in shown] == [3]  # one output, three times drawn
    figure = curves.figure("Title")
    figure._ipython_display_()  # the last line of the cell
    assert [len(pictures) for pictures in shown] == [4]
    assert shown[0][-1] == figure.picture()
    figure._ipython_display_()  # again: the reader wants it
    assert [len(pictures) for pictures in shown] == [4, 1]


@pytest.mark.parametrize("rmse", [0.1, 0.9, 3.7])
def test_nothing_is_clipped_and_usual_results_have_equal_limits(rmse):
    curves = Curves(2, LABELS, ylim=(0.8, 2), book={"rmse": {"book": 1.0}})
    curves(
        [{"epoch": 1, "loss": 99, "rmse": 1.5}, {"epoch": 2, "loss": 9, "rmse": rmse}]
    )
    for axes in curves.figure("Title").axes:
        low, high = axes.get_ylim()
        values = [y for line in axes.get_lines() for y in line.get_ydata()]
        assert low <= min(values) <= max(values) <= high
    if 0.8 <= rmse <= 2:
        assert (low, high) == (0.8, 2)


def test_the_books_values_are_dashed():
    curves = Curves(2, LABELS, ylim=(0, 2), book={"rmse": {"book: 0.9": 0.9}})
    curves(HISTORY[:2])
    losses, rmse = curves.figure("Title").axes
    assert len(losses.get_lines()) == 1
    (curve, line) = rmse.get_lines()
    assert (line.get_label(), {*line.get_ydata()}) == ("book: 0.9", {0.9})
    assert line.is_dashed()
    assert not curve.is_dashed()
    assert line.get_color() == curve.get_color()


def test_epochs_without_a_test_have_no_point():
    curves = Curves(3, {"auc": "AUC"}, ylim=(0, 1))
    curves([{"epoch": 1, "auc": 0.5}, {"epoch": 2}, {"epoch": 3, "auc": 0.7}])
    (line,) = curves.figure("Title").axes[0].get_lines()
    assert line.get_xydata().tolist() == [[1, 0.5], [3, 0.7]]
