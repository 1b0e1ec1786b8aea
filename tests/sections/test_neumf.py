import io
from contextlib import redirect_stdout

import numpy
import pytest
from conftest import checkerboard

from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.mf import MF
from d2l_recsys.neumf import (
    NeuMF,
    PRDataset,
    evaluate_ranking,
    hit_and_auc,
    train_ranking,
)
from d2l_recsys.ranking import BPRLoss, HingeLossbRec
from d2l_recsys.runtime.backend import autograd, gluon, mx, np
from d2l_recsys.seqrec import Caser, SeqDataset

CPU, TWO = [mx.cpu()], [mx.cpu(0), mx.cpu(1)]


class TestHitAndAuc:
    @pytest.mark.parametrize(
        ("ranked", "item", "k", "expected"),
        [
            ([5, 3, 1, 4], 5, 1, (1, 1)),
            ([5, 3, 1, 4], 3, 1, (0, 2 / 3)),
            ([5, 3, 1, 4], 4, 4, (1, 0)),
            ([5, 3, 1, 4], 9, 4, (0, 0)),
            ([5], 5, 1, (1, 1)),
        ],
    )
    def test_by_hand(self, ranked, item, k, expected):
        assert hit_and_auc(ranked, [item], k) == pytest.approx(expected)

    def test_is_the_books_on_one_held_out_item(self):
        from d2l import mxnet as d2l

        rng = numpy.random.default_rng(0)
        for _ in range(20):
            ranked = rng.permutation(30).tolist()
            for k in (1, 10, 30):
                ours = hit_and_auc(ranked, [7], k)
                assert ours == pytest.approx(d2l.hit_and_auc(ranked, [7], k))

    def test_several_items_are_refused(self):
        with pytest.raises(ValueError, match="2 held-out items"):
            hit_and_auc([1, 2, 3], [1, 2], 1)


def test_the_first_editions_name_of_the_layers():
    net = NeuMF(3, 4, 5, mlp_layers=[6, 2])
    assert [layer._units for layer in net.mlp] == [6, 2]
    for layers in ({}, {"nums_hiddens": [6, 2], "mlp_layers": [6, 2]}):
        with pytest.raises(ValueError, match="once: as nums_hiddens or as mlp_layers"):
            NeuMF(3, 4, 5, **layers)


def test_neumf_is_the_formula():
    mx.random.seed(0)
    net = NeuMF(3, 4, 5, [6, 2])
    net.initialize(mx.init.Normal(1))
    ids = [np.array([x], dtype="int32") for x in (1, 4)]
    score = net(*ids).item()

    def array(parameter):
        return parameter.data().asnumpy().astype("float64")

    p, q, u, v = (
        array(block.weight)[i]
        for block, i in zip((net.P, net.Q, net.U, net.V), [1, 4] * 2)
    )
    x = numpy.r_[u, v]
    for layer in net.mlp:
        x = numpy.maximum(array(layer.weight) @ x + array(layer.bias), 0)
    h = array(net.prediction_layer.weight)[0]
    assert score == pytest.approx(h @ numpy.r_[p * q, x], rel=1e-5)


def test_dropout_follows_each_layer_of_the_mlp_and_renames_nothing():
    nets = []
    for dropout in (0.0, 0.5):
        mx.random.seed(0)
        nets.append(NeuMF(3, 4, 5, [200, 100], gmf=False, dropout=dropout))
        nets[-1].initialize(mx.init.Normal(1))
    plain, dropped = nets
    names = [list(net._collect_params_with_prefix()) for net in nets]
    assert names[0] == names[1]
    ids = [np.array([x], dtype="int32") for x in (1, 4)]
    assert dropped(*ids).item() == plain(*ids).item()  # in training only
    calls = []
    for block in (*dropped.mlp, dropped.dropout):
        block.register_forward_hook(lambda block, *_: calls.append(block))
    with autograd.record():
        assert dropped(*ids).item() != plain(*ids).item()
    assert calls == [
        dropped.mlp[0],
        dropped.dropout,
        dropped.mlp[1],
        dropped.dropout,
    ]


def test_nothing_is_left_of_the_model():
    with pytest.raises(ValueError, match="leave out both branches"):
        NeuMF(3, 4, 5, [], gmf=False)


def ranked(
    net, board, loss=None, devices=CPU, epochs=30, L=None, batch_size=64, lr=0.02
):
    """Train `net` on the filled cells of a checkerboard; return history and print."""
    (users, items), (held_users, held_items) = board
    # Any item may follow any other, else only the last ones would ever be targets.
    order = numpy.random.default_rng(0).permutation(len(users))
    users, items = users[order], items[order]
    seen = {u: items[users == u].tolist() for u in range(20)}
    test = {int(u): [int(i)] for u, i in zip(held_users, held_items)}
    if L is None:
        data, seq = PRDataset(users, items, seen, 20, test), None
    else:
        data = SeqDataset(users, items, L, 20, 20, seen, test)
        seq = data.test_seq
    out = io.StringIO()
    with redirect_stdout(out):
        history = train_ranking(
            net,
            BatchLoader(data, batch_size, shuffle=True),
            test,
            loss or BPRLoss(),
            gluon.Trainer(net.collect_params(), "adam", {"learning_rate": lr}),
            seq,
            20,
            20,
            epochs,
            devices,
            lambda *a: evaluate_ranking(*a, k=1),
            seen,
            eval_step=epochs,
        )
    return history, out.getvalue()


MODELS = {
    "mf": (lambda: MF(4, 20, 20), None),
    "neumf": (lambda: NeuMF(4, 20, 20, [8, 8]), None),
    "gmf": (lambda: NeuMF(4, 20, 20, []), None),
    "mlp": (lambda: NeuMF(4, 20, 20, [16, 8], gmf=False), None),
    "caser": (lambda: Caser(4, 20, 20, L=3, drop_ratio=0), 3),
    "caser-h": (lambda: Caser(4, 20, 20, L=3, d_prime=0, drop_ratio=0), 3),
    "caser-v": (lambda: Caser(4, 20, 20, L=3, d=0, drop_ratio=0), 3),
    "caser-none": (lambda: Caser(4, 20, 20, L=3, d=0, d_prime=0), 3),
}


def prepared(name, devices=CPU, hybridize=True):
    make, L = MODELS[name]
    mx.random.seed(1)
    net = make()
    net.initialize(mx.init.Xavier(magnitude=6), ctx=devices)
    if hybridize:
        net.hybridize(static_alloc=True, static_shape=True)
    return net, L


@pytest.mark.filterwarnings("ignore:The 1-th input to HybridBlock is not used")
@pytest.mark.parametrize("name", MODELS)
def test_every_ranking_model_solves_the_checkerboard(name):
    net, L = prepared(name)
    history, _ = ranked(net, checkerboard(), L=L, epochs=60)
    assert (history[-1]["test_hit_rate"], history[-1]["test_auc"]) == (1, 1)


def test_hinge_loss_solves_it_too():
    net, _ = prepared("neumf")
    history, _ = ranked(net, checkerboard(), HingeLossbRec(margin=2), epochs=60)
    assert history[-1]["test_auc"] == 1


@pytest.mark.parametrize("name", ["neumf", "caser"])
@pytest.mark.parametrize("batch_size", [37, 179])  # 180 pairs: one is left over
def test_two_devices_do_what_one_does(name, batch_size):
    one, L = prepared(name)
    two, _ = prepared(name, TWO)
    a, _ = ranked(one, checkerboard(), L=L, epochs=3, batch_size=batch_size)
    b, printed = ranked(
        two, checkerboard(), L=L, epochs=3, batch_size=batch_size, devices=TWO
    )
    assert "on [cpu(0), cpu(1)]" in printed
    assert a[-1]["train_loss"] == pytest.approx(b[-1]["train_loss"], rel=1e-4)
    for key, x in one._collect_params_with_prefix().items():
        for y in two._collect_params_with_prefix()[key].list_data():
            # float32 sums in another order, through up to 15 steps of Adam
            assert numpy.allclose(x.data().asnumpy(), y.asnumpy(), atol=1e-4)


def test_prints_the_lines_of_the_book():
    history, printed = ranked(prepared("neumf")[0], checkerboard(), epochs=2)
    first, second = printed.splitlines()
    last = history[-1]
    assert first == (
        f"train loss {last['train_loss']:.3f}, test hit rate "
        f"{last['test_hit_rate']:.3f}, test AUC {last['test_auc']:.3f}"
    )
    assert second.endswith(" examples/sec on [cpu(0)]")


@pytest.mark.parametrize(
    ("epochs", "eval_step", "evaluated"),
    [(8, 5, [1, 5, 8]), (3, 5, [1, 3]), (4, 2, [1, 2, 4])],
)
def test_the_last_epoch_is_always_evaluated(epochs, eval_step, evaluated):
    (users, items), _ = checkerboard()
    seen = {u: items[users == u].tolist() for u in range(20)}
    calls = []

    def evaluator(*_):
        calls.append(1)
        return len(calls) / 10, len(calls) / 20

    net, _ = prepared("gmf")
    with redirect_stdout(io.StringIO()):
        history = train_ranking(
            net,
            BatchLoader(PRDataset(users, items, seen, 20), 64),
            {0: [0]},
            BPRLoss(),
            gluon.Trainer(net.collect_params(), "sgd"),
            None,
            20,
            20,
            epochs,
            CPU,
            evaluator,
            seen,
            eval_step,
        )
    values = [e["test_hit_rate"] for e in history]
    changes = [k + 1 for k in range(epochs) if k == 0 or values[k] != values[k - 1]]
    assert changes == evaluated
    assert len(calls) == len(evaluated)


def test_one_goes_with_many_as_in_the_book():
    net = NeuMF(3, 5, 6, [4])
    net.initialize(mx.init.Normal(1))
    users, items = (np.arange(n, dtype="int32") for n in (5, 6))
    for a, b in ((users, items[2:3]), (users[1:2], items)):
        flat = net(*(np.broadcast_to(x, (max(len(a), len(b)),)) for x in (a, b)))
        assert net(a, b).asnumpy() == pytest.approx(flat.asnumpy())


@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        ([1, 2], [0, 1], r"row 1: user 2 is not in 0\.\.1"),  # ids from 1
        ([-1, 0], [0, 1], "row 0: user -1"),
        ([0, 1], [0, 6], r"row 1: item 6 is not in 0\.\.5"),
        ([0, 1], [0], "2 users do not go with 1 items"),
    ],
)
def test_ids_of_pairs(users, items, message):
    with pytest.raises(ValueError, match=message):
        PRDataset(users, items, {0: [0], 1: [1]}, 6)


@pytest.mark.parametrize(
    ("sizes", "more", "message"),
    [
        ((5, 6), {}, "has 5 users, but 7"),
        ((7, 6), {"eval_step": 0}, "eval_step must be"),
    ],
)
def test_training_refuses_at_once(sizes, more, message):
    net = NeuMF(3, *sizes, [4])
    net.initialize()
    rest = (BPRLoss(), None, None, 7, 6, 1, None, evaluate_ranking, {})
    with pytest.raises(ValueError, match=message):
        train_ranking(net, [], {}, *rest, **more)
