"""Scripts that are killed, interrupted or started with bad options or data."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pytest

from d2l_recsys.data import catalog
from d2l_recsys.engine.saved import load
from d2l_recsys.mf import evaluator
from d2l_recsys.movielens import rating_loader, read_data_ml100k, split_data_ml100k

ROOT = Path(__file__).parents[2]
SECTIONS = ["mf", "autorec", "neumf", "seqrec", "fm", "deepfm"]
# With small batches, an epoch has several.
BATCH = {"mf": 32, "autorec": 2, "neumf": 32, "seqrec": 64, "fm": 16, "deepfm": 16}
# A script that is killed in the second batch after a checkpoint.
KILLED = """
import os, runpy, sys
from pathlib import Path
from d2l_recsys.engine import loop
slug, checkpoint, *sys.argv[1:] = sys.argv[1:]
finite_sum = loop._finite_sum
def killed(losses, number):
    if number == 2 and Path(checkpoint).exists():
        os.kill(os.getpid(), 9)
    return finite_sum(losses, number)
loop._finite_sum = killed
runpy.run_module(f"chapters.{slug}", run_name="__main__")
"""


@pytest.fixture(scope="module")
def small(_cache_of_its_own):
    """Return a function that returns the data arguments of a section."""
    rated, clicked = (catalog.fetch(f"{name}-smoke") for name in ("ml-100k", "ctr"))

    def arguments(slug):
        if slug in ("fm", "deepfm"):
            return ["--data", str(clicked / "train.csv")]
        return ["--data-dir", str(rated)]

    return arguments


def start(slug, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", f"chapters.{slug}", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def finish(process, timeout=600):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def wait_for(path, process, seconds=600):
    """Wait until a file exists, and a little longer, into the next epoch."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.01)
    time.sleep(0.05)


def figures(text):
    """Return the printed lines, without the speed and the place of the results."""
    lines = text.splitlines()
    return [x for x in lines if "examples/sec" not in x and not x.startswith("***")]


def arrays(folder):
    """Return the arrays of a script's last checkpoint, without its description."""
    found = {}
    for path in sorted(folder.rglob("epoch-*.npz"))[-1:]:
        with numpy.load(path) as file:
            found.update({n: file[n] for n in file.files if n != "meta"})
    return found


@pytest.mark.parametrize("slug", SECTIONS)
def test_killed_in_an_epoch_and_resumed_it_ends_like_an_uninterrupted_one(
    slug, small, tmp_path
):
    common = [*small(slug), "--epochs", 4, "--batch-size", BATCH[slug]]
    one, two = tmp_path / "alone", tmp_path / "killed"
    code, printed, _ = finish(
        start(slug, *common, "--out", one, "--checkpoint", one / "c")
    )
    assert code == 0
    after = two / "c" / slug / "main" / "epoch-00002.npz"
    options = [*common, "--out", two, "--checkpoint", two / "c"]
    killed = [sys.executable, "-c", KILLED, slug, after, *options]
    run = subprocess.run([*map(str, killed)], cwd=ROOT, capture_output=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert after.exists()
    assert not (two / f"{slug}.json").exists()
    again = [*common, "--out", two, "--checkpoint", two / "c", "--resume"]
    code, resumed, err = finish(start(slug, *again))
    assert (code, err) == (0, "")
    assert figures(resumed) == figures(printed)
    a, b = (json.loads((d / f"{slug}.json").read_text()) for d in (one, two))
    assert a["metrics"] == b["metrics"]
    a, b = arrays(one), arrays(two)
    assert a.keys() == b.keys()
    assert all(numpy.array_equal(a[name], b[name]) for name in a)


def test_ctrl_c_ends_with_the_metrics_and_the_model_so_far(small, tmp_path):
    common = [*small("mf"), "--epochs", 500, "--out", tmp_path]
    process = start("mf", *common, "--checkpoint", tmp_path)
    wait_for(tmp_path / "mf" / "main" / "epoch-00003.npz", process)
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    code, _, err = finish(process)
    assert time.monotonic() - begin < 2
    assert code == 130
    line, saved = err.strip().splitlines()
    assert line.startswith("interrupted; after epoch ")
    assert "train loss" in line
    assert "test rmse" in line
    assert list((tmp_path / "mf" / "main").glob("epoch-*.npz"))
    record = json.loads((tmp_path / "mf.json").read_text())
    last = record["history"][-1]
    assert record["metrics"] == {
        "interrupted_after_epoch": last["epoch"],
        "train_loss": last["train_loss"],
        "test_rmse": last["test_rmse"],
    }
    assert line.startswith(f"interrupted; after epoch {last['epoch']}: ")
    where = f"the model after epoch {last['epoch']} of 500 is in {tmp_path / 'mf'}"
    assert saved == where
    net = load(tmp_path / "mf")
    settings = json.loads((tmp_path / "mf" / "model.json").read_text())["settings"]
    assert settings["interrupted_after_epoch"] == last["epoch"]
    # Its error is that of the last complete epoch, not of the one that was interrupted.
    ratings = read_data_ml100k(small("mf")[1])
    _, test = split_data_ml100k(*ratings, "seq-aware")
    rmse = evaluator(net, rating_loader(test, *ratings[1:], batch_size=512))
    assert rmse == pytest.approx(last["test_rmse"], rel=1e-6)
    # The next one says that it replaces the model.
    process = start("mf", *common, "--checkpoint", tmp_path, "--resume")
    wait_for(tmp_path / "mf" / "main" / f"epoch-{last['epoch'] + 2:05}.npz", process)
    process.send_signal(signal.SIGINT)
    assert finish(process)[2].endswith(", in place of an earlier run's\n")


def test_ctrl_c_saves_a_model_of_clicks_with_its_vocabulary(small, tmp_path):
    common = [*small("deepfm"), "--epochs", 500, "--out", tmp_path]
    process = start("deepfm", *common, "--checkpoint", tmp_path)
    wait_for(tmp_path / "deepfm" / "main" / "epoch-00001.npz", process)
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 130
    assert load(tmp_path / "deepfm").trained_on.feat_mapper


def test_ctrl_c_in_a_later_section_shows_the_table_of_the_earlier_ones(tmp_path):
    options = ["--smoke", "--out", tmp_path, "--checkpoint", tmp_path / "c"]
    process = subprocess.Popen(
        [sys.executable, "-m", "chapters", *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    wait_for(tmp_path / "c" / "mf" / "main" / "epoch-00000.npz", process)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert code == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    summary = out.split("=== summary")[1].partition("\nsection ")[2]
    ran = [line.split()[0] for line in summary.splitlines()[1:] if line]
    assert ran[0] == "movielens"
    assert out.split("interrupted in ")[1].split()[0] not in ran


def test_ctrl_c_while_the_script_is_being_loaded(tmp_path):
    process = start("mf", "--smoke", "--out", tmp_path)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert "Traceback" not in err


def metrics_of(folder):
    """Return the JSON results of a run, without times and places."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text())
        record["settings"].pop("out")
        for epoch in record["history"]:
            epoch.pop("seconds")
            epoch.pop("examples_per_sec")
        found[path.stem] = record
    return found


@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_same_seed_gives_the_same_results_bit_for_bit(threads, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    results = []
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        out = tmp_path / name
        command = ["-m", "chapters", "--smoke", "--seed", seed, "--out", str(out)]
        subprocess.run(
            [sys.executable, *command],
            check=True,
            capture_output=True,
            cwd=ROOT,
            env=environment,
        )
        results.append(metrics_of(out))
    first, second, other = results
    assert first == second
    assert first["mf"]["environment"]["threads"] == int(threads)
    for slug in SECTIONS:
        assert first[slug]["metrics"] != other[slug]["metrics"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume"], "argument --resume: needs --checkpoint DIR"),
        (["--checkpoint", "setup.py"], "cannot write checkpoints to setup.py/mf/main"),
        (
            ["--checkpoint", "nowhere", "--resume"],
            "nowhere/mf/main contains no intact checkpoint to resume from",
        ),
    ],
)
def test_checkpoint_options_that_cannot_be(arguments, message, tmp_path):
    if "nowhere" in arguments:
        arguments = [str(tmp_path / a) if a == "nowhere" else a for a in arguments]
    code, out, err = finish(start("mf", "--smoke", "--out", tmp_path, *arguments))
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert message in err


def test_patience_keeps_no_checkpoints(tmp_path):
    more = ["--patience", 2, "--checkpoint", tmp_path, "--out", tmp_path]
    code, _, err = finish(start("fm", "--smoke", *more))
    assert code == 2
    assert "argument --checkpoint: cannot be used with --patience" in err


def test_bad_data_is_one_line(tmp_path):
    (tmp_path / "u.data").write_text("1\t2\tfive\t4\n")
    code, _, err = finish(start("mf", "--data-dir", tmp_path, "--out", tmp_path))
    assert code == 1
    (line,) = err.splitlines()
    assert line.startswith("python -m chapters.mf: error: ")
    assert line.endswith("u.data, line 1: rating 'five' is not a number")
