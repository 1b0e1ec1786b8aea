"""Find devices, split a batch over them, and seed the random generators."""

import random
from contextlib import suppress
from typing import Any, List, Sequence, Union

import numpy

from d2l_recsys.runtime import cuda
from d2l_recsys.runtime.backend import gluon, mx, np

_STATES_APART = 2048  # more than the 1024 states of MXNet's generator


def try_gpu(i: int = 0) -> mx.Context:
    """Return gpu(i) if it exists and can run a kernel, else cpu()."""
    works = i < _num_gpus() and not fault_of(mx.gpu(i))
    return mx.gpu(i) if works else mx.cpu()


def try_all_gpus() -> List[mx.Context]:
    """Return all GPUs that can run a kernel, or [cpu()] if there are none.

    Differs from the book: the list is never empty (E49), and GPUs that do not work are
    left out.
    """
    gpus = [mx.gpu(i) for i in range(_num_gpus())]
    return [gpu for gpu in gpus if not fault_of(gpu)] or [mx.cpu()]


def fault_of(device: mx.Context) -> str:
    """Run a kernel on `device`; return the reason if that fails, else an empty text."""
    if device.device_type == "gpu":
        with suppress(OSError):  # without a driver, the kernel below fails
            gpu = dict(enumerate(cuda.gpus())).get(device.device_id)
            # Do not try: MXNet ends the process if it cannot initialize a GPU.
            if gpu and not gpu.has_code:
                return f"MXNet has no code for {gpu.name}"
    try:
        ones = np.ones((2, 3), ctx=device), np.ones((3, 2), ctx=device)
        total = float(np.dot(*ones).sum())
    except mx.base.MXNetError as error:
        return str(error).strip().splitlines()[-1]
    return "" if total == 12 else f"{device} computes {total:g} instead of 12"


def contexts(kind: str, numbers: Sequence[int]) -> List[mx.Context]:
    """Return the devices of the kind 'cpu' or 'gpu' with these numbers.

    Raises a ValueError that names a GPU that does not exist or does not work.
    """
    if kind == "gpu" and max(numbers) >= _num_gpus():
        raise ValueError(
            f"gpu({max(numbers)}) does not exist, MXNet finds {_num_gpus()} GPUs: "
            "run python -m d2l_recsys doctor for the reason"
        )
    devices = [mx.Context(kind, number) for number in numbers]
    for device in devices:
        fault = fault_of(device) if kind == "gpu" else ""
        if fault:
            raise ValueError(
                f"{device} does not work ({fault}): run python -m d2l_recsys doctor "
                "for details"
            )
    return devices


def _num_gpus() -> int:
    try:
        return mx.context.num_gpus()
    except mx.base.MXNetError:  # the driver is installed, but a call to it fails
        return 0


def devices_of(
    net: gluon.Block, devices: Union[mx.Context, Sequence[mx.Context], None] = None
) -> List[mx.Context]:
    """Return `devices` as a list; by default, the devices that `net` is on.

    Raises ValueError if the net is not initialized, or not on one of `devices`, or if
    it has no parameters and `devices` is not given.
    """
    own = _devices_with(net)
    if not devices:
        if not own:
            raise ValueError(f"{type(net).__name__} has no parameters to train")
        return own
    devices = [devices] if isinstance(devices, mx.Context) else devices
    advice = "devices must be a list such as [mx.cpu()]"
    try:
        devices = list(devices)
    except TypeError:
        raise ValueError(f"{advice}, not {devices!r}") from None
    for device in devices:
        if not isinstance(device, mx.Context):
            raise ValueError(f"{advice}, but it has {device!r}")
        if own and device not in own:
            raise elsewhere(own, device)
    return devices


def elsewhere(own: Any, wanted: Any) -> ValueError:
    """Return the error that a net is on the devices `own`, not on the wanted ones."""
    way_out = "net.collect_params().reset_ctx(devices)"
    return ValueError(f"the net is on {own}, not on {wanted}: {way_out}")


def _devices_with(net: gluon.Block) -> List[mx.Context]:
    """Return the devices of the first parameter, or an empty list without one."""
    if not isinstance(net, gluon.Block):  # a function will do, if devices are given
        return []
    for parameter in net.collect_params().values():
        try:
            return parameter.list_ctx()
        except RuntimeError as error:
            raise ValueError("call net.initialize(ctx=devices) first") from error
    return []


def split(data: Any, most: int) -> List[Any]:
    """Split an array (B, ...) of MXNet or NumPy along its first axis.

    There are `most` pieces or, if B is smaller, B, so that no piece is empty. Their
    sizes differ by at most 1.
    """
    rows = len(data)
    pieces = min(rows, most)
    if pieces == 1:
        return [data]
    bounds = [-(-rows * k // pieces) for k in range(pieces + 1)] if pieces else []
    return [data[start:end] for start, end in zip(bounds, bounds[1:])]


def split_and_load(data: np.ndarray, devices: Sequence[mx.Context]) -> List[np.ndarray]:
    """Split `data`, of shape (B, ...), along its first axis: one piece per device.

    The sizes of the pieces differ by at most 1. No piece is empty: if B is smaller than
    the number of devices, only the first B devices get a piece.

    Differs from the book: any batch size is allowed (E12, E34).
    """
    pieces = split(data, len(devices))
    return [piece.as_in_ctx(device) for piece, device in zip(pieces, devices)]


def mxnet_seed(seed: int, number: int) -> int:
    """Return a seed for MXNet's generator, far from those of other numbers.

    MXNet seeds its 1024 states with 127 * seed + k, for k from 0 and modulo 2**32. If
    two of its seeds are close, they share states, and initial parameters and dropout
    masks repeat, moved by some places. The results for up to two million different
    numbers share no state. `seed` may be any integer.
    """
    first = int(numpy.random.SeedSequence(seed % 2**64).generate_state(1)[0])
    state = first + number * _STATES_APART
    return state * pow(127, -1, 2**32) % 2**32


def seed_everything(seed: int) -> None:
    """Seed the global random generators of MXNet, NumPy and Python.

    MXNet's generator initializes parameters and draws dropout masks. NumPy's shuffles
    the rows of Gluon's DataLoader. The draws of this package (splits, batches and
    negatives) use their own generators, seeded by the ``seed=`` arguments (E52). The
    seed that MXNet gets is not `seed`, but :func:`mxnet_seed` of it.
    """
    mx.random.seed(mxnet_seed(seed, 0))
    numpy.random.seed(seed % 2**32)
    random.seed(seed)
