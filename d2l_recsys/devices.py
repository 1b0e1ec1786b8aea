"""Devices: finding them, spreading a batch over them, seeding what runs on them."""

import random
from typing import List, Sequence

import numpy

from d2l_recsys.backend import gluon, mx, np


def try_gpu(i: int = 0) -> mx.Context:
    """Return gpu(i) if it is there, else cpu()."""
    return mx.gpu(i) if mx.context.num_gpus() > i else mx.cpu()


def try_all_gpus() -> List[mx.Context]:
    """Return all GPUs, or [cpu()] where there is none.

    Differs from the book: never an empty list (E49).
    """
    return [mx.gpu(i) for i in range(mx.context.num_gpus())] or [mx.cpu()]


def devices_of(net: gluon.Block) -> List[mx.Context]:
    """Return the devices on which the parameters of `net` were initialised.

    Raises ValueError for a net without parameters or before ``net.initialize()``.
    """
    for parameter in net.collect_params().values():
        try:
            return parameter.list_ctx()
        except RuntimeError as error:
            raise ValueError("call net.initialize(ctx=devices) first") from error
    raise ValueError(f"{type(net).__name__} has no parameters to train")


def split_and_load(data: np.ndarray, devices: Sequence[mx.Context]) -> List[np.ndarray]:
    """Cut `data`, of shape (B, ...), along its first axis, a piece for each device.

    No piece is empty: where B is smaller than the number of devices, only the first
    B devices get one. Sizes differ by less than the number of devices.

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
