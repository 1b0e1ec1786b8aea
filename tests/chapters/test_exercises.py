"""The exercises: their list, their tables, and each of them on tiny data."""

import os
import signal
import subprocess
import sys

import pandas as pd
import pytest

from chapters.runner import exercise_pages
from chapters.runner.exercises import compare
from chapters.runner.experiments import ExperimentFailed, run_all

ALL = exercise_pages.all_exercises()


def command(*words, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "chapters.exercises", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def test_the_list_has_all_exercises():
    printed = command().stdout
    for exercise in ALL.values():
        assert f"| {exercise.name} | {exercise.section} |" in printed
    assert {x.section for x in ALL.values()} == {*exercise_pages.SECTIONS}


@pytest.mark.parametrize("name", ALL)
def test_every_exercise_has_a_question_and_an_answer(name):
    exercise = ALL[name]
    assert exercise.question.rstrip().endswith(("?", "."))
    last = exercise.cells[-1].source
    assert last.startswith("**Answer.** ")
    assert "TODO" not in last


def test_an_unknown_name():
    found = command("mf-factor")
    assert found.returncode == 2
    assert "there is no exercise 'mf-factor'" in found.stderr
    assert found.stderr.count("\n") == 1


def test_all_run_on_tiny_data(tmp_path):
    """Each experiment trains two settings for two epochs."""
    found = command("--all", "--smoke", "--out", tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    for exercise in ALL.values():
        assert f"## {exercise.name}\n" in found.stdout
        saves = any(f'save("{exercise.name}"' in c.source for c in exercise.cells)
        picture = tmp_path / "exercises" / f"{exercise.name}.png"
        assert picture.exists() == saves
        assert (f"Figure: {picture}" in found.stdout) == saves


FACTORS = {k: f"--factors {k}" for k in (2, 3, 4)}


class TestGrids:
    def run(self, folder, settings):
        common = ["--smoke", "--validation"]
        return run_all("mf", settings, [0, 1], common, folder)

    def test_a_row_for_each_setting_and_seed_which_is_kept(self, tmp_path):
        rows = self.run(tmp_path, {k: FACTORS[k] for k in (2, 3)})
        assert rows["setting"].tolist() == [2, 2, 3, 3]
        assert rows["seed"].astype(int).tolist() == [0, 1, 0, 1]
        assert {*rows["data"]} == {"smoke"}
        assert (rows["best_test_rmse"] <= rows["test_rmse"]).all()
        assert rows["valid_rmse"].nunique() == 4
        before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        assert len(before) == 4
        more = self.run(tmp_path, FACTORS)
        after = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        assert len(after) == 6
        assert before.items() <= after.items()
        assert more["valid_rmse"].tolist()[:4] == rows["valid_rmse"].tolist()

    @pytest.mark.parametrize("content", ["", "[1]", '{"valid_rmse": 0.1}', "\xff"])
    def test_a_damaged_row_is_trained_again(self, tmp_path, capsys, content):
        rows = run_all("mf", {"x": "--factors 2"}, [0], ["--smoke"], tmp_path)
        (path,) = tmp_path.iterdir()
        path.write_bytes(content.encode("latin-1"))
        again = run_all("mf", {"x": "--factors 2"}, [0], ["--smoke"], tmp_path)
        assert again["test_rmse"].tolist() == rows["test_rmse"].tolist()
        assert f"{path} is damaged: the training is repeated" in capsys.readouterr().err

    def test_a_failure_names_the_command(self, tmp_path):
        with pytest.raises(
            ExperimentFailed, match=r"chapters\.mf --factors x --seed [01]"
        ):
            self.run(tmp_path, {"x": "--factors x"})


def test_a_comparison_by_hand(capsys):
    rows = pd.DataFrame(
        {
            "setting": ["a", "a", "b", "b"],
            "seed": ["0", "1", "0", "1"],
            "train_loss": [1.0, 1.0, 1.0, 3.0],
            "valid_rmse": [0.5, 0.7, 0.4, 0.4],
            "test_rmse": [0.9, 0.9, 0.8, 1.0],
            "epoch": [1, 2, 3, 3],
            "data": "ml-100k",
        }
    )
    compare(rows, "letter", "valid_rmse", ["test_rmse"], book="a")
    # The standard deviations of two values are their distance divided by root 2.
    assert capsys.readouterr().out.splitlines() == [
        "| letter | train loss | validation RMSE | difference from a | epoch |",
        "|:--|--:|--:|--:|--:|",
        "| a | 1.000 ± 0.000 | 0.600 ± 0.141 | +0.000 ± 0.000 | 1.5 ± 0.7 |",
        "| **b** | **2.000 ± 1.414** | **0.400 ± 0.000** | **-0.200 ± 0.141** "
        "| **3.0 ± 0.0** |",
        "",
        "Chosen on validation data: b, with test RMSE 0.900 ± 0.141.",
    ]


def test_an_interrupt_is_one_line(tmp_path):
    words = [sys.executable, "-m", "chapters.exercises", "mf-factors", "--smoke"]
    with subprocess.Popen(
        [*words, "--out", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as process:
        process.stdout.readline()  # it has begun
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=600)
    assert process.returncode == 130
    assert errors == "\ninterrupted: the same command goes on from here\n"
