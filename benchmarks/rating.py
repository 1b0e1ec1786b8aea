"""Ratings: load MovieLens, and train matrix factorization."""

from benchmarks.books import prepare, timed
from d2l_recsys.mf import MF, evaluator, train_recsys_rating
from d2l_recsys.movielens import (
    load_data_ml100k,
    read_data_ml100k,
    split_and_load_ml100k,
    split_data_ml100k,
)
from d2l_recsys.runtime.backend import gluon, mx
from d2l_recsys.runtime.devices import seed_everything


def reading(read, split, load, feedback):
    """Read the data, split it (seq-aware) and load both parts."""
    data, num_users, num_items = read()
    for part in split(data, num_users, num_items, "seq-aware"):
        load(part, num_users, num_items, feedback)


def books_evaluator(net, test_iter, devices):
    """Average the running values of the metric, as the book does (E11)."""
    rmse, running = mx.metric.RMSE(), []
    for batch in test_iter:
        *features, ratings = (
            gluon.utils.split_and_load(x, devices, even_split=False) for x in batch
        )
        rmse.update(labels=ratings, preds=[net(*x) for x in zip(*features)])
        running.append(rmse.get()[1])
    return sum(running) / len(running)


def train_mf(split_and_load, train, evaluate, hybridize):
    """Train MF at the book's settings, and return the seconds and the test RMSE."""
    seed_everything(0)
    num_users, num_items, train_iter, test_iter = split_and_load(
        test_ratio=0.1, batch_size=512
    )
    net = MF(30, num_users, num_items)
    net.initialize(mx.init.Normal(0.01), ctx=[mx.cpu()])
    loss = gluon.loss.L2Loss(weight=2)
    if hybridize:
        net.hybridize(static_alloc=True, static_shape=True)
    trainer = gluon.Trainer(
        net.collect_params(), "adam", {"learning_rate": 0.002, "wd": 1e-5}
    )
    seconds, _ = timed(
        train, net, train_iter, test_iter, loss, trainer, 20, [mx.cpu()], evaluate
    )
    return seconds, evaluator(net, split_and_load_ml100k(batch_size=512)[3])


def rows():
    """Yield (what, our seconds, the book's seconds, remark)."""
    d2l = prepare()
    ours = read_data_ml100k, split_data_ml100k, load_data_ml100k
    theirs = d2l.read_data_ml100k, d2l.split_data_ml100k, d2l.load_data_ml100k
    for feedback in ("explicit", "implicit"):
        mine, _ = timed(reading, *ours, feedback, repeat=5)
        books, _ = timed(reading, *theirs, feedback)
        yield f"read + seq-aware split + load, {feedback}", mine, books, ""
    mine, rmse = train_mf(split_and_load_ml100k, train_recsys_rating, evaluator, True)
    books, books_rmse = train_mf(
        d2l.split_and_load_ml100k, d2l.train_recsys_rating, books_evaluator, False
    )
    remark = f"test RMSE {rmse:.3f}, the book's {books_rmse:.3f}"
    yield "MF, 20 epochs with evaluation", mine, books, remark
