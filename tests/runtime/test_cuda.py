"""CUDA's libraries and the driver, with the real wheels if they are installed.

Otherwise the tests compile small libraries of the same names, and a stub driver that
shows GPUs.
"""

import ctypes
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from d2l_recsys.runtime import cuda

ROOT = Path(__file__).parents[2]
try:
    importlib.metadata.version(cuda.WHEEL)
    HAVE_WHEELS = True
except importlib.metadata.PackageNotFoundError:
    HAVE_WHEELS = False
needs_wheels = pytest.mark.skipif(
    not HAVE_WHEELS, reason="the wheels of requirements-cu112.txt are not installed"
)
no_wheels = pytest.mark.skipif(HAVE_WHEELS, reason="the real wheels are installed")


@pytest.fixture(autouse=True)
def _seeds():
    """Replace the fixture of conftest.py, because MXNet may fail to load here."""


def python(code, path="", **environment):
    """Run code in a new process, with an empty LD_LIBRARY_PATH by default."""
    environment.setdefault("LD_LIBRARY_PATH", "")
    environment["PYTHONPATH"] = os.pathsep.join([str(path), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **{k: str(v) for k, v in environment.items()}},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def output(*args, **kwargs):
    result = python(*args, **kwargs)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


LOAD = "from d2l_recsys.runtime import cuda; print(*cuda.load()); "
# Print the linker's error for libmxnet.so, the first library that mxnet loads.
LINK = """
import ctypes, importlib.util, pathlib
home = pathlib.Path(importlib.util.find_spec("mxnet").origin).parent
try:
    ctypes.CDLL(str(home / "libmxnet.so"))
except OSError as error:
    print(error)
"""


@needs_wheels
def test_the_wheels_hold_all_but_the_driver():
    before = output(LINK)
    assert not before.startswith(cuda.DRIVER), "another library is missing first"
    missing, *after = output(LOAD + LINK).splitlines() or [""]
    assert missing in ("", cuda.DRIVER)
    assert len(after) == bool(missing)
    assert all(line.startswith(f"{cuda.DRIVER}: cannot open") for line in after)


@needs_wheels
@pytest.mark.skipif(not shutil.which("ldd"), reason="ldd is not installed")
def test_the_list_is_what_mxnet_is_linked_with():
    library = Path(importlib.metadata.distribution(cuda.WHEEL).locate_file("mxnet"))
    environment = {**os.environ, "LD_LIBRARY_PATH": ""}
    run = ["ldd", library / "libmxnet.so"]
    lines = subprocess.check_output(run, env=environment, text=True).splitlines()
    named = {line.split()[0] for line in lines}
    not_found = {line.split()[0] for line in lines if "not found" in line}
    assert not_found <= {*cuda.LIBRARIES} <= named


@needs_wheels
def test_the_libraries_find_the_parts_that_they_load_later():
    code = """
import ctypes
rtc = ctypes.CDLL("libnvrtc.so.11.2")
program, kernel = ctypes.c_void_p(), b"__global__ void f(float *x) { *x = 1; }"
rtc.nvrtcCreateProgram(ctypes.byref(program), kernel, b"f.cu", 0, None, None)
print(rtc.nvrtcCompileProgram(program, 0, None))
cudnn = ctypes.CDLL("libcudnn.so.8")
cudnn.cudnnCreate(ctypes.byref(ctypes.c_void_p()))
print("/nvidia/cudnn/lib/libcudnn_ops_infer.so.8" in open("/proc/self/maps").read())
"""
    assert output(LOAD + code).splitlines()[1:] == ["0", "True"]


@needs_wheels
def test_with_a_driver_mxnet_trains_on_the_cpu(driver):
    code = """
from d2l_recsys.runtime.backend import autograd, gluon, mx, np
from d2l_recsys.runtime.devices import try_all_gpus
assert mx.runtime.Features().is_enabled("CUDA")
net = gluon.nn.Dense(1)
net.initialize(ctx=mx.cpu())
trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.1})
losses = []
for _ in range(20):
    with autograd.record():
        loss = (net(np.ones((4, 3))) - 2) ** 2
    loss.backward()
    trainer.step(4)
    losses.append(float(loss.mean()))
assert losses[-1] < losses[0] / 2, losses
print(*try_all_gpus())
"""
    assert output(code, LD_LIBRARY_PATH=driver) == "cpu(0)"


@needs_wheels
def test_without_a_driver_one_line_names_the_way_out():
    result = python("import d2l_recsys.mf")
    if not result.returncode:
        pytest.skip("this machine has NVIDIA's driver")
    assert result.stderr.strip().splitlines()[-1] == (
        "ImportError: MXNet does not load: NVIDIA's driver (libcuda.so.1) cannot be "
        "loaded, but the wheel mxnet-cu112 needs it even on the CPU: install the "
        "driver, or pip uninstall mxnet-cu112 and then pip install 'd2l-recsys[cpu]'"
    )


@no_wheels
def test_nothing_is_loaded_for_another_wheel():
    assert cuda.load() == {}


@pytest.fixture
def wheels(tmp_path, compile_library):
    """Return a folder with small stand-ins for the files of the wheels."""
    info = tmp_path / "mxnet_cu112-1.9.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: mxnet-cu112\nVersion: 1.9.1\n")
    for name, folder in cuda.LIBRARIES.items():
        if folder:
            path = tmp_path / "nvidia" / folder / "lib" / name
            path.parent.mkdir(parents=True)
            # Some libraries depend on others, which must be loaded first.
            others = {"cusolver": ["cublas"], "cudnn": ["cublas"]}.get(folder, [])
            needed = [next(tmp_path.glob(f"nvidia/{o}/lib/*")) for o in others]
            compile_library(path, os.devnull, *needed)
    (tmp_path / "mxnet").mkdir()
    (tmp_path / "mxnet" / "__init__.py").write_text(
        f"import ctypes\nfor name in {[*cuda.LIBRARIES]}:\n    ctypes.CDLL(name)\n"
    )
    return tmp_path


@no_wheels
def test_libraries_are_loaded_before_mxnet_asks_for_them(wheels, driver):
    code = "import os; print('nvidia' in open('/proc/self/maps').read()); "
    code += LOAD + "import mxnet"
    assert output(code, wheels, LD_LIBRARY_PATH=driver) == "False"
    alone = python("import mxnet", wheels, LD_LIBRARY_PATH=driver)
    assert "libcudart.so.11.0: cannot open shared object file" in alone.stderr


@no_wheels
def test_all_that_is_missing_is_named_with_the_way_out(wheels):
    (wheels / "nvidia/cufft/lib/libcufft.so.10").unlink()
    (wheels / "nvidia/nccl/lib/libnccl.so.2").write_text("half a download")
    code = (
        "from d2l_recsys.runtime import cuda; print(*cuda.load().values(), sep='\\n')"
    )
    cufft, nccl, *_ = output(code, wheels).splitlines()
    assert cufft.startswith("libcufft.so.10: cannot open shared object file")
    assert re.match(r"/.*/libnccl.so.2: file too short|.*invalid ELF header", nccl)
    result = python("import d2l_recsys.mf", wheels)
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith(
        "ImportError: MXNet does not load: libcufft.so.10, libnccl.so.2 cannot be "
        "loaded: install the CUDA libraries with pip install 'd2l-recsys[cu112]'; "
        "NVIDIA's driver"
    )


@no_wheels
def test_a_library_may_be_the_systems(wheels, driver):
    system = wheels / "system"
    (wheels / "nvidia/curand/lib").rename(system)
    assert output(LOAD, wheels, LD_LIBRARY_PATH=driver) == "libcurand.so.10"
    both = f"{driver}:{system}"
    assert output(LOAD, wheels, LD_LIBRARY_PATH=both) == ""


GPUS = """
from d2l_recsys.runtime import cuda
print([(*gpu, gpu.has_code) for gpu in cuda.gpus()])
"""


@pytest.mark.parametrize(
    ("capability", "has_code"),
    [
        ((3, 7), False),
        ((5, 0), True),
        ((6, 1), True),
        ((7, 5), True),
        ((8, 6), True),
        ((8, 9), True),
        ((9, 0), False),
    ],
)
def test_the_driver_is_asked_for_the_gpus(driver, capability, has_code):
    # A second GPU shows that the numbers are passed on.
    shown = "70" + "".join(map(str, capability))
    expected = [("Stub 0", (7, 0), True), ("Stub 1", capability, has_code)]
    answer = output(GPUS, LD_LIBRARY_PATH=driver, STUB_GPUS=shown)
    assert answer == str(expected)


def test_a_driver_without_a_gpu(driver):
    assert output(GPUS, LD_LIBRARY_PATH=driver) == "[]"


def test_a_driver_that_does_not_answer(driver, tmp_path, compile_library):
    result = python(GPUS, LD_LIBRARY_PATH=driver, STUB_ERROR=803)
    last = result.stderr.strip().splitlines()[-1]
    assert last == "OSError: libcuda.so.1: cuInit failed with CUDA error 803"
    compile_library(tmp_path / cuda.DRIVER, os.devnull)
    last = python(GPUS, LD_LIBRARY_PATH=tmp_path).stderr.strip().splitlines()[-1]
    assert re.match("OSError: .*undefined symbol: cuInit", last)


def test_no_driver():
    try:
        ctypes.CDLL(cuda.DRIVER)
    except OSError:
        with pytest.raises(OSError, match=r"libcuda\.so\.1: cannot open"):
            cuda.gpus()
    else:
        assert isinstance(cuda.gpus(), list)


def pins(name):
    text = (ROOT / name).read_text()
    return {*re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE)}


def test_both_files_of_pins_agree_but_for_mxnet_and_cuda():
    cpu, gpu = pins("requirements.txt"), pins("requirements-cu112.txt")
    assert {name for name, _ in cpu - gpu} == {"mxnet"}
    libraries = {name for name, _ in gpu - cpu} - {cuda.WHEEL}
    assert len(libraries) == len(cuda.LIBRARIES) - 1
    assert all(re.fullmatch("nvidia-[a-z]+(-[a-z]+)?-cu11", name) for name in libraries)
