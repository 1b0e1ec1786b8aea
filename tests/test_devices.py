import random

import numpy
import pytest

from d2l_recsys.backend import gluon, mx, np
from d2l_recsys.devices import (
    devices_of,
    seed_everything,
    split_and_load,
    try_all_gpus,
    try_gpu,
)

TWO = [mx.cpu(0), mx.cpu(1)]
no_gpu = pytest.mark.skipif(mx.context.num_gpus() > 0, reason="this machine has a GPU")


@no_gpu
def test_without_a_gpu_there_is_still_a_device():
    assert try_gpu() == try_gpu(3) == mx.cpu()
    assert try_all_gpus() == [mx.cpu()]


@pytest.mark.parametrize(
    ("rows", "sizes"), [(4, [2, 2]), (5, [3, 2]), (2, [1, 1]), (1, [1]), (0, [])]
)
def test_split_and_load(rows, sizes):
    data = np.arange(rows * 3).reshape(rows, 3)
    pieces = split_and_load(data, TWO)
    assert [len(p) for p in pieces] == sizes
    assert [p.ctx for p in pieces] == TWO[: len(sizes)]
    if rows:
        joined = numpy.concatenate([p.asnumpy() for p in pieces])
        assert numpy.array_equal(joined, data.asnumpy())


def test_devices_of():
    net = gluon.nn.Dense(1)
    with pytest.raises(ValueError, match="initialize"):
        devices_of(net)
    net.initialize(ctx=TWO)  # deferred: the input's size is not known yet
    assert devices_of(net) == TWO
    with pytest.raises(ValueError, match="no parameters"):
        devices_of(gluon.nn.Flatten())


def draws():
    return (
        random.random(),
        numpy.random.random(),
        np.random.uniform(size=3).asnumpy().tolist(),
    )


def test_seed_everything_seeds_all_three_generators():
    seed_everything(7)
    first = draws()
    assert all(a != b for a, b in zip(first, draws()))
    seed_everything(7)
    assert draws() == first
    seed_everything(-1)  # MXNet takes any int, and so must this
    assert all(a != b for a, b in zip(first, draws()))
