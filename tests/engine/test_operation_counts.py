"""Count the work of a training step and of an evaluation, instead of timing it.

A step with more operations or calls is slower. After an intended change, renew COUNTS:
``python tests/engine/test_operation_counts.py`` prints the table.
"""

import contextlib
import gc
import io
import json
import math
import os
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path
from unittest import mock

import numpy
import pytest

import d2l_recsys
from d2l_recsys import autorec as autoencoder
from d2l_recsys.autorec import AutoRec
from d2l_recsys.data.interactions import Interactions
from d2l_recsys.deepfm import DeepFM
from d2l_recsys.engine import compiled_loops
from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.clicks import evaluate_ctr
from d2l_recsys.engine.full_ranking import PAIRS
from d2l_recsys.fm import FM, train_ch13
from d2l_recsys.mf import MF, evaluator, train_recsys_rating
from d2l_recsys.neumf import NeuMF, PRDataset, evaluate_ranking, train_ranking
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import gluon, mx
from d2l_recsys.seqrec import Caser, SeqDataset

# The first list is for a training step with the loop around it, the second for a batch
# of the evaluation (for ranking models, a chunk of users). Each counts MXNet's
# operations, calls of MXNet's library, and calls of Python functions: those of MXNet,
# and those of this package. Outside a program, operations that run as one series count
# once.
COUNTS = {
    "mf": [[24, 36, 33, 31], [5, 266, 275, 18]],
    "autorec": [[23, 36, 33, 30], [3, 102, 124, 11]],
    "autorec at rated cells": [[0, 28, 87, 42], [0, 4, 27, 17]],
    "neumf": [[83, 64, 47, 31], [0, 0, 0, 364]],
    "seqrec": [[196, 92, 61, 35], [27, 302, 402, 19]],
    "fm": [[58, 36, 33, 34], [5, 140, 144, 12]],
    "deepfm": [[74, 60, 45, 36], [5, 140, 156, 12]],
}

ITEMS = 2**13
CHUNK = PAIRS // ITEMS  # users
BATCH = 8 * CHUNK  # rows, and as many users
SIZES = BATCH, ITEMS
FOLDERS = {"mxnet": Path(mx.__file__), "here": Path(d2l_recsys.__file__)}
# Their calls depend on the versions of Python, NumPy and Numba.
OF_A_VERSION = "compat.py", "compiled.py"
SQUARE = gluon.loss.L2Loss(weight=2)


def prepared(net):
    net.initialize(mx.init.Normal(0.01))
    net.hybridize(static_alloc=True, static_shape=True)
    return net, make_trainer(net, "adam", {"learning_rate": 0.01, "wd": 1e-5})


def some(size, *shape):
    return numpy.random.default_rng(0).integers(0, size, shape, dtype="int32")


def mf(batches):
    rows = BATCH * batches
    data = some(9, rows), some(9, rows), some(5, rows).astype("float32")
    net, trainer = prepared(MF(4, *SIZES))
    loader = BatchLoader(data, BATCH)
    return (
        partial(train_recsys_rating, net, loader, None, SQUARE, trainer, 1),
        partial(evaluator, net, loader),
    )


def autorec(batches):
    ratings = 1 + some(5, BATCH * batches, 20).astype("float32")
    net, trainer = prepared(AutoRec(4, 20))
    loader = BatchLoader(ratings, BATCH)
    return (
        partial(train_recsys_rating, net, loader, None, SQUARE, trainer, 1),
        partial(autoencoder.evaluator, net, loader, ratings),
    )


def autorec_at_rated_cells(batches):
    """Train a net that is large enough, on a matrix that is sparse enough."""
    size = math.isqrt(compiled_loops.WORTHWHILE)
    ratings = numpy.zeros((BATCH * batches, size), dtype="float32")
    ratings[:, ::16] = 3
    net, trainer = prepared(AutoRec(size, size))
    loader = BatchLoader(ratings, BATCH)
    return (
        partial(train_recsys_rating, net, loader, None, SQUARE, trainer, 1),
        partial(autoencoder.evaluator, net, loader, ratings),
    )


def ranking(batches, make, net):
    """Return the training and the evaluation of a ranking model.

    All users have seen the same first items; another one is held out for each.
    """
    net, trainer = prepared(net)
    shape = BATCH, 5 + batches
    users, items = (x.ravel() for x in numpy.indices(shape, dtype="int32"))
    seen = Interactions(users, items, *SIZES)
    users = numpy.arange(CHUNK * batches, dtype="int32")
    held_out = Interactions(users, numpy.full_like(users, ITEMS - 1), *SIZES)
    rows = make(seen, BATCH * batches)
    loader, seq = BatchLoader(rows, BATCH), getattr(rows, "test_seq", None)
    arguments = net, loader, None, BPRLoss(), trainer, seq, *SIZES, 1
    return (
        partial(train_ranking, *arguments, None, evaluate_ranking, seen),
        partial(evaluate_ranking, net, held_out, seq, seen, *SIZES),
    )


def neumf(batches):
    def pairs(seen, rows):
        return PRDataset(seen.users[:rows], seen.items[:rows], seen, ITEMS)

    return ranking(batches, pairs, NeuMF(4, *SIZES, [4, 4, 4]))


def seqrec(batches):
    def sequences(seen, rows):
        return SeqDataset(seen.users, seen.items, 5, *SIZES, seen)

    return ranking(batches, sequences, Caser(4, *SIZES, 5))


def clicks(make, batches):
    rows = BATCH * batches
    data = some(30, rows, 3), some(2, rows, 1).astype("float32")
    net, trainer = prepared(make([10, 10, 10]))
    loader, loss = BatchLoader(data, BATCH), gluon.loss.SigmoidBCELoss()
    return (
        partial(train_ch13, net, loader, None, loss, trainer, 1),
        partial(evaluate_ctr, net, loader),
    )


def deep(dims):
    return DeepFM(dims, 4, [4, 4], 0.1)


CASES = {
    "mf": mf,
    "autorec": autorec,
    "autorec at rated cells": autorec_at_rated_cells,
    "neumf": neumf,
    "seqrec": seqrec,
    "fm": partial(clicks, lambda dims: FM(dims, 4)),
    "deepfm": partial(clicks, deep),
}


def work(run):
    """Return the counts of one call: operations, library, mxnet, here.

    Three things are left out: the ends of objects, which come at any time; MXNet's
    waits, which depend on its speed; and comprehensions, which are no calls from Python
    3.12 on.
    """
    folders = {str(path.parent): name for name, path in FOLDERS.items()}
    calls = dict.fromkeys(FOLDERS, 0)

    def count(frame, event, _):
        code, caller = frame.f_code, frame.f_back  # None if compiled code is the caller
        names = (code.co_name, caller.f_code.co_name) if caller else ()
        if event != "call" or code.co_name[0] == "<" or "__del__" in names:
            return
        for folder, name in folders.items():
            if code.co_filename.startswith(folder):
                calls[name] += not code.co_filename.endswith(OF_A_VERSION)

    gc.collect()
    gc.disable()
    before = sys.getprofile()
    mx.nd.waitall()
    mx.profiler.set_state("run")
    threading.setprofile(count)  # for new threads
    sys.setprofile(count)
    try:
        run()
    finally:
        sys.setprofile(before)
        threading.setprofile(None)
        gc.enable()
        mx.nd.waitall()
        mx.profiler.set_state("stop")
    domains = json.loads(mx.profiler.dumps(reset=True, format="json"))["Time"]
    operations, library = (
        sum(
            found["Count"]
            for name, found in domains.get(domain, {}).items()
            if fits(name)
        )
        for domain, fits in (
            ("operator", lambda name: name not in ("DeleteVariable", "WaitForVar")),
            ("MXNET_C_API", lambda name: name[:2] == "MX" and "Free" not in name),
        )
    )
    return numpy.array([operations, library, *calls.values()])


def counted(name, folder):
    """Return the counts of a training step and of a part of the evaluation.

    They come from the difference between runs with 2 and 6 batches, or chunks. MXNet
    puts a file into `folder` when Python exits, in place of any that is there.
    """
    found = []
    mx.profiler.set_config(
        profile_symbolic=True,
        profile_imperative=True,
        profile_api=True,
        aggregate_stats=True,
        filename=str(Path(folder) / "profile.json"),
    )
    one_thread = mock.patch.dict(os.environ, OMP_NUM_THREADS="1")
    with one_thread, contextlib.redirect_stdout(io.StringIO()):
        for batches in (2, 6):
            for run in CASES[name](batches):
                run()  # the first run builds the graph
                found.append(work(run))
    few, many = found[:2], found[2:]
    return [((b - a) / 4).tolist() for a, b in zip(few, many)]


@pytest.mark.parametrize("name", CASES)
def test_a_step_and_a_part_of_the_evaluation_do_this_much_work(name, tmp_path):
    assert counted(name, tmp_path) == COUNTS[name]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        for case in CASES:
            print(f'    "{case}": {counted(case, place)},'.replace(".0", ""))
