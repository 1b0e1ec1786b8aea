"""Train a section as its script does: ``python -m benchmarks.trainings SECTION``.

If FOLDER follows, fm and deepfm train for an epoch on the rows in FOLDER/clicks.npz.

This prints the seconds of training with its evaluations, and the last test metrics, as
JSON. :func:`row` compares them with those of PyTorch (``benchmarks.peers``) and of the
book's functions (``benchmarks.books``).
"""

import json
import os
import sys

import numpy

from benchmarks.books import timed
from benchmarks.processes import TORCH, alternately, one_core
from chapters.runner.printed import words
from d2l_recsys import autorec as autoencoder
from d2l_recsys.autorec import AutoRec
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data import catalog
from d2l_recsys.deepfm import DeepFM
from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.fm import FM, train_ch13
from d2l_recsys.mf import MF, train_recsys_rating
from d2l_recsys.movielens import (
    load_data_ml100k,
    rating_loader,
    read_data_ml100k,
    split_data_ml100k,
)
from d2l_recsys.neumf import NeuMF, PRDataset, evaluate_ranking, train_ranking
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import gluon, mx
from d2l_recsys.runtime.devices import seed_everything
from d2l_recsys.seqrec import Caser, SeqDataset

TESTED = 10_000  # rows of FOLDER/clicks.npz that are also test rows
BOOKS = ("mf", "fm")  # the sections whose training in benchmarks.books takes minutes


def prepared(net, init, lr, wd=0.0, **flags):
    """Initialize and hybridize a net; return its trainer."""
    net.initialize(init)
    net.hybridize(static_alloc=True, **flags)
    return make_trainer(net, "adam", {"learning_rate": lr, "wd": wd})


def split(mode):
    """Return both parts of MovieLens 100K, and the numbers of users and items."""
    data, *sizes = read_data_ml100k(catalog.fetch("ml-100k"))
    return split_data_ml100k(data, *sizes, mode), sizes


def mf():
    (train, test), sizes = split("seq-aware")
    train = rating_loader(train, *sizes, 512, shuffle=True)
    test = rating_loader(test, *sizes, 512)
    net = MF(30, *sizes)
    trainer = prepared(net, mx.init.Normal(0.01), 0.002, 1e-5, static_shape=True)
    loss = gluon.loss.L2Loss(weight=2)
    return train_recsys_rating, net, train, test, loss, trainer, 20


def autorec():
    parts, sizes = split("random")
    train, test = (load_data_ml100k(part, *sizes).inter for part in parts)
    net = AutoRec(500, sizes[0])
    trainer = prepared(net, mx.init.Normal(0.01), 0.002, 1e-5)
    loaders = BatchLoader(train, 256, shuffle=True), BatchLoader(train, 1024)
    loss, evaluator = gluon.loss.L2Loss(weight=2), autoencoder.evaluator
    arguments = net, *loaders, loss, trainer, 25, None, evaluator, test
    return (train_recsys_rating, *arguments)


def neumf():
    parts, sizes = split("seq-aware")
    train, test = (load_data_ml100k(part, *sizes, "implicit") for part in parts)
    pairs = PRDataset(*train[:2], train.inter, sizes[1], test.inter)
    net = NeuMF(10, *sizes, [10, 10, 10])
    trainer = prepared(net, mx.init.Xavier(), 0.01, 1e-5, static_shape=True)
    loader = BatchLoader(pairs, 1024, shuffle=True)
    arguments = net, loader, test.inter, BPRLoss(), trainer, None, *sizes, 10
    return (train_ranking, *arguments, None, evaluate_ranking, train.inter)


def seqrec():
    parts, sizes = split("seq-aware")
    train, test = (load_data_ml100k(part, *sizes, "implicit") for part in parts)
    rows = SeqDataset(*train[:2], 5, *sizes, train.inter, test_items=test.inter)
    net = Caser(10, *sizes, 5)
    trainer = prepared(net, mx.init.Normal(0.01), 0.04, 1e-5, static_shape=True)
    loader = BatchLoader(rows, 4096, shuffle=True)
    arguments = net, loader, test.inter, BPRLoss(), trainer, rows.test_seq, *sizes, 8
    return (train_ranking, *arguments, None, evaluate_ranking, train.inter)


def clicks(make, lr, folder=None):
    """Return the training of a CTR model on the synthetic data, or on a folder."""
    if folder:
        data = numpy.load(f"{folder}/clicks.npz")
        train = data["x"], data["y"][:, None]
        test, field_dims, epochs = [a[:TESTED] for a in train], data["field_dims"], 1
    else:
        source = catalog.fetch("ctr-synthetic")
        train = CTRDataset(source / "train.csv")
        test = CTRDataset(source / "test.csv", train.feat_mapper, train.defaults)
        field_dims, epochs = train.field_dims, 30
    net = make(field_dims.tolist())
    trainer = prepared(net, mx.init.Xavier(), lr)
    loaders = BatchLoader(train, 2048, shuffle=True), BatchLoader(test, 2048)
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    return train_ch13, net, *loaders, loss, trainer, epochs


def fm(*folder):
    return clicks(lambda dims: FM(dims, 20), 0.02, *folder)


def deepfm(*folder):
    return clicks(lambda dims: DeepFM(dims, 10, [30, 20, 10], 0.1), 0.01, *folder)


TRAININGS = {f.__name__: f for f in (mf, autorec, neumf, seqrec, fm, deepfm)}


def row(section, what, bound=None, folder=()):
    """Return a row of the table: a training here, in PyTorch, and as in the book."""
    module = [sys.executable, "-m"]
    commands = {"here": [*module, "benchmarks.trainings", section, *folder]}
    if os.environ.get(TORCH):
        name = "ctr-synthetic" if section in ("fm", "deepfm") else "ml-100k"
        peer = [os.environ[TORCH], "-m", "benchmarks.peers", section]
        commands["PyTorch"] = [*peer, *(folder or [str(catalog.fetch(name))])]
    with one_core():
        results = alternately(commands)
        if section in BOOKS and not folder:
            book = {"the book": [*module, "benchmarks.books", section]}
            results.update(alternately(book, repeat=1))
    seconds = {name: result["seconds"] for name, result in results.items()}
    return {
        "work": what,
        "ours": seconds["here"],
        "book": seconds.get("the book"),
        "peer": seconds.get("PyTorch"),
        "bound": bound,
        "remark": _metrics({name: r["metrics"] for name, r in results.items()}),
    }


def _metrics(figures):
    """Return the first two metrics in words, for all that have them."""
    shown = []
    for metric in list(figures["here"])[:2]:
        values = [f"{f[metric]:.3f} {who}" for who, f in figures.items() if metric in f]
        name = words(metric).replace("test ", "")
        shown.append(f"{name} {', '.join(values)}")
    return "; ".join(shown)


if __name__ == "__main__":
    seed_everything(0)
    train, *arguments = TRAININGS[sys.argv[1]](*sys.argv[2:])
    seconds, history = timed(train, *arguments)
    metrics = {k: v for k, v in history[-1].items() if k.startswith("test_")}
    print(json.dumps({"seconds": seconds, "metrics": metrics}))
