"""Ranking: train NeuMF and Caser, sample negatives, and evaluate on all items."""

import resource
import subprocess
import sys

import numpy

from benchmarks import trainings
from benchmarks.books import CPU, prepare, timed
from d2l_recsys.data.interactions import Interactions
from d2l_recsys.data.sampling import NegativeSampler
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.movielens import load_data_ml100k
from d2l_recsys.neumf import NeuMF, PRDataset, evaluate_ranking, train_ranking
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import mx
from d2l_recsys.runtime.devices import seed_everything

RANKED_USERS = 100  # the book takes minutes for all


def trained(train_set, test, seen, sizes, epochs=2):
    """Return a NeuMF that is trained enough that its scores have no ties."""
    seed_everything(0)
    net = NeuMF(10, *sizes, [10, 10, 10])
    trainer = trainings.prepared(net, mx.init.Xavier(), 0.01, static_shape=True)
    loader = BatchLoader(train_set, 1024, shuffle=True)
    rest = None, *sizes, epochs, CPU, evaluate_ranking, seen, epochs
    timed(train_ranking, net, loader, test, BPRLoss(), trainer, *rest)
    return net


def rows():
    """Yield the rows of the table."""
    yield trainings.row("neumf", "NeuMF, 10 epochs")
    yield trainings.row("seqrec", "Caser, 8 epochs")
    parts, sizes = trainings.split("seq-aware")
    (users, items, _, seen), (*_, test) = (
        load_data_ml100k(part, *sizes, "implicit") for part in parts
    )
    train_set = PRDataset(users, items, seen, sizes[1])
    yield evaluation(trained(train_set, test, seen, sizes), test, seen, sizes)
    yield sampling(train_set, users, seen, sizes[1])
    yield large_sampling()


def evaluation(net, test, seen, sizes):
    """Return the row of the evaluation of a few users on all items.

    The book ranks only the first num_users items (E27). RankAll makes it rank all.
    """
    test, seen = ({u: x[u] for u in range(RANKED_USERS)} for x in (test, seen))
    arguments = net, test, None, seen, RANKED_USERS, sizes[1], CPU
    mine, ours = timed(evaluate_ranking, *arguments, repeat=3)
    books, theirs = timed(RankAll(prepare(), sizes[1]), *arguments)
    remark = f"hit rate {ours[0]:.4f} here, {theirs[0]:.4f} the book; "
    remark += f"AUC {ours[1]:.5f} here, {theirs[1]:.5f} the book"
    what = f"rank all items for {RANKED_USERS} users of NeuMF"
    return {"work": what, "ours": mine, "book": books, "remark": remark}


def sampling(train_set, users, seen, num_items):
    """Return the row of drawing a negative for each training pair of ml-100k."""
    every = numpy.arange(len(train_set))
    mine, _ = timed(lambda: train_set[every], repeat=5)
    all_items = set(range(num_items))
    pools = {u: list(all_items - set(seen[u])) for u in seen}

    def books_draws():
        rng = numpy.random.default_rng(0)
        return [pools[u][int(rng.random() * len(pools[u]))] for u in users.tolist()]

    books, _ = timed(books_draws)
    remark = f"{len(every) / mine / 1e6:.1f} million draws per second"
    what = "a negative for each training pair"
    return {"work": what, "ours": mine, "book": books, "remark": remark}


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
    """Return the row of 25 million draws, in a new process that tells its memory."""
    code = "from benchmarks.ranking import sample_large; sample_large()"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    seconds, peak = map(float, result.stdout.split())
    remark = f"160,000 x 60,000; peak {peak:.2f} GiB, of which MXNet uses 0.2 GiB"
    return {"work": "25 million negatives", "ours": seconds, "remark": remark}


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
