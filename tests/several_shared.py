"""Trainings of several.py in shared memory, where it can be had."""

import contextlib

import numpy
from several_basics import (
    ITEMS,
    PAIRS,
    RATINGS,
    ROWS,
    USERS,
    result,
    started,
    trained_on_pairs,
)

from d2l_recsys import mf
from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.exchange import SharedExchange, exchange_for
from d2l_recsys.engine.loop import Step
from d2l_recsys.neumf import NeuMF
from d2l_recsys.runtime import shared_memory
from d2l_recsys.runtime.backend import gluon, mx, nn
from d2l_recsys.runtime.workers import worker


class Tied(nn.HybridBlock):
    """Two inputs with one table, a table that all rows depend on, and a number."""

    def __init__(self, rows):
        super().__init__()
        self.table, self.sizes = nn.Embedding(rows, 3), {"input_dim": rows}
        self.whole = self.params.get("whole", shape=(rows, 1))
        self.factor = self.params.get("factor", shape=(1,))

    def hybrid_forward(self, F, first, second, whole, factor):
        scores = F.np.sum(self.table(first) * self.table(second), axis=1) * factor
        looked_up = F.npx.embedding(first, whole, output_dim=1, **self.sizes)
        return scores + F.npx.reshape(looked_up, (-1,)) + F.np.sum(whole)


def few_rows(batch_size, devices, ratings=RATINGS, **options):
    """Train tables of which most rows never occur, and the others several times."""
    net = Tied(40)
    started(net, mx.init.Normal(0.3), devices)
    trainer = make_trainer(net, "adam", {"learning_rate": 0.01, "wd": 0.1})
    columns = [ids % 7 + 20 for ids in PAIRS]
    options = {"shuffle": True, **options}
    train = BatchLoader((*columns, ratings), batch_size, **options)
    loss = gluon.loss.L2Loss()
    # A second training goes on with the trainer's state.
    history = mf.train_recsys_rating(net, train, None, loss, trainer, 2)
    return result(
        net, history + mf.train_recsys_rating(net, train, None, loss, trainer, 1)
    )


def on_several_machines(*args):
    """Let the last worker lack the file that worker 0 makes, and call few_rows."""
    if worker.rank == worker.num_workers - 1:
        shared_memory.open = lambda *_: (_ for _ in ()).throw(FileNotFoundError)
    try:
        return few_rows(*args)
    finally:
        vars(shared_memory).pop("open", None)


def without_shared_memory(*args):
    """Call few_rows where no file can be made, even by root."""
    folder, shared_memory._FOLDER = shared_memory._FOLDER, "/proc"
    try:
        return few_rows(*args)
    finally:
        shared_memory._FOLDER = folder


def with_negatives(devices):
    """Train pairs in shared memory, in batches with fewer rows than workers, too."""
    net = NeuMF(3, USERS, ITEMS, [4, 4])
    started(net, mx.init.Normal(0.3), devices)
    trainer = make_trainer(net, "adam", {"learning_rate": 0.01, "epsilon": 1e-3})
    return trained_on_pairs(net, trainer, 45, devices)


def failing(batches):
    yield from batches
    raise RuntimeError("the file ends here")


def after_a_failure(devices):
    """Go on after a loader has failed on all workers in the middle of an epoch."""
    net = Tied(40)
    started(net, mx.init.Normal(0.3), devices)
    trainer = make_trainer(net, "adam", {"learning_rate": 0.01})
    columns = [ids % 7 + 20 for ids in PAIRS]
    batches = [*BatchLoader((*columns, RATINGS), 4)]
    loss = gluon.loss.L2Loss()
    with contextlib.suppress(RuntimeError):
        mf.train_recsys_rating(net, failing(batches[:3]), None, loss, trainer, 1)
    return result(net, mf.train_recsys_rating(net, batches, None, loss, trainer, 1))


class UnknownItem:
    """A reader's data set with an id that the net does not have in its last row."""

    def __len__(self):
        return ROWS

    def __getitem__(self, index):
        items = numpy.where(index == ROWS - 1, ITEMS, PAIRS[1][index])
        return PAIRS[0][index], items, RATINGS[index]


class Unhybrid(nn.Block):
    """A net that cannot become a program."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(USERS, 1)

    def forward(self, users, items):
        return self.table(users).reshape(-1) * items


def without_program(devices):
    """Train a net that Gluon records, on a loader of Gluon."""
    net = Unhybrid()
    started(net, mx.init.Normal(0.3), devices)
    trainer = make_trainer(net, "adam", {"learning_rate": 0.01})
    columns = PAIRS[0], PAIRS[1].astype("float32"), RATINGS
    train = gluon.data.DataLoader(gluon.data.ArrayDataset(*columns), 5)
    loss = gluon.loss.L2Loss()
    return result(net, mf.train_recsys_rating(net, train, None, loss, trainer, 3))


def exchanges():
    """Return whether workers share memory, with two kinds of trainers."""
    net = mf.MF(3, USERS, ITEMS)
    usual = started(net, mx.init.Normal(0.1), [mx.cpu()])
    flat = make_trainer(net, "adam", {"learning_rate": 0.01})
    step = Step(net, gluon.loss.L2Loss(), None, mf._losses)
    found = [exchange_for(step, trainer) for trainer in (usual, flat)]
    return {"shared": [isinstance(x, SharedExchange) for x in found]}
