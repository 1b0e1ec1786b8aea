"""The scripts as users run them: in their own processes, without a network."""

import json
import re

import jupytext
import pytest
from jobs import ROOT, chapter

from chapters.runner.data import times_the_books
from d2l_recsys import load, recommend
from d2l_recsys.data.movies import read_movies
from d2l_recsys.movielens import read_data_ml100k

SLUGS = [
    "movielens",
    "mf",
    "autorec",
    "ranking",
    "neumf",
    "seqrec",
    "ctr",
    "fm",
    "deepfm",
]
# A second picture of a section, SLUG-NAME.
PICTURES = ["movielens-sparsity", "mf-map", "ranking-gradients", "neumf-ranks"]
PICTURES += ["seqrec-window", "fm-calibration", "deepfm-overfitting"]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return chapter("chapters", "--smoke", "--out", str(out)), out


def test_all_sections_run_in_smoke_mode(smoke):
    result, out = smoke
    assert (result.returncode, result.stderr) == (0, "")  # no progress bar in a log
    assert [s for s in SLUGS if f"=== {s} ===" in result.stdout] == SLUGS
    summary = result.stdout.split("=== summary")[1]
    assert "Some sections did NOT use the book's data" in summary
    for slug in SLUGS:
        assert re.search(rf"^{slug} ", summary, re.MULTILINE)
        assert (out / f"{slug}.json").is_file()
    for name in (*SLUGS, *PICTURES):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (out / f"{name}.svg").read_bytes().endswith(b"</svg>\n")


def test_results_are_the_printed_figures(smoke):
    result, out = smoke
    record = json.loads((out / "mf.json").read_text())
    assert record["data"] == "smoke"
    rmse = record["metrics"]["test_rmse"]
    assert record["history"][-1]["test_rmse"] == rmse
    assert f"test RMSE {rmse:.3f}" in result.stdout


def test_the_last_movies_of_a_user_are_told(smoke, smoke_data):
    data, *_ = read_data_ml100k(smoke_data)
    mine = data[data["user_id"] == 1].sort_values("timestamp", kind="stable")
    held_out = mine[mine["timestamp"] == mine["timestamp"].max()].index[0]
    item_ids = data.attrs["item_ids"]
    seen = [item_ids[i - 1] for i in mine["item_id"].drop(held_out)]
    titles = read_movies(smoke_data)["title"]
    told = smoke[0].stdout.split("last movies of user 1:\n")[1]
    told = told.split("recommendations (score, title):")[0]
    assert told.split("\n")[:-1] == [f"    {titles[item]}" for item in seen[-5:]]


def test_every_training_saves_its_model(smoke):
    result, out = smoke
    for slug in ("mf", "autorec", "neumf", "seqrec", "fm", "deepfm"):
        net, section = load(out / slug), result.stdout.split(f"=== {slug} ===")[1]
        told = section.split("===")[0].partition("recommendations (score, title):\n")[2]
        if told:
            titles, best = net.trained_on.titles, recommend(net, 0, 10)
            lines = [f"    {score:7.3f}  {titles[item]}" for item, score in best]
            assert told.splitlines()[:10] == lines


def test_made_up_data_says_so_in_a_line_nobody_can_miss(tmp_path):
    result = chapter("chapters.movielens", "--data", "synthetic", "--out", tmp_path)
    assert "***  THE FIGURES BELOW ARE NOT THE BOOK'S." in result.stdout
    assert "number of users: 943, number of items: 1682" in result.stdout


def test_without_network_or_data_the_made_up_set_is_used(tmp_path):
    """A proxy that refuses connections stands for a missing network."""
    closed = dict.fromkeys(("https_proxy", "http_proxy"), "http://127.0.0.1:9")
    closed.update(D2L_RECSYS_DATA=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    result = chapter("chapters.movielens", "--out", tmp_path, **closed)
    assert result.returncode == 0
    assert "SYNTHETIC DATA" in result.stdout
    looked = "***  Looked for: no ml-100k/u.data, u.data or ml-100k.zip is in"
    assert f"{looked} {tmp_path} or {tmp_path / 'cache'}" in result.stdout
    result = chapter(
        "chapters.movielens", "--out", tmp_path, "--data", "ml-100k", **closed
    )
    assert result.returncode == 2
    *notice, last = result.stderr.splitlines()
    assert [line.split()[0] for line in notice] == ["Downloading"]
    assert "error: ml-100k could not be downloaded" in last


def test_data_of_ones_own_is_not_taken_for_the_published(tmp_path, smoke_data):
    result = chapter(
        "chapters.movielens", "--out", tmp_path, "--data-dir", str(smoke_data)
    )
    assert "u.data is not the published MovieLens 100K" in result.stdout
    assert "number of users: 200" in result.stdout


def test_the_statistics_of_the_book(tmp_path, ml100k):
    result = chapter("chapters.movielens", "--out", tmp_path, "--data-dir", str(ml100k))
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "number of users: 943, number of items: 1682"
    assert lines[1] == "matrix sparsity: 0.936953"
    assert [line.split() for line in lines[2:8]] == [
        ["user_id", "item_id", "rating", "timestamp"],
        ["0", "196", "242", "3", "881250949"],
        ["1", "186", "302", "3", "891717742"],
        ["2", "22", "377", "1", "878887116"],
        ["3", "244", "51", "2", "880606923"],
        ["4", "166", "346", "1", "886397596"],
    ]


def figures(text):
    """Return the lines without the speed, which varies between runs."""
    return [line for line in text.splitlines() if "examples/sec" not in line]


def test_the_same_seed_prints_the_same_figures_and_another_others(tmp_path):
    runs = [
        figures(
            chapter("chapters.mf", "--smoke", "--out", tmp_path, "--seed", s).stdout
        )
        for s in ("3", "3", "4")
    ]
    assert runs[0] == runs[1] != runs[2]


def test_two_devices(tmp_path):
    one, two = (
        chapter("chapters.mf", "--smoke", "--out", tmp_path, "--devices", d).stdout
        for d in ("cpu", "cpu:2")
    )
    assert "examples/sec on [cpu(0), cpu(1)]" in two
    assert figures(two)[0] == figures(one)[0]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--epochs", "0", "argument --epochs: '0' is not a positive integer"),
        ("--batch-size", "-3", "argument --batch-size: '-3' is not a positive integer"),
        ("--seed", "x", "argument --seed: 'x' is not a non-negative integer"),
        ("--devices", "tpu", "argument --devices: 'tpu' is neither cpu"),
        ("--devices", "cpu:0", "argument --devices: 'cpu:0' is neither cpu"),
        ("--devices", "cpu:5000", "argument --devices: 'cpu:5000' is too many: at"),
        ("--devices", "cpu:65", "argument --devices: 'cpu:65' is too many: at most"),
        ("--duplicates", "both", "argument --duplicates: invalid choice: 'both'"),
        ("--smok", "--smoke", "unrecognized arguments: --smok"),
        (
            "--devices",
            "gpu:7",
            "argument --devices: gpu(7) does not exist, MXNet finds",
        ),
        ("--data", "netflix", "argument --data: 'netflix' is neither auto, ml-100k, "),
        ("--data-dir", "nowhere", "argument --data-dir: 'nowhere' is not a folder"),
        ("--out", "setup.py", "argument --out: setup.py: File exists"),
        ("--split", "half", "argument --split: invalid choice: 'half'"),
        ("--nonsense", "1", "unrecognized arguments: --nonsense 1"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(option, value, message):
    result = chapter("chapters.mf", option, value)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"python -m chapters.mf: error: {message}")
    assert len(result.stderr.splitlines()) == 1


def test_the_runner_refuses_options_before_it_begins():
    result = chapter("chapters", "--epochs", "none")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("python -m chapters: error: argument --epochs")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "--resum",
            "unrecognized arguments: --resum; options of a single section need its "
            "name, as in python -m chapters.mf",
        ),
        ("--resume", "argument --resume: needs --checkpoint DIR"),
    ],
)
def test_options_have_their_full_names_and_what_they_need(option, message):
    result = chapter("chapters", "--smoke", option)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"python -m chapters: error: {message}\n"


def test_seeds_are_for_the_report():
    result = chapter("chapters", "--seeds", "2")
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line == "python -m chapters: error: argument --seeds: needs --report"


@pytest.mark.parametrize("other", ["--smoke", "--epochs=2", "--batch-size=9"])
def test_the_report_is_at_the_books_settings(other):
    result = chapter("chapters", "--report", other)
    name = other.split("=")[0]
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"python -m chapters: error: argument --report: cannot be used with {name}\n"
    )


@pytest.mark.parametrize(
    ("slug", "option", "value"),
    [
        ("autorec", "--by", "movie"),
        ("neumf", "--model", "svd"),
        ("seqrec", "-L", "0"),
        ("seqrec", "--without", "neither"),
        ("deepfm", "--data", "nowhere.csv"),
        ("ctr", "--data", "ml-100k"),
        ("movielens", "--data", "ctr"),
        ("ranking", "--epochs", "-1"),
    ],
)
def test_wrong_options_of_other_scripts(slug, option, value):
    result = chapter(f"chapters.{slug}", option, value)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"python -m chapters.{slug}: error: argument {option}: ")


@pytest.mark.parametrize("slug", ["__main__", *SLUGS])
def test_help(slug):
    name = "chapters" if slug == "__main__" else f"chapters.{slug}"
    text = chapter(name, "--help").stdout
    options = "epochs batch-size seed devices data data-dir out smoke checkpoint resume"
    assert all(f"--{option}" in text for option in options.split(" "))


@pytest.mark.parametrize("slug", SLUGS)
def test_scripts_open_as_notebooks(slug):
    notebook = jupytext.read(ROOT / "chapters" / f"{slug}.py")
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds[0] == "markdown"
    assert kinds.count("code") >= 3
    assert notebook.cells[0].source.startswith("# ")


@pytest.mark.parametrize(("ratings", "times"), [(9, 1), (149_999, 1), (250_001, 3)])
def test_batches_grow_with_the_ratings(ratings, times, tmp_path):
    (tmp_path / "ratings.dat").write_text("1::1::5::0\n" * ratings)
    assert times_the_books(tmp_path, "ml-1m") == times


def test_a_folder_that_takes_no_file_is_found_out_before_the_training():
    result = chapter("chapters.mf", "--smoke", "--out", "/proc")
    assert result.returncode == 2
    assert "error: argument --out: /proc: " in result.stderr
