"""Validation data choose the epoch whose parameters are kept, in every training."""

import numpy
import pytest

from d2l_recsys import autorec, mf
from d2l_recsys.autorec import AutoRec
from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.checkpoint import Checkpoint
from d2l_recsys.engine.loop import Step, fit
from d2l_recsys.engine.snapshot import BestEpoch, kept_epoch
from d2l_recsys.mf import MF, train_recsys_rating
from d2l_recsys.neumf import NeuMF, PRDataset, evaluate_ranking, train_ranking
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import gluon, mx, nn, np

SPEED = r"\n[\d.]+ examples/sec on \[cpu\(0\)\]\n"
CPU, TWO = [mx.cpu()], [mx.cpu(0), mx.cpu(1)]
X = numpy.arange(12, dtype="float32").reshape(6, 2)


def losses(F, net, loss, x, y):
    return loss(net(x), y)


def values_of(net):
    return [p.data().asnumpy().copy() for p in net.collect_params().values()]


def same(net, values):
    return all(map(numpy.array_equal, values_of(net), values))


def test_patience_below_one():
    with pytest.raises(ValueError, match="patience must be at least 1, not 0"):
        BestEpoch(nn.Dense(1), 0)


@pytest.mark.parametrize(
    ("metric", "values", "patience", "best", "epochs"),
    [
        ("valid_rmse", [3, 2, 1, 2, 3, 0], 2, 3, 5),
        ("valid_rmse", [3, 2, 1, 2, 3, 0], 3, 6, 6),
        ("valid_rmse", [3, 2, 1, 2, 3, 2], None, 3, 6),
        ("valid_log_loss", [1, 1, 1, 1], 1, 1, 2),  # equal is no improvement
        ("valid_log_loss", [1, 2, 0, 5], 1, 1, 2),
        ("valid_auc", [0.5, 0.7, 0.6, 0.7], None, 2, 4),
        ("valid_acc", [0, 1, 0], 1, 3, 3),  # does not choose
    ],
)
@pytest.mark.parametrize("devices", [CPU, TWO])
def test_fit_ends_with_the_best_epoch(metric, values, patience, best, epochs, devices):
    mx.random.seed(0)
    net = nn.Dense(1, in_units=2)
    net.initialize(ctx=devices)
    trainer = make_trainer(net, "sgd", {"learning_rate": 0.01})
    after = []

    def evaluate(entry, _):
        after.append(values_of(net))
        return {metric: values[entry["epoch"] - 1]}

    step = Step(net, gluon.loss.L2Loss(), devices, losses)
    loader = BatchLoader((X, X[:, :1]), 3)
    history = fit(step, loader, trainer, len(values), evaluate, patience=patience)
    assert (kept_epoch(history)["epoch"], len(history)) == (best, epochs)
    assert same(net, after[best - 1])
    for parameter in net.collect_params().values():
        first, last = parameter.list_data()[0], parameter.list_data()[-1]
        assert numpy.array_equal(first.asnumpy(), last.asnumpy())


RNG = numpy.random.default_rng(0)
USERS, ITEMS = (RNG.integers(0, 12, 90).astype("int32") for _ in range(2))
STARS = RNG.integers(1, 6, 90).astype("float32")


def started(net):
    """Return the net and a trainer of so high a rate that the net soon overfits."""
    mx.random.seed(0)
    net.initialize(mx.init.Normal(0.1))
    return net, make_trainer(net, "adam", {"learning_rate": 0.1})


def rows(first, last, batch_size=16):
    return BatchLoader([x[first:last] for x in (USERS, ITEMS, STARS)], batch_size)


class TestRatings:
    def train(self, test_iter, **more):
        net, trainer = started(MF(8, 12, 12))
        loss = gluon.loss.L2Loss(weight=2)
        history = train_recsys_rating(
            net, rows(0, 60), test_iter, loss, trainer, 30, CPU, **more
        )
        return net, history

    def test_the_best_epoch_is_kept(self, printed):
        net, history = self.train(rows(75, 90), valid_iter=rows(60, 75))
        found = [epoch["valid_rmse"] for epoch in history]
        best = int(numpy.argmin(found))
        assert 0 < best < 29  # neither is a case
        assert mf.evaluator(net, rows(60, 75)) == found[best]
        test = mf.evaluator(net, rows(75, 90))
        assert test == history[best]["test_rmse"]
        line = r"train loss [\d.]+, test RMSE ([\d.]+)"
        line += r" \(epoch (\d+) of 30, the best on validation data\)"
        assert printed(line + SPEED) == [pytest.approx(test, abs=5e-4), best + 1]

    def test_without_a_test_set(self, printed):
        _, history = self.train(None)
        assert "test_rmse" not in history[-1]
        (loss,) = printed(r"train loss ([\d.]+)" + SPEED)
        assert loss == pytest.approx(history[-1]["train_loss"], abs=5e-4)

    @pytest.mark.parametrize("tested", [True, False])
    def test_of_an_autoencoder(self, tested):
        matrices = numpy.zeros((3, 12, 12), dtype="float32")
        part = numpy.repeat([0, 1, 2], [60, 15, 15])
        matrices[part, ITEMS, USERS] = STARS
        held_out = RNG.permutation(2) + 1
        train, test, valid = matrices[0], *(np.array(matrices[i]) for i in held_out)
        net, trainer = started(AutoRec(30, 12, dropout=0))
        history = train_recsys_rating(
            net,
            BatchLoader(train, 4),
            BatchLoader(train, 12) if tested else None,
            gluon.loss.L2Loss(weight=2),
            trainer,
            30,
            CPU,
            autorec.evaluator,
            test if tested else None,
            valid_iter=valid if tested else None,
        )
        assert ("test_rmse" in history[-1]) == ("valid_rmse" in history[-1]) == tested
        # The loss is that of the rated cells.
        assert 0.01 < history[0]["train_loss"] < 25
        if tested:
            best = min(history, key=lambda epoch: epoch["valid_rmse"])
            found = autorec.evaluator(net, BatchLoader(train, 12), valid)
            assert found == best["valid_rmse"] < history[-1]["valid_rmse"]

    def test_no_checkpoint_keeps_the_best_epoch(self, tmp_path):
        with pytest.raises(ValueError, match="valid_iter= and checkpoint= cannot be"):
            self.train(None, valid_iter=rows(0, 9), checkpoint=Checkpoint(tmp_path, {}))


SEEN = {user: [(user + k) % 12 for k in range(4)] for user in range(12)}
VALID = {user: [(user + 4) % 12] for user in range(12)}
TEST = {user: [(user + 5) % 12] for user in range(12)}


class TestRanking:
    def train(self, test_iter, **more):
        net, trainer = started(NeuMF(8, 12, 12, [8]))
        users = numpy.repeat(numpy.arange(12), 4)
        items = numpy.concatenate([*SEEN.values()])
        loader = BatchLoader(PRDataset(users, items, SEEN, 12), 16, shuffle=True)
        with_valid = {u: [*SEEN[u], *VALID[u]] for u in SEEN}
        history = train_ranking(
            net, loader, test_iter, BPRLoss(), trainer, None, 12, 12, 12, CPU,
            evaluate_ranking, with_valid, **more,
        )  # fmt: skip
        return net, history, with_valid

    def test_the_best_epoch_is_kept(self, printed):
        valid = VALID, None, SEEN
        net, history, with_valid = self.train(TEST, valid=valid)
        best = int(numpy.argmax([epoch["valid_auc"] for epoch in history]))
        assert best < 11
        found = evaluate_ranking(net, *valid, 12, 12)
        assert found == (history[best]["valid_hit_rate"], history[best]["valid_auc"])
        # The validation item is no rival of the test item.
        found = evaluate_ranking(net, TEST, None, with_valid, 12, 12)
        assert found.auc == history[best]["test_auc"]
        line = r"train loss [\d.]+, test hit rate [\d.]+, test AUC [\d.]+"
        line += r" \(epoch (\d+) of 12, the best on validation data\)"
        assert printed(line + SPEED) == [best + 1]

    def test_without_a_test_set(self, printed):
        _, history, _ = self.train(None)
        assert {*history[-1]} & {"test_auc", "valid_auc"} == set()
        printed(r"train loss [\d.]+" + SPEED)
