"""Devices: finding them, spreading a batch over them, seeding what runs on them."""

import random
from contextlib import suppress
from typing import List, Sequence, Union

import numpy

from d2l_recsys.runtime import cuda
from d2l_recsys.runtime.backend import gluon, mx, np


def try_gpu(i: int = 0) -> mx.Context:
    """Return gpu(i) if it is there and runs a kernel, else cpu()."""
    there = i < _num_gpus() and not fault_of(mx.gpu(i))
    return mx.gpu(i) if there else mx.cpu()


def try_all_gpus() -> List[mx.Context]:
    """Return all GPUs that run a kernel, or [cpu()] where there is none.

    Differs from the book: never an empty list (E49), and no GPU that can't work.
    """
    gpus = [mx.gpu(i) for i in range(_num_gpus())]
    return [gpu for gpu in gpus if not fault_of(gpu)] or [mx.cpu()]


def fault_of(device: mx.Context) -> str:
    """Return why `device` can't run a kernel, in a line, or '' where one ran there."""
    if device.device_type == "gpu":
        with suppress(OSError):  # without an answer from the driver, the kernel tells
            gpu = dict(enumerate(cuda.gpus())).get(device.device_id)
            # Not tried: where MXNet can't set a GPU up, it ends the process.
            if gpu and not gpu.has_code:
                return f"MXNet has no code for {gpu.name}"
    try:
        ones = np.ones((2, 3), ctx=device), np.ones((3, 2), ctx=device)
        total = float(np.dot(*ones).sum())
    except mx.base.MXNetError as error:
        return str(error).strip().splitlines()[-1]
    return "" if total == 12 else f"{device} adds twelve ones up to {total}"


def contexts(kind: str, numbers: Sequence[int]) -> List[mx.Context]:
    """Return the devices of a kind, 'cpu' or 'gpu', that have these numbers.

    Raises ValueError naming a GPU that is not there or does not work.
    """
    if kind == "gpu" and max(numbers) >= _num_gpus():
        raise ValueError(
            f"gpu({max(numbers)}) is not here, MXNet sees {_num_gpus()} GPUs: "
            "python -m d2l_recsys doctor tells why"
        )
    devices = [mx.Context(kind, number) for number in numbers]
    for device in devices:
        fault = fault_of(device) if kind == "gpu" else ""
        if fault:
            raise ValueError(
                f"{device} does not work ({fault}): python -m d2l_recsys doctor "
                "tells more"
            )
    return devices


def _num_gpus():
    try:
        return mx.context.num_gpus()
    except mx.base.MXNetError:  # the driver is there and does not answer
        return 0


def devices_of(
    net: gluon.Block, devices: Union[mx.Context, Sequence[mx.Context], None] = None
) -> List[mx.Context]:
    """Return `devices` as a list, or those that `net` was initialised on, if none.

    Raises ValueError for a net without parameters or before ``net.initialize()``.
    """
    if devices:
        return [devices] if isinstance(devices, mx.Context) else list(devices)
    for parameter in net.collect_params().values():
        try:
            return parameter.list_ctx()
        except RuntimeError as error:
            raise ValueError("call net.initialize(ctx=devices) first") from error
    raise ValueError(f"{type(net).__name__} has no parameters to train")


def split_and_load(data: np.ndarray, devices: Sequence[mx.Context]) -> List[np.ndarray]:
    """Cut `data`, of shape (B, ...), along its first axis, a piece for each device.

    No piece is empty: where B is smaller than the number of devices, only the first
    B devices get one. Sizes differ by at most 1.

    Differs from the book: any batch size will do (E12, E34).
    """
    pieces = min(len(data), len(devices))
    if pieces <= 1:
        return [data.as_in_ctx(devices[0])] if pieces else []
    slices = gluon.utils.split_data(data, pieces, even_split=False)
    return [piece.as_in_ctx(device) for piece, device in zip(slices, devices)]


def seed_everything(seed: int) -> None:
    """Seed what a reader's own code may draw from: MXNet, NumPy and Python.

    MXNet's generator initialises parameters and drives dropout, NumPy's shuffles
    gluon's DataLoader. What this package draws itself (splits, batches, negatives) has
    generators of its own, seeded by the ``seed=`` arguments (E52).
    """
    mx.random.seed(seed)
    numpy.random.seed(seed % 2**32)
    random.seed(seed)
