"""CTR models on other data: ``python -m benchmarks.clicks`` prints the tables.

They are in docs/results.md under "Click-through rates on other data".
"""

import argparse
import contextlib
import io
import tempfile
from pathlib import Path

import numpy

from chapters.runner.ctr_data import load_ctr
from d2l_recsys.data import catalog
from d2l_recsys.data.synthetic_ctr import write_ctr
from d2l_recsys.deepfm import DeepFM
from d2l_recsys.engine.clicks import accuracy, log_loss, roc_auc
from d2l_recsys.engine.snapshot import kept_epoch
from d2l_recsys.fm import FM, train_ch13
from d2l_recsys.runtime.backend import gluon, mx
from d2l_recsys.runtime.devices import seed_everything

MODELS = {
    "logistic regression": lambda dims: FM(dims, 0),
    "FM": lambda dims: FM(dims, 20),
    "DeepFM": lambda dims: DeepFM(dims, 10, [30, 20, 10], 0.1),
}
BOOKS = {"logistic regression": 0.02, "FM": 0.02, "DeepFM": 0.01}  # learning rates
SEEDS = range(3)


def trained(model, parts, seed, lr, batch_size, epochs, patience=None, wd=0.0):
    """Train a model and return the epoch that ``train_ch13`` keeps."""
    seed_everything(seed)
    train_iter, test_iter, valid_iter = parts.loaders(batch_size, seed)
    net = MODELS[model](parts.train.field_dims)
    net.initialize(mx.init.Xavier())
    net.hybridize(static_alloc=True)
    settings = {"learning_rate": lr, "wd": wd}
    trainer = gluon.Trainer(net.collect_params(), "adam", settings)
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    with contextlib.redirect_stdout(io.StringIO()):
        history = train_ch13(
            net,
            train_iter,
            test_iter,
            loss,
            trainer,
            epochs,
            patience=patience,
            valid_iter=valid_iter,
        )
    return kept_epoch(history)


def constant(parts):
    """Return the metrics of predicting the share of clicks for every row."""
    labels = parts.test.labels.ravel()
    mean = float(parts.train.labels.mean())
    logits = numpy.full(len(labels), numpy.log(mean / (1 - mean)))
    return {
        "test_log_loss": log_loss(logits, labels),
        "test_auc": roc_auc(logits, labels),
        "test_acc": accuracy(logits, labels),
        "epoch": 0,
    }


def show(model, epochs):
    """Print a row of the table, with means over the runs."""
    cells = [
        f"{numpy.mean([e[f'test_{name}'] for e in epochs]):.3f}"
        for name in ("log_loss", "auc", "acc")
    ]
    kept = ", ".join(str(e["epoch"]) for e in epochs)
    print(f"| {model} | {' | '.join(cells)} | {kept} |", flush=True)


def real(name, patience=5, **settings):
    """Print the table of a real sample. A tenth of the rows is for validation."""
    folder = catalog.fetch(name)
    runs = [load_ctr(folder, name, seed, valid_share=0.1) for seed in SEEDS]
    show("constant", [constant(parts) for parts in runs])
    for model in MODELS:
        epochs = [
            trained(model, parts, seed, patience=patience, **settings)
            for seed, parts in zip(SEEDS, runs)
        ]
        show(model, epochs)


def synthetic():
    """Print the table of the synthetic data, at the book's settings."""
    runs = []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            write_ctr(folder, seed=seed)
            runs.append(load_ctr(Path(folder), "synthetic"))
    show("constant", [constant(parts) for parts in runs])
    for model, lr in BOOKS.items():
        epochs = [
            trained(model, parts, seed, lr, batch_size=2048, epochs=30)
            for seed, parts in zip(SEEDS, runs)
        ]
        show(model, epochs)
        print("  test AUC by seed:", [round(e["test_auc"], 3) for e in epochs])


def main():
    """Print the tables named on the command line, or all tables."""
    parser = argparse.ArgumentParser("python -m benchmarks.clicks", description=__doc__)
    tables = ["criteo", "avazu", "synthetic"]
    choices = ", ".join(tables)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{choices}; or all")
    asked = parser.parse_args().tables or tables
    for name in asked:
        if name not in tables:
            parser.error(f"unknown table {name!r}: choose from {choices}")
    for name in asked:
        print(f"\n{name}\n| model | log loss | AUC | accuracy | epochs |")
        if name == "synthetic":
            synthetic()
        else:
            real(name, lr=0.001, batch_size=256, epochs=60)


if __name__ == "__main__":
    main()
