"""Pictures that explain a section, one for each, drawn by its script."""

import re
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import numpy
import pandas as pd
from matplotlib.colors import PowerNorm
from matplotlib.patches import Rectangle

from chapters.runner.recommendations import titles_of
from d2l_recsys.data.movies import read_movies
from d2l_recsys.engine.checkpoint import History
from d2l_recsys.engine.clicks import log_loss
from d2l_recsys.engine.metrics import HeldOutRanks, hit_rate
from d2l_recsys.runtime.backend import autograd, gluon, np
from d2l_recsys.tools.figures import (
    StyledFigure,
    legend_below,
    marker_for_one_point,
    new_figure,
    new_panels,
    styled,
)

# For a movie with several genres, the first one here gives the color.
GENRES = ("Children's", "Horror", "Action", "Romance", "Comedy", "Drama")


@styled
def sparsity(
    data: pd.DataFrame, num_users: int, num_items: int, title: str
) -> StyledFigure:
    """Draw the matrix of users and items, both sorted by their numbers of ratings.

    Each pixel is the share of the cells with a rating in a block of the matrix.
    """
    places, bins = [], []
    for name, size in (("user_id", num_users), ("item_id", num_items)):
        ids = data[name].to_numpy() - 1
        order = numpy.argsort(-numpy.bincount(ids, minlength=size), kind="stable")
        place = numpy.empty(size, dtype="int64")
        place[order] = numpy.arange(size)
        places.append(place[ids])
        bins.append(numpy.linspace(0, size, min(size, 120) + 1))
    counts, rows, columns = numpy.histogram2d(*places, bins=bins)
    # The edges of blocks lie between whole numbers, so blocks differ in size by one.
    cells = numpy.outer(*(numpy.diff(numpy.ceil(edges)) for edges in (rows, columns)))
    figure, axes = new_figure(
        title, "items, most rated first", "users, most active first"
    )
    image = axes.imshow(
        counts / cells,
        norm=PowerNorm(0.5, 0, 1),
        aspect="auto",
        extent=(0, num_items, num_users, 0),
        interpolation="nearest",
    )
    axes.grid(False)
    bar = figure.colorbar(image, ax=axes, label="share of cells with a rating")
    bar.set_ticks([0, 0.1, 0.25, 0.5, 1])
    return figure


@styled
def embedding_map(
    vectors: numpy.ndarray, rated: numpy.ndarray, folder: Path, item_ids: Sequence
) -> StyledFigure:
    """Draw the vectors (items, k) of the most rated items in two dimensions.

    These are the principal components. `rated` (n,) are the items of the ratings. A few
    movies at the edge are labeled with their titles. Without genres, all points have
    the same color.
    """
    counts = numpy.bincount(rated, minlength=len(vectors))
    chosen = numpy.argsort(-counts, kind="stable")[:300]
    centred = vectors[chosen] - vectors[chosen].mean(axis=0)
    _, sizes, axes_of_space = numpy.linalg.svd(centred, full_matrices=False)
    points = centred @ axes_of_space[:2].T
    shares = sizes[:2] ** 2 / (sizes**2).sum()
    figure, axes = new_figure(
        f"Vectors of the {len(chosen)} most rated items",
        f"first component ({shares[0]:.0%} of the variance)",
        f"second component ({shares[1]:.0%})",
    )
    figure.set_size_inches(5, 4.8)
    genres = _genres(folder, [item_ids[item] for item in chosen])
    for colour, genre in zip(("0.75", "C0", "k", "C1", "C3", "C4", "C2"), [*genres]):
        of_genre = points[genres[genre]]
        axes.scatter(*of_genre.T, s=16, color=colour, alpha=0.7, label=genre)
    titles = titles_of(folder, [item_ids[item] for item in chosen])
    for place in _outermost(points):
        _name(axes, points, place, titles[place])
    axes.margins(0.1)
    if len(genres) > 1:
        legend_below(figure, 4)
    return figure


def _genres(folder: Path, item_ids: Sequence) -> Dict[str, List[int]]:
    """Return {genre: places of its items}; the first are the items without one."""
    try:
        movies = read_movies(folder)
    except (FileNotFoundError, NotADirectoryError):
        return {"": [*range(len(item_ids))]}
    found = {name: [] for name in ("others", *GENRES)}
    for place, item in enumerate(item_ids):
        of_item = (g for g in GENRES if g in movies and movies[g].get(int(item), False))
        found[next(of_item, "others")].append(place)
    return found


def _outermost(points: numpy.ndarray, number: int = 8) -> List[int]:
    """Return places of points that are extreme in evenly spaced directions."""
    angles = numpy.arange(number) * 2 * numpy.pi / number
    scaled = points / points.std(axis=0)
    reach = scaled @ numpy.stack([numpy.cos(angles), numpy.sin(angles)])
    chosen: List[int] = []
    for place in reach.argmax(axis=0).tolist():
        # One title above the other needs this distance.
        if all(abs(scaled[place, 1] - scaled[other, 1]) > 0.25 for other in chosen):
            chosen.append(place)
    return chosen


def _name(axes, points: numpy.ndarray, place: int, title: str) -> None:
    """Write a title beside its point, on the side of the middle."""
    right = points[place, 0] < points[:, 0].mean()
    axes.annotate(
        _short(title),
        points[place],
        xytext=(6 if right else -6, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        va="center",
        fontsize=9,
        bbox={"facecolor": "white", "alpha": 0.75, "pad": 0.5, "edgecolor": "none"},
    )


@styled
def gradients(losses: Sequence[Tuple[str, gluon.loss.Loss, str]]) -> StyledFigure:
    """Draw how strongly each (label, loss, line style) pulls two scores apart."""
    distances = numpy.linspace(-3, 3, 601, dtype="float32")
    figure, axes = new_figure(
        "Pull of the losses on a pair",
        "positive score - negative score",
        "pull (-gradient)",
    )
    for label, loss, line in losses:
        positive = np.array(distances)
        positive.attach_grad()
        with autograd.record():
            value = loss(positive, np.zeros_like(positive))
        value.backward()
        axes.plot(distances, -positive.grad.asnumpy(), line, label=label)
    legend_below(figure)
    return figure


@styled
def held_out_ranks(ranks: HeldOutRanks, k: int = 50) -> StyledFigure:
    """Draw a histogram of the best rank of each user, with the hits at `k` shaded."""
    best = ranks.ranks[ranks.starts]
    width = k * int(numpy.ceil(ranks.ranked.max() / (40 * k)))
    edges = numpy.arange(0, ranks.ranked.max() + width, width)
    figure, axes = new_figure(
        "Ranks of the held-out items", "rank among all unseen items", "users"
    )
    share = hit_rate(ranks, k)
    # A rank of exactly k belongs to the bar before it.
    axes.hist(
        [best[best <= k] - 0.5, best[best > k] - 0.5],
        bins=edges,
        stacked=True,
        color=["C1", "C0"],
        label=[f"the first {k}: hits, {share:.1%} of users", "no hits"],
    )
    middle = numpy.median(best)
    axes.axvline(middle, color="k", linestyle=":", label=f"median rank {middle:g}")
    axes.set_xlim(0, edges[-1])
    legend_below(figure, 1)
    return figure


@styled
def window(
    vectors: numpy.ndarray,
    folder: Path,
    item_ids: Sequence,
    horizontal: bool = True,
    vertical: bool = True,
) -> StyledFigure:
    """Draw the embeddings (L, k) of a user's last items, and what each filter sees."""
    titles = titles_of(folder, item_ids)
    figure, axes = new_figure("What Caser sees of a user", "factor")
    figure.set_size_inches(6, 1.9 + 0.32 * len(titles))
    size = numpy.abs(vectors).max()
    image = axes.imshow(vectors, cmap="PuOr", vmin=-size, vmax=size, aspect="auto")
    axes.set_yticks(range(len(titles)), [_short(title) for title in titles])
    axes.grid(False)
    rows, columns = vectors.shape
    height, place = min(2, rows), max(0, rows - 3)
    for drawn, corner, wide, high, colour, label in (
        (horizontal, (0, place), columns, height, "C1", f"{height} items in a row"),
        (vertical, (columns // 3, 0), 1, rows, "k", "one factor of all items"),
    ):
        if drawn:
            kind = "horizontal" if wide > 1 else "vertical"
            label = f"a {kind} filter: {label}"
            x, y = corner
            frame = Rectangle((x - 0.5, y - 0.5), wide, high, fill=False, lw=3)
            frame.set(edgecolor=colour, label=label, clip_on=False, zorder=3)
            axes.add_patch(frame)
    figure.colorbar(image, ax=axes, label="weight")
    legend_below(figure, 1)
    return figure


@styled
def reliability(
    logits: numpy.ndarray, labels: numpy.ndarray, title: str
) -> StyledFigure:
    """Draw the share of clicks over the predicted probability, in ten equal groups.

    The bars are two standard errors.
    """
    probabilities = 1 / (1 + numpy.exp(-numpy.clip(logits.astype("float64"), -50, 50)))
    order = numpy.argsort(probabilities, kind="stable")
    groups = [g for g in numpy.array_split(order, 10) if len(g)]
    predicted = numpy.array([probabilities[g].mean() for g in groups])
    clicks = numpy.array([labels[g].mean() for g in groups])
    errors = numpy.sqrt(clicks * (1 - clicks) / [len(g) for g in groups])
    figure, axes = new_figure(
        f"Calibration of {title}", "predicted probability of a click", "share of clicks"
    )
    figure.set_size_inches(5, 4.6)
    axes.axline((0, 0), (1, 1), color="0.5", linestyle=":", label="perfect calibration")
    loss = log_loss(logits, labels)
    axes.errorbar(
        predicted,
        clicks,
        2 * errors,
        fmt="o-",
        capsize=3,
        label=f"tenths of the test rows (log loss {loss:.3f})",
    )
    axes.set(xlim=(-0.02, 1.02), ylim=(min(-0.02, *(clicks - 2 * errors)), None))
    axes.set_ylim(top=max(1.02, *(clicks + 2 * errors)))
    legend_below(figure, 1)
    return figure


@styled
def overfitting(history: History, title: str) -> StyledFigure:
    """Draw the test log loss and AUC over the epochs, with the best of each."""
    figure, panels = new_panels(2, size=(5, 4.6), sharex=True)
    epochs = [entry["epoch"] for entry in history]
    for axes, key, name, best_of in (
        (panels[0], "test_log_loss", "test log loss", numpy.nanargmin),
        (panels[1], "test_auc", "test AUC", numpy.nanargmax),
    ):
        values = numpy.array([entry[key] for entry in history], dtype="float64")
        axes.plot(epochs, values, color="C0")
        axes.set_ylabel(name)
        if not numpy.isnan(values).all():  # without clicks, there is no AUC
            best = int(best_of(values))
            word = "lowest" if best_of is numpy.nanargmin else "highest"
            label = f"{word}: {values[best]:.3f} in epoch {epochs[best]}"
            axes.plot(epochs[best], values[best], "o", color="C1", ms=8, label=label)
            axes.legend(loc="best")
        marker_for_one_point(axes)
    panels[0].set_title(title)
    panels[1].set_xlabel("epoch")
    return figure


def _short(title: str, length: int = 26) -> str:
    """Return a title without the year, and not longer than `length`."""
    title = re.sub(r" \(\d{4}\)$", "", title)
    return title if len(title) <= length else f"{title[: length - 1].rstrip()}…"
