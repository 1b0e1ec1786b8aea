"""The effect of scaling batches with the data: ``python -m benchmarks.copies``.

Ten copies of MovieLens 100K, each with its own users and items, form a set of a million
ratings. Each copy should give the results of the original. The set is trained as the
scripts train a set of this size: with batches ten times as large, and a tenth of the
weight decay.
"""

import argparse
import contextlib
import io

import numpy

from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.batching import Arrays, BatchLoader
from d2l_recsys.mf import MF, train_recsys_rating
from d2l_recsys.movielens import (
    load_data_ml100k,
    read_data_ml100k,
    split_data_ml100k,
)
from d2l_recsys.neumf import NeuMF, PRDataset, evaluate_ranking, train_ranking
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import gluon, mx

SEEDS = range(5)


class Copies:
    """Several copies of a data set, each with its own users and items."""

    def __init__(self, rows, copies, shifts):
        self.rows, self.copies, self.shifts = rows, copies, shifts

    def __len__(self):
        return len(self.rows) * self.copies

    def __getitem__(self, index):
        """Return the rows at an array of indices. Ids are shifted for each copy."""
        copy, row = numpy.divmod(index, len(self.rows))
        columns = zip(self.rows[row], self.shifts)
        return tuple(x + (copy * shift).astype(x.dtype) for x, shift in columns)


def prepared(net, init, lr, scale, seed=0):
    """Initialize a net, and return it and the trainer that the scripts use."""
    mx.random.seed(seed)
    net.initialize(init)
    net.hybridize(static_alloc=True, static_shape=True)
    settings = {"learning_rate": lr, "wd": 1e-5 / scale}
    return net, make_trainer(net, "adam", settings)


def rmse(parts, sizes, copies, seed):
    """Return the RMSE of MF on all copies."""
    num_users, num_items = (size * copies for size in sizes)
    net = MF(30, num_users, num_items)
    net, trainer = prepared(net, mx.init.Normal(0.01), 0.002, copies, seed)
    train, test = (
        Copies(Arrays(load_data_ml100k(part, *sizes)[:3]), copies, (*sizes, 0))
        for part in parts
    )
    loader = BatchLoader(train, 512 * copies, shuffle=True, seed=seed)
    loss = gluon.loss.L2Loss(weight=2)
    history = train_recsys_rating(
        net, loader, BatchLoader(test, 8192), loss, trainer, 20
    )
    return (history[-1]["test_rmse"],)


def ranking(parts, sizes, copies, seed):
    """Return the hit rate and AUC of NeuMF on the users and items of the first copy."""
    train, test = (load_data_ml100k(part, *sizes, "implicit") for part in parts)
    net = NeuMF(10, *(size * copies for size in sizes), [10, 10, 10])
    net, trainer = prepared(net, mx.init.Xavier(), 0.01, copies, seed)
    pairs = PRDataset(*train[:2], train.inter, sizes[1], test.inter, seed)
    rows = Copies(pairs, copies, (*sizes, sizes[1]))
    loader = BatchLoader(rows, 1024 * copies, shuffle=True, seed=seed)
    arguments = (loader, test.inter, BPRLoss(), trainer, None, *sizes, 10, None)
    history = train_ranking(net, *arguments, evaluate_ranking, train.inter, 10)
    return history[-1]["test_hit_rate"], history[-1]["test_auc"]


def main():
    """Print the table, with means and standard deviations over the seeds."""
    argparse.ArgumentParser(
        "python -m benchmarks.copies", description=__doc__
    ).parse_args()
    data, *sizes = read_data_ml100k()
    parts = split_data_ml100k(data, *sizes, "seq-aware")
    print("| | RMSE of MF | hit rate of NeuMF | AUC of NeuMF |\n|:--|--:|--:|--:|")
    for copies in (1, 10):
        figures = []
        for seed in SEEDS:
            with contextlib.redirect_stdout(io.StringIO()):
                arguments = parts, sizes, copies, seed
                figures.append(rmse(*arguments) + ranking(*arguments))
        means, spreads = numpy.mean(figures, axis=0), numpy.std(figures, axis=0, ddof=1)
        cells = [f"{mean:.3f} ± {spread:.3f}" for mean, spread in zip(means, spreads)]
        what = "1 copy, the book's batches"
        if copies > 1:
            what = f"{copies} copies, scaled batches"
        print(f"| {what} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
