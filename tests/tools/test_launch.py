"""The launcher: the processes it starts, its messages, and the cleanup."""

import os
import signal
import socket
import sys
import time

import pytest
from jobs import Job, listening, run_job

SOON = 60  # seconds: enough on a busy machine, far below the workers' patience
RANKS = """
import sys
from d2l_recsys.runtime.workers import worker
worker.join()
print("rank", worker.rank)
print("of", worker.num_workers, file=sys.stderr)
"""
# Worker 1 exits in various ways while worker 0 waits for it.
ENDS = """
import os, sys
from d2l_recsys.runtime.workers import worker
worker.join()
if worker.rank:
    {}
worker.sum([1])
"""


@pytest.fixture
def training(smoke_data, tmp_path):
    """Return a function that starts a long training and waits for its second epoch."""
    started = []

    def start(**environment):
        options = ["--kvstore", "dist_sync", "--data-dir", smoke_data, "--out"]
        options += [tmp_path, "--epochs", "5000", "--checkpoint", tmp_path]
        command = ["-n", "2", "-s", "1", "--", "python", "-m", "chapters.mf", *options]
        job = Job(*command, **environment)
        started.append(job)
        job.wait_for(tmp_path / "mf" / "main" / "epoch-00002.npz")
        assert len(job.processes()) == 4
        return job

    yield start
    for job in started:
        job.__exit__()


@pytest.mark.parametrize(
    ("role", "number", "name"),
    [
        ("worker", 0, "worker 0"),
        ("worker", 1, "worker 1"),
        ("server", 0, "server 0"),
        ("scheduler", 0, "scheduler"),
    ],
)
def test_a_process_that_is_killed_ends_the_job_with_a_line(
    role, number, name, training
):
    job = training()
    process = job.processes(role)[number]
    os.kill(process, signal.SIGKILL)
    begin = time.monotonic()
    code, _, err = job.finish()
    assert time.monotonic() - begin < SOON
    assert code == 128 + signal.SIGKILL
    killed = (
        f"launch: {name} (process {process}) was killed by SIGKILL: stopping the job"
    )
    assert [line for line in err.splitlines() if "launch: " in line] == [killed], err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_the_job_with_a_line(number, training):
    job = training()
    job.launcher.send_signal(number)
    begin = time.monotonic()
    code, _, err = job.finish()
    assert time.monotonic() - begin < SOON
    assert code == 128 + number
    said = [line for line in err.splitlines() if "launch: " in line]
    assert said == [f"launch: stopping the job after {number.name}"], err


def test_the_job_dies_with_a_launcher_that_is_killed(training):
    job = training()
    job.launcher.kill()
    end = time.monotonic() + SOON
    while job.processes():
        assert time.monotonic() < end
        time.sleep(0.05)


INHERITED = {
    "DMLC_USE_KUBERNETES": "1",
    "DMLC_INTERFACE": "eth0",
    "DMLC_NODE_HOST": "0.0.0.0",
    "DMLC_PS_ROOT_URI": "0.0.0.0",
    "DMLC_LOCAL": "1",
    "DMLC_NUM_WORKER": "7",
    "PS_DROP_MSG": "50",
    "PS_VERBOSE": "2",
}


def test_the_processes_listen_on_this_machine_only(training):
    job = training(DMLC_USE_KUBERNETES="1")
    for process in job.processes():
        assert listening(process) == {"0100007F"}  # 127.0.0.1
    job.launcher.send_signal(signal.SIGTERM)
    assert job.finish()[0] == 128 + signal.SIGTERM


def test_workers_inherit_no_settings_of_the_parameter_server():
    show = "import os; print(*(k for k in os.environ if k[:5] == 'DMLC_'))"
    show += "; print(*(k for k in os.environ if k[:3] == 'PS_'))"
    code, out, _ = run_job(
        "-n", "1", "--", "python", "-c", show, DMLC_ROLE="server", **INHERITED
    )
    assert code == 0
    meant, none = (line[len("[0] ") :].split() for line in out.splitlines())
    assert sorted(meant) == [
        "DMLC_NODE_HOST",
        "DMLC_NUM_SERVER",
        "DMLC_NUM_WORKER",
        "DMLC_PS_ROOT_PORT",
        "DMLC_PS_ROOT_URI",
        "DMLC_ROLE",
    ]
    assert none == []


@pytest.mark.parametrize(("workers", "servers"), [(1, 1), (3, 2)])
def test_lines_have_the_rank_in_front(workers, servers):
    code, out, err = run_job("-n", workers, "-s", servers, "python", "-c", RANKS)
    assert code == 0
    assert sorted(out.splitlines()) == [f"[{k}] rank {k}" for k in range(workers)]
    assert sorted(err.splitlines()) == [f"[{k}] of {workers}" for k in range(workers)]


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        ("sys.exit(3)", 3, []),
        ("sys.exit('no way')", 1, ["[1] no way"]),
        ("raise RuntimeError('no way')", 1, ["[1] RuntimeError: no way"]),
    ],
)
def test_a_worker_that_ends_badly_ends_the_others(ending, code, said):
    begin = time.monotonic()
    command = ["-n", "2", "--", "python", "-c", ENDS.format(ending)]
    found, _, err = run_job(*command, D2L_RECSYS_PATIENCE_SECONDS="300")
    assert time.monotonic() - begin < SOON
    lines = err.splitlines()
    assert found == code, err
    # Lines of different processes come in any order.
    (last,) = (line for line in lines if line.startswith("launch: "))
    assert last.startswith("launch: worker 1 (process "), err
    assert last.endswith(f") exited with code {code}: stopping the job"), err
    assert [line for line in lines if line.startswith("[1] ")][-1:] == said, err


def test_a_wrong_option_ends_the_job_with_its_code():
    code, out, err = run_job("--", "python", "-m", "chapters.mf", "--epochs", "no")
    assert (code, out) == (2, "")
    assert "'no' is not a positive integer" in err
    (last,) = (line for line in err.splitlines() if line.startswith("launch: "))
    assert last.endswith("exited with code 2: stopping the job")


def test_what_workers_have_started_is_ended_too():
    code, _, _ = run_job("--", "sh", "-c", "sleep 100 & exit 4")
    assert code == 4


def test_nobody_reads_any_more():
    forever = "while True: print('line')"
    with Job("--", "python", "-c", forever) as job:
        assert job.launcher.stdout.readline().endswith("] line\n")
        job.launcher.stdout.close()
        assert job.launcher.wait(timeout=SOON) == 128 + signal.SIGPIPE
        assert job.processes() == []


def test_a_port_in_use_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, out, err = run_job("--", "true", DMLC_PS_ROOT_PORT=str(port))
    assert (code, out) == (2, "")
    assert err == (
        f"launch: DMLC_PS_ROOT_PORT={port}: Address already in use; unset it to "
        "use any free port\n"
    )


def test_when_nobody_joins_and_what_workers_are_given():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    show = "import os, sys; print(os.environ['DMLC_PS_ROOT_PORT'], sys.executable)"
    code, out, err = run_job("--", "python", "-c", show, DMLC_PS_ROOT_PORT=port)
    assert (code, err) == (0, "")
    expected = [f"[{k}] {port} {sys.executable}" for k in range(2)]
    assert sorted(out.splitlines()) == expected


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "line"),
    [
        (["--", "/no/such"], {}, 127, "launch: cannot start /no/such: No such file"),
        (["-n", "2"], {}, 2, "error: COMMAND is missing after --"),
        (
            ["-n", "0", "--", "true"],
            {},
            2,
            "argument -n: '0' is not a posit",
        ),
        (
            ["true"],
            {"DMLC_PS_ROOT_PORT": "x"},
            2,
            "ROOT_PORT=x: not a port number",
        ),
        (
            ["true"],
            {"DMLC_PS_ROOT_PORT": "0"},
            2,
            "ROOT_PORT=0: not a port number",
        ),
        (["true"], {"DMLC_PS_ROOT_PORT": "99999"}, 2, "=99999: not a port number"),
    ],
)
def test_what_cannot_be_started_is_one_line(arguments, environment, code, line):
    found, out, err = run_job(*arguments, **environment)
    assert (found, out) == (code, "")
    assert line in err
    assert len(err.splitlines()) == 1


def test_help_names_the_options():
    code, out, _ = run_job("--help")
    assert code == 0
    assert "[-n N] [-s N] -- COMMAND [ARGUMENT ...]" in out
    assert "The exit code is 0 if all processes succeed." in " ".join(out.split())
