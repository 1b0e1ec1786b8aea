"""Workers that wait for others in vain come to an end, and say so."""

import os
import socket
import subprocess
import sys
import time

import pytest
from jobs import ROOT, chapter

LOCAL = {
    "DMLC_ROLE": "worker",
    "DMLC_PS_ROOT_URI": "127.0.0.1",
    "DMLC_NODE_HOST": "127.0.0.1",
    "DMLC_PS_ROOT_PORT": "1",  # a closed port
    "DMLC_NUM_WORKER": "2",
    "DMLC_NUM_SERVER": "1",
}


@pytest.mark.parametrize(
    ("slug", "environment", "line"),
    [
        ("mf", {}, "DMLC_PS_ROOT_URI is not set; start the workers with python -m"),
        ("mf", {**LOCAL, "DMLC_NUM_SERVER": ""}, "DMLC_NUM_SERVER is not set"),
        (
            "mf",
            {**LOCAL, "D2L_RECSYS_PATIENCE_SECONDS": "long"},
            "D2L_RECSYS_PATIENCE_SECONDS must be a positive number, not 'long'",
        ),
        ("__main__", {}, "unrecognized arguments: --kvstore dist_sync"),
        ("movielens", {}, "unrecognized arguments: --kvstore dist_sync"),
    ],
)
def test_without_the_others_it_is_one_line(slug, environment, line, tmp_path):
    options = ["--smoke", "--kvstore", "dist_sync", "--out", tmp_path]
    result = chapter(f"chapters.{slug}", *options, **environment)
    assert (result.returncode, result.stdout) == (2, "")
    assert line in result.stderr
    assert len(result.stderr.splitlines()) == 1


def by_hand(role, number, command, port):
    """Start a process as described in the README, with one address per process."""
    environment = {
        **LOCAL,
        "DMLC_ROLE": role,
        "DMLC_PS_ROOT_PORT": port,
        "DMLC_NODE_HOST": f"127.0.0.{number}",
        "D2L_RECSYS_PATIENCE_SECONDS": "2",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def test_hosts_started_by_hand_end_when_the_server_dies(smoke_data, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    serve = ["-c", "import mxnet"]
    train = ["-m", "chapters.mf", "--kvstore", "dist_sync", "--epochs", "5000"]
    train += ["--data-dir", smoke_data, "--out", tmp_path, "--checkpoint", tmp_path]
    roles = [("scheduler", serve), ("server", serve), ("worker", train)]
    processes = [
        by_hand(role, number, command, port)
        for number, (role, command) in enumerate([*roles, roles[-1]], 1)
    ]
    _, server, *workers = processes
    try:
        end = time.monotonic() + 600
        while not any(tmp_path.glob("mf/main/epoch-*[!01].npz")):
            assert time.monotonic() < end
            time.sleep(0.05)
        server.kill()
        for worker_ in workers:
            _, err = worker_.communicate(timeout=600)
            assert worker_.returncode == 75
            assert "gave up after waiting 2 s for the others" in err
    finally:
        for process in processes:
            process.kill()
            process.communicate(timeout=600)


def test_patience_comes_to_an_end(tmp_path):
    """There is no scheduler, and MXNet would wait for one forever."""
    begin = time.monotonic()
    result = chapter(
        "chapters.mf", "--smoke", "--kvstore", "dist_sync", "--out", tmp_path,
        **LOCAL, D2L_RECSYS_PATIENCE_SECONDS="1",
    )  # fmt: skip
    assert time.monotonic() - begin < 60
    assert (result.returncode, result.stdout) == (75, "")
    assert result.stderr == (
        "a worker gave up after waiting 1 s for the others: a worker, a server or the "
        "scheduler may have died\n"
    )
