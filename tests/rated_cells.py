"""What the tests of AutoRec at its rated cells share."""

import numpy
import pytest

from d2l_recsys.autorec import AutoRec
from d2l_recsys.engine.loop import Step
from d2l_recsys.engine.rated import RatedProgram, rated_program
from d2l_recsys.mf import _losses
from d2l_recsys.runtime.backend import gluon, mx, np

RNG = numpy.random.default_rng(0)
ROWS, COLUMNS = 23, 60
L2 = gluon.loss.L2Loss(weight=2)


def rated(share, rows=ROWS):
    shape = rows, COLUMNS
    stars = RNG.integers(1, 6, shape) * (RNG.random(shape) < share)
    return stars.astype("float32")


FEW, MANY = rated(0.06), rated(0.5)


def made(devices=1, dropout=0.0, hybridize=True, kind=AutoRec):
    mx.random.seed(0)
    net = kind(7, COLUMNS, dropout)
    net.initialize(mx.init.Normal(0.5), ctx=[mx.cpu(k) for k in range(devices)])
    if hybridize:
        net.hybridize()
    return net


def step_of(net, loss=L2, losses=_losses):
    return Step(net, loss, None, losses, rated_program)


def rmse_of(net, ratings, held_out):
    """Return the test RMSE, from the whole matrix of outputs."""
    recons = net(np.array(ratings)).asnumpy()
    return numpy.sqrt(numpy.mean((recons - held_out)[held_out != 0] ** 2))


def values(net, step, ratings):
    losses, outputs = step([ratings])
    found = [x.copy() for part in (losses, *outputs) for x in part]
    for p in net.collect_params().values():
        if p.grad_req != "null":
            found += [grad.asnumpy() for grad in p.list_grad()]
    return found


def same(found, expected):
    assert len(found) == len(expected)
    for x, y in zip(found, expected):
        # float32: up to 23 terms of size 10 in another order
        assert x.shape == y.shape
        assert x == pytest.approx(y, rel=1e-4, abs=1e-5)


def runs_at_rated_cells(monkeypatch):
    """Return a list that grows with each batch computed at its rated cells."""
    batches, run = [], RatedProgram._run
    monkeypatch.setattr(
        RatedProgram, "_run", lambda *args: batches.append(1) or run(*args)
    )
    return batches
