"""Steps on rows alone, against MXNet's own lazy updates and gluon's trainer."""

import numpy
import pytest

from d2l_recsys import mf, neumf
from d2l_recsys.backend import autograd, gluon, mx, np
from d2l_recsys.batching import BatchLoader
from d2l_recsys.checkpoint import Checkpoint
from d2l_recsys.mf import MF, train_recsys_rating
from d2l_recsys.movielens import (
    load_data_ml100k,
    read_data_ml100k,
    split_and_load_ml100k,
    split_data_ml100k,
)
from d2l_recsys.neumf import NeuMF, PRDataset, evaluate_ranking, train_ranking
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.row_trainer import RowTrainer
from d2l_recsys.training import make_step

ADAM = {"learning_rate": 0.01}
TWO_CPUS = [mx.cpu(0), mx.cpu(1)]


def mf_net(num_users=7, num_items=5, devices=None):
    net = MF(3, num_users, num_items)
    mx.random.seed(0)
    net.initialize(mx.init.Normal(0.1), ctx=devices)
    net.hybridize(static_alloc=True, static_shape=True)
    return net


def neumf_net(num_users=7, num_items=5):
    net = NeuMF(3, num_users, num_items, [4, 3])
    mx.random.seed(0)
    net.initialize(mx.init.Xavier())
    net.hybridize(static_alloc=True, static_shape=True)
    return net


def ratings_batch(rng, size, num_users=7, num_items=5):
    return [
        np.array(rng.integers(0, num_users, size).astype("int32")),
        np.array(rng.integers(0, num_items, size).astype("int32")),
        np.array(rng.random(size).astype("float32")),
    ]


def train(net, trainer, batches, function=mf._losses, loss=None):
    step = make_step(function, net, loss or gluon.loss.L2Loss())
    for batch in batches:
        if isinstance(trainer, RowTrainer):
            trainer.touch(batch)
        with autograd.record():
            losses = step(*batch)
        losses.backward()
        trainer.step(len(batch[0]))


def values(net):
    parameters = net._collect_params_with_prefix().items()
    return {name: p.list_data()[0].asnumpy() for name, p in parameters}


def assert_equal(left, right, tolerance=1e-6):
    left, right = values(left), values(right)
    for name in left:
        numpy.testing.assert_allclose(left[name], right[name], 0, tolerance, name)


def both(batches, options, nets=(mf_net, mf_net), **step):
    """Train a net by rows and one by gluon's trainer; return them."""
    ours, gluons = (make() for make in nets)
    trainer = RowTrainer(ours, options)
    train(ours, trainer, batches, **step)
    trainer.settle()
    train(
        gluons, gluon.Trainer(gluons.collect_params(), "adam", options), batches, **step
    )
    return ours, gluons


def test_where_every_row_is_in_every_batch_it_is_gluons_trainer():
    rng = numpy.random.default_rng(0)
    batches = [ratings_batch(rng, 21) for _ in range(20)]
    for users, items, _ in batches:
        users[:7] = np.arange(7, dtype="int32")
        items[:7] = np.arange(7, dtype="int32") % 5
    assert_equal(*both(batches, {**ADAM, "wd": 0.1}))


# What a row that catches up holds to be constant: Adam's bias corrections, which have
# ended by the 100000th step, and epsilon's share of the denominator.
LATE = {**ADAM, "begin_num_update": 100_000, "epsilon": 1e-15}


def test_rows_that_missed_steps_catch_up_on_them():
    rng = numpy.random.default_rng(1)
    batches = [ratings_batch(rng, 2, num_users=200, num_items=50) for _ in range(60)]
    nets = [lambda: mf_net(200, 50)] * 2
    assert_equal(*both(batches, LATE, nets))


def test_an_epoch_ends_with_all_rows_caught_up():
    rng = numpy.random.default_rng(5)
    arrays = [x.asnumpy() for x in ratings_batch(rng, 80, 200, 50)]
    nets = mf_net(200, 50), mf_net(200, 50)
    gluons = gluon.Trainer(nets[1].collect_params(), "adam", LATE)
    for net, trainer in zip(nets, (RowTrainer(nets[0], LATE), gluons)):
        loaders = (BatchLoader(arrays, size, shuffle=size == 4) for size in (4, 80))
        train_recsys_rating(net, *loaders, gluon.loss.L2Loss(), trainer, 2)
    assert_equal(*nets)


def test_a_new_trainer_forgets_what_a_broken_off_training_left():
    nets = mf_net(), mf_net()
    batch = ratings_batch(numpy.random.default_rng(6), 4)
    spoilt = RowTrainer(nets[0], ADAM)
    spoilt.touch(batch)
    nets[0].P.weight.grad()[:] = np.nan
    for net in nets:
        train(net, RowTrainer(net, ADAM), [batch])
    assert_equal(*nets, tolerance=0)


def test_a_step_touches_no_row_that_the_batch_does_not_name():
    net = neumf_net()
    before = values(net)
    trainer = RowTrainer(net, ADAM)
    users, items, negatives = ([1, 1, 4], [0, 2, 2], [3, 0, 0])
    batch = [np.array(x, dtype="int32") for x in (users, items, negatives)]
    train(net, trainer, [batch] * 3, neumf._losses, BPRLoss())
    after = values(net)
    for name in ("P.weight", "U.weight", "Q.weight", "V.weight"):
        changed = (before[name] != after[name]).any(axis=1)
        named = [1, 4] if name[0] in "PU" else [0, 2, 3]
        assert {*numpy.flatnonzero(changed)} <= {*named}
        assert changed.any()
        assert not net._collect_params_with_prefix()[name].grad().asnumpy().any()
    number = trainer._param2idx[net.P.weight.name]
    moments = trainer._updaters[0].states[number][0].asnumpy()
    assert numpy.flatnonzero(moments.any(axis=1)).tolist() == [1, 4]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_two_devices_train_as_one_does(size):
    rng = numpy.random.default_rng(2)
    arrays = [x.asnumpy() for x in ratings_batch(rng, 33)]
    nets = []
    for devices in ([mx.cpu(0)], TWO_CPUS):
        net = mf_net(devices=devices)
        trainer = RowTrainer(net, ADAM)
        train_recsys_rating(
            net,
            BatchLoader(arrays, size, shuffle=True),
            BatchLoader(arrays, 8),
            gluon.loss.L2Loss(),
            trainer,
            2,
        )
        nets.append(net)
    assert_equal(*nets, tolerance=1e-5)
    copies = [p.list_data() for p in nets[1].collect_params().values()]
    assert all((a.asnumpy() == b.asnumpy()).all() for a, b in copies)


def test_a_run_resumed_is_the_run_left_alone(tmp_path):
    rng = numpy.random.default_rng(3)
    arrays = [x.asnumpy() for x in ratings_batch(rng, 40)]

    def run(epochs, checkpoint=None):
        net = mf_net()
        train_recsys_rating(
            net,
            BatchLoader(arrays, 6, shuffle=True),
            BatchLoader(arrays, 8),
            gluon.loss.L2Loss(),
            RowTrainer(net, ADAM),
            epochs,
            checkpoint=checkpoint,
        )
        return net

    run(2, Checkpoint(tmp_path, {}))
    assert_equal(run(5), run(5, Checkpoint(tmp_path, {}, resume=True)), tolerance=0)


def test_ids_without_a_row_are_clipped_as_embeddings_clip_them():
    users, items, ratings = ratings_batch(numpy.random.default_rng(4), 6)
    users[:2], items[:2] = np.array([7, 10**6]), np.array([-1, 5])
    assert_equal(*both([[users, items, ratings]] * 3, ADAM))


def test_tables_of_a_kind_have_as_many_rows():
    net = mf_net()
    net.user_tables = ("P",)
    with pytest.raises(ValueError, match="user_bias has 7 rows, another item table"):
        RowTrainer(net, ADAM)


@pytest.mark.book
def test_it_changes_the_results_less_than_the_seed_does(ml100k):
    seeds = range(5)
    for measure in (_test_rmse, _ranking_scores):
        gluons, ours = (
            numpy.array([measure(kind, ml100k, seed) for seed in seeds])
            for kind in ("gluon", "rows")
        )
        spread = gluons.std(axis=0, ddof=1)
        assert (abs(gluons.mean(axis=0) - ours.mean(axis=0)) < spread).all()


def _trainer(kind, net, **options):
    options["wd"] = 1e-5
    if kind == "rows":
        return RowTrainer(net, options)
    return gluon.Trainer(net.collect_params(), "adam", options)


def _test_rmse(kind, folder, seed):
    mx.random.seed(seed)
    num_users, num_items, train_iter, test_iter = split_and_load_ml100k(
        batch_size=512, seed=seed, data_dir=folder
    )
    net = MF(30, num_users, num_items)
    net.initialize(mx.init.Normal(0.01))
    net.hybridize(static_alloc=True, static_shape=True)
    trainer = _trainer(kind, net, learning_rate=0.002)
    loss = gluon.loss.L2Loss(weight=2)
    history = train_recsys_rating(net, train_iter, test_iter, loss, trainer, 20)
    return history[-1]["test_rmse"]


def _ranking_scores(kind, folder, seed):
    mx.random.seed(seed)
    data, *sizes = read_data_ml100k(folder)
    parts = split_data_ml100k(data, *sizes, "seq-aware")
    train_part, test_part = (load_data_ml100k(x, *sizes, "implicit") for x in parts)
    users, items, _, candidates = train_part
    pairs = PRDataset(users, items, candidates, sizes[1], test_part.inter, seed)
    net = NeuMF(10, *sizes, [10, 10, 10])
    net.initialize(mx.init.Xavier())
    net.hybridize(static_alloc=True, static_shape=True)
    history = train_ranking(
        net,
        BatchLoader(pairs, 1024, shuffle=True, seed=seed),
        test_part.inter,
        BPRLoss(),
        _trainer(kind, net, learning_rate=0.01),
        None,
        *sizes,
        10,
        None,
        evaluate_ranking,
        candidates,
        eval_step=10,
    )
    return history[-1]["test_hit_rate"], history[-1]["test_auc"]
