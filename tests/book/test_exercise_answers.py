"""The answers to the exercises, as far as their signs are beyond doubt.

Each pair of settings is trained at the book's settings. In ``docs/exercises.md``, the
asserted differences are more than three standard errors from zero. They are also so
many standard deviations of a single difference from zero that the mean over the seeds
trained here is at least five of its own standard errors away. This allows for the
deviations, which come from three seeds, to be too small by half. Differences that would
need more than three seeds are left out.

The tests marked ``book_long`` take minutes. They run only with ``make test ARGS="-m
book_long"``.
"""

from functools import lru_cache

import numpy
import pytest

from chapters.runner.experiments import run_once
from d2l_recsys.data import catalog

# Common options, and the metric that is better if higher (+) or lower (-).
OF_RATINGS = "--split random --validation", "-valid_rmse"
OF_ROWS = "--validation", "-valid_rmse"
OF_PAIRS = "--validation", "+valid_auc"
OF_CLICKS = "--data synthetic --patience 5", "-valid_log_loss"
STEPS = "--lr 0.001 --batch-size 256"  # smaller ones than the book's
IN_SMALL_STEPS = f"--data synthetic --patience 5 {STEPS}", "-valid_log_loss"
ON_CRITEO = f"--data criteo --factors 0 --patience 5 {STEPS}", "-valid_log_loss"
OF_STARS = (
    "--data ml-100k --threshold 4 --batch-size 512 --lr 0.002 --patience 5",
    "-valid_log_loss",
)
SIGNS = [
    # section, common options and metric, the better setting, the worse settings
    ("mf", OF_RATINGS, "", "--factors 2", "--lr 0.01", "--lr 0.0005"),
    ("mf", OF_RATINGS, "", "--wd 0.0001", "--wd 0.001", "--factors 5"),
    ("mf", OF_RATINGS, "", "--optimizer sgd --lr 0.1", "--optimizer sgd --lr 1"),
    ("mf", OF_RATINGS, "", "--optimizer rmsprop"),
    ("autorec", OF_ROWS, "", "--hidden 20", "--hidden 100", "--hidden 500,100"),
    ("autorec", OF_ROWS, "", "--activation relu:none", "--activation none:none"),
    ("neumf", OF_PAIRS, "", "--factors 2", "--lr 0.001", "--optimizer sgd --lr 1"),
    ("neumf", OF_PAIRS, "", "--wd 0.001", "--wd 0.0001", "--model mlp"),
    ("neumf", OF_PAIRS, "", "--negatives popularity", "--loss hinge --margin 0.1"),
    ("neumf", OF_PAIRS, "", "--optimizer sgd --lr 10"),
    ("seqrec", OF_PAIRS, "", "--without both"),
    ("fm", OF_CLICKS, "--factors 4", ""),
    ("fm", IN_SMALL_STEPS, "--factors 4", "--factors 0"),
    ("deepfm", OF_CLICKS, "", "--without mlp", "--mlp 10"),
]
LONG = {  # number of seeds: signs
    1: [
        ("mf", OF_RATINGS, "", "--optimizer adagrad --lr 0.01", "--wd 0.01"),
        ("autorec", OF_ROWS, "--hidden 1000", ""),
        ("autorec", OF_ROWS, "", "--hidden 500,500", "--activation relu:relu"),
        ("autorec", OF_ROWS, "", "--activation none:relu"),
        ("fm", IN_SMALL_STEPS, "", "--factors 0"),
        ("fm", OF_STARS, "", "--factors 0"),
        ("deepfm", IN_SMALL_STEPS, "", "--without mlp"),
    ],
    2: [
        ("mf", OF_RATINGS, "", "--factors 10"),
        ("autorec", OF_ROWS, "", "--activation tanh:none", "--activation tanh:relu"),
        ("neumf", OF_PAIRS, "", "--optimizer adagrad --lr 0.05", "--lr 0.05"),
        ("seqrec", OF_PAIRS, "", "--without horizontal"),
        ("fm", ON_CRITEO, "", "--bins 1"),
        ("fm", OF_CLICKS, "", "--factors 0"),
        ("fm", OF_CLICKS, "--factors 8", ""),
        ("deepfm", IN_SMALL_STEPS, "", "--mlp 10"),
        ("deepfm", IN_SMALL_STEPS, "--mlp 100,100", ""),
    ],
    3: [
        ("neumf", OF_PAIRS, "", "--factors 50"),
        ("seqrec", OF_PAIRS, "", "--without vertical"),
        ("deepfm", OF_CLICKS, "", "--dropout 0.0"),
    ],
}


@lru_cache(maxsize=None)
def trained(slug, options, seed=0):
    return run_once(slug, [*options.split(), "--seed", str(seed)])


def pairs(signs):
    return [
        (slug, *how, better, worse)
        for slug, how, better, *rest in signs
        for worse in rest
    ]


@pytest.mark.parametrize(
    ("seeds", "slug", "common", "metric", "better", "worse"),
    [
        *(pytest.param(1, *x, marks=pytest.mark.book) for x in pairs(SIGNS)),
        *(
            pytest.param(seeds, *x, marks=pytest.mark.book_long)
            for seeds, signs in LONG.items()
            for x in pairs(signs)
        ),
    ],
)
def test_sign(seeds, slug, common, metric, better, worse, request):
    if "criteo" in common and catalog.find("criteo") is None:
        pytest.skip("criteo is not in the folder that D2L_RECSYS_DATA names")
    if "--data" not in common or "ml-100k" in common:
        request.getfixturevalue("ml100k")
    name, sign = metric[1:], 1 if metric[0] == "+" else -1
    best, other = (
        [trained(slug, f"{common} {x}", seed)[name] for seed in range(seeds)]
        for x in (better, worse)
    )
    assert sign * numpy.mean(best) > sign * numpy.mean(other)


@pytest.mark.book
def test_autorec_is_better_than_mf_on_the_same_split(ml100k):
    autorec, mf = (
        trained(slug, f"{common} ")["valid_rmse"]
        for slug, (common, _) in (("autorec", OF_ROWS), ("mf", OF_RATINGS))
    )
    assert autorec < mf


@pytest.mark.book_long
def test_autorec_with_as_few_parameters_is_worse_after_as_many_epochs(ml100k):
    autorec = trained("autorec", f"{OF_ROWS[0]} --hidden 43")["valid_rmse"]
    assert autorec > trained("mf", f"{OF_RATINGS[0]} ")["valid_rmse"]
