"""CUDA for the wheel mxnet-cu112: its libraries from NVIDIA's wheels, and the GPUs.

The wheel brings no CUDA library, and MXNet looks for them only where a system keeps
them. What NVIDIA's wheels hold is therefore loaded first, and MXNet then finds each
library by its name in the process. A library that no wheel holds may be the system's.
"""

import ctypes
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

WHEEL = "mxnet-cu112"
DRIVER = "libcuda.so.1"
# What the wheel's MXNet is linked with, in an order in which each finds what it needs,
# and the folder of the package `nvidia` that holds it. No wheel holds the driver's.
LIBRARIES = {
    "libcudart.so.11.0": "cuda_runtime",
    "libnvToolsExt.so.1": "nvtx",
    "libnvrtc.so.11.2": "cuda_nvrtc",
    "libcublas.so.11": "cublas",
    "libcusolver.so.11": "cusolver",
    "libcurand.so.10": "curand",
    "libcufft.so.10": "cufft",
    "libnccl.so.2": "nccl",
    "libcudnn.so.8": "cudnn",
    DRIVER: "",
}


def load() -> Dict[str, str]:
    """Load the libraries that MXNet needs if the wheel mxnet-cu112 is installed.

    Returns those that can't be loaded, with the reason; none where another wheel, which
    needs none, is installed. Loading them again does nothing.
    """
    try:
        importlib.metadata.version(WHEEL)
    except importlib.metadata.PackageNotFoundError:
        return {}
    missing = {}
    for name, folder in LIBRARIES.items():
        try:
            ctypes.CDLL(_place(name, folder), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            missing[name] = str(error)
    return missing


def _place(name, folder):
    """Return the path of a library in NVIDIA's wheels, or else its name."""
    nvidia = importlib.util.find_spec("nvidia")
    roots = nvidia.submodule_search_locations if nvidia else None
    paths = [Path(root, folder, "lib", name) for root in roots or []]
    return next((str(path) for path in paths if path.is_file()), name)


def way_out(missing: Dict[str, str]) -> str:
    """Return a line on what to do about the libraries that `load` found missing."""
    steps = []
    if {*missing} - {DRIVER}:
        names = ", ".join(name for name in missing if name != DRIVER)
        steps.append(
            f"{names} cannot be loaded: pip install 'd2l-recsys[cu112]' brings the "
            "CUDA libraries"
        )
    if DRIVER in missing:
        steps.append(
            f"NVIDIA's driver ({DRIVER}) cannot be loaded, and without it the wheel "
            f"{WHEEL} does not work, not even on the CPU: install the driver, or pip "
            f"uninstall {WHEEL} and then pip install 'd2l-recsys[cpu]'"
        )
    return "; ".join(steps)


class Gpu(NamedTuple):
    """A GPU as NVIDIA's driver describes it."""

    name: str
    capability: Tuple[int, int]  # compute capability: major, minor

    @property
    def has_code(self) -> bool:
        """Tell whether mxnet-cu112 has code for it.

        There is machine code for 5.0, 6.0, 7.0, 8.0 and 8.6, which runs on all of the
        same major number, and none that a driver could translate for newer ones.
        """
        return 5 <= self.capability[0] <= 8


def gpus() -> List[Gpu]:
    """Return the GPUs that NVIDIA's driver shows to this process, by number.

    Raises OSError where there is no driver or it does not answer.
    """
    driver = ctypes.CDLL(DRIVER)
    count = ctypes.c_int()
    if _ask(driver, "cuInit", 0) == _NO_DEVICE:
        return []
    _ask(driver, "cuDeviceGetCount", ctypes.byref(count))
    return [_describe(driver, number) for number in range(count.value)]


_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_...


def _describe(driver, number):
    device, value = ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    _ask(driver, "cuDeviceGet", ctypes.byref(device), number)
    _ask(driver, "cuDeviceGetName", name, len(name), device)
    capability = []
    for attribute in (_MAJOR, _MINOR):
        _ask(driver, "cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
        capability.append(value.value)
    return Gpu(name.value.decode(errors="replace"), tuple(capability))


def _ask(driver, function, *arguments):
    try:
        answer = getattr(driver, function)(*arguments)
    except AttributeError as error:  # a stub of a driver
        raise OSError(str(error)) from error
    if answer not in (0, _NO_DEVICE):
        raise OSError(f"{DRIVER}: {function} failed with CUDA error {answer}")
    return answer
