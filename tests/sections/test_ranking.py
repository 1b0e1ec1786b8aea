import numpy
import pytest

from d2l_recsys.ranking import BPRLoss, HingeLossbRec
from d2l_recsys.runtime.backend import autograd, np

RNG = numpy.random.default_rng(0)
POSITIVE, NEGATIVE = RNG.normal(0, 5, (2, 40)).astype("float32")


def value_and_gradient(loss, positive, negative):
    positive, negative = np.array(positive), np.array(negative)
    positive.attach_grad()
    with autograd.record():
        value = loss(positive, negative)
    value.backward()
    return value.asnumpy(), positive.grad.asnumpy()


@pytest.fixture(params=[False, True], ids=["imperative", "hybridized"])
def make(request):
    def make(loss, *args, **kwargs):
        loss = loss(*args, **kwargs)
        if request.param:
            loss.hybridize(static_alloc=True)
        return loss

    return make


def test_bpr_is_logaddexp(make):
    value, gradient = value_and_gradient(make(BPRLoss), POSITIVE, NEGATIVE)
    distance = (POSITIVE - NEGATIVE).astype("float64")
    assert value.shape == (1,)
    # float32 has seven digits; the sum of 40 terms keeps six.
    assert value[0] == pytest.approx(numpy.logaddexp(0, -distance).sum(), rel=1e-6)
    assert gradient == pytest.approx(-1 / (1 + numpy.exp(distance)), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("distance", "loss", "slope"),
    [
        (-1000, 1000, -1),
        (-89, 89, -1),
        (0, numpy.log(2), -0.5),
        (89, 0, 0),
        (1000, 0, 0),
    ],
)
def test_bpr_at_the_ends(make, distance, loss, slope):
    value, gradient = value_and_gradient(
        make(BPRLoss), numpy.float32([distance]), numpy.float32([0])
    )
    assert value[0] == pytest.approx(loss, rel=1e-6, abs=1e-30)
    assert gradient[0] == pytest.approx(slope, abs=1e-7)


@pytest.mark.parametrize("margin", [1, 2.5])
def test_hinge_by_hand(make, margin):
    value, gradient = value_and_gradient(
        make(HingeLossbRec, margin=margin), POSITIVE, NEGATIVE
    )
    lacking = margin - POSITIVE.astype("float64") + NEGATIVE
    assert value[0] == pytest.approx(numpy.maximum(lacking, 0).sum(), rel=1e-6)
    assert numpy.array_equal(gradient, -(lacking > 0).astype("float32"))


def test_margin_in_the_call_as_in_the_book(make):
    loss = make(HingeLossbRec)
    p, n = np.array([3.0]), np.array([2.5])
    assert loss(p, n).item() == loss(p, n, 1).item() == 0.5
    assert loss(p, n, 2).item() == loss(p, n, margin=2).item() == 1.5
    assert loss(p, n).item() == 0.5


@pytest.mark.parametrize("kind", [BPRLoss, HingeLossbRec])
class TestBoth:
    def test_weight(self, make, kind):
        once, slope = value_and_gradient(make(kind), POSITIVE, NEGATIVE)
        tenfold, steeper = value_and_gradient(make(kind, weight=10), POSITIVE, NEGATIVE)
        assert tenfold == pytest.approx(10 * once, rel=1e-6)
        # A gradient is a difference of halves: exact to the last place of 0.5.
        assert steeper == pytest.approx(10 * slope, abs=10 * 2**-24 * 2)

    def test_batch_axis(self, make, kind):
        """Of all axes but the batch's the mean is taken, as gluon's losses do."""
        p, n = (x.reshape(5, 8) for x in (POSITIVE, NEGATIVE))
        each = [
            make(kind)(np.array(p[:, j]), np.array(n[:, j])).item() for j in range(8)
        ]
        first = make(kind)(np.array(p), np.array(n)).item()
        second = make(kind, batch_axis=1)(np.array(p.T), np.array(n.T)).item()
        assert first == pytest.approx(numpy.mean(each), rel=1e-6)
        assert second == pytest.approx(numpy.mean(each), rel=1e-6)

    @pytest.mark.parametrize("bad", [numpy.nan, numpy.inf, -numpy.inf])
    def test_scores_that_are_not_finite(self, kind, bad):
        scores = np.array([1.0, bad])
        with pytest.raises(ValueError, match=r"^some positive scores are NaN or inf"):
            kind()(scores, np.zeros(2))
        with pytest.raises(ValueError, match=r"^some negative scores are NaN or inf"):
            kind()(np.zeros(2), scores)

    def test_shapes_that_would_broadcast(self, kind):
        with pytest.raises(ValueError, match=r"shapes are \(3, 1\) and \(3,\)"):
            kind()(np.zeros((3, 1)), np.zeros(3))


@pytest.mark.parametrize("bad", [numpy.nan, numpy.inf, -numpy.inf])
def test_hybridized_bpr_turns_bad_scores_into_a_bad_loss(bad):
    loss = BPRLoss()
    loss.hybridize()
    assert not numpy.isfinite(loss(np.array([bad]), np.zeros(1)).item())
