"""Scripts in accounts that lack something: one line, no traceback."""

import os
import subprocess
import sys

import pytest
from jobs import ROOT

UNKNOWN = 54321  # an account that is not in /etc/passwd
# Run Python as the user 54321, who owns our files and may not read all others. It is no
# function for a child of this process: MXNet starts threads in each child.
AS_UNKNOWN = f"""
import ctypes, os, sys
mine = os.getuid()
if ctypes.CDLL(None).unshare(0x10000000):  # CLONE_NEWUSER in linux/sched.h
    sys.exit("no user namespaces")
with open("/proc/self/uid_map", "w") as file:
    file.write(f"{UNKNOWN} {{mine}} 1")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def run(*arguments, without=(), **environment):
    kept = {k: v for k, v in os.environ.items() if k not in without}
    return subprocess.run(
        [sys.executable, "-c", AS_UNKNOWN, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=ROOT,
        env={**kept, **environment},
    )


@pytest.fixture(scope="module", autouse=True)
def _user_namespaces():
    if sys.platform != "linux":
        pytest.skip("user namespaces are Linux's")
    if run("-c", "import os; print(os.getuid())").stdout != f"{UNKNOWN}\n":
        pytest.skip("user namespaces are not allowed here")


@pytest.mark.parametrize("name", ["chapters", "chapters.movielens"])
def test_no_home_folder(name, tmp_path):
    homes = "HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"
    result = run("-m", name, "--smoke", "--out", tmp_path, without=homes)
    assert result.returncode in (1, 2)
    # Older releases of matplotlib need a home folder, too.
    program, reason = result.stderr.splitlines()[-1].split(": error: ")
    assert program.startswith("python -m chapters")
    assert reason in (
        "this account has no home folder: set HOME to a folder",
        "the cache folder is unknown, because there is no home folder: set "
        "XDG_CACHE_HOME to a writable folder",
    )
    assert "Traceback" not in result.stderr


@pytest.fixture
def unreadable(tmp_path):
    folder = tmp_path / "unreadable"
    folder.mkdir()
    folder.chmod(0)
    yield folder
    folder.chmod(0o700)


@pytest.mark.parametrize(
    ("slug", "options"),
    [
        ("mf", ["--data-dir", "{}"]),
        ("fm", ["--data-dir", "{}/inner"]),
        ("fm", ["--data", "{}/own.tsv"]),
        ("mf", ["--smoke", "--checkpoint", "{}"]),
        ("mf", ["--smoke", "--checkpoint", "{}/inner", "--resume"]),
        ("mf", ["--smoke", "--out", "{}/inner"]),
        ("__main__", ["--smoke", "--checkpoint", "{}/inner", "--resume"]),
        ("runner.notebooks", ["--smoke", "--out", "{}"]),
    ],
)
def test_a_folder_that_cannot_be_read(slug, options, unreadable, tmp_path):
    name = "chapters" if slug == "__main__" else f"chapters.{slug}"
    options = [option.format(unreadable) for option in options]
    if "--out" not in options:
        options += ["--out", tmp_path]
    result = run("-m", name, *options)
    assert result.returncode in (1, 2)
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"python -m {name}: error: ")
    assert str(unreadable) in line
    assert "Permission denied" in line


def test_a_file_and_a_cache_that_cannot_be_read(unreadable, tmp_path):
    path = tmp_path / "own.tsv"
    path.write_text("1\ta\n")
    path.chmod(0)
    result = run("-m", "chapters.fm", "--data", path, "--out", tmp_path)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line == f"python -m chapters.fm: error: {path}: Permission denied"
    options = "-m", "chapters.fm", "--smoke", "--out", tmp_path
    result = run(*options, D2L_RECSYS_DATA="", XDG_CACHE_HOME=str(unreadable))
    assert result.returncode == 2
    assert "Permission denied" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
