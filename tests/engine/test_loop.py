import time

import numpy
import pytest

from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.errors import NonFiniteLoss
from d2l_recsys.engine.gradients import check_gradients
from d2l_recsys.engine.loop import Step, examples_per_sec, fit
from d2l_recsys.runtime.backend import gluon, mx, nn, np

X = numpy.arange(7, dtype="float32").reshape(7, 1)
Y = 3 * X


def losses(F, net, loss, x, y):
    return loss(net(x), y)


def fitted(devices, batch_size=3, epochs=3, lr=0.01, labels=Y, evaluate=None, **more):
    mx.random.seed(0)
    net = nn.HybridSequential()
    net.add(nn.Dense(1, in_units=1))
    net.initialize(mx.init.Normal(0.1), ctx=devices)
    loss = gluon.loss.L2Loss()
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": lr})
    history = fit(
        Step(net, loss, devices, losses),
        BatchLoader((X, labels), batch_size),
        trainer,
        epochs,
        evaluate=evaluate or (lambda entry, _: {"test": entry["epoch"] * 10}),
        **more,
    )
    return net, history


def parameters(net):
    return numpy.concatenate(
        [p.list_data()[0].asnumpy().ravel() for p in net.collect_params().values()]
    )


def by_hand(batch_size=3, epochs=3, lr=0.01):
    """Return parameters and mean losses of the same training in NumPy."""
    w, b = parameters(fitted([mx.cpu()], lr=0, epochs=1)[0]).astype("float64")
    losses = []
    for _ in range(epochs):
        total = 0
        for at in range(0, 7, batch_size):
            x, y = X[at : at + batch_size, 0], Y[at : at + batch_size, 0]
            error = w * x + b - y
            total += (error**2 / 2).sum()
            w, b = w - lr * (error * x).mean(), b - lr * error.mean()
        losses.append(total / 7)
    return [w, b], losses


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
def test_any_number_of_devices_and_batch_size_gives_the_result_of_numpy(
    number, batch_size
):
    net, history = fitted([mx.cpu(i) for i in range(number)], batch_size)
    expected, losses = by_hand(batch_size)
    # float32 over 3 epochs of at most 7 steps: a few units in the last place
    assert parameters(net) == pytest.approx(expected, rel=1e-5)
    assert [e["train_loss"] for e in history] == pytest.approx(losses, rel=1e-5)


def test_history():
    seen = []
    _, history = fitted([mx.cpu()], on_epoch=lambda h: seen.append(len(h)))
    assert [e["epoch"] for e in history] == [1, 2, 3]
    assert [e["test"] for e in history] == [10, 20, 30]
    assert seen == [1, 2, 3]
    rows = [e["seconds"] * e["examples_per_sec"] for e in history]
    assert rows == pytest.approx([7, 7, 7])
    seconds = sum(e["seconds"] for e in history)
    assert examples_per_sec(history) == pytest.approx(21 / seconds)


def test_speed_leaves_evaluation_out():
    _, history = fitted([mx.cpu()], epochs=1, evaluate=lambda *_: time.sleep(0.5) or {})
    assert history[0]["seconds"] < 0.5


def test_the_evaluation_can_weigh_the_loss():
    _, one = fitted([mx.cpu()], epochs=1)
    _, half = fitted(
        [mx.cpu()],
        epochs=1,
        evaluate=lambda entry, _: {"train_loss": entry["train_loss"] / 2},
    )
    assert half[0]["train_loss"] == pytest.approx(one[0]["train_loss"] / 2)


@pytest.mark.parametrize("bad", [numpy.nan, numpy.inf])
def test_a_loss_that_is_not_finite_stops_the_training(bad):
    labels = Y.copy()
    labels[4] = bad
    with pytest.raises(
        NonFiniteLoss, match=r"in batch 2 of epoch 1, with learning rate 0\.01: use a"
    ):
        fitted([mx.cpu()], labels=labels)


def test_parameters_of_the_last_finite_epoch_are_kept():
    devices = [mx.cpu(0), mx.cpu(1)]
    mx.random.seed(0)
    net = nn.HybridSequential()
    net.add(nn.Dense(1, in_units=1))
    net.initialize(ctx=devices)
    loss = gluon.loss.L2Loss()
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.01})
    after = []

    def diverging(F, net, loss, x, y):
        return loss(net(x), y) * (numpy.nan if len(after) == 2 else 1)

    with pytest.raises(NonFiniteLoss, match="batch 1 of epoch 3"):
        fit(
            Step(net, loss, devices, diverging),
            BatchLoader((X, Y), 3),
            trainer,
            5,
            evaluate=lambda *_: after.append(parameters(net)) or {},
        )
    assert len(after) == 2
    assert numpy.array_equal(parameters(net), after[-1])
    for parameter in net.collect_params().values():
        first, second = (d.asnumpy() for d in parameter.list_data())
        assert numpy.array_equal(first, second)


@pytest.mark.parametrize(
    ("valid", "kept"), [([], 2), ([1.0, 2.0], 1)], ids=["last", "best"]
)
def test_an_interrupted_epoch_is_undone(valid, kept):
    after, batches = [], []

    def evaluate(entry, _):
        after.append(parameters(net))
        return {"valid_rmse": valid[len(after) - 1]} if valid else {}

    def interrupted(F, net, loss, x, y):
        batches.append(x)
        if len(batches) == 9:  # the last of three batches of the third epoch
            raise KeyboardInterrupt
        return loss(net(x), y)

    net = nn.Dense(1, in_units=1)
    net.initialize()
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.01})
    step = Step(net, gluon.loss.L2Loss(), None, interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(step, BatchLoader((X, Y), 3), trainer, 5, evaluate)
    assert caught.value.net is net
    assert [entry["epoch"] for entry in caught.value.history] == [1, 2]
    assert len(batches) == 9
    assert not numpy.array_equal(*after)
    assert numpy.array_equal(parameters(net), after[kept - 1])


def test_no_epochs():
    with pytest.raises(ValueError, match="num_epochs must be at least 1, not 0"):
        fitted([mx.cpu()], epochs=0)


def test_an_epoch_without_a_batch_is_an_error():
    loader = gluon.data.DataLoader(
        gluon.data.ArrayDataset(X, Y), batch_size=8, last_batch="rollover"
    )
    net = nn.Dense(1, in_units=1)
    net.initialize()
    trainer = gluon.Trainer(net.collect_params(), "sgd")
    step = Step(net, gluon.loss.L2Loss(), None, losses)
    with pytest.raises(ValueError, match=r"train_iter gave no batch: .* batch_size"):
        fit(step, loader, trainer, 1, lambda *_: {})


def test_a_batch_of_one_array():
    net = nn.HybridSequential()
    net.add(nn.Dense(1, in_units=1, use_bias=False))
    net.initialize(mx.init.One(), ctx=mx.cpu())
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.0})
    step = Step(net, None, None, lambda F, net, loss, x: net(x))
    (epoch,) = fit(step, BatchLoader(X, 3), trainer, 1, lambda *_: {})
    assert epoch["train_loss"] == 3  # the mean of 0..6


def test_stop_ends_the_training_after_the_epoch():
    seen = []

    def on_epoch(history):
        seen.append(len(history))
        return len(history) == 2

    _, history = fitted([mx.cpu()], epochs=5, on_epoch=on_epoch)
    assert [e["epoch"] for e in history] == [1, 2]
    assert seen == [1, 2]


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("devices", [[mx.cpu()], [mx.cpu(0), mx.cpu(1)]])
def test_the_evaluation_gets_the_outputs_of_every_row_once(devices, hybridize):
    """The last batch has one row. A second device repeats it without being counted."""
    net = nn.HybridSequential()
    net.add(nn.Dense(1, in_units=1, use_bias=False))
    net.initialize(mx.init.One(), ctx=devices)
    if hybridize:
        net.hybridize(static_alloc=True)

    def with_outputs(F, net, loss, x, y):
        return loss(net(x), y), net(x), y

    def evaluate(entry, outputs):
        pairs = [numpy.hstack(pair) for pair in outputs]
        return {"seen": numpy.concatenate(pairs).tolist()}

    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.0})
    step = Step(net, gluon.loss.L2Loss(), devices, with_outputs)
    for epoch in fit(step, BatchLoader((X, Y), 3), trainer, 2, evaluate):
        assert epoch["seen"] == numpy.hstack([X, Y]).tolist()


def net_of_one():
    net = nn.HybridSequential()
    net.add(nn.Dense(1, in_units=1))
    net.initialize(mx.init.One())
    net.hybridize(static_alloc=True)
    return net


def trained_on(net, loss, devices=None):
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.01})
    step = Step(net, loss, devices or [mx.cpu()], losses)
    return fit(step, BatchLoader((X, Y), 3), trainer, 2, lambda *_: {})


class WrittenByAUser(gluon.loss.Loss):
    """A loss with only ``forward``, like the book's BPR: it cannot be in a graph."""

    def __init__(self):
        super().__init__(1, 0)

    def forward(self, pred, label):
        return np.square(pred - label).mean(axis=1) / 2


def test_a_hybridized_net_trains_with_a_loss_that_is_not():
    plain = gluon.loss.L2Loss()
    graph = trained_on(net_of_one(), plain)
    assert not plain._active  # the user's loss is not changed
    own = trained_on(net_of_one(), WrittenByAUser())
    for a, b in zip(graph, own):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-6)


def test_gradients_that_add_up_and_other_devices_are_refused():
    adding, elsewhere = net_of_one(), net_of_one()
    adding.collect_params(".*weight").setattr("grad_req", "add")
    with pytest.raises(ValueError, match="weight adds its gradients up: set grad_req"):
        trained_on(adding, gluon.loss.L2Loss())
    with pytest.raises(ValueError, match=r"on \[cpu\(0\)\], not on cpu\(1\)"):
        trained_on(elsewhere, gluon.loss.L2Loss(), [mx.cpu(1)])
    with pytest.raises(ValueError, match="the net is on") as refused:
        check_gradients(elsewhere, [mx.cpu(1)])
    way_out = str(refused.value).rpartition(": ")[2]
    exec(way_out, {"net": elsewhere, "devices": [mx.cpu(1)]})
    trained_on(elsewhere, gluon.loss.L2Loss(), [mx.cpu(1)])


def test_nan_in_the_data_is_not_blamed_on_the_learning_rate():
    with pytest.raises(NonFiniteLoss, match="before the first step: look for NaN in"):
        fitted([mx.cpu()], labels=Y * numpy.nan)
