"""The pictures that explain a section, and the book's values in figures."""

import re

import numpy
import pandas as pd
import pytest
from jobs import chapter

from chapters.runner import pictures
from chapters.runner.printed import correct_figures
from chapters.runner.report import PANELS, Result, _curves
from d2l_recsys.engine.metrics import HeldOutRanks


@pytest.mark.parametrize(
    ("section", "metric", "values"),
    [
        ("autorec", "test_rmse", {"newest, 2026": 0.905, "first, 2020": 0.9}),
        # Only MXNet's figures are distorted (E11).
        ("mf", "test_rmse", {"newest, 2026, PyTorch": 1.036}),
        ("neumf", "test_auc", {"newest, 2026": 0.881}),  # not 2020's (E27)
        ("movielens", "test_rmse", {}),
    ],
)
def test_artefacts_of_the_book_are_not_drawn(section, metric, values):
    labels = {f"book ({name}): {value:.3f}": value for name, value in values.items()}
    assert correct_figures(section, [metric], "ml-100k") == {metric: labels}


def test_on_other_data_the_books_values_say_so():
    (label,) = correct_figures("fm", ["test_acc"], "synthetic")["test_acc"]
    assert label == "book (newest, 2026), on other data: 0.925"


def test_the_report_draws_all_seeds_and_clips_none():
    keys = {(slug, run) for _, curves in PANELS for slug, run, _, _ in curves}
    history = [
        {"epoch": 1, "test_rmse": 3.7, "test_hit_rate": 0.7, "test_auc": 0.2},
        {"epoch": 2, "test_rmse": 0.5, "test_hit_rate": 0.9, "test_auc": 1.0},
    ]
    records = [{"data": "ml-100k", "history": history}] * 3
    figure = _curves([Result(*key, [], records) for key in keys])
    for axes, (_, curves) in zip(figure.axes, PANELS):
        lines = axes.get_lines()
        dashed = [line for line in lines if line.is_dashed()]
        assert len(lines) - len(dashed) == 4 * len(curves)  # three seeds and the mean
        assert dashed
        low, high = axes.get_ylim()
        values = numpy.concatenate([line.get_ydata() for line in lines])
        assert low < values.min()
        assert values.max() < high


def test_the_sparsity_of_a_matrix():
    """Users 1 to 3 rated 1, 2 and 3 items: sorted, a triangle."""
    pairs = [(1, 3), (2, 3), (2, 1), (3, 1), (3, 2), (3, 3)]
    data = pd.DataFrame(pairs, columns=["user_id", "item_id"])
    axes = pictures.sparsity(data, 3, 4, "T").axes[0]
    cells = axes.images[0].get_array().tolist()
    assert cells == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]


def test_blocks_of_the_matrix_are_shares():
    full = [(user, item) for user in range(1, 251) for item in range(1, 131)]
    data = pd.DataFrame(full, columns=["user_id", "item_id"])
    cells = pictures.sparsity(data, 250, 130, "T").axes[0].images[0].get_array()
    assert cells.shape == (120, 120)
    assert cells.min() == cells.max() == 1


def test_all_ranks_are_in_the_histogram():
    best = numpy.array([1, 50, 51, 300])
    ranks = HeldOutRanks(best, numpy.arange(4), numpy.full(4, 300))
    axes = pictures.held_out_ranks(ranks).axes[0]
    bars = [[bar.get_height() for bar in part] for part in axes.containers]
    assert bars[0] == [2, 0, 0, 0, 0, 0]
    # Stacked bars of nothing are as high as nothing.
    assert bars[1] == [0, 1, 0, 0, 0, 1]


def test_the_pull_of_the_losses_is_minus_their_gradient():
    from d2l_recsys.ranking import BPRLoss, HingeLossbRec

    losses = [("bpr", BPRLoss(), "-"), ("hinge", HingeLossbRec(), "--")]
    lines = pictures.gradients(losses).axes[0].get_lines()
    distances, bpr = lines[0].get_data()
    assert bpr == pytest.approx(1 / (1 + numpy.exp(distances)), abs=1e-5)
    assert [lines[1].get_ydata()[i] for i in (0, -1)] == [1, 0]


def test_a_calibrated_model_is_on_the_diagonal():
    logits = numpy.repeat([-2.0, 0.0, 2.0], 1000)
    share = 1 / (1 + numpy.exp(-logits))
    labels = (numpy.tile(numpy.arange(1000) / 1000, 3) < share).astype("float32")
    order = numpy.random.default_rng(0).permutation(3000)
    axes = pictures.reliability(logits[order], labels[order], "T").axes[0]
    _, points = axes.get_lines()[:2]
    predicted, clicks = points.get_data()
    assert clicks == pytest.approx(predicted, abs=0.1)  # 300 rows in a group


def test_frames_have_the_colours_of_the_style(tmp_path):
    figure = pictures.window(numpy.eye(4), tmp_path, [1, 2, 3, 4])
    text = figure.picture("svg").decode().lower()
    assert "stroke: #d55e00; stroke-width: 3" in text
    assert "#ff7f0e" not in text  # matplotlib's own orange


def test_without_clicks_there_is_no_best_auc():
    history = [{"epoch": e, "test_log_loss": 1 / e, "test_auc": None} for e in (1, 2)]
    losses, auc = pictures.overfitting(history, "T").axes
    assert losses.get_legend().get_texts()[0].get_text() == "lowest: 0.500 in epoch 2"
    assert auc.get_legend() is None


@pytest.mark.parametrize("slug", ["mf", "seqrec"])
def test_data_without_titles_is_drawn(slug, tmp_path, smoke_data):
    (tmp_path / "u.data").write_bytes((smoke_data / "u.data").read_bytes())
    options = "--epochs", "1", "--data-dir", str(tmp_path), "--out", str(tmp_path)
    result = chapter(f"chapters.{slug}", *options)
    assert (result.returncode, result.stderr) == (0, "")
    name = {"mf": "map", "seqrec": "window"}[slug]
    text = (tmp_path / f"{slug}-{name}.svg").read_text()
    assert re.search(r">item \d+<", text)


def test_a_picture_that_fails_is_a_warning(tmp_path, smoke_data):
    for name in ("u.data", "u.genre"):
        (tmp_path / name).write_bytes((smoke_data / name).read_bytes())
    (tmp_path / "u.item").write_text("1|A title|01-Jan-1995\n")
    options = "--epochs", "1", "--data-dir", str(tmp_path), "--out", str(tmp_path)
    result = chapter("chapters.mf", *options)
    assert result.returncode == 0
    _, line = result.stderr.splitlines()  # the model is saved without titles
    warning = "python -m chapters.mf: warning: could not draw the figure 'map': "
    assert line.startswith(warning)
    assert "u.item, line 1: 3 fields" in line


def test_equal_runs_draw_equal_files(tmp_path):
    runs = tmp_path / "one", tmp_path / "two"
    for out in runs:
        assert chapter("chapters.mf", "--smoke", "--out", str(out)).returncode == 0
    for name in ("mf.png", "mf.svg", "mf-map.png", "mf-map.svg"):
        one, two = ((out / name).read_bytes() for out in runs)
        assert one == two
    assert "test RMSE" in (runs[0] / "mf.svg").read_text()  # not glyphs
