"""Scripts that were ended go on with ``--resume``."""

import json
import shutil

import pytest
from jobs import chapter


def test_a_run_of_all_sections_goes_on_where_it_was_ended(tmp_path):
    options = ["--smoke", "--out", tmp_path, "--checkpoint", tmp_path / "points"]
    none = chapter("chapters", *options, "--resume")
    assert none.returncode == 2
    assert none.stderr.endswith("points holds no checkpoint\n")
    chapter("chapters.mf", *options)
    result = chapter("chapters", *options, "--resume")
    assert (result.returncode, result.stderr) == (0, "")
    assert {x.name for x in (tmp_path / "points").iterdir()} >= {"mf", "deepfm"}


@pytest.mark.parametrize("slug", ["autorec", "neumf", "fm"])
def test_a_run_ended_between_two_trainings_gets_the_same_results(slug, tmp_path):
    points = tmp_path / "points"
    options = ["--smoke", "--out", tmp_path, "--checkpoint", points]
    metrics = []
    for more in ([], ["--resume"]):
        assert chapter(f"chapters.{slug}", *options, *more).returncode == 0
        record = json.loads((tmp_path / f"{slug}.json").read_text())
        metrics.append(record["metrics"])
        later = [x for x in (points / slug).iterdir() if x.name != "main"]
        assert later
        for folder in later:
            shutil.rmtree(folder)
    assert metrics[0] == metrics[1]
