"""Check what takes the place of dropout and of means in a graph."""

import itertools

import numpy
import pytest

from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.dropout import Masks
from d2l_recsys.engine.loop import Step, fit
from d2l_recsys.engine.simplify import simplified
from d2l_recsys.runtime.backend import gluon, mx, nn, np

ROWS, WIDTH = 64, 100


class Scaled(nn.HybridBlock):
    """Multiply by a weight per column, then apply dropout."""

    def __init__(self, dropout):
        super().__init__()
        self.weight = self.params.get("weight", shape=(1, WIDTH), init=mx.init.One())
        self.dropout = dropout

    def hybrid_forward(self, F, x, weight):
        return self.dropout(x * weight)


def prepared(dropout, devices=1):
    net = Scaled(dropout)
    net.initialize(ctx=[mx.cpu(k) for k in range(devices)])
    net.hybridize()
    return net


def both(F, net, loss, x):
    """Return the sums of rows, and what they are sums of."""
    dropped = net(x)
    return dropped.sum(axis=1), dropped


def ones(rows=ROWS):
    return numpy.ones((rows, WIDTH), dtype="float32")


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_gives_the_gradient_of_what_is_kept(rate):
    net = prepared(nn.Dropout(rate))
    step, seen = Step(net, gluon.loss.L2Loss(), None, both), []
    step.seed(0)
    for _ in range(20):
        (losses,), ((dropped,),) = step([ones()])
        kept = dropped > 0
        # Rates are rounded to 16 bits, which moves 1 / (1 - rate) by 1e-4 at most.
        assert dropped[kept] == pytest.approx(1 / (1 - rate), rel=1e-4)
        assert losses == pytest.approx(dropped.sum(axis=1), rel=1e-5)
        gradient = net.weight.grad().asnumpy()
        assert gradient[0] == pytest.approx(dropped.sum(axis=0), rel=1e-5)
        seen.append(kept)
    drawn = numpy.concatenate(seen)
    sd = (rate * (1 - rate) / drawn.size) ** 0.5
    assert drawn.mean() == pytest.approx(1 - rate, abs=5 * sd)
    for axis, n in enumerate(drawn.shape):  # no row or column is special
        sd = (rate * (1 - rate) / n) ** 0.5
        assert abs(drawn.mean(axis=axis) - (1 - rate)).max() < 6 * sd


def test_the_seed_determines_the_masks_of_all_devices_and_no_two_are_equal():
    net = prepared(nn.Dropout(0.5), devices=2)
    found = []
    for seed in (1, 2, 1):
        step = Step(net, gluon.loss.L2Loss(), None, both)
        step.seed(seed)
        found.append([x.copy() for _ in range(3) for (x,) in step([ones()])[1]])
    first, other, again = found
    assert len(first) == 6
    for one, two in itertools.combinations(first + other, 2):
        assert (one != two).mean() == pytest.approx(0.5, abs=0.1)
    for one, two in zip(first, again):
        assert (one == two).all()


def test_each_epoch_has_its_masks_and_a_seed_repeats_them():
    def masks(seed):
        mx.random.seed(seed)
        net, seen = prepared(nn.Dropout(0.5)), []
        trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0})
        step = Step(net, gluon.loss.L2Loss(), None, both)
        loader = BatchLoader(ones(), ROWS)
        fit(step, loader, trainer, 3, lambda _, outputs: seen.append(outputs[0]) or {})
        return [dropped for (dropped,) in seen]

    first, other = masks(1), masks(2)
    for one, two in itertools.combinations(first + other, 2):
        assert (one != two).mean() == pytest.approx(0.5, abs=0.1)
    assert all((x == y).all() for x, y in zip(first, masks(1)))


def test_rates_close_to_0_and_1():
    mask = numpy.full((100, 100), 7, dtype="float32")
    Masks().fill(mask, 1e-9)
    assert (mask == 1).all()
    Masks().fill(mask, 1 - 1e-9)  # as good as all are dropped
    assert ((mask == 0) | (mask == 2**16)).all()
    assert (mask == 0).mean() > 0.99


@pytest.mark.parametrize(
    "dropout",
    [
        lambda F, x: F.npx.dropout(x, p=0.5, axes=(0,)),
        lambda F, x: F.npx.dropout(x, p=0.5, mode="always"),
        lambda F, x: F.npx.dropout(x.astype("float64"), p=0.5).astype("float32"),
    ],
    ids=["the same for all rows", "in predictions, too", "float64"],
)
def test_other_dropout_stays_mxnets(dropout):
    class Other(nn.HybridBlock):
        def hybrid_forward(self, F, x):
            return dropout(F, x)

    graph = Other()(mx.sym.var("x").as_np_ndarray())
    _, factors = simplified(graph, {"x": np.ones((ROWS, WIDTH))})
    assert not factors
    net = prepared(Other())
    _, ((dropped,),) = Step(net, gluon.loss.L2Loss(), None, both)([ones()])
    assert {*dropped.ravel()} == {0, 2}


def test_a_block_that_is_called_twice():
    class Twice(nn.HybridBlock):
        def __init__(self):
            super().__init__()
            self.dropout = nn.Dropout(0.5)

        def hybrid_forward(self, F, x):
            wide = self.dropout(F.np.concatenate([x, x], axis=1))
            return self.dropout(x), self.dropout(x), wide

    net = prepared(Twice())

    def losses(F, net, loss, x):
        one, two, wide = net(x)
        return loss(one, two), one, two, wide

    _, ((one, two, wide),) = Step(net, gluon.loss.L2Loss(), None, losses)([ones()])
    assert wide.shape == (ROWS, 2 * WIDTH)
    for x, y in itertools.combinations((one, two, *numpy.split(wide, 2, axis=1)), 2):
        assert (x != y).mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3)])
@pytest.mark.parametrize(
    "loss", [gluon.loss.L2Loss(), gluon.loss.L1Loss(), gluon.loss.SigmoidBCELoss()]
)
def test_means_of_gluons_losses(loss, shape):
    rng = numpy.random.default_rng(0)
    inputs = [rng.random((ROWS, *shape)).astype("float32") for _ in range(2)]
    symbols = [mx.sym.var(name).as_np_ndarray() for name in "xy"]
    arrays = dict(zip("xy", map(np.array, inputs)))
    graph, factors = simplified(loss(*symbols), arrays)
    assert len(factors) == (shape != ())  # a mean of one number is that number
    arrays.update({name: np.array(factor) for name, factor in factors.items()})
    found = graph.bind(mx.cpu(), arrays).forward()[0].asnumpy()
    assert found == pytest.approx(loss(*map(np.array, inputs)).asnumpy(), rel=1e-5)
