"""Epochs and workers never repeat each other's dropout masks, not even shifted."""

import itertools

import numpy
import pytest

from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.loop import Step, fit
from d2l_recsys.runtime.backend import autograd, gluon, mx, nn, np, npx
from d2l_recsys.runtime.devices import mxnet_seed, seed_everything

# MXNet draws 64 numbers in a row from each of its 1024 states.
ROWS, WIDTH = 256, 64


class OwnMasks(nn.Block):
    """A net that keeps the dropout mask of each row."""

    def __init__(self):
        super().__init__()
        self.dense, self.seen = nn.Dense(1, in_units=WIDTH), []

    def forward(self, x):
        dropped = npx.dropout(x, p=0.5)
        self.seen.append(dropped.asnumpy() > 0)
        return self.dense(dropped)


def rows_of(masks):
    return {row.tobytes() for row in numpy.packbits(masks, axis=-1)}


def test_the_masks_of_the_epochs_of_a_training():
    net = OwnMasks()
    net.initialize()
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0})
    step = Step(net, None, None, lambda F, net, loss, x: net(x))
    loader = BatchLoader(numpy.ones((ROWS, WIDTH), "float32"), ROWS)
    fit(step, loader, trainer, 5, lambda *_: {})
    rows = [rows_of(masks) for masks in net.seen]
    assert [len(r) for r in rows] == [ROWS] * 5
    for one, other in itertools.combinations(rows, 2):
        assert not one & other


def drawn(seed, size=1024 * 64):
    """Return what each of MXNet's states draws for a mask of `size` numbers."""
    mx.random.seed(seed)
    with autograd.record():
        masks = npx.dropout(np.ones(size), p=0.5).asnumpy() > 0
    return rows_of(masks.reshape(-1, 64))


@pytest.mark.parametrize("seed", [0, 1, 2**30 - 1])
def test_epochs_and_workers_share_no_state(seed):
    epochs, workers = 6, 3
    draws = [drawn(mxnet_seed(seed, n)) for n in range(epochs * workers)]
    for one, other in itertools.combinations(draws, 2):
        assert not one & other
    assert drawn(mxnet_seed(seed, 5)) == draws[5]


def test_the_seeds_of_a_long_training_are_as_far_apart():
    """MXNet multiplies a seed by 127, modulo 2**32, and adds 0 to 1023."""
    numbers = [*range(1000), *range(2**21 - 1000, 2**21)]
    starts = sorted(127 * mxnet_seed(7, n) % 2**32 for n in numbers)
    assert min(numpy.diff([*starts, starts[0] + 2**32])) >= 1024


def test_what_mxnet_does_with_a_seed():
    close, same = drawn(1), drawn(2**32)
    assert len(drawn(0) & close) == 1024 - 127
    assert drawn(0) == same
    assert not drawn(0) & drawn(1024 * pow(127, -1, 2**32) % 2**32)
    assert len(drawn(0) & drawn(1023 * pow(127, -1, 2**32) % 2**32)) == 1


def initial(seed):
    """Return what each of MXNet's states draws for a parameter."""
    seed_everything(seed)
    net = nn.Embedding(1024, 64)
    net.initialize(mx.init.Normal(0.01))
    return rows_of(net.weight.data().asnumpy() > 0)


def test_neighboring_seeds_share_no_initial_parameters():
    rows = [initial(seed) for seed in (-1, *range(9))]
    assert [len(r) for r in rows] == [1024] * 10
    for one, other in itertools.combinations(rows, 2):
        assert not one & other
    assert initial(3) == rows[4]
