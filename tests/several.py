"""What each worker of test_workers.py runs: ``python tests/several.py FOLDER``.

It saves its results under its rank. test_workers.py compares them with its own.
"""

import sys
from pathlib import Path

import numpy
from several_basics import (
    CANDIDATES,
    HELD_OUT,
    ITEMS,
    PAIRS,
    RATINGS,
    ROWS,
    USERS,
    result,
    started,
    trained_on_pairs,
)
from several_shared import (
    UnknownItem,
    after_a_failure,
    exchanges,
    few_rows,
    on_several_machines,
    with_negatives,
    without_program,
    without_shared_memory,
)

from d2l_recsys import autorec, fm, mf
from d2l_recsys.engine import compiled_loops, full_ranking, rated, table_rows
from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.errors import NonFiniteLoss
from d2l_recsys.engine.loop import Step, fit
from d2l_recsys.engine.predict import predict
from d2l_recsys.neumf import NeuMF
from d2l_recsys.runtime.backend import gluon, mx, nn, np
from d2l_recsys.runtime.workers import worker


def rating(batch_size, devices):
    net = mf.MF(3, USERS, ITEMS)
    trainer = started(net, mx.init.Normal(0.1), devices)
    train = BatchLoader((*PAIRS, RATINGS), batch_size, shuffle=True)
    test = BatchLoader((*PAIRS, RATINGS), 5)
    loss = gluon.loss.L2Loss()
    return result(
        net, mf.train_recsys_rating(net, train, test, loss, trainer, 3, devices)
    )


def ranking(devices):
    net = NeuMF(3, USERS, ITEMS, [4, 4])
    # Not Adam: where the items of a pair share a bias, the gradient is only a rounding
    # error, but Adam turns it into a full step.
    trainer = started(net, mx.init.Normal(0.3), devices, "sgd", 0.5)
    return trained_on_pairs(net, trainer, 5, devices)


def autoencoding(devices):
    matrix = numpy.zeros((ITEMS, USERS), dtype="float32")
    matrix[PAIRS[1], PAIRS[0]] = RATINGS
    net = autorec.AutoRec(4, USERS, dropout=0)
    trainer = started(net, mx.init.Normal(0.1), devices)
    history = mf.train_recsys_rating(
        net,
        BatchLoader(matrix, 4, shuffle=True),
        BatchLoader(matrix, 2),
        gluon.loss.L2Loss(),
        trainer,
        3,
        devices,
        autorec.evaluator,
        inter_mat=np.array(matrix),
    )
    return result(net, history)


def autoencoding_at_rated_cells(devices):
    """Train the same net in compiled loops, which are for large, sparse matrices."""
    before = compiled_loops.WORTHWHILE, rated._MOST
    compiled_loops.WORTHWHILE, rated._MOST = 1, 1
    try:
        return autoencoding(devices)
    finally:
        compiled_loops.WORTHWHILE, rated._MOST = before


def clicks(devices):
    net = fm.FM([USERS, ITEMS], 3)
    trainer = started(net, mx.init.Normal(0.1), devices)
    x = numpy.stack([PAIRS[0], PAIRS[1] + USERS], axis=1)
    y = (RATINGS > 3).astype("float32")[:, None]
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    history = fm.train_ch13(
        net,
        BatchLoader((x, y), 5, shuffle=True),
        BatchLoader((x, y), 4),
        loss,
        trainer,
        6,
        devices,
        patience=2,
        valid_iter=BatchLoader((x[:7], y[:7]), 2),
    )
    return result(net, history)


def full_ranks():
    """Rank with the same parameters everywhere, also with fewer users than workers."""
    mx.random.seed(1)
    net = NeuMF(3, USERS, ITEMS, [4])
    net.initialize(mx.init.Normal(0.3))
    found, sizes = {}, (USERS, ITEMS)
    for n in (1, 2, len(HELD_OUT)):
        test = dict([*HELD_OUT.items()][:n])
        result = full_ranking.rank_held_out(
            net, test, None, CANDIDATES, sizes, [mx.cpu()], pairs=2 * ITEMS
        )
        found[f"ranks {n}"], found[f"ranked {n}"] = result.ranks, result.ranked
    return found


def masks():
    """Return the dropout masks of this worker's steps."""
    net = nn.HybridSequential()
    net.add(nn.Dropout(0.5), nn.Dense(1, in_units=64, use_bias=False))
    trainer, seen = started(net, mx.init.One(), [mx.cpu()], "sgd", 0.0), []

    def losses(F, net, loss, x):
        seen.append(net[0](x).asnumpy())
        return net(x)

    step, loader = Step(net, None, None, losses), BatchLoader(np.ones((6, 64)), 6)
    fit(step, loader, trainer, 2, lambda *_: {})
    return {"mask": numpy.stack([batch[0] > 0 for batch in seen])}


class Counting(nn.Block):
    """Return 0 for each row, and count the rows."""

    rows = 0

    def forward(self, first, *_):
        self.rows += len(first)
        return np.zeros(first.shape if first.ndim > 1 else len(first))


def evaluated():
    """Return the number of rows that this worker evaluates in each evaluation."""
    nets, devices = [Counting() for _ in range(4)], [mx.cpu()]
    mf.evaluator(nets[0], BatchLoader((*PAIRS, RATINGS), 5), devices)
    matrix = numpy.ones((ITEMS, USERS), "float32")
    autorec.evaluator(nets[1], BatchLoader(matrix, 4), matrix, devices)
    x = numpy.stack(PAIRS, axis=1)
    loader = BatchLoader((x[:, :1], x[:, :1]), 5)
    predict(nets[2], loader, devices)
    test = {user: [user % ITEMS] for user in range(USERS)}
    full_ranking.rank_held_out(nets[3], test, None, {}, (USERS, ITEMS), devices)
    return {"rows": [net.rows for net in nets]}


def refused():
    """Return the errors of invalid calls. Only the last worker sees the NaN."""
    said = []
    ratings = RATINGS.copy()
    ratings[-1] = numpy.nan
    net = mf.MF(2, USERS, ITEMS)
    trainer = started(net, mx.init.Normal(0.1), [mx.cpu()])
    batches, loss = BatchLoader((*PAIRS, ratings), ROWS), gluon.loss.L2Loss()
    try:
        mf.train_recsys_rating(net, batches, batches, loss, trainer, 2)
    except NonFiniteLoss as error:
        said.append(str(error).split(",")[0])
    net = mf.MF(2, USERS, ITEMS)
    started(net, mx.init.Normal(0.1), [mx.cpu()])
    trainer = make_trainer(net, "adam", {"learning_rate": 0.01})
    for data in (UnknownItem(), (*PAIRS, RATINGS)):
        try:
            mf.train_recsys_rating(net, BatchLoader(data, ROWS), None, loss, trainer, 1)
        except ValueError as error:
            said.append(str(error))
        net.initialize(force_reinit=True)  # the second training must say so
    net = nn.HybridSequential()
    net.add(nn.Dense(1))
    net.initialize()
    try:
        worker.broadcast(net)
    except ValueError as error:
        said.append(str(error).split(" ", 1)[1])
    try:
        worker.check_same({"lr": worker.rank % 2}, "options")
    except ValueError as error:
        said.append(str(error))
    return {"said": numpy.array(said)}


def everything():
    """Return all results, by name."""
    one, two = [mx.cpu()], [mx.cpu(0), mx.cpu(1)]
    parts = {f"rating {size}": rating(size, one) for size in (1, 5, 46)}
    parts["rating of two devices"] = rating(5, two)
    for function in (ranking, autoencoding, autoencoding_at_rated_cells, clicks):
        parts[function.__name__] = function(one)
    parts["clicks of two devices"] = clicks(two)
    parts["few rows"] = few_rows(4, one)
    parts["few rows of two devices"] = few_rows(4, two)
    parts["few rows on several machines"] = on_several_machines(4, one)
    parts["few rows without shared memory"] = without_shared_memory(4, one)
    parts["few rows of other devices"] = few_rows(4, [mx.cpu(worker.rank)])
    parts["after a failure"] = after_a_failure(one)
    parts["with negatives"] = with_negatives(one)
    parts["without program"] = without_program(one)
    parts.update(full=full_ranks(), masks=masks(), refused=refused())
    parts["evaluated"], parts["exchanges"] = evaluated(), exchanges()
    sums = worker.sum([2.0**-40 + worker.rank, 1e300, 0.1])
    parts["sums"] = {"sums": sums, "who": [worker.rank, worker.num_workers]}
    return {f"{a}: {b}": v for a, part in parts.items() for b, v in part.items()}


if __name__ == "__main__":
    table_rows.WORTHWHILE = 1  # tables of any size count as large
    worker.join()
    worker.join()  # joining twice is harmless
    numpy.savez(Path(sys.argv[1]) / f"{worker.rank}.npz", **everything())
    print(f"rank {worker.rank}")
