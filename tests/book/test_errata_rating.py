"""Errata of rating prediction, E11 to E17, E34, E35, E51: the book's beside ours."""

import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy
import pytest
from d2l import mxnet as d2l

from d2l_recsys.autorec import AutoRec
from d2l_recsys.autorec import evaluator as autorec_evaluator
from d2l_recsys.engine import loop
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.mf import MF, evaluator, train_recsys_rating
from d2l_recsys.movielens import load_data_ml100k
from d2l_recsys.neumf import train_ranking
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import gluon, mx, np

CPU, TWO = [mx.cpu()], [mx.cpu(0), mx.cpu(1)]


@pytest.fixture(autouse=True)
def _no_drawing(monkeypatch):
    monkeypatch.setattr(d2l, "Animator", MagicMock())


def books_evaluator(net, test_iter, devices):
    """Average the running values of MXNet's metric, as all editions do."""
    metric, values = mx.metric.RMSE(), []
    for batch in test_iter:
        shards = [
            gluon.utils.split_and_load(x, devices, even_split=False) for x in batch
        ]
        predictions = [net(u, i) for u, i in zip(*shards[:2])]
        metric.update(labels=shards[2], preds=predictions)
        values.append(metric.get()[1])
    return float(numpy.mean(values))


def made(ctx=CPU, sigma=0.5):
    mx.random.seed(0)
    net = MF(4, 9, 9)
    net.initialize(mx.init.Normal(sigma), ctx=ctx)
    return net


def cells(rows, seed=0):
    rng = numpy.random.default_rng(seed)
    users, items = (rng.integers(0, 9, rows).astype("int32") for _ in range(2))
    return users, items, rng.integers(1, 6, rows).astype("float32")


def errors_of(net, rows):
    users, items, stars = rows
    scores = net(*(np.array(x, ctx=mx.cpu()) for x in (users, items)))
    return abs(scores.asnumpy() - stars)


def loaders(rows, batch_size):
    """Return gluon's loader, as the book uses it, and ours."""
    arrays = [np.array(a) for a in rows]
    dataset = gluon.data.ArrayDataset(*arrays)
    return gluon.data.DataLoader(dataset, batch_size), BatchLoader(rows, batch_size)


def still(net, ctx=None):
    """Return a trainer that changes nothing, so that the losses are known."""
    return gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.0})


def printed_number(capsys, after):
    return float(capsys.readouterr().out.split(after)[1].split()[0].strip(","))


def test_e11_the_mean_of_running_means_depends_on_the_order():
    net, rows = made(), cells(60)
    errors = errors_of(net, rows)
    true = numpy.sqrt(numpy.mean(errors**2.0))
    order = numpy.argsort(errors)
    theirs, ours = [], []
    for by in (order, order[::-1]):
        book_iter, our_iter = loaders([a[by] for a in rows], 10)
        theirs.append(books_evaluator(net, book_iter, CPU))
        ours.append(evaluator(net, our_iter, CPU))
    assert theirs[0] < 0.7 * true
    assert theirs[1] > 1.2 * true
    # float32 errors, squared and summed in float64
    assert ours == pytest.approx([true, true], rel=1e-6)


def test_e12_one_row_on_two_devices():
    net, rows = made(TWO), cells(11)

    def biases(user, item):  # of MF, whose sum fails on no rows, but later (see docs)
        return np.squeeze(net.user_bias(user), 1)

    book_iter, our_iter = loaders(rows, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing
        assert numpy.isnan(books_evaluator(biases, book_iter, TWO))
    even, _ = loaders([a[:10] for a in rows], 10)
    assert books_evaluator(biases, even, TWO) > 0
    true = numpy.sqrt(numpy.mean(errors_of(net, rows) ** 2.0))
    assert evaluator(net, our_iter, TWO) == pytest.approx(true, rel=1e-6)


def test_e13_the_printed_loss_sums_running_sums(capsys):
    rows = cells(60)
    for batch_size in (6, 15):
        batches = 60 // batch_size
        nets = made(), made()
        book_iter, our_iter = loaders(rows, batch_size)
        true = numpy.mean(errors_of(nets[0], rows) ** 2.0) / 2
        rest = gluon.loss.L2Loss(), still(nets[0]), 2, CPU, evaluator
        d2l.train_recsys_rating(nets[0], book_iter, our_iter, *rest)
        theirs = printed_number(capsys, "train loss ")
        history = train_recsys_rating(
            nets[1], our_iter, our_iter, *rest[:1], still(nets[1]), 2, CPU
        )
        ours = printed_number(capsys, "train loss ")
        # Batches differ from each other: half as much again is a wide margin.
        assert theirs == pytest.approx(true * (batches + 1) / (2 * batch_size), rel=0.5)
        assert ours == pytest.approx(true, abs=0.0005)  # printed with three digits
        assert history[-1]["train_loss"] == pytest.approx(true, rel=1e-6)


class Stopwatch:
    """A timer in which every training takes one second."""

    def start(self):
        pass

    stop = start

    def sum(self):
        return 1.0


def test_e14_cells_are_taken_for_examples(capsys, monkeypatch):
    num_items, num_users, epochs = 12, 50, 2
    rng = numpy.random.default_rng(0)
    matrix = rng.integers(1, 6, (num_items, num_users)) * 1.0
    matrix = (matrix * (rng.random(matrix.shape) < 0.06)).astype("float32")
    mx.random.seed(0)
    net = AutoRec(5, num_users, dropout=0)
    net.initialize(mx.init.Normal(0.01))
    rated = matrix > 0
    error = (net(np.array(matrix)).asnumpy() - matrix)[rated]
    true = numpy.mean(error**2.0) / 2
    monkeypatch.setattr(d2l, "Timer", Stopwatch)
    seconds = iter(range(100))
    clock = SimpleNamespace(perf_counter=lambda: next(seconds) / 2)
    monkeypatch.setattr(loop, "time", clock)  # each epoch takes half a second
    for train in (d2l.train_recsys_rating, train_recsys_rating):
        loader = BatchLoader(matrix, 4)
        train(
            net,
            loader,
            loader,
            gluon.loss.L2Loss(),
            still(net),
            epochs,
            CPU,
            autorec_evaluator,
            inter_mat=matrix,
        )
        out = capsys.readouterr().out
        loss, speed = out.split()[2].strip(","), float(out.splitlines()[1].split()[0])
        if train is train_recsys_rating:
            assert float(loss) == pytest.approx(true, abs=0.0005)
            assert speed == num_items * epochs
        else:
            # Three batches of four, averaged over all cells: factor 1/2, and 6 %.
            assert float(loss) < 0.05 * true
            assert speed == num_items * num_users * epochs


def test_e15_number_20_is_user_21(frame):
    raw = frame((21, 31, 4, 0))
    for load in (d2l.load_data_ml100k, load_data_ml100k):
        users, items, _, _ = load(raw, 40, 40, "implicit")
        assert (list(users), list(items)) == ([20], [30])
    net = MF(4, 40, 40)
    mx.random.seed(0)
    net.initialize(mx.init.Normal(1))
    asked = net(np.array([20]), np.array([30])).item()
    meant = net(np.array([20 - 1]), np.array([30 - 1])).item()
    assert abs(asked - meant) > 0.1
    assert load_data_ml100k(frame((20, 30, 4, 0)), 40, 40).users.tolist() == [19]


def moved_by(weight, optimizer, learning_rate):
    """Return how far some steps of training take the item vectors."""
    net, rows = made(), cells(40)
    before = net.Q.weight.data().asnumpy()
    trainer = gluon.Trainer(
        net.collect_params(), optimizer, {"learning_rate": learning_rate}
    )
    loader = BatchLoader(rows, 8)
    loss = gluon.loss.L2Loss(weight=weight)
    train_recsys_rating(net, loader, loader, loss, trainer, 1, CPU)
    return net.Q.weight.data().asnumpy() - before


def test_e16_to_adam_the_weight_of_the_loss_is_nothing():
    one, two = (moved_by(weight, "adam", 0.002) for weight in (1, 2))
    # Adam divides by the size of the gradient, but for 1e-8 that it adds to it.
    assert abs(one - two).max() < 1e-3 * abs(one).max()
    # For plain gradient descent the comment is right: half the step.
    one, two = (moved_by(weight, "sgd", 1e-4) for weight in (1, 2))
    assert abs(two - 2 * one).max() < 0.02 * abs(one).max()


def scores_of(net, rows, devices, train_set):
    history = train_recsys_rating(
        net,
        BatchLoader(train_set, 21),
        BatchLoader(rows, 21),
        gluon.loss.L2Loss(),
        still(net),
        1,
        devices,
    )
    return history[-1]


def test_e34_an_odd_batch_on_two_devices(monkeypatch):
    net, rows = made(TWO), cells(21)
    book_iter, our_iter = loaders(rows, 21)
    loss = gluon.loss.L2Loss()
    with pytest.raises(ValueError, match="cannot be evenly split"):
        d2l.train_recsys_rating(
            net, book_iter, our_iter, loss, still(net), 1, TWO, evaluator
        )
    assert scores_of(net, rows, TWO, rows)["train_loss"] > 0
    pairs = rows[0], rows[1], (rows[1] + 1) % 9
    book_iter, our_iter = loaders(pairs, 21)
    rest = None, 9, 9, 1, TWO, lambda *_: (0.5, 0.5), {}
    with pytest.raises(ValueError, match="cannot be evenly split"):
        d2l.train_ranking(net, book_iter, {}, d2l.BPRLoss(), still(net), *rest)
    history = train_ranking(net, our_iter, {}, BPRLoss(), still(net), *rest)
    assert history[-1]["train_loss"] > 0
    # The newest edition keeps the last batch: this is its size at batch_size=512.
    assert 99_057 % 512 == 241


def test_e34_in_train_ch13():
    from d2l_recsys.fm import FM, train_ch13

    net = FM([3, 3], 2)
    net.initialize(mx.init.Normal(0.1), ctx=TWO)
    x = numpy.array([[0, 3], [1, 4], [2, 5]], dtype="int32")
    loader = BatchLoader((x, numpy.ones((3, 1), "float32")), 3)
    loss = gluon.loss.SigmoidBCELoss()
    with pytest.raises(ValueError, match="cannot be evenly split"):
        d2l.train_ch13(net, loader, loader, loss, still(net), 1, TWO)
    assert len(train_ch13(net, loader, loader, loss, still(net), 1, TWO)) == 1


def test_e35_losses_of_unequal_pieces_are_added(monkeypatch):
    net, rows = made(TWO), cells(21)
    book_iter, our_iter = loaders(rows, 21)
    uneven = partial(gluon.utils.split_and_load, even_split=False)
    monkeypatch.setattr(gluon.utils, "split_and_load", uneven)  # the cure for E34
    with pytest.raises(ValueError, match=r"shapes \(1[01],\) \(1[01],\)"):
        d2l.train_recsys_rating(
            net, book_iter, our_iter, gluon.loss.L2Loss(), still(net), 1, TWO, evaluator
        )
    true = numpy.mean(errors_of(net, rows) ** 2.0) / 2
    loss = scores_of(net, rows, TWO, rows)["train_loss"]
    assert loss == pytest.approx(true, rel=1e-6)


def test_e51_mxnet_1_has_no_gluon_metric():
    assert mx.__version__.startswith("1.")
    assert not Path(gluon.__file__).with_name("metric.py").exists()
    one = np.ones((1,))
    metric = gluon.metric.RMSE()  # compat.py gives it the name, and the cell runs
    metric.update(labels=[one], preds=[one * 0])
    assert metric.get() == ("rmse", 1)
    loader = [[one, one, one]]
    # A net that is always one off: its RMSE is 1.
    assert evaluator(lambda *_: one * 0, loader, CPU) == 1
