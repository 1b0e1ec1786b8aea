"""Ranking scripts evaluate some users after each epoch, and all users at the end."""

import json
import runpy
import sys
from argparse import Namespace

import pytest

from chapters.runner.eval_users import sample_users

SAID = "test metrics after each epoch: 30 of 200 users\n"


@pytest.mark.parametrize("slug", ["neumf", "seqrec"])
def test_training_and_final_metrics_do_not_depend_on_the_sample(
    slug, tmp_path, monkeypatch, capsys
):
    names, records, said = {}, {}, {}
    for words in ("30", "30 --validation", "all"):
        options = ["--smoke", "--epochs", "1", "--out", str(tmp_path), "--eval-users"]
        monkeypatch.setattr(sys, "argv", [slug, *options, *words.split()])
        names[words] = runpy.run_module(f"chapters.{slug}", run_name="__main__")
        records[words] = json.loads((tmp_path / f"{slug}.json").read_text())
        said[words] = capsys.readouterr().out
        assert (SAID in said[words]) == words.startswith("30")
        assert ("all 200 users: test hit " in said[words]) == words.startswith("30")
    tested, validated = names["30"]["tested"], names["30 --validation"]["valid"][0]
    assert len(tested) == 30
    assert {*tested} == {*validated}
    assert "validation metrics: 30 of 200 users\n" in said["30 --validation"]
    assert records["30"]["metrics"] == records["all"]["metrics"]
    of_sample, of_all = (records[words]["history"][0] for words in ("30", "all"))
    assert of_sample["train_loss"] == of_all["train_loss"]
    assert of_sample["test_auc"] != of_all["test_auc"]


def test_the_sample_is_fixed_by_the_seed():
    held_out = {user: [user + 1] for user in range(20, 0, -1)}

    def drawn(number, seed=0):
        run = Namespace(args=Namespace(eval_users=number), seed=seed)
        return sample_users(run, held_out, "test metrics")

    first = drawn(5)
    assert first.items() <= held_out.items()
    assert len(first) == 5
    assert first == drawn(5) != drawn(5, seed=1)
    assert drawn("all") is drawn(20) is held_out
