"""The answers to the exercises, as far as their signs are beyond doubt.

Each pair of settings is trained once at the book's settings. Only differences that are
more than four standard deviations of a single difference from zero are asserted, so one
seed is enough. ``docs/exercises.md`` has the differences and their deviations.
"""

from functools import lru_cache

import pytest

from chapters.runner.experiments import run_once

pytestmark = pytest.mark.book
# Common options, and the metric that is better if higher (+) or lower (-).
OF_RATINGS = "--split random --validation", "-valid_rmse"
OF_ROWS = "--validation", "-valid_rmse"
OF_PAIRS = "--validation", "+valid_auc"
OF_CLICKS = "--data synthetic --patience 5", "-valid_log_loss"
SIGNS = [
    # section, common options and metric, the better setting, the worse settings
    ("mf", OF_RATINGS, "", "--factors 2", "--lr 0.01", "--lr 0.0005"),
    ("mf", OF_RATINGS, "", "--wd 0.0001", "--wd 0.001"),
    ("mf", OF_RATINGS, "", "--optimizer sgd --lr 0.1"),
    ("autorec", OF_ROWS, "", "--hidden 20", "--hidden 100", "--hidden 500,100"),
    ("autorec", OF_ROWS, "", "--activation relu:none", "--activation none:none"),
    ("neumf", OF_PAIRS, "", "--factors 2", "--lr 0.001", "--optimizer sgd --lr 1"),
    ("neumf", OF_PAIRS, "", "--wd 0.001", "--wd 0.0001", "--model mlp"),
    ("neumf", OF_PAIRS, "", "--negatives popularity", "--loss hinge --margin 0.1"),
    ("seqrec", OF_PAIRS, "", "--without both"),
    ("fm", OF_CLICKS, "--lr 0.001 --batch-size 256 --factors 4", "--factors 0"),
    ("deepfm", OF_CLICKS, "", "--without mlp", "--mlp 10"),
]


@lru_cache(maxsize=None)
def trained(slug, options):
    return run_once(slug, [*options.split(), "--seed", "0"])


@pytest.mark.parametrize(
    ("slug", "common", "metric", "better", "worse"),
    [
        (slug, *how, better, worse)
        for slug, how, better, *rest in SIGNS
        for worse in rest
    ],
)
def test_sign(slug, common, metric, better, worse, request):
    if "synthetic" not in common:
        request.getfixturevalue("ml100k")
    name, sign = metric[1:], 1 if metric[0] == "+" else -1
    best, other = (trained(slug, f"{common} {x}")[name] for x in (better, worse))
    assert sign * best > sign * other
