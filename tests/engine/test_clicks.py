import numpy
import pytest
import sklearn.metrics

from d2l_recsys.engine.clicks import accuracy, log_loss, roc_auc


@pytest.fixture(params=range(4))
def rows(request):
    """Return logits with and without ties, and labels that go with them somewhat."""
    rng = numpy.random.default_rng(request.param)
    logits = rng.normal(0, 2, 500).astype("float32")
    if request.param % 2:
        logits = logits.round()
    labels = (rng.random(500) < 1 / (1 + numpy.exp(-logits))).astype("float32")
    return logits, labels


def test_equal_those_of_scikit_learn(rows):
    logits, labels = rows
    probabilities = 1 / (1 + numpy.exp(-logits.astype("float64")))
    assert accuracy(logits, labels) == sklearn.metrics.accuracy_score(
        labels, probabilities > 0.5
    )
    # both in float64: sums of 500 numbers in another order
    assert log_loss(logits, labels) == pytest.approx(
        sklearn.metrics.log_loss(labels, probabilities), rel=1e-12
    )
    assert roc_auc(logits, labels) == pytest.approx(
        sklearn.metrics.roc_auc_score(labels, logits), rel=1e-12
    )


def test_accuracy_by_hand():
    logits = numpy.array([3.0, -1.0, 0.5, -0.5, 0.0])
    assert accuracy(logits, numpy.array([1, 0, 0, 1, 0])) == 0.6


def test_log_loss_of_logits_that_are_far_off_is_finite():
    logits = numpy.array([-1000.0, 1000.0], dtype="float32")
    assert log_loss(logits, numpy.array([1.0, 1.0])) == 500
    assert log_loss(-logits[::-1], numpy.array([0.0, 0.0])) == 500
    assert log_loss(numpy.zeros(3), numpy.array([0, 1, 1])) == numpy.log(2)


def test_auc_by_hand():
    # Pairs of (1, 0): 2 > 1, 2 > 0, 1 = 1, 1 > 0: three and a half of four.
    labels = numpy.array([1, 1, 0, 0])
    assert roc_auc(numpy.array([2, 1, 1, 0]), labels) == 3.5 / 4
    assert roc_auc(numpy.array([5, 5, 5, 5]), labels) == 0.5
    assert roc_auc(numpy.array([0, 0, 1, 1]), labels) == 0


@pytest.mark.parametrize("metric", [accuracy, log_loss, roc_auc])
class TestWhatIsRefused:
    def test_a_column_counts_as_rows(self, metric, rows):
        logits, labels = rows
        assert metric(logits, labels[:, None]) == metric(logits, labels)
        assert metric(logits[:, None], labels) == metric(logits, labels)

    def test_other_shapes(self, metric):
        with pytest.raises(ValueError, match=r"^labels must have shape .* not \(2,\)"):
            metric(numpy.zeros(3), numpy.zeros(2))
        with pytest.raises(ValueError, match=r"^logits must have .* not \(3, 2\)"):
            metric(numpy.zeros((3, 2)), numpy.zeros(3))

    def test_labels_that_are_no_clicks(self, metric):
        with pytest.raises(ValueError, match=r"labels must be 0 or 1, not -1\.0"):
            metric(numpy.zeros(2), numpy.array([1, -1]))

    @pytest.mark.parametrize("bad", [numpy.nan, numpy.inf, -numpy.inf])
    def test_logits_that_are_not_finite(self, metric, bad):
        with pytest.raises(ValueError, match="some logits are NaN or infinite"):
            metric(numpy.array([bad, 0.0]), numpy.array([1, 0]))


def test_auc_of_one_class_is_nan():
    assert numpy.isnan(roc_auc(numpy.array([1.0, 2.0]), numpy.array([1, 1])))
