"""The scripts `ctr`, `fm` and `deepfm` on data other than the default."""

import json
import re

import numpy
import pytest
from jobs import chapter
from test_chapters import figures

from chapters.runner.ctr_data import load_ctr
from chapters.runner.exercises import Exercises
from chapters.runner.options import FAMILY_OF, MOVIELENS
from d2l_recsys.data import catalog
from d2l_recsys.data.synthetic_ctr import write_ctr


@pytest.fixture
def own_file(tmp_path):
    write_ctr(tmp_path, 600, 1)
    lines = (tmp_path / "train.csv").read_text().splitlines()
    path = tmp_path / "own.tsv"
    path.write_text("".join("\t".join(line.split("\t")[:6]) + "\n" for line in lines))
    return path


def test_a_file_of_ones_own_is_cut_in_two(own_file):
    parts = load_ctr(own_file, "custom", seed=3, valid_share=0.1)
    assert [len(part) for part in parts[:3]] == [450, 100, 50]
    assert parts.train.features.shape[1] == 5
    assert parts.test.feat_mapper is parts.valid.feat_mapper is parts.train.feat_mapper
    again, other = (
        load_ctr(own_file, "custom", seed, valid_share=0.1) for seed in (3, 4)
    )
    assert numpy.array_equal(again.test.features, parts.test.features)
    assert not numpy.array_equal(other.test.labels, parts.test.labels)


def test_the_vocabulary_is_that_of_the_training_part(tmp_path):
    # Each value occurs 4 times, so the split decides which values are frequent enough.
    path = tmp_path / "own.tsv"
    path.write_text("".join(f"1\tv{i % 12}\n" for i in range(48)))
    parts = load_ctr(path, "custom", valid_share=0.5)
    assert 0 < len(parts.train.feat_mapper[1]) < 12


def test_scripts_take_a_file(own_file, tmp_path):
    result = chapter(
        "chapters.deepfm", "--data", str(own_file), "--epochs", "2", "--out", tmp_path
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "own.tsv instead of the book's CTR data" in result.stdout
    assert json.loads((tmp_path / "deepfm.json").read_text())["data"] == "custom"


@pytest.mark.parametrize("slug", ["fm", "deepfm"])
def test_the_learning_rate_can_be_set(slug, own_file, tmp_path):
    losses = []
    for lr in ("1e-9", "0.02"):
        options = ["--data", own_file, "--epochs", "9", "--out", tmp_path, "--lr", lr]
        assert chapter(f"chapters.{slug}", *map(str, options)).returncode == 0
        record = json.loads((tmp_path / f"{slug}.json").read_text())
        assert record["settings"]["lr"] == float(lr)
        losses.append([epoch["test_log_loss"] for epoch in record["history"]])
    assert losses[0] == pytest.approx([losses[0][0]] * 9, abs=1e-6)  # nothing learned
    assert losses[1][-1] < losses[1][0] - 0.01


def test_a_faulty_file_ends_the_script_naming_the_line(own_file, tmp_path):
    own_file.write_text(own_file.read_text() + "1\ta\n")
    result = chapter("chapters.ctr", "--data", str(own_file), "--out", tmp_path)
    assert result.returncode != 0
    last = result.stderr.splitlines()[-1]
    assert "own.tsv, line 601: 2 fields instead of 6" in last


@pytest.mark.parametrize("name", ["criteo", "avazu"])
def test_real_samples_with_patience(name, tmp_path):
    if catalog.find(name) is None:
        pytest.skip(f"{name} is not in the folder that D2L_RECSYS_DATA names")
    result = chapter(
        "chapters.fm", "--data", name, "--patience", "1", "--out", tmp_path
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert f"{name.capitalize()}'s CTR data instead" in result.stdout
    assert "the best on validation data)" in result.stdout
    record = json.loads((tmp_path / "fm.json").read_text())
    best = min(record["history"], key=lambda epoch: epoch["valid_log_loss"])
    assert record["metrics"]["test_auc"] == best["test_auc"]
    assert len(record["history"]) == best["epoch"] + 1 < 30


def test_a_sample_that_is_not_here(tmp_path):
    result = chapter(
        "chapters.fm",
        *("--data", "criteo", "--out", tmp_path),
        D2L_RECSYS_DATA="",
        XDG_CACHE_HOME=str(tmp_path / "cache"),
    )
    assert result.returncode == 2
    assert "error: no folder criteo" in result.stderr


def test_what_is_neither_a_name_nor_a_file():
    result = chapter("chapters.fm", "--data", "netflix")
    assert result.returncode == 2
    assert result.stderr == (
        "python -m chapters.fm: error: argument --data: 'netflix' is neither auto, "
        "ctr, criteo, avazu, synthetic, ml-100k nor a file\n"
    )


@pytest.mark.parametrize("slug", ["fm", "deepfm"])
def test_the_same_seed_prints_the_same_figures_and_another_others(slug, tmp_path):
    runs = [
        figures(
            chapter(
                f"chapters.{slug}", "--smoke", "--out", tmp_path, "--seed", seed
            ).stdout
        )
        for seed in ("3", "3", "4")
    ]
    assert runs[0] == runs[1] != runs[2]


def test_in_the_runner_a_section_that_does_not_know_the_data_uses_auto(tmp_path):
    result = chapter("chapters", "--smoke", "--data", "criteo", "--out", tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    used = {
        slug: json.loads((tmp_path / f"{slug}.json").read_text())["settings"]["data"]
        for slug in ("mf", "fm")
    }
    assert used == {"mf": "auto", "fm": "criteo"}
    assert "criteo" not in MOVIELENS.names
    assert set(FAMILY_OF) == {"ctr", "fm", "deepfm"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "1 a b\n0 c d\n",
            r"own\.csv, line 1: there are no tabs, commas or semicolons;",
        ),
        ("1\ta\tb\n", "one row is not enough: training and test need at least one"),
    ],
)
@pytest.mark.parametrize("slug", ["ctr", "fm"])
def test_files_that_are_none_of_ads(tmp_path, slug, content, message):
    (tmp_path / "own.csv").write_text(content)
    result = chapter(
        f"chapters.{slug}", "--data", tmp_path / "own.csv", "--out", tmp_path
    )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert re.search(message, line)


def test_exercises_fall_back_to_synthetic_data_and_say_so(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("sys.argv", ["exercises"])
    monkeypatch.delenv("D2L_RECSYS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, name = Exercises().find("criteo")
    assert (folder.name, name) == ("ctr-synthetic", "synthetic")
    assert capsys.readouterr().out.startswith("Criteo's CTR data was not found.")
    own = tmp_path / "criteo"
    write_ctr(own, 10, 10)
    monkeypatch.setenv("D2L_RECSYS_DATA", str(tmp_path))
    assert Exercises().find("criteo") == (own, "criteo")
    assert not capsys.readouterr().out
