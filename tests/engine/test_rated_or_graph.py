"""What cannot be computed at the rated cells only runs as a graph, or is called."""

import numpy
import pytest
from rated_cells import (
    COLUMNS,
    FEW,
    L2,
    MANY,
    RNG,
    made,
    runs_at_rated_cells,
    same,
    step_of,
    values,
)

from d2l_recsys.autorec import AutoRec, evaluator
from d2l_recsys.engine import compiled_loops
from d2l_recsys.engine.errors import NonFiniteLoss
from d2l_recsys.runtime.backend import gluon, mx, nn

pytestmark = pytest.mark.usefixtures("loops_for_small_nets")


class Other(AutoRec):
    def hybrid_forward(self, F, input):
        return 2 * super().hybrid_forward(F, input)


def replaced(name, layer):
    net = made()
    setattr(net, name, layer)
    layer.initialize(mx.init.Normal(0.5))
    return net


def patched():
    net = made()
    hybrid_forward = net.hybrid_forward
    net.hybrid_forward = lambda F, input: 3 * hybrid_forward(F, input)
    return net


def patched_loss():
    loss = gluon.loss.L2Loss()
    hybrid_forward = loss.hybrid_forward
    loss.hybrid_forward = lambda *args, **kwargs: 3 * hybrid_forward(*args, **kwargs)
    return loss


def with_gelu():
    layer = nn.Dense(COLUMNS, in_units=7)
    layer.act = nn.GELU()
    return layer


@pytest.mark.parametrize(
    ("make", "loss", "ratings"),
    [
        (made, L2, MANY),
        (made, gluon.loss.L1Loss(), FEW),
        (made, gluon.loss.L2Loss(batch_axis=1), FEW),
        (lambda: made(kind=Other), L2, FEW),
        (patched, L2, FEW),
        (made, patched_loss(), FEW),
        (lambda: replaced("decoder", with_gelu()), L2, FEW),
        (lambda: replaced("decoder", nn.Dense(60, use_bias=False)), L2, FEW),
        (lambda: replaced("decoder", nn.Dense(60)), L2, FEW),
        (lambda: replaced("dropout", nn.Dropout(1e-9, axes=(1,))), L2, FEW),
        (lambda: made(kind=lambda *a: AutoRec(*a, activation="relu")), L2, FEW),
        (lambda: made(kind=lambda *a: AutoRec(*a, out_activation="tanh")), L2, FEW),
        (lambda: made(kind=lambda m, *a: AutoRec([m, 3], *a)), L2, FEW),
    ],
)
def test_other_nets_losses_and_batches_run_as_a_graph(make, loss, ratings, monkeypatch):
    batches = runs_at_rated_cells(monkeypatch)
    net = make()
    found = values(net, step_of(net, loss), ratings)
    net.hybridize(False)
    same(found, values(net, step_of(net, loss), ratings))
    assert not batches


def to_other_labels(F, net, loss, ratings, labels):
    return loss(net(ratings), labels)


def test_a_denoising_autoencoder_runs_as_a_graph(monkeypatch):
    batches, net = runs_at_rated_cells(monkeypatch), made()
    noisy = FEW * RNG.integers(0, 2, FEW.shape).astype("float32")
    found = []
    for hybridize in (True, False):
        net.hybridize(hybridize)
        step = step_of(net, losses=to_other_labels)
        ((losses,), _) = step([noisy, FEW])
        found.append(losses.copy())
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert not batches


def evaluated_both_ways(net, ratings, monkeypatch):
    """Return the test RMSE with and without compiled loops."""
    found = evaluator(net, [ratings], ratings)
    monkeypatch.setattr(compiled_loops, "WORTHWHILE", 10**9)
    return found, evaluator(net, [ratings], ratings)


def watched(net):
    net.decoder.register_forward_pre_hook(lambda *_: net.calls.append(1))
    net.calls = []
    return net


def test_the_evaluator_calls_a_net_with_hooks_or_another_forward(monkeypatch):
    net = watched(made(hybridize=False))
    evaluator(net, [FEW], FEW)
    assert net.calls
    changed = made()
    changed.forward = lambda input: 2 * AutoRec.forward(changed, input)
    found, expected = evaluated_both_ways(changed, FEW, monkeypatch)
    assert found == pytest.approx(expected)
    assert found != pytest.approx(evaluator(made(), [FEW], FEW), rel=1e-2)


def test_a_method_that_a_reader_puts_into_the_class_is_called(monkeypatch):
    before = AutoRec.hybrid_forward
    monkeypatch.setattr(
        AutoRec, "hybrid_forward", lambda self, F, input: 2 * before(self, F, input)
    )
    found, expected = evaluated_both_ways(made(), FEW, monkeypatch)
    assert found == pytest.approx(expected)


def test_a_weight_that_is_nan_is_found_even_if_nobody_rated_the_item():
    net, ratings = made(), FEW.copy()
    ratings[:, 5] = 0
    net.encoder.weight.data()[0, 5] = numpy.nan
    with pytest.raises(NonFiniteLoss):
        evaluator(net, [ratings], ratings)


def test_shared_weights_run_as_a_graph():
    net = AutoRec(COLUMNS, COLUMNS)
    net.decoder = nn.Dense(COLUMNS, in_units=COLUMNS, params=net.encoder.params)
    net.initialize()
    with pytest.raises(NotImplementedError):
        net.rated_cells()


@pytest.mark.parametrize("ratings", [FEW[:, :50], FEW.astype("float64")])
def test_ratings_of_another_kind_are_left_to_mxnet(ratings):
    net = made()
    with pytest.raises(mx.base.MXNetError):
        values(net, step_of(net), ratings)
    with pytest.raises(mx.base.MXNetError):
        evaluator(net, [ratings], ratings)


def test_a_net_that_was_cast_is_left_to_mxnet():
    net = made()
    step = step_of(net)
    values(net, step, FEW)
    net.cast("float64")
    with pytest.raises(mx.base.MXNetError):
        values(net, step, FEW)
