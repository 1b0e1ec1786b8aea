"""Several Ctrl-C in a row, and one that something else also receives."""

import os
import signal
import subprocess
import sys
import time

import pytest
from test_interruptions import ROOT, finish, start, wait_for

from d2l_recsys.data import catalog
from d2l_recsys.engine.saved import load


@pytest.fixture(scope="module")
def data(_cache_of_its_own):
    """Return the data arguments of the script."""
    return ["--data-dir", catalog.fetch("ml-100k-smoke")]


def test_more_ctrl_c_end_the_saving_without_a_word(data, tmp_path):
    common = [*data, "--epochs", 500, "--out", tmp_path]
    process = start("mf", *common, "--checkpoint", tmp_path)
    wait_for(tmp_path / "mf" / "main" / "epoch-00003.npz", process)
    for _ in range(40):
        process.send_signal(signal.SIGINT)
        time.sleep(0.0002)
    code, _, err = finish(process)
    assert code == 130
    assert err.count("interrupted") <= 1
    assert "Traceback" not in err


def test_ctrl_c_that_also_ends_the_reader_of_the_output(data, tmp_path):
    script = [sys.executable, "-m", "chapters.mf", *data, "--epochs", 500]
    script += ["--out", tmp_path, "--checkpoint", tmp_path]
    process = subprocess.Popen(
        ["sh", "-c", '"$@" 2>&1 | cat', "sh", *map(str, script)],
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
        start_new_session=True,
    )
    wait_for(tmp_path / "mf" / "main" / "epoch-00003.npz", process)
    os.killpg(process.pid, signal.SIGINT)
    process.wait()
    end = time.monotonic() + 60
    while not (tmp_path / "mf" / "model.json").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    assert load(tmp_path / "mf")


def test_ctrl_c_that_is_caught_does_not_disarm_later_ones():
    code = """
import signal
from d2l_recsys.tools import command_line
command_line.expect_ctrl_c()
for command_line._SOON in (60, 60, 0):
    try:
        signal.raise_signal(signal.SIGINT)
        print("ignored")
    except KeyboardInterrupt:
        print("raised")
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert run.stdout.split() == ["raised", "ignored", "raised"]
