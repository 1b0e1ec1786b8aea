"""Errata of the pairwise losses, their evaluation and their loop: E18, E19, E27-E33,
E59, E61.
"""

from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy
import pytest
from d2l import mxnet as d2l
from scipy.stats import norm

from d2l_recsys.engine import loop, metrics
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.mf import MF
from d2l_recsys.neumf import evaluate_ranking, hit_and_auc, train_ranking
from d2l_recsys.ranking import BPRLoss, HingeLossbRec
from d2l_recsys.runtime.backend import autograd, gluon, mx, nn, np

CPU, TWO = [mx.cpu()], [mx.cpu(0), mx.cpu(1)]


@pytest.fixture(autouse=True)
def _no_drawing(monkeypatch):
    monkeypatch.setattr(d2l, "Animator", MagicMock())


def loss_and_gradient(loss, distance):
    positive, negative = np.array([distance]), np.zeros((1,))
    positive.attach_grad()
    with autograd.record():
        value = loss(positive, negative)
    value.backward()
    return value.item(), positive.grad.item()


class TestLosses:
    def test_e18_bpr_overflows(self):
        for distance in (-89.0, -100.0, -200.0):
            value, gradient = loss_and_gradient(d2l.BPRLoss(), distance)
            assert numpy.isinf(value)
            assert numpy.isnan(gradient)
            assert loss_and_gradient(BPRLoss(), distance) == (-distance, -1)
        for distance in (-88.0, -50.0, 0.0, 3.0):
            expected = loss_and_gradient(d2l.BPRLoss(), distance)
            # float32; the book's sigmoid is rounded before its logarithm is taken
            assert loss_and_gradient(BPRLoss(), distance) == pytest.approx(
                expected, rel=1e-5
            )

    def test_e18_one_such_pair_ruins_its_rows(self):
        for loss in (d2l.BPRLoss(), BPRLoss()):
            net = MF(2, 1, 2)
            net.initialize(mx.init.Normal(0.1))
            net.item_bias.weight.set_data(np.array([[0.0], [100.0]]))
            trainer = gluon.Trainer(net.collect_params(), "adam")
            ids = np.array([0])
            with autograd.record():
                value = loss(net(ids, np.array([0])), net(ids, np.array([1])))
            value.backward()
            trainer.step(1)
            broken = numpy.isnan(net.P.weight.data().asnumpy()).all()
            assert broken == isinstance(loss, d2l.BPRLoss)

    @pytest.mark.parametrize("name", ["BPRLoss", "HingeLossbRec"])
    def test_e19_the_weight_is_dropped(self, name):
        scores = np.array([0.5, 0.2]), np.array([0.3, 0.8])
        books, ours = getattr(d2l, name), {"BPRLoss": BPRLoss}.get(name, HingeLossbRec)
        assert books(weight=10)(*scores).item() == books()(*scores).item()
        # float32
        assert ours(weight=10)(*scores).item() == pytest.approx(
            10 * ours()(*scores).item(), rel=1e-6
        )

    def test_e19_the_margin_cannot_be_set_for_training(self):
        with pytest.raises(TypeError, match="margin"):
            d2l.HingeLossbRec(margin=2)
        zeros = np.zeros((1,)), np.zeros((1,))
        assert d2l.HingeLossbRec()(*zeros, 2).item() == 2  # train_ranking passes none
        assert HingeLossbRec(margin=2)(*zeros).item() == 2

    def test_e59_a_prior_is_subtracted(self):
        # The score of the positive item minus that of the negative one is theta[0].
        theta, variance = numpy.array([0.7, -0.4, 1.1]), 0.25
        posterior = [
            -BPRLoss()(np.array([t[0]]), np.zeros((1,))).item()
            + norm.logpdf(t, scale=variance**0.5).sum()
            for t in (theta, 10 * theta)
        ]
        squares = [(t**2).sum() / (2 * variance) for t in (theta, 10 * theta)]
        fit = [numpy.log(1 / (1 + numpy.exp(-t[0]))) for t in (theta, 10 * theta)]
        grown = posterior[1] - posterior[0]
        assert grown == pytest.approx(fit[1] - fit[0] - (squares[1] - squares[0]))
        assert grown < 0 < fit[1] - fit[0] + (squares[1] - squares[0])  # the slides'

    def test_e61_the_covariance_is_the_inverse(self):
        theta, rate = numpy.array([0.7, -0.4, 1.1]), 5.0  # rate is the book's lambda

        def log_prior(variance):
            at_zero = norm.logpdf(0 * theta, scale=variance**0.5)
            return (norm.logpdf(theta, scale=variance**0.5) - at_zero).sum()

        objective = -rate * (theta**2).sum()
        assert log_prior(1 / (2 * rate)) == pytest.approx(objective)
        assert log_prior(rate) == pytest.approx(objective / (2 * rate**2))  # the text's
        # Weight decay shrinks parameters by the gradient of wd / 2 of their squares.
        net = nn.Dense(1, use_bias=False, in_units=3)
        net.initialize()
        net.weight.set_data(np.array([theta]))
        settings = {"learning_rate": 0.1, "wd": 2 * rate}
        trainer = gluon.Trainer(net.collect_params(), "sgd", settings)
        with autograd.record():
            loss = (net(np.zeros((1, 3)))).sum()
        loss.backward()
        trainer.step(1)
        by_objective = theta - 0.1 * 2 * rate * theta
        assert net.weight.data().asnumpy()[0] == pytest.approx(by_objective, abs=1e-6)


class Table(nn.Block):
    """A net of given scores (users, items), which counts its calls with arrays."""

    def __init__(self, scores):
        super().__init__()
        self.scores, self.calls = np.array(numpy.array(scores, "float32")), 0

    def forward(self, user_id, item_id):
        self.calls += isinstance(user_id, np.ndarray)  # no symbols
        return self.scores[user_id.astype("int32"), item_id.astype("int32")]


def evaluated(scores, held_out, seen=None, evaluate=evaluate_ranking):
    num_users, num_items = numpy.shape(scores)
    seen = seen or {u: [] for u in range(num_users)}
    net = Table(scores)
    result = evaluate(net, held_out, None, seen, num_users, num_items, CPU)
    return tuple(float(value) for value in result), net.calls


class TestEvaluation:
    def test_e27_the_candidates_are_numbered_by_users(self):
        scores = [[1, 2, 3, 4, 5, 6]] * 3
        held_out = {u: [5] for u in range(3)}  # the best of all
        books, _ = evaluated(scores, held_out, evaluate=d2l.evaluate_ranking)
        assert books == (0, 0)  # items 3 to 5 are not among "all items"
        assert evaluated(scores, held_out)[0] == (1, 1)

    def test_e28_a_net_that_knows_nothing_is_praised(self):
        scores = numpy.zeros((60, 60))
        held_out = {u: [u % 10] for u in range(60)}  # low ids, as popular items have
        books, _ = evaluated(scores, held_out, evaluate=d2l.evaluate_ranking)
        assert books == pytest.approx((1, 1 - 4.5 / 59), rel=1e-6)
        assert evaluated(scores, held_out)[0] == (0, 0)

    def test_e28_so_is_a_net_of_nan(self):
        scores = numpy.full((60, 60), numpy.nan)
        held_out = {u: [u % 10] for u in range(60)}
        books, _ = evaluated(scores, held_out, evaluate=d2l.evaluate_ranking)
        assert books == pytest.approx((1, 1 - 4.5 / 59), rel=1e-6)
        with pytest.raises(ValueError, match="some scores of user 0 are NaN"):
            evaluated(scores, held_out)

    def test_e29_corner_cases_of_hit_and_auc(self):
        assert d2l.hit_and_auc([1, 2, 3], [9], 2) == (0, 0)  # both take it for the last
        assert hit_and_auc([1, 2, 3], [9], 2) == (0, 0)
        assert d2l.hit_and_auc([1, 2, 3, 4], [1, 3], 3) == (2, 1.0)
        with pytest.raises(ValueError, match="2 held-out items"):
            hit_and_auc([1, 2, 3, 4], [1, 3], 3)
        with pytest.raises(ZeroDivisionError):
            d2l.hit_and_auc([1], [1], 1)
        assert hit_and_auc([1], [1], 1) == (1, 1.0)

    def test_e29_users_without_rows(self):
        scores = [[1, 2, 3]] * 3
        held_out, seen = {0: [2], 1: [2], 2: [2]}, {0: [1], 1: [1], 2: [1]}
        for lacking in ((held_out, {0: [1], 1: [1]}), ({0: [2], 1: [2]}, seen)):
            with pytest.raises(KeyError, match="2"):
                evaluated(scores, *lacking, d2l.evaluate_ranking)
            assert evaluated(scores, *lacking)[0] == (1, 1)

    def test_e29_an_item_that_was_seen_as_well(self):
        scores, held_out = [[1, 2, 3]] * 3, {u: [2] for u in range(3)}
        seen = {u: [2] for u in range(3)}
        assert evaluated(scores, held_out, seen, d2l.evaluate_ranking)[0] == (0, 0)
        with pytest.raises(ValueError, match="held out, but was also seen in training"):
            evaluated(scores, held_out, seen)

    def test_e30_the_net_is_called_for_each_user(self):
        scores = numpy.random.default_rng(0).normal(0, 1, (40, 30))
        held_out = {u: [u % 30] for u in range(40)}
        seen = {u: [(u + 1) % 30, (u + 7) % 30] for u in range(40)}

        def books(net, test, seq, seen, num_users, num_items, devices):
            # So that its candidates are all items (E27), a user more than an item.
            net.scores = np.concatenate([net.scores, np.zeros((40, 10)) - 99], axis=1)
            return d2l.evaluate_ranking(net, test, seq, seen, 40, 40, devices)

        (hit, auc), calls = evaluated(scores, held_out, seen, books)
        assert calls == 40
        (our_hit, our_auc), calls = evaluated(scores, held_out, seen)
        assert calls == 1
        # The ten items added rank last: the AUC is of 37 others in place of 27.
        assert our_hit == 1 == hit
        assert our_auc == pytest.approx(1 - (1 - auc) * 37 / 27, abs=1e-6)

    def test_e57_the_formula_counts_the_held_out_item_among_the_others(self):
        ranked = [4, 7, 2]  # the held-out item, then two others
        by_formula = sum(rank > 1 for rank in (1, 2, 3)) / len(ranked)
        assert by_formula == pytest.approx(2 / 3)
        for function in (d2l.hit_and_auc, hit_and_auc):
            assert function(ranked, [4], 1) == (1, 1)  # the code does as it should
            assert function([7, 2, 4], [4], 1) == (0, 0)
        for rank, expected in ((1, 1), (2, 0.5), (3, 0)):
            one_user = (numpy.array([x]) for x in (rank, 0, 3))
            assert metrics.auc(metrics.HeldOutRanks(*one_user)) == expected


ROWS, BATCH = 60, 6


def looped(train, num_epochs=1, evaluator=None, devices=CPU, eval_step=1):
    """Train with rate 0; return the true loss, the history and the net."""
    rng = numpy.random.default_rng(0)
    rows = [rng.integers(0, 9, ROWS).astype("int32") for _ in range(3)]
    mx.random.seed(0)
    net = MF(4, 9, 9)
    net.initialize(mx.init.Normal(0.5), ctx=devices)
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.0})
    users, positive, negative = (np.array(a) for a in rows)
    distance = (net(users, positive) - net(users, negative)).asnumpy()
    history = train(
        net,
        BatchLoader(tuple(rows), BATCH),
        {},
        (d2l.BPRLoss if train is d2l.train_ranking else BPRLoss)(),
        trainer,
        None,
        9,
        9,
        num_epochs,
        devices,
        evaluator or (lambda *_: (0.5, 0.5)),
        {},
        eval_step,
    )
    return numpy.mean(numpy.log1p(numpy.exp(-distance.astype("float64")))), history


class TestLoop:
    def test_e31_the_timer_is_never_started_again(self, capsys, monkeypatch):
        seconds = [0]

        def clock():
            seconds[0] += 1
            return seconds[0]

        def slow(*_):
            seconds[0] += 1000
            return 0.5, 0.5

        monkeypatch.setattr(d2l, "time", SimpleNamespace(time=clock))
        looped(d2l.train_ranking, 2, slow)
        speed = float(capsys.readouterr().out.splitlines()[1].split()[0])
        # Ten batches an epoch: 1 + ... + 20 seconds, the evaluation ten times over.
        assert speed == pytest.approx(2 * ROWS / (210 + 10 * 1000), abs=0.05)
        monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=clock))
        looped(train_ranking, 2, slow)
        speed = float(capsys.readouterr().out.splitlines()[1].split()[0])
        assert speed == ROWS  # an epoch of training is one tick of this clock

    @pytest.mark.parametrize("devices", [CPU, TWO])
    def test_e32_the_printed_loss_sums_running_sums(self, capsys, devices):
        batches = ROWS // BATCH
        true, _ = looped(d2l.train_ranking, devices=devices)
        theirs = float(capsys.readouterr().out.split()[2].strip(","))
        factor = (batches + 1) / 2 / len(devices)
        # Batches differ from each other: a quarter is a wide margin.
        assert theirs == pytest.approx(true * factor, rel=0.25)
        true, history = looped(train_ranking, devices=devices)
        # float32
        assert history[-1]["train_loss"] == pytest.approx(true, rel=1e-6)
        ours = float(capsys.readouterr().out.split()[2].strip(","))
        assert ours == pytest.approx(true, abs=0.0005)

    @pytest.mark.parametrize(("epochs", "shown"), [(8, "0.100"), (3, "0.000")])
    def test_e33_the_last_epoch_is_not_evaluated(self, capsys, epochs, shown):
        for train, expected in ((d2l.train_ranking, shown), (train_ranking, "0.")):
            calls = iter(range(1, 9))
            looped(train, epochs, lambda *_, c=calls: (next(c) / 10, 0.5), eval_step=5)
            hit_rate = capsys.readouterr().out.split("hit rate ")[1].split(",")[0]
            assert hit_rate.startswith(expected)
        # Ours: after the first, the fifth where there is one, and the last.
        assert hit_rate == {8: "0.300", 3: "0.200"}[epochs]
