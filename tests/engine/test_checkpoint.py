"""A training that is interrupted and resumed ends like an uninterrupted one."""

import io
from contextlib import redirect_stdout

import numpy
import pytest

from d2l_recsys.autorec import AutoRec
from d2l_recsys.autorec import evaluator as evaluate_autorec
from d2l_recsys.deepfm import DeepFM
from d2l_recsys.engine.adam import FlatTrainer
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.checkpoint import Checkpoint, CheckpointError
from d2l_recsys.fm import FM, train_ch13
from d2l_recsys.mf import MF, train_recsys_rating
from d2l_recsys.neumf import NeuMF, PRDataset, evaluate_ranking, train_ranking
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import gluon, mx, np
from d2l_recsys.seqrec import Caser, SeqDataset

RNG = numpy.random.default_rng(0)
USERS, ITEMS = 12, 15
CELLS = numpy.array([(u, i) for u in range(USERS) for i in range(ITEMS) if (u + i) % 3])
U, V = CELLS.T.astype("int32")
STARS = (1 + (U * 7 + V * 3) % 5).astype("float32")
SEEN = {u: V[u == U].tolist() for u in range(USERS)}
TEST = {u: [(3 - u) % 3] for u in range(USERS)}
MATRIX = numpy.zeros((ITEMS, USERS), "float32")
MATRIX[V, U] = STARS
HELD_OUT = numpy.where(MATRIX == 0, 3, 0).astype("float32")
X = (RNG.integers(0, 4, (60, 3)) + numpy.array([0, 4, 8])).astype("int32")
Y = (X.sum(axis=1, keepdims=True) % 2).astype("float32")
SCE = gluon.loss.SigmoidBinaryCrossEntropyLoss


def rating(net, trainer, epochs, devices, **more):
    data = BatchLoader((U, V, STARS), 32, shuffle=True)
    return train_recsys_rating(
        net, data, data, gluon.loss.L2Loss(), trainer, epochs, devices, **more
    ), data


def autoencoder(net, trainer, epochs, devices, **more):
    data = BatchLoader(MATRIX, 4, shuffle=True, last_batch="rollover")
    history = train_recsys_rating(
        net,
        data,
        BatchLoader(MATRIX, 8),
        gluon.loss.L2Loss(),
        trainer,
        epochs,
        devices,
        evaluate_autorec,
        np.array(HELD_OUT),
        **more,
    )
    return history, data


def ranking(net, trainer, epochs, devices, L=None, **more):
    if L is None:
        rows, seq = PRDataset(U, V, SEEN, ITEMS), None
    else:
        rows = SeqDataset(U, V, L, USERS, ITEMS, SEEN)
        seq = rows.test_seq
    data = BatchLoader(rows, 32, shuffle=True)
    sizes = USERS, ITEMS, epochs, devices
    return train_ranking(
        net, data, TEST, BPRLoss(), trainer, seq, *sizes, evaluate_ranking, SEEN, **more
    ), data


def clicks(net, trainer, epochs, devices, **more):
    data = BatchLoader((X, Y), 16, shuffle=True)
    return train_ch13(net, data, data, SCE(), trainer, epochs, devices, **more), data


SECTIONS = {
    "mf": (lambda: MF(3, USERS, ITEMS), rating),
    "autorec": (lambda: AutoRec(5, USERS, 0.3), autoencoder),
    "neumf": (lambda: NeuMF(3, USERS, ITEMS, [4, 4]), ranking),
    "seqrec": (
        lambda: Caser(3, USERS, ITEMS, 3, drop_ratio=0.3),
        lambda *a, **k: ranking(*a, L=3, **k),
    ),
    "fm": (lambda: FM([4, 4, 4], 3), clicks),
    "deepfm": (lambda: DeepFM([4, 4, 4], 3, [5], 0.3), clicks),
}


def run(
    name,
    epochs,
    folder=None,
    devices=1,
    optimizer="adam",
    crash=None,
    seed=0,
    flat=False,
):
    """Train a section; return its history without times, and its parameters.

    ``crash=k`` interrupts the training in epoch k, after it was evaluated.
    """
    make, train = SECTIONS[name]
    mx.random.seed(seed)
    devices = [mx.cpu(k) for k in range(devices)]
    # Names depend on how many nets were made before, the order of the updates depends
    # on the names, and NAdam's results depend on that order.
    with mx.name.NameManager():
        net = make()
    net.initialize(mx.init.Normal(0.1), ctx=devices)
    net.hybridize(static_alloc=True)
    settings = {"learning_rate": 0.05, "wd": 1e-4}
    if optimizer == "sgd":
        settings["momentum"] = 0.9
    if flat:
        trainer = FlatTrainer(net, settings)
    else:
        trainer = gluon.Trainer(net.collect_params(), optimizer, settings)
    resume = folder is not None and any(folder.glob("*.npz"))
    point = Checkpoint(folder, {"section": name}, resume) if folder else None

    def on_epoch(history):
        if len(history) == crash:
            raise KeyboardInterrupt

    with redirect_stdout(io.StringIO()):
        history, _ = train(
            net, trainer, epochs, devices, on_epoch=on_epoch, checkpoint=point
        )
    metrics = [
        {k: v for k, v in e.items() if k not in ("seconds", "examples_per_sec")}
        for e in history
    ]
    parameters = net._collect_params_with_prefix().values()
    return metrics, [p.list_data()[0].asnumpy() for p in parameters]


def same(a, b):
    return a[0] == b[0] and all(map(numpy.array_equal, a[1], b[1]))


@pytest.mark.parametrize("name", SECTIONS)
@pytest.mark.parametrize("crash", [1, 3])
def test_resumed_equals_uninterrupted(name, crash, tmp_path):
    alone = run(name, 5)
    with pytest.raises(KeyboardInterrupt):
        run(name, 5, tmp_path, crash=crash)
    # Another seed, to show that the new process has no influence.
    assert same(run(name, 5, tmp_path, seed=99), alone)
    assert len(list(tmp_path.iterdir())) == 2  # the newest two, and no other file


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "nadam"])
def test_other_optimizers(optimizer, tmp_path):
    alone = run("mf", 4, optimizer=optimizer)
    with pytest.raises(KeyboardInterrupt):
        run("mf", 4, tmp_path, optimizer=optimizer, crash=2)
    assert same(run("mf", 4, tmp_path, optimizer=optimizer, seed=99), alone)


@pytest.mark.parametrize("name", SECTIONS)
@pytest.mark.parametrize("devices", [1, 2])
def test_one_flat_array_trains_and_resumes_like_many(name, devices, tmp_path):
    alone = run(name, 4, devices=devices)
    with pytest.raises(KeyboardInterrupt):
        run(name, 4, tmp_path, devices=devices, crash=2, flat=True)
    assert same(run(name, 4, tmp_path, devices=devices, seed=99, flat=True), alone)


@pytest.mark.parametrize("flat", [True, False])
def test_another_kind_of_trainer_is_told_apart(flat, tmp_path):
    run("mf", 1, tmp_path, flat=flat)
    with pytest.raises(CheckpointError, match="with the kind of trainer that saved it"):
        run("mf", 2, tmp_path, flat=not flat)


@pytest.mark.parametrize("name", ["mf", "deepfm"])
def test_two_devices(name, tmp_path):
    alone = run(name, 4, devices=2)
    with pytest.raises(KeyboardInterrupt):
        run(name, 4, tmp_path, devices=2, crash=2)
    assert same(run(name, 4, tmp_path, devices=2, seed=99), alone)


def test_a_finished_training_resumes_to_its_end_and_can_be_extended(tmp_path):
    done = run("mf", 3, tmp_path)
    assert same(run("mf", 3, tmp_path, seed=99), done)
    assert same(run("mf", 5, tmp_path, seed=99), run("mf", 5))
