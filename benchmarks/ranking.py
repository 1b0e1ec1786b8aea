"""Ranking: negative sampling and the evaluation on all items."""

import resource
import subprocess
import sys

import numpy

from benchmarks.books import prepare, timed
from d2l_recsys.data.interactions import Interactions
from d2l_recsys.data.sampling import NegativeSampler
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.movielens import (
    load_data_ml100k,
    read_data_ml100k,
    split_data_ml100k,
)
from d2l_recsys.neumf import NeuMF, PRDataset, evaluate_ranking, train_ranking
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import gluon, mx
from d2l_recsys.runtime.devices import seed_everything

CPU = [mx.cpu()]


def trained(train_set, test, seen, num_users, num_items, epochs=2):
    """Return a NeuMF that is trained enough to have no ties in its scores."""
    seed_everything(0)
    net = NeuMF(10, num_users, num_items, [10, 10, 10])
    net.initialize(mx.init.Xavier(), ctx=CPU)
    net.hybridize(static_alloc=True, static_shape=True)
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01})
    loader = BatchLoader(train_set, 1024, shuffle=True)
    sizes = num_users, num_items
    rest = (None, *sizes, epochs, CPU, evaluate_ranking, seen, epochs)
    timed(train_ranking, net, loader, test, BPRLoss(), trainer, *rest)
    return net


def rows():
    """Yield (what, our seconds, the book's seconds or None, remark)."""
    d2l = prepare()
    data, num_users, num_items = read_data_ml100k()
    parts = split_data_ml100k(data, num_users, num_items, "seq-aware")
    (users, items, _, seen), (*_, test) = (
        load_data_ml100k(part, num_users, num_items, "implicit") for part in parts
    )
    train_set = PRDataset(users, items, seen, num_items)
    net = trained(train_set, test, seen, num_users, num_items)

    arguments = (net, test, None, seen, num_users, num_items, CPU)
    mine, ours = timed(evaluate_ranking, *arguments, repeat=3)
    # The book ranks only the first num_users items (E27). RankAll makes it rank all.
    theirs_rows = RankAll(d2l, num_items)
    books, theirs = timed(theirs_rows, *arguments)
    remark = f"hit rate {ours[0]:.4f} and {theirs[0]:.4f}, "
    remark += f"AUC {ours[1]:.5f} and {theirs[1]:.5f}"
    yield "evaluate_ranking, NeuMF, all users and items", mine, books, remark

    every = numpy.arange(len(train_set))
    mine, _ = timed(lambda: train_set[every], repeat=5)
    all_items = set(range(num_items))
    pools = {u: list(all_items - set(seen[u])) for u in seen}

    def books_draws():
        rng = numpy.random.default_rng(0)
        return [pools[u][int(rng.random() * len(pools[u]))] for u in users.tolist()]

    books, _ = timed(books_draws)
    remark = f"{len(every) / mine / 1e6:.1f} million draws per second"
    yield "one negative for each training pair", mine, books, remark
    yield large_sampling()


class RankAll:
    """The book's evaluate_ranking, with the range over items corrected (E27)."""

    def __init__(self, d2l, num_items):
        self.d2l, self.num_items = d2l, num_items

    def __call__(self, net, test, seq, seen, num_users, num_items, devices):
        source = self.d2l.evaluate_ranking
        names = {**source.__globals__, "range": self.range_of_items()}
        function = type(source)(source.__code__, names)
        return function(net, test, seq, seen, num_users, num_items, devices)

    def range_of_items(self):
        """Return a `range` whose first call counts the items instead of the users."""
        calls = []

        def range_(n):
            calls.append(n)
            return range(self.num_items if len(calls) == 1 else n)

        return range_


def large_sampling():
    """Sample for 25 million interactions in a new process, and report its memory."""
    code = "from benchmarks.ranking import sample_large; sample_large()"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    seconds, peak = map(float, result.stdout.split())
    remark = f"peak {peak:.2f} GiB, of which MXNet uses 0.2 GiB"
    return "25 million draws, 160000 x 60000", seconds, None, remark


def sample_large():
    """Draw a negative for each of 25 million pairs; print seconds and peak GiB."""
    rng = numpy.random.default_rng(0)
    num_users, num_items, size = 160_000, 60_000, 25_000_000
    users = numpy.sort(rng.integers(0, num_users, size, dtype="int32"))
    items = rng.integers(0, num_items, size, dtype="int32")

    def draw():
        sampler = NegativeSampler(
            Interactions(users, items, num_users, num_items), num_users, num_items
        )
        for start in range(0, size, 2**18):
            sampler.sample(users[start : start + 2**18])

    seconds, _ = timed(draw)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(seconds, peak)
