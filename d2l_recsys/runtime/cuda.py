"""Load the CUDA libraries for the wheel mxnet-cu112, and describe the GPUs.

The wheel contains no CUDA libraries, and MXNet only searches the system's folders. So
the libraries from NVIDIA's wheels are loaded first; MXNet then finds them by name in
the process. A library that no wheel contains is loaded from the system.
"""

import ctypes
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

WHEEL, CPU_WHEEL = "mxnet-cu112", "mxnet"
DRIVER = "libcuda.so.1"
# The libraries that MXNet is linked with, each after those it depends on, and their
# folders in the package `nvidia`. The driver's library is in no wheel.
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
    """Load the libraries that the wheel mxnet-cu112 needs, if it is installed.

    Returns {library: reason} for those that cannot be loaded. The result is empty if
    the wheel is not installed, because other wheels need no libraries. A second call
    does nothing.
    """
    missing: Dict[str, str] = {}
    if version_of(WHEEL) is None:
        return missing
    for name, folder in LIBRARIES.items():
        try:
            ctypes.CDLL(_path_of(name, folder), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            missing[name] = str(error)
    return missing


def version_of(distribution: str) -> Optional[str]:
    """Return the version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _path_of(name: str, folder: str) -> str:
    """Return the path of a library in NVIDIA's wheels, or its name if it is in none."""
    nvidia = importlib.util.find_spec("nvidia")
    roots = nvidia.submodule_search_locations if nvidia else None
    paths = [Path(root, folder, "lib", name) for root in roots or []]
    return next((str(path) for path in paths if path.is_file()), name)


def way_out(missing: Dict[str, str]) -> str:
    """Return one line that says what to do about the libraries missing in `load`."""
    steps = []
    if {*missing} - {DRIVER}:
        names = ", ".join(name for name in missing if name != DRIVER)
        steps.append(
            f"{names} cannot be loaded: install the CUDA libraries with pip install "
            "'d2l-recsys[cu112]'"
        )
    if DRIVER in missing:
        steps.append(
            f"NVIDIA's driver ({DRIVER}) cannot be loaded, but the wheel {WHEEL} needs "
            f"it even on the CPU: install the driver, or pip uninstall {WHEEL} and "
            "then pip install 'd2l-recsys[cpu]'"
        )
    return "; ".join(steps)


class Gpu(NamedTuple):
    """A GPU, as described by NVIDIA's driver."""

    name: str
    capability: Tuple[int, int]  # compute capability: major, minor

    @property
    def has_code(self) -> bool:
        """Tell whether mxnet-cu112 has code for this GPU.

        It has machine code for 5.0, 6.0, 7.0, 8.0 and 8.6, which runs on all GPUs of
        the same major version. It has no code that a driver could translate for newer
        GPUs.
        """
        return 5 <= self.capability[0] <= 8


def gpus() -> List[Gpu]:
    """Return the GPUs that NVIDIA's driver shows to this process, ordered by number.

    Raises OSError if there is no driver or a call to it fails.
    """
    driver = ctypes.CDLL(DRIVER)
    count = ctypes.c_int()
    if _call(driver, "cuInit", 0) == _NO_DEVICE:
        return []
    _call(driver, "cuDeviceGetCount", ctypes.byref(count))
    return [_describe(driver, number) for number in range(count.value)]


_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_...


def _describe(driver: ctypes.CDLL, number: int) -> Gpu:
    device, value = ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    _call(driver, "cuDeviceGet", ctypes.byref(device), number)
    _call(driver, "cuDeviceGetName", name, len(name), device)

    def attribute(number: int) -> int:
        _call(driver, "cuDeviceGetAttribute", ctypes.byref(value), number, device)
        return value.value

    capability = attribute(_MAJOR), attribute(_MINOR)
    return Gpu(name.value.decode(errors="replace"), capability)


def _call(driver: ctypes.CDLL, function: str, *arguments: Any) -> int:
    """Call a function of the driver; return 0 or `_NO_DEVICE`, or raise OSError."""
    try:
        code = getattr(driver, function)(*arguments)
    except AttributeError as error:  # the library is only a stub
        raise OSError(str(error)) from error
    if code not in (0, _NO_DEVICE):
        raise OSError(f"{DRIVER}: {function} failed with CUDA error {code}")
    return code
