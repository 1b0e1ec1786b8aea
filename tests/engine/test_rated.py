"""An autoencoder at the rated cells only, compared with the whole matrices."""

import io
from contextlib import redirect_stdout

import numpy
import pytest
from rated_cells import (
    COLUMNS,
    FEW,
    L2,
    MANY,
    ROWS,
    made,
    rated,
    rmse_of,
    runs_at_rated_cells,
    same,
    step_of,
    values,
)

from d2l_recsys.autorec import evaluator
from d2l_recsys.engine import compiled, compiled_loops
from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.errors import NonFiniteLoss
from d2l_recsys.engine.program import Program
from d2l_recsys.engine.rated import cells_of
from d2l_recsys.mf import _losses, train_recsys_rating
from d2l_recsys.runtime.backend import gluon, mx, np

pytestmark = pytest.mark.usefixtures("loops_for_small_nets")


@pytest.mark.parametrize("loops", [numpy, compiled])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("share", [0, 0.1, 1])
@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (6, 9)])
def test_cells_are_those_that_are_not_0(shape, share, transposed, loops):
    rng = numpy.random.default_rng(0)
    matrix = rng.normal(size=shape) * (rng.random(shape) < share)
    matrix[1:2, :2] = numpy.nan
    matrix[2:3] = -0.0
    matrix = matrix.T if transposed and len(matrix) else matrix
    rows, columns = numpy.nonzero(matrix)
    cells = cells_of(matrix, loops)
    assert cells.shape == matrix.shape
    numpy.testing.assert_array_equal(cells.rows, rows)
    numpy.testing.assert_array_equal(cells.columns, columns)
    numpy.testing.assert_array_equal(cells.values, matrix[rows, columns])


@pytest.mark.parametrize("loss", [L2, gluon.loss.L2Loss(), gluon.loss.L2Loss(0.3)])
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("rows", [1, 2, ROWS])
def test_losses_and_gradients_are_gluons(rows, devices, loss, monkeypatch):
    batches = runs_at_rated_cells(monkeypatch)
    net, plain = made(devices), made(devices, hybridize=False)
    found = values(net, step_of(net, loss), FEW[:rows])
    assert len(batches) == min(rows, devices)
    expected = values(plain, step_of(plain, loss), FEW[:rows])
    assert len(batches) == min(rows, devices)
    same(found, expected)


def test_a_batch_without_ratings_has_no_loss_and_no_gradient():
    net = made()
    nothing = numpy.zeros((3, COLUMNS), "float32")
    for x in values(net, step_of(net), nothing):
        assert (x == 0).all()


def test_dropout_draws_the_masks_of_a_graph():
    net, other = made(dropout=0.4), made(dropout=0.4)
    step = step_of(net)
    graph = Program(_losses, other, L2)
    for seed in (0, 1):
        step.seed(seed)
        graph.masks.seed(seed)
        found = values(net, step, FEW)
        losses, *outputs = graph([mx.cpu()], [[FEW]])[0]
        gradients = [p.grad().asnumpy() for p in other.collect_params().values()]
        same(found, [losses, *outputs, *gradients])


@pytest.mark.parametrize("frozen", ["encoder.bias", "decoder.weight"])
def test_a_frozen_parameter_has_no_gradient_and_others_keep_theirs(frozen):
    expected, net = made(), made()
    values(expected, step_of(expected), FEW)
    net._collect_params_with_prefix()[frozen].grad_req = "null"
    values(net, step_of(net), FEW)
    theirs = expected._collect_params_with_prefix()
    for name, p in net._collect_params_with_prefix().items():
        if name != frozen:
            assert numpy.array_equal(p.grad().asnumpy(), theirs[name].grad().asnumpy())


def test_views_of_arrays_that_are_gone_are_dropped():
    net = made()
    step = step_of(net)
    for _ in range(5):
        values(net, step, FEW)
        net.initialize(mx.init.Normal(0.5), force_reinit=True)
    assert len(step._program._model._views) == 8
    new = step_of(net)
    same(values(net, step, FEW), values(net, new, FEW))


def trained(ratings, held_out):
    net = made(dropout=0.2)
    trainer = make_trainer(net, "adam", {"learning_rate": 0.01})
    loader = BatchLoader(ratings, 9, shuffle=True, seed=0)
    test = BatchLoader(ratings, 11)
    with redirect_stdout(io.StringIO()):
        history = train_recsys_rating(
            net, loader, test, L2, trainer, 4, None, evaluator, held_out
        )
    return [(e["train_loss"], e["test_rmse"]) for e in history]


def test_a_training_gives_the_figures_of_a_graph(monkeypatch):
    batches = runs_at_rated_cells(monkeypatch)
    held_out = rated(0.05) * (FEW == 0)
    found = trained(FEW, np.array(held_out))
    assert len(batches) == 4 * 3
    monkeypatch.setattr(compiled_loops, "WORTHWHILE", 10**9)
    expected = trained(FEW, np.array(held_out))
    assert len(batches) == 4 * 3
    # float32 in another order, through 12 steps of Adam
    assert numpy.array(found) == pytest.approx(numpy.array(expected), rel=1e-4)


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("ratings", [FEW, MANY])
def test_evaluator(ratings, devices):
    net = made(devices)
    held_out = rated(0.05)
    held_out[4] = 0
    expected = rmse_of(net, ratings, held_out)
    for loader in (BatchLoader(ratings, 5), [np.array(ratings)], [ratings]):
        assert evaluator(net, loader, held_out) == pytest.approx(expected, rel=1e-5)


def test_the_evaluator_uses_what_the_net_has_now():
    net = made()
    held_out = rated(0.05)
    before = evaluator(net, [FEW], held_out)
    net.decoder.bias.set_data(net.decoder.bias.data() + 1)
    expected = rmse_of(net, FEW, held_out)
    assert evaluator(net, [FEW], held_out) == pytest.approx(expected, rel=1e-5)
    assert before != pytest.approx(expected, rel=1e-3)


def test_infinite_numbers_are_found_as_in_a_graph():
    ratings = FEW.copy()
    ratings[3, 5] = numpy.inf
    with pytest.raises(NonFiniteLoss, match="the training loss became"):
        trained(ratings, np.array(rated(0.05)))


def test_large_inputs_saturate_the_hidden_units_without_a_warning():
    net = made()
    net.encoder.weight.set_data(-1000 * np.ones((7, COLUMNS)))
    held_out = rated(0.05)
    expected = rmse_of(net, FEW, held_out)
    assert evaluator(net, [FEW], held_out) == pytest.approx(expected, rel=1e-5)
