"""Two processes never write to one folder of checkpoints."""

import multiprocessing
import os
import subprocess
import sys

import pytest

from d2l_recsys.engine.checkpoint import Checkpoint, CheckpointError

IN_USE = "is in use by another process: wait until it ends, or choose another folder"
HOLD = (
    "import sys; from d2l_recsys.engine.checkpoint import Checkpoint\n"
    "point = Checkpoint(sys.argv[1], {})\n"
    "print('locked', flush=True); sys.stdin.read()"
)


@pytest.fixture
def another(tmp_path):
    """Return a process that has a checkpoint open in the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_until_the_first_is_dead(another, tmp_path):
    with pytest.raises(CheckpointError, match=IN_USE):
        Checkpoint(tmp_path, {})
    Checkpoint(tmp_path / "below", {})
    another.kill()
    another.wait()
    Checkpoint(tmp_path, {})


def test_one_process_may_train_in_a_folder_again(tmp_path):
    first = Checkpoint(tmp_path, {})
    second = Checkpoint(f"{tmp_path}/../{tmp_path.name}", {})
    del first
    assert opened_elsewhere(tmp_path) == IN_USE
    del second
    assert opened_elsewhere(tmp_path) == ""


def opened_elsewhere(folder):
    """Return what another process says when it opens the folder."""
    result = subprocess.run(
        [sys.executable, "-c", HOLD, folder],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stderr.strip()[-len(IN_USE) :]


def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    """Loader processes can outlive a training that was killed."""
    point = Checkpoint(tmp_path, {})
    pipe, end = multiprocessing.Pipe()
    child = os.fork()
    if not child:
        end.send("started")  # so what is done at a fork is done
        end.recv()
        os._exit(0)
    try:
        pipe.recv()
        del point
        Checkpoint(tmp_path, {})
        assert opened_elsewhere(tmp_path) == ""
    finally:
        pipe.send("end")
        os.waitpid(child, 0)
