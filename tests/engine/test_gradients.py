"""Trainers that train another net, or only a part of it."""

import numpy
import pytest

from d2l_recsys.engine.adam import FlatTrainer, make_trainer, trained_by
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.loop import Step, fit
from d2l_recsys.runtime.backend import gluon, mx, nn, np

X = numpy.arange(12, dtype="float32").reshape(6, 2)
ADAM = {"learning_rate": 0.1}


class Net(nn.HybridBlock):
    """A net whose second layer the forward does not use."""

    def __init__(self, in_units=2):
        super().__init__()
        self.used = nn.Dense(1, in_units=2, use_bias=False)
        self.unused = nn.Dense(3, in_units=in_units)

    def hybrid_forward(self, F, x):
        return self.used(x)


def made(net=None, hybridize=False, devices=None):
    net = net or nn.HybridSequential()
    if isinstance(net, nn.HybridSequential):
        net.add(nn.Dense(3, in_units=2), nn.Dense(1, in_units=3))
    net.initialize(mx.init.One(), ctx=devices)
    if hybridize:
        net.hybridize(static_alloc=True)
    return net


def flat(net):
    return make_trainer(net, "adam", ADAM)


def gluons(net):
    return gluon.Trainer(net.collect_params(), "adam", ADAM)


def trained(net, trainer, losses=lambda F, net, loss, x: net(x), epochs=2):
    step = Step(net, None, None, losses)
    return fit(step, BatchLoader(X, 3), trainer, epochs, lambda *_: {})


def test_trained_by():
    net = made()
    for make, kind in ((gluons, gluon.Trainer), (flat, FlatTrainer)):
        trainer = make(net)
        assert type(trainer) is kind
        assert {*trained_by(trainer)} == {*net.collect_params().values()}


@pytest.mark.parametrize("make", [flat, gluons])
def test_a_trainer_of_another_net(make):
    net = made()
    with pytest.raises(ValueError, match="does not train any parameter of this Hybrid"):
        trained(net, make(made()))


def test_a_net_that_is_frozen():
    net = made()
    trainer = gluons(net)
    net.collect_params().setattr("grad_req", "null")
    with pytest.raises(ValueError, match="does not train any parameter"):
        trained(net, trainer)


@pytest.mark.parametrize("make", [flat, gluons])
def test_a_trainer_made_before_a_layer_was_added(make):
    net = made()
    trainer = make(net)
    net.add(nn.Dense(1, in_units=1, use_bias=False))
    net[2].initialize(mx.init.One())
    with pytest.warns(UserWarning, match=r"does not train \w+_weight: add"):
        trained(net, trainer)


@pytest.mark.parametrize("make", [flat, gluons])
@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.filterwarnings("ignore:Parameter .* is not used by any computation")
def test_a_layer_that_the_forward_does_not_use(make, hybridize, devices):
    net = made(Net(), hybridize, [mx.cpu(k) for k in range(devices)])
    # The gradients of an earlier training do not count.
    trainer = make(net)
    with mx.autograd.record():
        loss = net.unused(np.array(X, ctx=mx.cpu(0))).sum()
    loss.backward()
    before = net.used.weight.list_data()[0].asnumpy()
    with pytest.raises(ValueError, match="got no gradient from the first") as caught:
        trained(net, trainer)
    names = str(caught.value).split(" got no")[0].split(", ")
    assert {*names} == {*net.unused.collect_params()}
    assert numpy.array_equal(net.used.weight.list_data()[0].asnumpy(), before)


def test_a_layer_whose_shape_is_never_known():
    net = made(Net(in_units=0))
    with pytest.raises(ValueError, match="got no gradient"):
        trained(net, gluons(net))


@pytest.mark.parametrize("make", [flat, gluons])
def test_frozen_layers_and_gradients_of_zero_are_accepted(make):
    frozen = made(Net())
    frozen.unused.collect_params().setattr("grad_req", "null")
    trained(frozen, make(frozen))
    net = made()
    # All gradients are zero.
    trained(net, make(net), lambda F, net, loss, x: net(x) * 0)
    # The first epoch only is checked.
    (*_, last) = trained(net, make(net), epochs=3)
    assert last["epoch"] == 3
