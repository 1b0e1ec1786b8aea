"""Time and memory up to the size of MovieLens 25M: ``python -m benchmarks.sizes``.

This generates a ratings.csv of each size, runs all stages on it in a new process, and
prints a table. With --write, the table goes into docs/results.md, and a figure into
docs/sizes.png. This takes about ten minutes, 12 GB of memory and 1 GB of disk space.
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
import pandas as pd

from benchmarks.copies import prepared
from benchmarks.processes import ROOT
from benchmarks.table import put
from chapters.runner.data import times_the_books
from chapters.runner.results import write
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.mf import MF, train_recsys_rating
from d2l_recsys.movielens import (
    load_data_ml100k,
    read_data_ml100k,
    split_data_ml100k,
)
from d2l_recsys.neumf import NeuMF, PRDataset, evaluate_ranking, train_ranking
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import gluon, mx
from d2l_recsys.tools.figures import legend_below, new_figure

SIZES = {  # ratings, users and items of the published MovieLens sets
    "ml-100k": (100_000, 943, 1_682),
    "ml-1m": (1_000_209, 6_040, 3_706),
    "ml-10m": (10_000_054, 69_878, 10_677),
    "ml-25m": (25_000_095, 162_541, 59_047),
}
RANKED_USERS = 10_000
SETTINGS = mx.init.Normal(0.01), 0.002  # initial weights and learning rate


def write_ratings(path, num_ratings, num_users, num_items, seed=0):
    """Write ratings of distinct user-item pairs. A few users and items have many.

    The order is that of the published files: by user, then by item.
    """
    rng = numpy.random.default_rng(seed)
    users = rng.permutation(num_users)[_skewed(rng, num_users, num_ratings * 2)]
    items = rng.permutation(num_items)[_skewed(rng, num_items, num_ratings * 2)]
    # Make every user and item occur, so that their numbers are as requested.
    users[:num_items], items[:num_items] = (
        numpy.arange(num_items) % num_users,
        numpy.arange(num_items),
    )
    users[num_items : num_items + num_users] = numpy.arange(num_users)
    keys = users * num_items + items
    first = numpy.sort(numpy.unique(keys, return_index=True)[1])[:num_ratings]
    users, items = numpy.divmod(numpy.sort(keys[first]), num_items)
    pd.DataFrame(
        {
            "userId": users + 1,
            "movieId": items * 3 + 1,  # ids with gaps
            "rating": rng.integers(1, 11, len(first)) / 2,
            "timestamp": rng.integers(800_000_000, 1_600_000_000, len(first)),
        }
    ).to_csv(path, index=False)
    os.sync()  # do not let the writing slow down the reading


def _skewed(rng, size, draws):
    """Draw ranks below `size`, low ranks more often than high ones."""
    return (size * rng.random(draws) ** 2.5).astype("int64")


class Stages:
    """Measure the seconds and the peak memory of the process for each stage."""

    def __init__(self):
        self.measured = {}

    @contextlib.contextmanager
    def __call__(self, name):
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            yield
        seconds = time.perf_counter() - start
        status = Path("/proc/self/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) / 2**20
        self.measured[name] = seconds, peak


def work_on(folder):
    """Run all stages on a data set, and print their seconds and peak memory."""
    stage = Stages()
    with stage("read"):
        data, *sizes = read_data_ml100k(folder, name=folder.name)
    with stage("split"):
        parts = split_data_ml100k(data, *sizes, "seq-aware")
    ratings = len(data)
    scale = times_the_books(folder, folder.name)
    del data
    with stage("load"):
        train, test = (load_data_ml100k(x, *sizes, "implicit") for x in parts)
    rated = [
        (*loaded[:2], part["rating"].to_numpy().astype("float32"))
        for loaded, part in zip((train, test), parts)
    ]
    del parts
    with stage("MF, an epoch"):
        train_mf(*rated, sizes, scale)
    some = dict(list(test.inter.items())[:RANKED_USERS])
    with stage("NeuMF, an epoch"):
        net = train_neumf(train, some, sizes, scale)
    with stage("ranking evaluation"):
        evaluate_ranking(net, some, None, train.inter, *sizes)
    print(json.dumps({"ratings": ratings, "stages": stage.measured}))


def train_mf(train, test, sizes, scale):
    """Train MF for one epoch, and evaluate it."""
    net, trainer = prepared(MF(30, *sizes), *SETTINGS, scale)
    loss = gluon.loss.L2Loss(weight=2)
    loaders = BatchLoader(train, 512 * scale, shuffle=True), BatchLoader(test, 8192)
    train_recsys_rating(net, *loaders, loss, trainer, 1)


def train_neumf(train, test, sizes, scale):
    """Train NeuMF for one epoch without evaluation, and return it."""
    net, trainer = prepared(NeuMF(10, *sizes, [10, 10, 10]), *SETTINGS, scale)
    pairs = PRDataset(*train[:2], train.inter, sizes[1])
    loader = BatchLoader(pairs, 1024 * scale, shuffle=True)
    arguments = loader, test, BPRLoss(), trainer, None, *sizes, 1, None
    train_ranking(net, *arguments, lambda *_: (0, 0), train.inter)
    return net


def main():
    """Measure every size, print the table and draw the figure."""
    parser = argparse.ArgumentParser("python -m benchmarks.sizes", description=__doc__)
    parser.add_argument("folder", nargs="?", help="measure only the data set in FOLDER")
    parser.add_argument(
        "--write", action="store_true", help="write the table and the figure into docs/"
    )
    args = parser.parse_args()
    if args.folder:
        work_on(Path(args.folder))
        return
    results = {}
    for name, size in SIZES.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "ml-25m"  # all files have the format of ml-25m
            folder.mkdir()
            write_ratings(folder / "ratings.csv", *size)
            command = [sys.executable, "-m", "benchmarks.sizes", str(folder)]
            run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results[name] = json.loads(run.stdout.splitlines()[-1])
        print(name, results[name], file=sys.stderr, flush=True)
    text = "\n".join(_table(results))
    print(text)
    if args.write:
        put("sizes", text)
        picture = _figure(results).picture()
        write(ROOT / "docs" / "sizes.png", picture)


def _costs(results):
    """Return the sizes, and {stage: seconds at each size}, with the sum of all."""
    sizes = [result["ratings"] for result in results.values()]
    stages = [result["stages"] for result in results.values()]
    costs = {stage: [each[stage][0] for each in stages] for stage in stages[0]}
    costs["together"] = [sum(seconds) for seconds in zip(*costs.values())]
    return sizes, costs


def slope(sizes, seconds):
    """Return the exponent with which `seconds` grow from a million ratings on.

    It is 1 if they grow in proportion. Below a million, fixed costs prevail.
    """
    large = [(n, s) for n, s in zip(sizes, seconds) if n >= 1e6]
    return numpy.polyfit(*numpy.log(large).T, 1)[0]


def _table(results):
    yield f"| | {' | '.join(results)} | slope |"
    yield f"|:--|{'--:|' * len(results)}--:|"
    sizes, costs = _costs(results)
    yield f"| ratings | {' | '.join(f'{n:,}' for n in sizes)} | |"
    for stage, seconds in costs.items():
        cells = [f"{s:.2f} s" for s in seconds]
        if stage != "together":
            peaks = (result["stages"][stage][1] for result in results.values())
            cells = [f"{cell}, {gib:.1f} GiB" for cell, gib in zip(cells, peaks)]
        yield f"| {stage} | {' | '.join(cells)} | {slope(sizes, seconds):.2f} |"


def _figure(results):
    figure, axes = new_figure("Cost against size, and its slope", "ratings", "seconds")
    figure.set_size_inches(6.4, 5.4)
    sizes, costs = _costs(results)
    for stage, seconds in costs.items():
        line = "ko-" if stage == "together" else "o-"
        label = f"{stage}: {slope(sizes, seconds):.2f}"
        axes.plot(sizes, seconds, line, label=label)
    proportional = [costs["together"][0] * n / sizes[0] for n in sizes]
    axes.plot(sizes, proportional, "k:", label="proportional: 1")
    axes.set_xscale("log")
    axes.set_yscale("log")
    legend_below(figure, 2)
    return figure


if __name__ == "__main__":
    main()
