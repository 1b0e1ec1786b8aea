"""All sections at once, in several processes: users see what one process shows."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from argparse import Namespace
from contextlib import nullcontext

import pytest
from jobs import ROOT
from test_chapters import SLUGS, figures

from chapters.__main__ import _start
from d2l_recsys.data import catalog
from d2l_recsys.engine.saved import load
from d2l_recsys.runtime.backend import mx
from d2l_recsys.runtime.cores import available

pytestmark = pytest.mark.skipif(
    available() == 1 or not hasattr(os, "sched_setaffinity"),
    reason="there is one core, or cores cannot be chosen",
)


@pytest.fixture(scope="module")
def offline(_cache_of_its_own, tmp_path_factory):
    """Return an environment without a network, and with tiny synthetic data."""
    cache = tmp_path_factory.mktemp("cache")
    (cache / "d2l-recsys").mkdir()
    for family in ("ml-100k", "ctr"):
        tiny = catalog.fetch(f"{family}-smoke")
        (cache / "d2l-recsys" / f"{family}-synthetic").symlink_to(tiny)
    known = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    closed = dict.fromkeys(("https_proxy", "http_proxy"), "http://127.0.0.1:9")
    return {**known, **closed, "XDG_CACHE_HOME": str(cache), "D2L_RECSYS_DATA": ""}


@pytest.fixture
def start(offline, tmp_path):
    """Return a function that runs all sections, in a process group of its own."""

    def run(*options, cores=2, out=tmp_path / "out", before=""):
        chosen = [*os.sched_getaffinity(0)][:cores]
        command = [sys.executable, "-m", "chapters", "--out", out, *options]

        def prepare():
            os.sched_setaffinity(0, chosen)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # even if tests run in nohup

        shell = ["sh", "-c", f'{before} exec "$@"', "sh"]
        return subprocess.Popen(
            [*map(str, [*shell, *command])],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=offline,
            start_new_session=True,
            preexec_fn=prepare,
        )

    return run


@pytest.fixture
def training(start, tmp_path):
    """Return a run in which `mf` is shown, and `autorec` trains at the same time."""
    process = start("--epochs", 5000, "--checkpoint", tmp_path)
    end = time.monotonic() + 600
    for section in ("mf", "autorec"):
        while not any(tmp_path.glob(f"{section}/main/epoch-*[!01].npz")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.01)
    return process


def finish(process):
    """Return the exit code and the output, when all processes have ended.

    Before, one of them would still hold the pipe.
    """
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def first_of_the_pool(process):
    """Return the id of a process that runs sections."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        children = file.read().split()
    for child in children:
        with open(f"/proc/{child}/cmdline") as file:
            if "spawn_main" in file.read():
                return int(child)
    raise AssertionError(children)


def test_several_processes_print_and_save_what_one_does(start, tmp_path):
    found = []
    for cores in (1, 2):
        out = tmp_path / "out"
        code, printed, err = finish(start("--epochs", 2, cores=cores, out=out))
        assert code == 0
        # Only the first section of each family warns, and tries a download.
        assert printed.count("SYNTHETIC DATA") == err.count("Downloading") == 2
        assert re.findall("^=== (.*) ===", printed, re.MULTILINE)[:-1] == SLUGS
        seconds = re.compile(rf"^({'|'.join(SLUGS)})( +)\d+\.\d +", re.MULTILINE)
        text = figures(seconds.sub(r"\1 ", printed))
        records = [json.loads((out / f"{slug}.json").read_text()) for slug in SLUGS]
        pictures = {x.name: x.read_bytes() for x in out.glob("*.*g")}
        metrics = [record["metrics"] for record in records]
        threads = {record["environment"]["threads"] for record in records}
        assert threads == {1}  # each process runs on a core of its own
        found.append((text, err, metrics, pictures))
        out.rename(tmp_path / f"{cores}")
    for one, several in zip(*found):
        assert one == several


@pytest.mark.parametrize("before", ["exec 2>&-;", "exec 2>/dev/full;"])
@pytest.mark.parametrize("cores", [1, 2])
def test_stderr_may_be_closed_or_full(cores, before, start):
    code, printed, _ = finish(start("--epochs", 1, cores=cores, before=before))
    assert code == 0
    assert "=== summary" in printed


@pytest.mark.parametrize("cores", [1, 2])
def test_a_failure_ends_the_run_in_its_place(cores, start, tmp_path):
    path = tmp_path / "out" / "ranking.json"
    path.mkdir(parents=True)
    code, printed, err = finish(start("--epochs", 2, cores=cores))
    assert code == 1
    error = f"python -m chapters.ranking: error: {path}: Is a directory"
    assert err.splitlines()[1:] == [error]
    headers = re.findall("^=== (.*) ===", printed, re.MULTILINE)
    assert headers == SLUGS[: SLUGS.index("ranking") + 1]
    assert "test RMSE" in printed.split("=== autorec ===")[1]


def test_ctrl_c_saves_the_model_of_the_section_that_is_shown(training, tmp_path):
    os.killpg(training.pid, signal.SIGINT)
    code, printed, err = finish(training)
    assert code == 130
    before, summary = printed.split("=== summary")
    assert before.endswith("\n=== mf ===\n\ninterrupted in mf\n\n")
    rows = [line.split(" ")[0] for line in summary.splitlines()[1:]]
    assert {*rows} & {*SLUGS} == {"movielens"}
    *_, line, saved = err.splitlines()
    assert line.startswith("interrupted; after epoch ")
    assert saved.startswith("the model after epoch ")
    assert load(tmp_path / "out" / "mf")
    assert not (tmp_path / "out" / "autorec.json").exists()


def test_ctrl_c_before_the_first_section_has_begun(start):
    process = start()
    assert process.stdout.readline() + process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    code, printed, err = finish(process)
    assert (code, printed) == (130, "\ninterrupted in movielens\n")
    assert err == "\ninterrupted before the end of the first epoch\n"


def test_no_process_outlives_the_first(training):
    training.kill()
    finish(training)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_processes_without_a_word(number, training):
    os.kill(first_of_the_pool(training), signal.SIGSTOP)
    training.send_signal(number)
    code, printed, err = finish(training)
    assert code == 128 + number
    assert printed.endswith("\n=== mf ===\n")
    assert "Downloading" in err.splitlines()[-1]


def test_more_ctrl_c_end_the_saving_without_a_word(training):
    for _ in range(40):
        os.killpg(training.pid, signal.SIGINT)
        time.sleep(0.001)
    code, _, err = finish(training)
    assert code == 130
    assert err.count("interrupted") <= 1
    assert "semaphore" not in err
    assert "Traceback" not in err


def test_a_process_that_is_killed_is_told(training):
    os.kill(first_of_the_pool(training), signal.SIGKILL)
    code, _, err = finish(training)
    assert code == 1
    start = (
        "python -m chapters: error: a process was killed, perhaps because the memory "
    )
    assert err.splitlines()[-1].startswith(start)


@pytest.mark.parametrize(
    "options",
    [{"smoke": True}, {"data": "ml-1m"}, {"data": "avazu"}, {"devices": [mx.gpu(0)]}],
)
def test_what_runs_in_one_process(options, tmp_path):
    given = {"resume": False, "smoke": False, "data": "auto", "devices": [mx.cpu()]}
    assert isinstance(_start(Namespace(**{**given, **options})), nullcontext)
