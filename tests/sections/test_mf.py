import io
import re
from contextlib import redirect_stdout

import numpy
import pytest
from conftest import checkerboard

from d2l_recsys.engine.baseline import BiasBaseline
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.mf import MF, evaluator, train_recsys_rating
from d2l_recsys.movielens import split_and_load_ml100k
from d2l_recsys.runtime.backend import gluon, mx, nn, np

CPU, TWO = [mx.cpu()], [mx.cpu(0), mx.cpu(1)]


def ids(*values):
    return np.array(values, dtype="int32")


@pytest.fixture
def net():
    mx.random.seed(0)
    net = MF(4, 5, 6)
    net.initialize(mx.init.Normal(1), ctx=TWO)
    return net


def test_is_the_formula(net):
    p, q, b_u, b_i = (
        block.weight.data(mx.cpu()).asnumpy()
        for block in (net.P, net.Q, net.user_bias, net.item_bias)
    )
    expected = p[3] @ q[2] + b_u[3, 0] + b_i[2, 0]
    assert net(ids(3), ids(2)).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("hybridize", [False, True])
def test_without_biases_it_is_the_product(hybridize):
    net = MF(4, 5, 6, biases=False)
    net.initialize(mx.init.Normal(1))
    if hybridize:
        net.hybridize()
    assert list(net._collect_params_with_prefix()) == ["P.weight", "Q.weight"]
    p, q = (block.weight.data().asnumpy() for block in (net.P, net.Q))
    assert net(ids(3), ids(2)).item() == pytest.approx(p[3] @ q[2], rel=1e-6)


def data_of_all_cells(size=20):
    users, items = (a.ravel().astype("int32") for a in numpy.indices((size, size)))
    stars = numpy.where((users + items) % 2 == 0, 5, 1).astype("float32")
    return users, items, stars


def train(net, train_set, test_set, epochs=5, devices=CPU, batch_size=64, lr=0.01):
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": lr})
    out = io.StringIO()
    with redirect_stdout(out):
        history = train_recsys_rating(
            net,
            BatchLoader(train_set, batch_size, shuffle=True),
            BatchLoader(test_set, batch_size),
            gluon.loss.L2Loss(weight=2),
            trainer,
            epochs,
            devices,
        )
    return history, out.getvalue()


def test_learns_the_withheld_diagonal_of_a_checkerboard():
    users, items, stars = data_of_all_cells()
    held_out = users == items  # all of them 5 stars
    mx.random.seed(0)
    net = MF(4, 20, 20)
    net.initialize(mx.init.Normal(0.1))
    cells = [a[~held_out] for a in (users, items, stars)]
    rest = [a[held_out] for a in (users, items, stars)]
    history, _ = train(net, cells, rest, epochs=60)
    # The biases alone cannot tell 1 from 5; with factors the board is known exactly.
    baseline = BiasBaseline.fit(*cells, 20, 20)
    assert abs(baseline.predict(*rest[:2]) - 5).min() > 1.5
    assert history[-1]["test_rmse"] < 0.1


def test_prints_the_lines_of_the_book():
    history, printed = train(MFs(), *[data_of_all_cells()] * 2, epochs=2)
    first, second = printed.splitlines()
    last = history[-1]
    assert first == (
        f"train loss {last['train_loss']:.3f}, test RMSE {last['test_rmse']:.3f}"
    )
    assert re.fullmatch(r"\d+\.\d examples/sec on \[cpu\(0\)\]", second)


def MFs(ctx=CPU):
    mx.random.seed(0)
    net = MF(4, 20, 20)
    net.initialize(mx.init.Normal(0.1), ctx=ctx)
    return net


@pytest.mark.parametrize("batch_size", [64, 33, 399])  # the last one leaves one row
def test_two_devices_give_the_parameters_of_one(batch_size):
    cells = data_of_all_cells()
    one, two = MFs(), MFs(TWO)
    a, _ = train(one, cells, cells, batch_size=batch_size)
    b, _ = train(two, cells, cells, batch_size=batch_size, devices=TWO)
    for name, x in one._collect_params_with_prefix().items():
        y = two._collect_params_with_prefix()[name]
        # float32 sums in another order, through Adam: up to 5e-6 was seen in 40 steps
        for data in y.list_data():
            assert numpy.allclose(x.data().asnumpy(), data.asnumpy(), atol=2e-5)
    assert a[-1]["test_rmse"] == pytest.approx(b[-1]["test_rmse"], abs=2e-5)


def test_devices_default_to_those_of_the_net():
    cells = data_of_all_cells()
    _, printed = train(MFs(TWO), cells, cells, epochs=1, devices=None)
    assert "on [cpu(0), cpu(1)]" in printed


class TestEvaluator:
    @pytest.mark.parametrize("devices", [CPU, TWO, None])
    @pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
    def test_rmse_does_not_depend_on_batches_devices_or_the_order(
        self, net, batch_size, devices
    ):
        rng = numpy.random.default_rng(0)
        users, items = rng.integers(0, 5, 22), rng.integers(0, 6, 22)
        ratings = rng.integers(1, 6, 22).astype("float32")
        scores = net(np.array(users), np.array(items)).asnumpy()
        expected = numpy.sqrt(numpy.mean((scores - ratings) ** 2.0))
        order = numpy.argsort(abs(scores - ratings))  # what misleads the book's mean
        rows = tuple(a[order] for a in (users, items, ratings))
        result = evaluator(net, BatchLoader(rows, batch_size), devices)
        assert result == pytest.approx(expected, rel=1e-6)

    def test_takes_gluons_loader_too(self, net):
        rows = ids(0, 1, 2), ids(3, 4, 5), np.array([1.0, 2.0, 3.0])
        loader = gluon.data.DataLoader(gluon.data.ArrayDataset(*rows), 2)
        assert evaluator(net, loader, TWO) == pytest.approx(
            evaluator(net, BatchLoader(rows, 3)), rel=1e-6
        )


def test_baseline_by_hand():
    # One user, who gave 4 and 2: mean 3. Items: +1 / (1 + 5) and -1 / 6, then the user
    # has nothing left to explain, and stays at 0.
    baseline = BiasBaseline.fit(
        numpy.array([0, 0]), numpy.array([0, 1]), numpy.array([4.0, 2.0]), 1, 3
    )
    assert baseline.mean == 3
    assert baseline.item_bias == pytest.approx([1 / 6, -1 / 6, 0])
    assert baseline.user_bias == pytest.approx([0])
    assert baseline.predict(numpy.array([0]), numpy.array([2])) == pytest.approx([3])


def test_baseline_stands_still():
    """Each bias is the shrunk mean of what mean and the other one leave."""
    rng = numpy.random.default_rng(0)
    users, items = rng.integers(0, 20, 300), rng.integers(0, 30, 300)
    ratings = rng.integers(1, 6, 300) + users / 10 - items / 20
    mean, *biases = BiasBaseline.fit(users, items, ratings, 20, 30)
    for mine, ids, other, others in ((0, users, 1, items), (1, items, 0, users)):
        rest = ratings - mean - biases[other][others]
        for k, bias in enumerate(biases[mine]):
            expected = rest[ids == k].sum() / ((ids == k).sum() + 5)
            assert bias == pytest.approx(expected, abs=1e-4)


def test_checkerboard_helper():
    (users, items), (u, i) = checkerboard(4)
    assert list(zip(users, items)) == [(0, 2), (1, 3), (2, 0), (3, 1)]
    assert list(zip(u, i)) == [(0, 0), (1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize(
    ("mode", "low", "high", "seeds"),
    [("seq-aware", 1.02, 1.06, range(5)), ("random", 0.905, 0.925, [0])],
)
def test_rmse_on_movielens(ml100k, mode, low, high, seeds):
    results = []
    for seed in seeds:
        mx.random.seed(seed)
        num_users, num_items, train_iter, test_iter = split_and_load_ml100k(
            mode, batch_size=512, seed=seed, data_dir=ml100k
        )
        net = MF(30, num_users, num_items)
        net.initialize(mx.init.Normal(0.01))
        net.hybridize(static_alloc=True)
        settings = {"learning_rate": 0.002, "wd": 1e-5}
        with redirect_stdout(io.StringIO()):
            history = train_recsys_rating(
                net,
                train_iter,
                test_iter,
                gluon.loss.L2Loss(weight=2),
                gluon.Trainer(net.collect_params(), "adam", settings),
                20,
            )
        results.append(history[-1]["test_rmse"])
    assert low < numpy.mean(results) < high


def test_one_goes_with_many_as_in_the_book(net):
    """The exercise on the ratings that other users would give a movie."""
    flat = net(ids(0, 1, 2, 3, 4), ids(2, 2, 2, 2, 2)).asnumpy()
    assert (net(ids(0, 1, 2, 3, 4), ids(2)).asnumpy() == flat).all()
    flat = net(ids(1, 1, 1), ids(0, 3, 5)).asnumpy()
    assert (net(ids(1), ids(0, 3, 5)).asnumpy() == flat).all()
    with pytest.raises(
        ValueError, match=r"or length 1: their shapes are \(2,\) and \(3,\)"
    ):
        net(ids(0, 1), ids(0, 3, 5))


class Column(nn.HybridBlock):
    """A net whose scores are a column (B, 1)."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def hybrid_forward(self, F, user_id, item_id):
        return F.np.expand_dims(self.net(user_id, item_id), 1)


def test_evaluator_of_a_column_of_scores(net):
    loader = BatchLoader((ids(0, 1, 2), ids(3, 4, 5), np.array([1.0, 2.0, 5.0])), 2)
    assert evaluator(Column(net), loader) == pytest.approx(evaluator(net, loader))


def test_ids_that_the_net_does_not_know():
    data = data_of_all_cells()
    small = MF(4, 20, 19)
    small.initialize()
    with pytest.raises(ValueError, match=r"input 1: id 19 is not in 0\.\.18"):
        train(small, data, data, epochs=1)
