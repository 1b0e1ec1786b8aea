"""The doctor, on machines that work and on ones where this or that does not."""

import importlib.metadata
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from d2l_recsys.data import catalog
from d2l_recsys.runtime import cuda
from d2l_recsys.tools import doctor

ROOT = Path(__file__).parents[2]
mxnet_works = pytest.mark.skipif(
    bool(cuda.load()), reason="MXNet can't be loaded without NVIDIA's driver"
)


@pytest.fixture(autouse=True)
def _seeds():
    """Seed nothing: without a driver MXNet can't be loaded here."""


def consult(*options, path="", executable=sys.executable, **environment):
    environment["PYTHONPATH"] = os.pathsep.join([str(path), str(ROOT)])
    return subprocess.run(
        [executable, "-m", "d2l_recsys", "doctor", *options],
        env={**os.environ, **{k: str(v) for k, v in environment.items()}},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def lines(result, code):
    """Return the lines of the report, which has to end with this exit code."""
    assert (result.returncode, result.stderr) == (code, "")
    *report, verdict = result.stdout.splitlines()
    works = "does not work" if code else "works"
    assert verdict.startswith(f"What you asked for {works} here")
    assert any(line.startswith("FAULT") for line in report) == bool(code)
    return report


def install(folder, name, version):
    """Have Python believe that pip installed a distribution."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")


def break_mxnet(folder, code):
    (folder / "mxnet").mkdir()
    (folder / "mxnet" / "__init__.py").write_text(code)


@mxnet_works
def test_a_machine_that_works(book_data):
    report = lines(consult("--devices", "cpu:2", "--data", "ml-100k"), 0)
    version = importlib.metadata.version
    assert report[1] == f"ok     NumPy {version('numpy')}"
    assert report[2].startswith("ok     MXNet 1.9.1, from the wheel mxnet")
    assert "ok     cpu(0) runs MXNet's kernels" in report
    assert "ok     cpu(1) runs MXNet's kernels" in report
    assert f"ok     data ml-100k: in {book_data / 'ml-100k'}" in report


@mxnet_works
@pytest.mark.usefixtures("empty_cache")
def test_data_that_is_not_here_is_a_fault_where_it_is_asked_for():
    notes = [line for line in lines(consult(), 0) if line.startswith("note   data")]
    assert len(notes) == len(doctor.DATA)
    for name in ("ml-100k", "avazu", "ml-1m"):
        report = lines(consult("--data", name), 1)
        (fault,) = [line for line in report if line.startswith("FAULT")]
        assert fault.startswith(f"FAULT  data {name}: not here: ")
        assert "D2L_RECSYS_DATA" in fault
        assert "://" in fault


@mxnet_works
def test_a_folder_that_is_none_is_said_to_be_none(tmp_path):
    """Every script would fail, so that it is a fault whatever is asked for."""
    for asked in ([], ["--data", "ctr"]):
        report = lines(consult(*asked, D2L_RECSYS_DATA=tmp_path / "nowhere"), 1)
        (fault,) = [line for line in report if line.startswith("FAULT")]
        place = str(tmp_path / "nowhere")
        assert fault == (
            f"FAULT  data: D2L_RECSYS_DATA names {place!r}, which is not a folder"
        )


@mxnet_works
def test_an_archive_that_is_damaged_is_a_fault_where_it_is_asked_for(tmp_path):
    (tmp_path / "ml-10m.zip").write_bytes(b"no zip")
    for asked, mark, code in (([], "note ", 0), (["--data", "ml-10m"], "FAULT", 1)):
        report = lines(consult(*asked, D2L_RECSYS_DATA=tmp_path), code)
        (line,) = [line for line in report if "ml-10m" in line]
        assert line.startswith(f"{mark}  data ml-10m: cannot be searched for: ")
        assert "is not the published archive" in line


def test_the_data_that_is_looked_for_is_all_that_is_not_made_up():
    real = [
        name
        for name, source in catalog.DATASETS.items()
        if not isinstance(source, catalog.Generated)
    ]
    assert {*doctor.DATA, *doctor.LARGER} == {*real}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--devices", "tpu"], "argument --devices: 'tpu' is neither cpu, cpu:N"),
        (["--devices", "gpu:0,0"], "argument --devices: 'gpu:0,0' is neither"),
        (["--data", "netflix"], "argument --data: invalid choice: 'netflix'"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_wrong_options(options, message):
    result = consult(*options)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"python -m d2l_recsys doctor: error: {message}")


def test_where_nothing_is_installed(tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    report = lines(consult(executable=tmp_path / "bare/bin/python"), 1)
    assert report[1] == (
        "FAULT  NumPy is not installed: MXNet 1.9.1 works with NumPy 1.23 to 2.x: "
        "pip install 'numpy<3'"
    )
    assert report[2].startswith("note   no wheel of MXNet is installed: pip install")
    assert report[3] == (
        "FAULT  cpu(0) runs no kernel of MXNet: ModuleNotFoundError: No module named "
        "'numpy'"
    )


@pytest.mark.parametrize(
    ("version", "fits"),
    [((3, 7), False), ((3, 8), True), ((3, 13, 9), True), ((3, 14), False)],
)
def test_the_python_that_mxnet_runs_on(monkeypatch, version, fits):
    monkeypatch.setattr(sys, "version_info", version)
    mark, text = next(doctor._look_at_python())
    assert mark == (doctor.OK if fits else doctor.FAULT)
    assert ("MXNet 1.9.1 works with Python 3.8 to 3.13, not with 3." in text) != fits


@pytest.mark.parametrize(
    ("version", "fault"),
    [("1.26.4", ""), ("2.9.0", ""), ("3.0.0rc1", "up to 2.x")],
)
def test_the_numpy_that_mxnet_works_with(tmp_path, version, fault):
    install(tmp_path, "numpy", version)
    break_mxnet(tmp_path, "raise AttributeError('no name')")
    report = lines(consult(path=tmp_path), 1)
    mark = "FAULT" if fault else "ok   "
    assert report[1].startswith(f"{mark}  NumPy {version}")
    numpy = importlib.metadata.version("numpy")  # the one that is really there
    assert (
        "FAULT  cpu(0) runs no kernel of MXNet: ImportError: MXNet 1.9.1 does not "
        f"import with NumPy {numpy} (no name): pip install 'numpy<2.6'"
    ) in report


@pytest.mark.parametrize("hung", [True, False])
def test_an_environment_in_which_mxnet_does_not_import_by_itself(tmp_path, hung):
    venv.create(tmp_path / "bare", with_pip=False)
    (packages,) = (tmp_path / "bare").glob("lib/python*/site-packages")
    install(packages, "numpy", "1.26.4")
    install(packages, "mxnet", "1.9.1")
    if hung:
        (packages / "d2l-recsys.pth").write_text("import d2l_recsys\n")
    report = lines(consult(executable=tmp_path / "bare/bin/python"), 1)
    if hung:
        assert report[3] == (
            "ok     import mxnet works by itself: a .pth file imports d2l_recsys"
        )
    else:
        assert report[3].startswith("note   import d2l_recsys before mxnet: ")
        command = report[3].split("once: ")[1]
        subprocess.run(command, shell=True, check=True)
        assert (packages / "d2l-recsys.pth").read_text() == "import d2l_recsys\n"


def test_both_wheels_are_one_too_many(tmp_path):
    install(tmp_path, "mxnet", "1.9.1")
    install(tmp_path, "mxnet-cu112", "1.9.1")
    report = lines(consult(path=tmp_path), 1)
    assert report[2].startswith("FAULT  the wheels mxnet and mxnet-cu112 are both")


def test_libraries_that_are_missing(tmp_path):
    install(tmp_path, "mxnet-cu112", "1.9.1")
    break_mxnet(tmp_path, "import ctypes; ctypes.CDLL('libcuda.so.1')")
    (tmp_path / "nvidia").mkdir()  # in front of the real ones
    (tmp_path / "nvidia" / "__init__.py").write_text("")
    report = lines(consult(path=tmp_path, LD_LIBRARY_PATH=""), 1)
    for name in {*cuda.LIBRARIES} - {cuda.DRIVER}:
        assert (
            f"FAULT  CUDA library missing: {name} (cannot open shared object file: No "
            "such file or directory)"
        ) in report


def test_an_mxnet_that_ends_the_process(tmp_path):
    break_mxnet(tmp_path, "import os; os.abort()")
    report = lines(consult(path=tmp_path), 1)
    text = "FAULT  cpu(0) runs no kernel of MXNet: it ended the process with code -6"
    assert any(line.startswith(text) for line in report)


def test_an_mxnet_that_hangs(tmp_path, monkeypatch):
    break_mxnet(tmp_path, "import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    monkeypatch.setattr(doctor, "_TRY_SECONDS", 1)
    assert doctor._try("cpu", 0, doctor.NOTE) == (
        doctor.NOTE,
        "cpu(0) did not finish a kernel in 1 seconds",
    )


def gpus(driver, asked, shown):
    """Return the exit code and the lines on GPUs that the driver shows."""
    result = consult("--devices", asked, LD_LIBRARY_PATH=driver, STUB_GPUS=shown)
    report = lines(result, result.returncode)
    return result.returncode, [line for line in report if "gpu(" in line]


def test_gpus_that_mxnet_has_no_code_for(driver):
    text = "MXNet 1.9.1 has code for 5.0 to 8.9 only and cannot use it; the CPU works"
    code, (first, second) = gpus(driver, "cpu", "3790")
    assert code == 0
    assert first.startswith(f"note   gpu(0) is Stub 0, compute capability 3.7: {text}")
    assert second.startswith(f"note   gpu(1) is Stub 1, compute capability 9.0: {text}")
    code, (first, second) = gpus(driver, "gpu:1", "3790")
    assert code == 1
    assert first.startswith("note   gpu(0)")
    assert second.startswith(f"FAULT  gpu(1) is Stub 1, compute capability 9.0: {text}")


def test_a_gpu_that_mxnet_has_code_for(driver):
    code, (line,) = gpus(driver, "gpu", "86")
    assert code == 1
    assert line.startswith("FAULT  gpu(0) is Stub 0, compute capability 8.6: MXNet has")
    if cuda.version_of(cuda.WHEEL):  # then it was tried
        assert "MXNet has code for it; gpu(0) runs no kernel of MXNet: " in line
        assert "GPU usage requires at least 1 GPU" in line
    else:
        assert line.endswith("pip install 'd2l-recsys[cu112]'")


def test_a_gpu_that_is_not_there(driver):
    code, (_, line) = gpus(driver, "gpu:0,2", "90")
    assert (code, line) == (1, "FAULT  gpu(2): the driver shows 1 GPU")
    code, report = gpus(driver, "gpu", "")
    assert (code, report) == (1, ["FAULT  gpu(0): the driver shows no GPUs"])


def test_gpus_that_the_environment_hides(driver):
    environment = {"LD_LIBRARY_PATH": driver, "CUDA_VISIBLE_DEVICES": ""}
    report = lines(consult(**environment), 0)
    assert "note   the driver shows no GPUs (CUDA_VISIBLE_DEVICES is '')" in report


@mxnet_works
def test_a_driver_that_does_not_answer(driver):
    stub = {"LD_LIBRARY_PATH": driver, "STUB_ERROR": "999"}
    report = lines(consult("--devices", "gpu", **stub), 1)
    (fault,) = [line for line in report if line.startswith("FAULT")]
    assert fault == (
        "FAULT  no GPU: NVIDIA's driver does not answer (libcuda.so.1: cuInit "
        "failed with CUDA error 999): install it, or use --devices cpu"
    )


@pytest.mark.parametrize("command", ["doctor", "--help", "recommend --help"])
def test_nobody_reads_the_report_any_more(command):
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-m", "d2l_recsys", *command.split()],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": ""},  # written at the exit
    )
    os.close(writer)
    assert (result.returncode, result.stderr) == (1, "")
