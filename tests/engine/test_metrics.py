import numpy
import pytest

from d2l_recsys.engine.metrics import auc, hit_rate, ranking_metrics

RANKS = numpy.array([1, 2, 50, 51, 100])


def test_hit_rate_by_hand():
    assert hit_rate(RANKS, 1) == 0.2
    assert hit_rate(RANKS, 50) == 0.6
    assert hit_rate(RANKS, 100) == 1


def test_auc_by_hand():
    # Of 100 other candidates 0, 1, 49, 50 and 99 are above.
    assert auc(RANKS, numpy.full(5, 101)) == pytest.approx(1 - 199 / 500)
    assert auc(numpy.array([1]), numpy.array([5])) == 1
    assert auc(numpy.array([5]), numpy.array([5])) == 0
    assert auc(numpy.array([1]), numpy.array([1])) == 1  # nothing to be above it


def test_the_others_by_hand():
    metrics = ranking_metrics(numpy.array([1, 2, 7, 3]), [1, 3])
    assert metrics == pytest.approx(
        {
            "precision@1": 1 / 4,
            "recall@1": 1 / 4,
            "ndcg@1": 1 / 4,
            "mrr@1": 1 / 4,
            "precision@3": 3 / 4 / 3,
            "recall@3": 3 / 4,
            "ndcg@3": (1 + 1 / numpy.log2(3) + 1 / 2) / 4,
            "mrr@3": (1 + 1 / 2 + 1 / 3) / 4,
        }
    )


def test_limits():
    best, worst = numpy.ones(3), numpy.full(3, 99)
    assert set(ranking_metrics(best, [1]).values()) == {1.0}
    assert set(ranking_metrics(worst, [10]).values()) == {0.0}


@pytest.mark.parametrize(
    "ranks", [[], [0, 1], [-1], [1.5], [numpy.nan], ["1"], [[1], [2]], [True], None]
)
def test_what_is_no_rank(ranks):
    for metric in (hit_rate, auc, lambda r, k: ranking_metrics(r, [k])):
        with pytest.raises(ValueError, match="rank"):
            metric(ranks, 5)


@pytest.mark.parametrize("k", [0, -1, 1.5, "5", None, True])
def test_what_is_no_cutoff(k):
    with pytest.raises(ValueError, match="k must be"):
        hit_rate(RANKS, k)
    with pytest.raises(ValueError, match=r"ks\[0\] must be"):
        ranking_metrics(RANKS, [k])


def test_numbers_of_candidates_fit_the_ranks():
    for candidates in ([101], [101, 101, 101, 101, 99]):
        with pytest.raises(ValueError, match="each rank needs a number of candidates"):
            auc(RANKS, candidates)
