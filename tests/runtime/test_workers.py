"""Several workers train like one: real processes on MXNet's parameter server."""

import json
import platform
import sys

import numpy
import pytest
from jobs import ROOT, chapter, run_job
from several import everything

from d2l_recsys.runtime.workers import worker

TRAININGS = ["rating 1", "rating 5", "rating 46", "rating of two devices", "ranking"]
TRAININGS += ["autoencoding", "autoencoding_at_rated_cells", "clicks"]
TRAININGS += ["clicks of two devices", "few rows"]
TRAININGS += ["few rows of two devices", "few rows on several machines"]
TRAININGS += ["few rows without shared memory", "few rows of other devices"]
TRAININGS += ["after a failure", "with negatives", "without program"]


@pytest.fixture(scope="module")
def alone():
    return everything()


@pytest.fixture(scope="module", params=[(2, 1), (3, 2)], ids=["2-1", "3-2"])
def together(request, tmp_path_factory):
    """Return the results of each worker."""
    workers, servers = request.param
    folder = tmp_path_factory.mktemp("together")
    command = ["--", "python", "tests/several.py", folder]
    code, out, err = run_job("-n", workers, "-s", servers, *command)
    assert (code, err) == (0, "")
    ranks = sorted(line for line in out.splitlines() if "rank " in line)
    assert [line for line in ranks if "hit" not in line] == [
        f"[{k}] rank {k}" for k in range(workers)
    ]
    return [dict(numpy.load(folder / f"{k}.npz")) for k in range(workers)]


@pytest.mark.parametrize("name", TRAININGS)
def test_they_get_the_net_and_the_figures_of_one(name, together, alone):
    first, *others = together
    for part in ("parameters", "history"):
        key = f"{name}: {part}"
        assert all(numpy.array_equal(first[key], other[key]) for other in others)
        # The order of summation differs, and Adam amplifies rounding errors.
        assert first[key] == pytest.approx(numpy.array(alone[key]), rel=2e-5, abs=2e-6)


@pytest.mark.parametrize("n", [1, 2, 11])
def test_they_rank_exactly_as_one(n, together, alone):
    for part in (f"full: ranks {n}", f"full: ranked {n}"):
        assert all(numpy.array_equal(own[part], alone[part]) for own in together)
        assert all(own[part].dtype == alone[part].dtype for own in together)


def test_they_share_the_evaluation(together, alone):
    rows = [own["evaluated: rows"] for own in together]
    assert alone["evaluated: rows"] == [46, 9, 46, 12 * 9]
    assert numpy.sum(rows, axis=0).tolist() == alone["evaluated: rows"]
    assert numpy.max(rows) < 12 * 9


def test_dropout_has_masks_of_its_own_in_each_worker_and_epoch(together):
    masks = numpy.concatenate([own["masks: mask"] for own in together])
    assert len(masks) == 2 * len(together)
    assert len(numpy.unique(masks, axis=0)) == len(masks)
    assert 0.3 < masks.mean() < 0.7


def test_faults_are_seen_by_all(together):
    for rank, own in enumerate(together):
        loss, unknown, again, shape, *same = own["refused: said"]
        assert loss.startswith("the training loss became nan in batch 1 of epoch 1")
        assert unknown.startswith("row 45 of input 1: id 9 is not in 0..8")
        assert "_weight was initialized again, cast, moved, frozen or given" in again
        assert shape.startswith("has no values yet: give the layer its in_units")
        told = f"worker {rank} has different options from worker 0"
        assert [line.split(":")[0] for line in same] == [told] * (rank % 2)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="needs an x86 CPU")
def test_they_share_memory_with_a_flat_trainer(together, alone):
    assert alone["exchanges: shared"] == [False, False]
    for results in together:
        assert results["exchanges: shared"].tolist() == [False, True]


def test_sums_lose_nothing(together):
    number = len(together)
    for rank, own in enumerate(together):
        assert own["sums: who"].tolist() == [rank, number]
        total, huge, tenth = own["sums: sums"]
        assert total == number * 2.0**-40 + number * (number - 1) / 2
        assert huge == pytest.approx(number * 1e300, rel=1e-15)
        assert tenth == pytest.approx(number * 0.1, rel=1e-15)


def test_a_worker_that_fails_leaves_no_file_behind(tmp_path):
    """The others are stopped when they wait for it to share memory."""
    script = (
        "import sys, time; sys.path.insert(0, 'tests'); import several_shared; "
        "several_shared.worker.join(); "
        f"several_shared.shared_memory._FOLDER = {str(tmp_path)!r}; "
        "several_shared.worker.rank and (time.sleep(1), sys.exit(3)); "
        "several_shared.shared_memory.shared_memory(several_shared.worker, 100)"
    )
    code, _, _ = run_job("-n", 2, "--", "python", "-c", script)
    assert (code, [*tmp_path.iterdir()]) == (3, [])


@pytest.mark.parametrize(
    ("size", "expected"), [(7, [(0, 2), (2, 4), (4, 7)]), (1, [(0, 0), (0, 0), (0, 1)])]
)
def test_rows_are_cut_without_gaps(size, expected, monkeypatch):
    monkeypatch.setattr(worker, "num_workers", 3)
    cuts = []
    for rank in range(3):
        monkeypatch.setattr(worker, "rank", rank)
        rows = worker.rows(size)
        cuts.append((rows.start, rows.stop))
    assert cuts == expected


def several(slug, *options, workers=2):
    command = ["-n", workers, "--", "python", "-m", f"chapters.{slug}", *options]
    return run_job(*command, "--kvstore", "dist_sync")


def record(folder, slug):
    return json.loads((folder / f"{slug}.json").read_text())


@pytest.mark.parametrize("slug", ["mf", "neumf"])
def test_two_workers_are_as_good_as_one_on_the_real_data(slug, ml100k, tmp_path):
    options = ["--data-dir", ml100k, "--epochs", 3]
    one, two = tmp_path / "one", tmp_path / "two"
    assert chapter(f"chapters.{slug}", *options, "--out", one).returncode == 0
    code, out, err = several(slug, *options, "--out", two)
    assert (code, err) == (0, "")
    assert {line[:4] for line in out.splitlines()} == {"[0] "}
    one, two = record(one, slug), record(two, slug)
    assert two["environment"]["workers"] == 2
    # Between seeds: 0.006 in RMSE, 0.005 in hit rate, 0.002 in AUC (docs/results.md).
    for name, spread in (("rmse", 1e-5), ("hit_rate", 0.015), ("auc", 0.004)):
        for metric in one["metrics"]:
            if metric.endswith(name):
                expected = pytest.approx(one["metrics"][metric], abs=spread)
                assert two["metrics"][metric] == expected
    losses = [[e["train_loss"] for e in run["history"]] for run in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=5e-3)


@pytest.mark.parametrize("slug", ["autorec", "seqrec", "fm"])
def test_the_scripts_run_with_several_workers(slug, tmp_path):
    script = f"{sys.executable} -m chapters.{slug} --smoke --kvstore dist_sync"
    # Each worker has its own folder, but only the first one writes results.
    own = f'cd {tmp_path} && mkdir "$PORT" && cd "$PORT" && exec'
    command = ["sh", "-c", f"{own} {script} --out out --checkpoint kept"]
    code, out, err = run_job("-n", 2, "--", *command, PYTHONPATH=str(ROOT))
    assert (code, err) == (0, "")
    assert {line[:4] for line in out.splitlines()} == {"[0] "}
    first, second = sorted(tmp_path.iterdir(), key=lambda folder: int(folder.name))
    assert (first / "out" / f"{slug}.json").is_file()
    assert (first / "out" / f"{slug}.png").is_file()
    kept = [path.name for path in sorted((first / "kept" / slug / "main").iterdir())]
    assert kept == ["epoch-00001.npz", "epoch-00002.npz"]
    assert [path.name for path in second.rglob("*")] == ["out"]


def test_a_resumed_training_ends_as_one_left_alone(ctr_file, tmp_path):
    common = ["--data", ctr_file, "--batch-size", 64]
    for folder, epochs, more in (
        ("alone", 4, []),
        ("again", 2, []),
        ("again", 4, ["--resume"]),
    ):
        place = tmp_path / folder
        options = [*common, "--epochs", epochs, "--out", place, "--checkpoint", place]
        assert several("deepfm", *options, *more)[0] == 0
    alone, again = (record(tmp_path / x, "deepfm") for x in ("alone", "again"))
    assert alone["metrics"] == again["metrics"]
    first, second = (
        dict(numpy.load(tmp_path / x / "deepfm" / "main" / "epoch-00004.npz"))
        for x in ("alone", "again")
    )
    for arrays in (first, second):
        del arrays["meta"]  # it contains times
    assert first.keys() == second.keys()
    assert all(numpy.array_equal(first[name], second[name]) for name in first)


def test_workers_with_other_options_are_refused(tmp_path):
    seed = f"{sys.executable} -m chapters.mf --smoke --seed $PORT --out {tmp_path}"
    command = ["sh", "-c", f"exec {seed} --kvstore dist_sync"]
    code, out, err = run_job("-n", 2, "--", *command)
    assert (code, out) == (2, "")
    # The launcher may tell of the worker's end before it passes on its last line.
    assert (
        "[1] python -m chapters.mf: error: worker 1 has different options or data "
        "from worker 0: start all workers with the same options or data"
    ) in err.splitlines()


@pytest.fixture
def ctr_file(_cache_of_its_own):
    from d2l_recsys.data import catalog

    return catalog.fetch("ctr-smoke") / "train.csv"
