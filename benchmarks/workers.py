"""Time epochs of one and of two workers, on a set of the size of MovieLens 10M.

``python -m benchmarks.workers MODEL FOLDER`` trains on FOLDER/ratings.csv, alone or as
a worker that the launcher started, and prints the seconds of each epoch.
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.copies import prepared
from benchmarks.sizes import SETTINGS, SIZES, write_ratings
from chapters.runner.data import times_the_books
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.mf import MF, train_recsys_rating
from d2l_recsys.movielens import load_data_ml100k, read_data_ml100k
from d2l_recsys.neumf import NeuMF, PRDataset, train_ranking
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import gluon
from d2l_recsys.runtime.workers import worker

NAME, FORMAT = "ml-10m", "ml-25m"
EPOCHS, RUNS = 3, 3  # the first epoch also sets up MXNet, and does not count
TWO_WORKERS = ["d2l_recsys", "launch", "-n", "2", "--", sys.executable, "-m"]


def mf(data, sizes, scale):
    """Train MF and return its history."""
    users, items, stars, _ = load_data_ml100k(data, *sizes)
    net, trainer = prepared(MF(30, *sizes), *SETTINGS, scale)
    loader = BatchLoader((users, items, stars), 512 * scale, shuffle=True)
    loss = gluon.loss.L2Loss(weight=2)
    return train_recsys_rating(net, loader, None, loss, trainer, EPOCHS)


def neumf(data, sizes, scale):
    """Train NeuMF and return its history."""
    users, items, _, seen = load_data_ml100k(data, *sizes, "implicit")
    net, trainer = prepared(NeuMF(10, *sizes, [10, 10, 10]), *SETTINGS, scale)
    pairs = PRDataset(users, items, seen, sizes[1])
    loader = BatchLoader(pairs, 1024 * scale, shuffle=True)
    arguments = loader, None, BPRLoss(), trainer, None, *sizes, EPOCHS, None, None, seen
    return train_ranking(net, *arguments)


MODELS = {"MF": mf, "NeuMF": neumf}


def seconds(launcher, model, folder):
    """Return the seconds of the fastest epoch after the first, in new processes."""
    command = [sys.executable, "-m", *launcher, "benchmarks.workers", model, folder]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return min(json.loads(run.stdout.rpartition("seconds: ")[2])[1:])


def rows():
    """Yield the rows of the table; `ours` are the seconds of two workers."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / FORMAT
        folder.mkdir()
        write_ratings(folder / "ratings.csv", *SIZES[NAME])
        for model in MODELS:
            ways = [[], TWO_WORKERS] * RUNS  # alternating
            times = [seconds(way, model, folder) for way in ways]
            one, two = min(times[::2]), min(times[1::2])
            yield {
                "work": f"{model}, an epoch of {NAME}, two workers",
                "ours": two,
                "peer": None,
                "book": None,
                "bound": None,
                "remark": f"one worker {one:.2f} s, ratio {two / one:.2f}",
            }


def main():
    """Train a model as one of the workers, or alone."""
    parser = argparse.ArgumentParser("python -m benchmarks.workers")
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    if os.environ.get("DMLC_ROLE") == "worker":
        worker.join()
    data, *sizes = read_data_ml100k(args.folder, name=FORMAT)
    scale = times_the_books(args.folder, FORMAT)
    with contextlib.redirect_stdout(io.StringIO()):
        history = MODELS[args.model](data, sizes, scale)
    if worker.rank == 0:
        print("seconds:", [epoch["seconds"] for epoch in history])


if __name__ == "__main__":
    main()
