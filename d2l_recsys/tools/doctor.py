"""Check what works on this machine: ``python -m d2l_recsys doctor``.

It checks Python, NumPy, MXNet's wheel, the CUDA libraries, Numba, the driver, the GPUs
and the data, and runs a kernel on each device. It works even if none of these do.

The exit code is 0 if what was asked for works (MXNet on the CPU, unless an option says
otherwise), 1 if not, and 2 for a wrong option.
"""

import argparse
import os
import platform
import subprocess
import sys
import sysconfig
from typing import Dict, Iterator, List, Optional, Tuple

from d2l_recsys.runtime import compat, cuda
from d2l_recsys.tools.command_line import Parser, read_devices

DATA = ("ml-100k", "ctr", "criteo", "avazu")
LARGER = ("ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m", "ml-latest-small")
OK, NOTE, FAULT = "ok", "note", "FAULT"
Finding = Tuple[str, str]  # one of the three, and a line of text
# MXNet is tried in a process of its own, because it may end or hang the one it is in.
_TRY = """
import sys
from d2l_recsys.runtime.devices import fault_of, mx
sys.exit(fault_of(mx.Context(sys.argv[1], int(sys.argv[2]))) or 0)
"""
_TRY_SECONDS = 120


def main(arguments: List[str]) -> int:
    """Print the report and return the exit code."""
    options = _options(arguments)
    kind, numbers = options.devices
    versions = {w: cuda.version_of(w) for w in (cuda.CPU_WHEEL, cuda.WHEEL)}
    wheels = {wheel: version for wheel, version in versions.items() if version}
    faults = 0
    for look in (
        _look_at_python(),
        _look_at_wheels(wheels),
        _look_at_order(wheels),
        _look_at_libraries(wheels),
        _look_at_cpus(numbers if kind == "cpu" else [0]),
        _look_at_numba(),
        _look_at_gpus(numbers if kind == "gpu" else [], wheels),
        _look_at_data(options.data),
    ):
        for mark, text in look:
            faults += mark == FAULT
            print(f"{mark:5}  {text}", flush=True)
    if faults:
        print("What you asked for does not work here: see each FAULT above.")
    else:
        print("What you asked for works here.")
    return int(faults > 0)


def _options(arguments):
    parser = Parser(
        prog="python -m d2l_recsys doctor",
        description="Check what works on this machine.",
        epilog="The exit code is 0 if what you asked for works, and 1 if not.",
    )
    parser.add_argument(
        "--devices",
        type=_devices,
        default="cpu",
        help="devices that must work: cpu, cpu:2, gpu or gpu:0,1 (default: cpu)",
    )
    parser.add_argument(
        "--data", choices=(*DATA, *LARGER), help="data set that must be available"
    )
    return parser.parse_args(arguments)


def _devices(text):
    try:
        return read_devices(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _look_at_python() -> Iterator[Finding]:
    python, numpy = f"Python {platform.python_version()}", cuda.version_of("numpy")
    fault = compat.fault_of_python()
    yield (FAULT, f"{python}: {fault}") if fault else (OK, python)
    fault = compat.fault_of_numpy(numpy or "3")
    if fault:
        what = f"NumPy {numpy}" if numpy else "NumPy is not installed"
        yield FAULT, f"{what}: {fault}"
    else:
        yield OK, f"NumPy {numpy}"


def _look_at_order(wheels) -> Iterator[Finding]:
    """Tell whether ``import mxnet`` works before the import of this package."""
    numpy = cuda.version_of("numpy")
    if not wheels or numpy is None or not compat.is_needed(numpy):
        return
    look = f"import sys; sys.exit({compat.__name__!r} not in sys.modules)"
    if subprocess.run([sys.executable, "-c", look], check=False).returncode:
        yield (
            NOTE,
            "import d2l_recsys before mxnet: with this Python and NumPy, MXNet 1.9.1 "
            "cannot be imported by itself. Or add that line to the environment once: "
            f"echo import d2l_recsys > {sysconfig.get_path('purelib')}/d2l-recsys.pth",
        )
    else:
        yield OK, "import mxnet works by itself: a .pth file imports d2l_recsys"


def _look_at_wheels(wheels: Dict[str, str]) -> Iterator[Finding]:
    if len(wheels) == 2:
        yield (
            FAULT,
            "the wheels mxnet and mxnet-cu112 are both installed, one over the other: "
            "pip uninstall both, then install one of them",
        )
    for wheel, version in wheels.items():
        what_for = "CPU" if wheel == cuda.CPU_WHEEL else "CPU and NVIDIA's GPUs"
        yield OK, f"MXNet {version}, from the wheel {wheel} ({what_for})"
    if not wheels:
        yield NOTE, f"no wheel of MXNet is installed: {compat.how_to_install()}"


def _look_at_libraries(wheels) -> Iterator[Finding]:
    if cuda.WHEEL not in wheels:
        return
    missing = cuda.load()
    found = [name for name in cuda.LIBRARIES if name not in missing]
    if found:
        yield OK, f"CUDA libraries found: {', '.join(found)}"
    for name, reason in missing.items():
        reason = reason.replace(f"{name}: ", "", 1)
        yield FAULT, f"CUDA library missing: {name} ({reason})"


def _look_at_cpus(numbers: List[int]) -> Iterator[Finding]:
    for number in numbers:
        yield _try("cpu", number, FAULT)


def _look_at_numba() -> Iterator[Finding]:
    try:
        import numba
    except Exception as error:  # whatever fails in a broken environment
        yield NOTE, f"without Numba, large nets take longer to train: {error}"
    else:
        yield OK, f"Numba {numba.__version__}"


def _look_at_gpus(asked: List[int], wheels) -> Iterator[Finding]:
    try:
        gpus = cuda.gpus()
    except OSError as error:
        yield (
            FAULT if asked else NOTE,
            f"no GPU: NVIDIA's driver does not answer ({error}): install it, or use "
            "--devices cpu",
        )
        return
    for number, gpu in enumerate(gpus):
        otherwise = FAULT if number in asked else NOTE
        yield _look_at_gpu(number, gpu, otherwise, wheels)
    for number in asked:
        if number >= len(gpus):
            yield FAULT, f"gpu({number}): the driver shows {_count(gpus)}"
    if not gpus and not asked:
        yield NOTE, f"the driver shows {_count(gpus)}"


def _count(gpus):
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = "" if visible is None else f" (CUDA_VISIBLE_DEVICES is {visible!r})"
    return f"{len(gpus) or 'no'} GPU{'s' * (len(gpus) != 1)}{hidden}"


def _look_at_gpu(number, gpu: cuda.Gpu, otherwise, wheels) -> Finding:
    capability = ".".join(map(str, gpu.capability))
    card = f"gpu({number}) is {gpu.name}, compute capability {capability}"
    if not gpu.has_code:
        return otherwise, (
            f"{card}: MXNet 1.9.1 has code for 5.0 to 8.9 only and cannot use it; "
            "the CPU works: --devices cpu"
        )
    if cuda.WHEEL not in wheels:
        return otherwise, (
            f"{card}: MXNet has code for it in the wheel {cuda.WHEEL}, which is not "
            "installed: pip uninstall mxnet, then pip install 'd2l-recsys[cu112]'"
        )
    mark, text = _try("gpu", number, otherwise)
    return mark, f"{card}: MXNet has code for it; {text}"


def _try(kind, number, otherwise) -> Finding:
    """Run a kernel on a device, in a process of its own."""
    device = f"{kind}({number})"
    try:
        result = subprocess.run(
            [sys.executable, "-c", _TRY, kind, str(number)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=_TRY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return otherwise, f"{device} did not finish a kernel in {_TRY_SECONDS} seconds"
    if result.returncode == 0:
        return OK, f"{device} runs MXNet's kernels"
    # An exception's last line tells what it is; a crash prints anything, or nothing.
    reason = (result.stderr.strip().splitlines() or [""])[-1]
    if result.returncode != 1:
        reason = f"it ended the process with code {result.returncode}; {reason}"
    return otherwise, f"{device} runs no kernel of MXNet: {reason}"


def _look_at_data(asked: Optional[str]) -> Iterator[Finding]:
    place = os.environ.get("D2L_RECSYS_DATA")
    if place and not os.path.isdir(place):  # every script ends with that
        yield FAULT, f"data: D2L_RECSYS_DATA names {place!r}, which is not a folder"
        return
    for name in (*DATA, *LARGER):
        otherwise = FAULT if name == asked else NOTE
        try:
            from d2l_recsys.data import catalog  # needs NumPy and pooch

            folder = catalog.find(name)
        except (ImportError, OSError, ValueError) as error:
            yield otherwise, f"data {name}: cannot be searched for: {error}"
            continue
        if folder:
            yield OK, f"data {name}: in {folder}"
            continue
        source = catalog.DATASETS[name]
        if name in DATA or name == asked:
            yield (
                otherwise,
                f"data {name}: not here: {catalog.looked_for(name)}; {_origin(source)}",
            )


def _origin(source):
    if hasattr(source, "url"):
        return (
            f"scripts download it from {source.url} when they first need it, or set "
            "D2L_RECSYS_DATA to a folder that holds it"
        )
    return (
        f"get it from {source.origin} and set D2L_RECSYS_DATA to the folder "
        "that holds it"
    )
