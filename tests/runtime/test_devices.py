import random

import numpy
import pytest

from d2l_recsys.runtime import cuda
from d2l_recsys.runtime.backend import gluon, mx, nn, np
from d2l_recsys.runtime.devices import (
    contexts,
    devices_of,
    fault_of,
    seed_everything,
    split_and_load,
    try_all_gpus,
    try_gpu,
)
from d2l_recsys.tools.command_line import read_devices

TWO = [mx.cpu(0), mx.cpu(1)]
no_gpu = pytest.mark.skipif(mx.context.num_gpus() > 0, reason="this machine has a GPU")


@no_gpu
def test_without_a_gpu_there_is_still_a_device():
    assert try_gpu() == try_gpu(3) == mx.cpu()
    assert try_all_gpus() == [mx.cpu()]


@no_gpu
def test_a_gpu_that_runs_no_kernel_is_no_device(monkeypatch):
    """MXNet is told that there are GPUs; the kernels run, and fail, for real."""
    monkeypatch.setattr(mx.context, "num_gpus", lambda: 2)
    assert "GPU" in fault_of(mx.gpu(0))
    assert fault_of(mx.cpu(0)) == fault_of(mx.cpu(1)) == ""
    assert try_gpu() == try_gpu(1) == try_gpu(-1) == mx.cpu()
    assert try_all_gpus() == [mx.cpu()]
    with pytest.raises(ValueError, match=r"gpu\(1\) does not work \(.*GPU"):
        contexts("gpu", [1, 0])


def test_a_gpu_that_mxnet_has_no_code_for_is_not_tried(monkeypatch):
    shown = [cuda.Gpu("Old", (3, 5)), cuda.Gpu("New", (9, 0))]
    monkeypatch.setattr(cuda, "gpus", lambda: shown)
    assert fault_of(mx.gpu(0)) == "MXNet has no code for Old"
    assert fault_of(mx.gpu(1)) == "MXNet has no code for New"
    assert "no code" not in fault_of(mx.gpu(2))


def test_a_device_has_to_give_the_right_number(monkeypatch):
    monkeypatch.setattr(np, "dot", lambda a, b: np.zeros((2, 2), ctx=a.ctx))
    assert fault_of(mx.cpu()) == "cpu(0) computes 0 instead of 12"


def test_a_driver_that_does_not_answer_leaves_the_cpu(monkeypatch):
    def fail():
        raise mx.base.MXNetError("CUDA: unknown error")

    monkeypatch.setattr(mx.context, "num_gpus", fail)
    assert try_all_gpus() == [try_gpu()] == [mx.cpu()]
    with pytest.raises(
        ValueError, match=r"gpu\(0\) does not exist, MXNet finds 0 GPUs"
    ):
        contexts("gpu", [0])


@no_gpu
def test_contexts():
    assert contexts("cpu", [0]) == [mx.cpu()]
    assert contexts("cpu", [0, 1, 2]) == [mx.cpu(0), mx.cpu(1), mx.cpu(2)]
    for numbers in ([0], [7], [1, 0]):
        message = rf"gpu\({max(numbers)}\) does not exist, MXNet finds 0 GPUs"
        with pytest.raises(ValueError, match=message):
            contexts("gpu", numbers)


def test_read_devices():
    assert read_devices("gpu") == read_devices("gpu:0") == ("gpu", [0])
    assert read_devices("gpu:3,1") == ("gpu", [3, 1])
    for text in (
        "",
        "tpu",
        "cpu:0",
        "cpu:1,2",
        "cpu:-1",
        "gpu:1,1",
        "gpu:1,x",
        "gpu:²",
    ):
        with pytest.raises(ValueError, match="is neither cpu, cpu:N"):
            read_devices(text)


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
    net.initialize(ctx=TWO)  # deferred, because the input size is unknown
    assert devices_of(net) == TWO
    with pytest.raises(ValueError, match="no parameters"):
        devices_of(gluon.nn.Flatten())
    assert devices_of(net, mx.cpu(1)) == [mx.cpu(1)]
    with pytest.raises(ValueError, match=r"the net is on .*, not on cpu\(2\)"):
        devices_of(net, [mx.cpu(0), mx.cpu(2)])
    with pytest.raises(ValueError, match="devices must be a list such as"):
        devices_of(net, "cpu")
    with pytest.raises(ValueError, match="initialize"):
        devices_of(gluon.nn.Dense(1), TWO)


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
    seed_everything(-1)  # MXNet accepts any int, so this must, too
    assert all(a != b for a, b in zip(first, draws()))


def test_a_single_device_will_do():
    net = nn.Dense(1, in_units=1)
    net.initialize(ctx=[mx.cpu(0), mx.cpu(1)])
    assert devices_of(net) == [mx.cpu(0), mx.cpu(1)]
    assert devices_of(net, mx.cpu(1)) == [mx.cpu(1)]
