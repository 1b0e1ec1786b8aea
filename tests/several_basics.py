"""The data of several.py, and how its trainings begin and end."""

import numpy

from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.neumf import PRDataset, evaluate_ranking, train_ranking
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import gluon, mx
from d2l_recsys.runtime.workers import worker

USERS, ITEMS, ROWS = 12, 9, 46
RNG = numpy.random.default_rng(5)
CELLS = RNG.choice(USERS * ITEMS, size=ROWS, replace=False)
PAIRS = [(CELLS // ITEMS).astype("int32"), (CELLS % ITEMS).astype("int32")]
RATINGS = RNG.integers(1, 6, ROWS).astype("float32")
CANDIDATES = {u: PAIRS[1][PAIRS[0] == u].tolist() for u in range(USERS)}
HELD_OUT = {u: [min({*range(ITEMS)} - {*CANDIDATES[u]})] for u in range(1, USERS)}


def started(net, init, devices, optimizer="adam", lr=0.01):
    """Initialize each worker differently. The parameters of worker 0 must win."""
    mx.random.seed(worker.rank)
    net.initialize(init, ctx=devices)
    net.hybridize(static_alloc=True)
    return gluon.Trainer(net.collect_params(), optimizer, {"learning_rate": lr})


def result(net, history):
    """Return the parameters and the metrics of each epoch."""
    values = [
        [value.asnumpy().ravel() for value in parameter.list_data()]
        for parameter in net.collect_params().values()
    ]
    assert all((copy == first).all() for first, *more in values for copy in more)
    times = ("seconds", "examples_per_sec")
    return {
        "parameters": numpy.concatenate([first for first, *_ in values]),
        "history": [[v for k, v in e.items() if k not in times] for e in history],
    }


def trained_on_pairs(net, trainer, batch_size, devices):
    """Train a ranking model, and return its parameters and metrics."""
    train = BatchLoader(PRDataset(*PAIRS, CANDIDATES, ITEMS), batch_size, shuffle=True)
    history = train_ranking(
        net, train, HELD_OUT, BPRLoss(), trainer, None, USERS, ITEMS, 3, devices,
        evaluate_ranking, CANDIDATES,
    )  # fmt: skip
    return result(net, history)
