import numpy
import pytest
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

from d2l_recsys.engine.metrics import HeldOutRanks, auc, hit_rate, ranking_metrics


def one_each(ranks, ranked=101):
    """Return the ranks of users who have one held-out item each."""
    places = numpy.arange(len(ranks))
    return HeldOutRanks(numpy.array(ranks), places, numpy.full(len(ranks), ranked))


RANKS = one_each([1, 2, 50, 51, 100])


def test_hit_rate_by_hand():
    assert hit_rate(RANKS, 1) == 0.2
    assert hit_rate(RANKS, 50) == 0.6
    assert hit_rate(RANKS, 100) == 1


def test_auc_by_hand():
    # Of 100 other candidates 0, 1, 49, 50 and 99 are above.
    assert auc(RANKS) == pytest.approx(1 - 199 / 500)
    assert auc(one_each([1], 5)) == 1
    assert auc(one_each([5], 5)) == 0
    assert auc(one_each([1], 1)) == 1  # nothing to be above it


def test_the_others_by_hand():
    metrics = ranking_metrics(one_each([1, 2, 7, 3]), [1, 3])
    assert metrics == pytest.approx(
        {
            "precision@1": 1 / 4,
            "recall@1": 1 / 4,
            "ndcg@1": 1 / 4,
            "mrr@1": 1 / 4,
            "map@1": 1 / 4,
            "precision@3": 3 / 4 / 3,
            "recall@3": 3 / 4,
            "ndcg@3": (1 + 1 / numpy.log2(3) + 1 / 2) / 4,
            "mrr@3": (1 + 1 / 2 + 1 / 3) / 4,
            "map@3": (1 + 1 / 2 + 1 / 3) / 4,
        }
    )


def test_limits():
    best, worst = one_each([1] * 3), one_each([99] * 3)
    assert set(ranking_metrics(best, [1]).values()) == {1.0}
    assert set(ranking_metrics(worst, [10]).values()) == {0.0}


def test_several_held_out_items_by_hand():
    # One user has the ranks 1 and 3 of 5, the other 2, 3 and 4 of 4.
    ranks = HeldOutRanks(
        numpy.array([1, 3, 2, 3, 4]), numpy.array([0, 2]), numpy.array([5, 4])
    )
    assert hit_rate(ranks, 1) == 0.5
    assert auc(ranks) == pytest.approx((5 / 6 + 0) / 2)
    metrics = ranking_metrics(ranks, [2])
    ideal = 1 + 1 / numpy.log2(3)
    assert metrics == pytest.approx(
        {
            "precision@2": 1 / 2,
            "recall@2": (1 / 2 + 1 / 3) / 2,
            "ndcg@2": (1 / ideal + (1 / numpy.log2(3)) / ideal) / 2,
            "mrr@2": (1 + 1 / 2) / 2,
            "map@2": (1 / 2 + 1 / 2 / 2) / 2,
        }
    )


def test_several_held_out_items_as_scikit_learn_has_them():
    rng = numpy.random.default_rng(0)
    for _ in range(20):
        scores, held_out = (
            rng.permutation(30),
            rng.choice(30, rng.integers(1, 9), False),
        )
        relevant = numpy.isin(numpy.arange(30), held_out)
        ranks = HeldOutRanks(
            numpy.sort(30 - scores[held_out]), numpy.array([0]), numpy.array([30])
        )
        assert auc(ranks) == pytest.approx(roc_auc_score(relevant, scores))
        metrics = ranking_metrics(ranks, [5, 30])
        assert metrics["map@30"] == pytest.approx(
            average_precision_score(relevant, scores)
        )
        for k in (5, 30):
            assert metrics[f"ndcg@{k}"] == pytest.approx(
                ndcg_score(relevant[None], scores[None], k=k)
            )


@pytest.mark.parametrize("k", [0, -1, 1.5, "5", None, True])
def test_what_is_no_cutoff(k):
    ranks = HeldOutRanks(*(numpy.array([x]) for x in (1, 0, 5)))
    with pytest.raises(ValueError, match="k must be"):
        hit_rate(ranks, k)
    with pytest.raises(ValueError, match=r"ks\[0\] must be"):
        ranking_metrics(ranks, [k])
