"""Compare the rows of tables that a batch looks up with its gradients."""

import numpy
import pytest
from jobs import run_job
from several_shared import Tied

from d2l_recsys.engine import table_rows
from d2l_recsys.engine.loop import Step
from d2l_recsys.engine.pairs import pair_losses
from d2l_recsys.engine.table_rows import TableRows
from d2l_recsys.fm import FM
from d2l_recsys.mf import MF
from d2l_recsys.neumf import NeuMF
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import gluon, mx, np
from d2l_recsys.seqrec import Caser

USERS, ITEMS = 30, 20
USER, ITEM, OTHER = (
    numpy.array(x, "int32") for x in ([29, 4, 4], [0, 7, 19], [7, 2, 3])
)
SEQ = numpy.array([[1, 2, 3], [5, 0, 9], [ITEMS, 8, 1]], "int32")  # ITEMS pads
RATINGS = numpy.array([1, 5, 3], "float32")
FIELDS = numpy.stack([USER, ITEM + USERS], axis=1)


def rating_losses(F, net, loss, *batch):
    *ids, ratings = batch
    return loss(net(*ids), ratings)


L2 = gluon.loss.L2Loss(), rating_losses
BPR = BPRLoss(), pair_losses
CASES = {
    "MF": (lambda: MF(3, USERS, ITEMS), L2, (USER, ITEM, RATINGS), set()),
    "FM": (lambda: FM([USERS, ITEMS], 3), L2, (FIELDS, RATINGS[:, None]), set()),
    "NeuMF": (lambda: NeuMF(3, USERS, ITEMS, [4]), BPR, (USER, ITEM, OTHER), set()),
    "Caser": (
        lambda: Caser(3, USERS, ITEMS, L=3),
        BPR,
        (USER, SEQ, ITEM, OTHER),
        {"Q.weight"},
    ),
    "tied": (lambda: Tied(USERS), L2, (USER, ITEM, RATINGS), {"whole"}),
    "float": (
        lambda: MF(3, USERS, ITEMS),
        L2,
        (USER.astype("float32"), ITEM.astype("float64"), RATINGS),
        set(),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_rows_are_those_with_gradients(name, monkeypatch):
    monkeypatch.setattr(table_rows, "WORTHWHILE", 1)
    make, (loss, losses), batch, whole = CASES[name]
    net = make()
    net.initialize(mx.init.Normal(0.5))
    net.hybridize()
    step = Step(net, loss, None, losses)
    batch = [np.array(column, dtype=column.dtype) for column in batch]
    step(batch)
    found = TableRows(lambda F, *inputs: losses(F, net, loss, *inputs))(batch)
    tables = {
        place: p
        for place, p in net._collect_params_with_prefix().items()
        if p.shape[0] in (USERS, ITEMS, USERS + ITEMS) and p.shape[1:] != ()
    }
    assert {place for place, p in tables.items() if p.name not in found} == whole
    for place, parameter in tables.items():
        changed = numpy.flatnonzero(parameter.grad().asnumpy().any(axis=1))
        if place not in whole:
            assert found[parameter.name].tolist() == changed.tolist()


def test_tables_are_left_out_if_little_would_be_saved(monkeypatch):
    net = MF(3, USERS, 2)
    net.initialize()
    net.hybridize()
    batch = [np.array(x, dtype=x.dtype) for x in (USER, ITEM % 2, RATINGS)]
    rows = TableRows(lambda F, *inputs: rating_losses(F, net, L2[0], *inputs))
    assert rows(batch) == {}
    # Of the users' tables, 28 rows of 3 + 1 numbers are saved; of the items', none.
    monkeypatch.setattr(table_rows, "WORTHWHILE", 28 * 4)
    assert {*rows(batch)} == {net.P.weight.name, net.user_bias.weight.name}
    monkeypatch.setattr(table_rows, "WORTHWHILE", 28 * 4 + 1)
    assert rows(batch) == {}


@pytest.mark.parametrize(
    "difference",
    ["seed=RANK", "ratings=several.RATINGS + RANK", "last_batch=LAST[RANK]"],
)
def test_workers_with_different_batches_are_an_error(difference):
    script = (
        "import sys; sys.path.insert(0, 'tests'); import several; "
        "several.worker.join(); "
        "RANK, LAST = several.worker.rank, ['keep', 'discard']; "
        f"several.few_rows(4, [several.mx.cpu()], {difference})"
    )
    code, _, err = run_job("-n", 2, "--", "python", "-c", script)
    assert code == 1
    assert "ValueError: worker 1 has different batches from worker 0: start all" in err
