"""Trainings that cannot be resumed exactly are refused, with the reason."""

import numpy
import pytest
from test_checkpoint import ITEMS, STARS, USERS, U, V

from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.checkpoint import Checkpoint, CheckpointError
from d2l_recsys.engine.loop import Step, fit
from d2l_recsys.engine.snapshot import Snapshot
from d2l_recsys.mf import MF, train_recsys_rating
from d2l_recsys.neumf import PRDataset
from d2l_recsys.runtime.backend import gluon, mx, nn

X = numpy.random.default_rng(0).normal(size=(6, 2)).astype("float32")
ROWS = gluon.data.ArrayDataset(U, V, STARS)


def trained(folder, epochs, optimizer, settings, train_iter=None, on_epoch=None):
    """Train MF from a checkpoint, if there is one; return its trainer."""
    net = MF(3, USERS, ITEMS)
    net.initialize(mx.init.Normal(0.1))
    trainer = gluon.Trainer(net.collect_params(), optimizer, settings)
    train_iter = train_iter or BatchLoader((U, V, STARS), 32)
    point = Checkpoint(folder, {}, resume=any(folder.iterdir()))
    test_iter, loss = BatchLoader((U, V, STARS), 32), gluon.loss.L2Loss()
    train_recsys_rating(
        net, train_iter, test_iter, loss, trainer, epochs,
        on_epoch=on_epoch and (lambda history: on_epoch(trainer)), checkpoint=point,
    )  # fmt: skip
    return trainer


SGD = {"learning_rate": 0.1, "wd": 0.01, "momentum": 0.9}


@pytest.mark.parametrize(
    ("optimizer", "change", "difference"),
    [
        ("sgd", {"learning_rate": 0.2}, "learning_rate 0.1, this run has 0.2: resume"),
        ("sgd", {"wd": 0}, "wd 0.01, this run has 0: resume"),
        ("sgd", {"momentum": 0.8}, "momentum 0.9, this run has 0.8: resume"),
        ("sgd", {"clip_gradient": 1.0}, "clip_gradient None, this run has 1.0: res"),
        ("nag", {}, "optimizer SGD, this run has NAG: resume"),
    ],
)
def test_other_settings_of_the_optimizer(optimizer, change, difference, tmp_path):
    trained(tmp_path, 1, "sgd", SGD)
    with pytest.raises(CheckpointError, match=f"was trained with {difference}"):
        trained(tmp_path, 2, optimizer, {**SGD, **change})


def test_a_learning_rate_changed_during_training_is_restored(tmp_path):
    def halve(trainer):
        trainer.set_learning_rate(trainer.learning_rate / 2)

    for epochs in (2, 3):
        trainer = trained(tmp_path, epochs, "sgd", SGD, on_epoch=halve)
    # The epochs 2 and 3 of the second run; a checkpoint is older than `on_epoch`.
    assert trainer.learning_rate == pytest.approx(0.1 / 2**3)


def shuffled():
    return gluon.data.DataLoader(ROWS, 32, shuffle=True)


def rolling_over():
    return gluon.data.DataLoader(ROWS, 32, last_batch="rollover")


def of_random_order():
    order = gluon.data.RandomSampler(len(ROWS))
    return gluon.data.DataLoader(ROWS, 32, sampler=order)


def with_negatives():
    seen = {u: V[u == U].tolist() for u in range(USERS)}
    return gluon.data.DataLoader(PRDataset(U, V, seen, ITEMS), 32)


@pytest.mark.parametrize(
    "loader", [shuffled, rolling_over, of_random_order, with_negatives]
)
def test_gluon_loaders_whose_state_cannot_be_saved(loader, tmp_path):
    with pytest.raises(CheckpointError, match=r"DataLoader cannot be resumed: .*B"):
        trained(tmp_path, 1, "sgd", SGD, loader())
    assert not any(tmp_path.iterdir())


def test_a_gluon_loader_in_the_order_of_the_rows_is_resumed(tmp_path):
    for epochs in (1, 2):
        trained(tmp_path, epochs, "sgd", SGD, gluon.data.DataLoader(ROWS, 32))


def test_another_kind_of_loader(tmp_path):
    trained(tmp_path, 1, "sgd", SGD, gluon.data.DataLoader(ROWS, 32))
    with pytest.raises(CheckpointError, match="from another kind of loader"):
        trained(tmp_path, 2, "sgd", SGD)


def normalized(devices, checkpoint=None):
    """Train a net with batch normalization; return it."""
    net = nn.HybridSequential()
    net.add(nn.Dense(2, in_units=2), nn.BatchNorm(in_channels=2))
    net.initialize(mx.init.Normal(0.1), ctx=devices)
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
    step = Step(net, None, devices, lambda F, net, loss, x: net(x).sum(axis=1))
    fit(step, BatchLoader(X, 3), trainer, 1, lambda *_: {}, checkpoint=checkpoint)
    return net


def test_batch_normalization_on_several_devices(tmp_path):
    two = [mx.cpu(0), mx.cpu(1)]
    with pytest.raises(CheckpointError, match="running_mean differs between devices"):
        normalized(two, Checkpoint(tmp_path / "two", {}))
    normalized(two[:1], Checkpoint(tmp_path / "one", {}))


def test_a_snapshot_keeps_the_statistics_of_each_device():
    net = normalized([mx.cpu(0), mx.cpu(1)])
    mean = net[1].running_mean
    before = [values.asnumpy() for values in mean.list_data()]
    assert not numpy.array_equal(*before)
    snapshot = Snapshot(net)
    mean.set_data(mean.list_data()[0] + 1)
    snapshot.restore()
    after = [values.asnumpy() for values in mean.list_data()]
    assert all(map(numpy.array_equal, after, before))


def test_a_net_without_values_is_an_error(tmp_path):
    net = nn.HybridSequential()
    net.add(nn.Dense(1))
    net.initialize()
    trainer = gluon.Trainer(net.collect_params(), "sgd")
    step = Step(net, None, None, lambda F, net, loss, x: net(x))
    with pytest.raises(CheckpointError, match="weight has no values yet: give the lay"):
        fit(
            step, BatchLoader(X, 6), trainer, 1, lambda *_: {},
            checkpoint=Checkpoint(tmp_path, {}),
        )  # fmt: skip
