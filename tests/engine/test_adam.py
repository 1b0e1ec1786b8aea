"""The trainer of one array, by which test_checkpoint trains all sections."""

import pytest

from d2l_recsys.engine import adam
from d2l_recsys.engine.adam import FlatTrainer, make_trainer
from d2l_recsys.runtime.backend import autograd, gluon, mx, nn, np

ADAM = {"learning_rate": 0.1}


def net_of_two_layers(**initialize):
    net = nn.HybridSequential()
    net.add(nn.Dense(3, in_units=2), nn.Dense(1, in_units=3))
    mx.random.seed(0)
    net.initialize(mx.init.Normal(1), **initialize)
    return net


def step(net, trainer):
    with autograd.record():
        loss = net(np.array([[1.0, 2.0]])).sum()
    loss.backward()
    trainer.step(1)


def values(net):
    return [p.data().asnumpy().tolist() for p in net.collect_params().values()]


@pytest.mark.parametrize("clipped", [{}, {"clip_gradient": 1}])
def test_the_steps_are_gluons(clipped, monkeypatch):
    monkeypatch.setattr(adam, "_BLOCK", 5)  # several blocks, the last one shorter
    nets = net_of_two_layers(), net_of_two_layers()
    settings = {"learning_rate": 0.1, "wd": 0.01, "beta1": 0.5, **clipped}
    trainers = (
        FlatTrainer(nets[0], settings),
        gluon.Trainer(nets[1].collect_params(), "adam", settings),
    )
    for _ in range(50):
        for net, trainer in zip(nets, trainers):
            step(net, trainer)
    assert values(nets[0]) == values(nets[1])


def test_what_is_written_into_the_net_is_trained_on(tmp_path):
    nets = net_of_two_layers(), net_of_two_layers()
    nets[1][0].weight.set_data(np.ones((3, 2)))
    nets[1].save_parameters(str(tmp_path / "net"))
    trainer = FlatTrainer(nets[0], ADAM)
    nets[0].load_parameters(str(tmp_path / "net"))
    step(nets[0], trainer)
    step(nets[1], gluon.Trainer(nets[1].collect_params(), "adam", ADAM))
    assert values(nets[0]) == values(nets[1])


def test_a_net_initialised_again_is_not_trained_in_vain():
    net = net_of_two_layers()
    trainer = FlatTrainer(net, ADAM)
    net.initialize(force_reinit=True)
    with pytest.raises(ValueError, match=r"initialized again, .* create a new"):
        step(net, trainer)


def test_a_second_trainer_takes_over():
    net = net_of_two_layers()
    first, second = (FlatTrainer(net, ADAM) for _ in range(2))
    step(net, second)
    with pytest.raises(ValueError, match="initialized again"):
        step(net, first)


def lazy(net):
    net.add(nn.Dense(2))  # its shape is not known before the first call
    net[2].initialize()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda net: net.cast("float64"), "must be initialized and float32, with "),
        (
            lambda net: setattr(net[0].bias, "wd_mult", 0),
            "and float32, with grad_req 'write'",
        ),
        (
            lambda net: setattr(net[0].bias, "grad_req", "add"),
            "with grad_req 'write' and without mu",
        ),
        (lazy, "must be initialized"),
    ],
)
def test_what_cannot_be_parts_is_left_to_gluon(change, reason):
    net = net_of_two_layers()
    change(net)
    with pytest.raises(ValueError, match=reason):
        FlatTrainer(net, ADAM)
    assert type(make_trainer(net, "adam", ADAM)) is gluon.Trainer


def test_frozen_parameters_stay_as_they_are():
    nets = net_of_two_layers(), net_of_two_layers()
    before = values(nets[0])
    for net in nets:
        net[0].weight.grad_req = "null"
    step(nets[0], FlatTrainer(nets[0], ADAM))
    step(nets[1], gluon.Trainer(nets[1].collect_params(), "adam", ADAM))
    assert values(nets[0]) == values(nets[1])
    assert values(nets[0])[0] == before[0]


def test_a_parameter_that_is_no_attribute_is_trained_too():
    class Listed(nn.HybridBlock):
        def __init__(self):
            super().__init__()
            self.listed = [self.params.get("w", shape=(1, 2), init="ones")]

        def forward(self, x):
            return x * self.listed[0].data()

    net = Listed()
    net.initialize()
    step(net, FlatTrainer(net, ADAM))
    assert values(net)[0] == [[pytest.approx(0.9), pytest.approx(0.9)]]


def test_parameters_that_do_not_fit_into_one_array_are_left_to_gluon(monkeypatch):
    net = net_of_two_layers()
    monkeypatch.setattr(adam, "MAX_NUMBERS", 31)  # they take 16 each, or more
    assert type(make_trainer(net, "adam", {})) is gluon.Trainer


def test_other_optimizers_are_gluons():
    # Nadam keeps a number that its steps for all parameters share.
    assert type(make_trainer(net_of_two_layers(), "nadam", {})) is gluon.Trainer
    assert type(make_trainer(net_of_two_layers(), "adam", {})) is FlatTrainer


@pytest.mark.parametrize("make", [make_trainer, gluon.Trainer])
def test_values_set_between_steps_reach_all_devices(make):
    """On several devices MXNet keeps weights in a store of its own besides."""
    devices = [mx.cpu(0), mx.cpu(1)]
    net = net_of_two_layers(ctx=devices)
    of_what = net if make is make_trainer else net.collect_params()
    trainer = make(of_what, "adam", ADAM)
    for set_to in (None, 100):
        if set_to:
            net[0].weight.set_data(np.full((3, 2), set_to))
        with autograd.record():
            losses = [net(np.array([[1.0, 2.0]], ctx=d)).sum() for d in devices]
        autograd.backward(losses)
        trainer.step(2)
    for device in devices:
        # Adam's first steps are as long as the learning rate.
        assert abs(net[0].weight.data(device).asnumpy() - 100).max() < 0.2


@pytest.mark.parametrize("what", ["lr_mult", "wd_mult", "grad_req", "cast"])
def test_what_is_changed_after_the_trainer_was_made_is_not_overlooked(what):
    net = net_of_two_layers()
    trainer = FlatTrainer(net, ADAM)
    step(net, trainer)
    if what == "cast":
        net.cast("float32")
    else:
        value = "add" if what == "grad_req" else 0.5
        net.collect_params(".*weight").setattr(what, value)
    with pytest.raises(ValueError, match=r"weight was .* create a new trainer"):
        step(net, trainer)
