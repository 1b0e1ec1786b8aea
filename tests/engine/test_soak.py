"""A long run needs no more memory than a short one."""

import os
from pathlib import Path

import pytest

from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.movielens import (
    load_data_ml100k,
    read_data_ml100k,
    split_data_ml100k,
)
from d2l_recsys.neumf import NeuMF, PRDataset, evaluate_ranking, train_ranking
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import gluon, mx
from d2l_recsys.runtime.devices import try_gpu

STATM = Path("/proc/self/statm")


@pytest.mark.skipif(not STATM.exists(), reason="needs /proc")
def test_two_hundred_epochs_of_neumf(smoke_data):
    sizes = []

    def resident(_):
        pages = int(STATM.read_text().split()[1])
        sizes.append(pages * os.sysconf("SC_PAGE_SIZE"))

    data, users, items = read_data_ml100k(smoke_data)
    train, test = split_data_ml100k(data, users, items, "seq-aware")
    seen = load_data_ml100k(train, users, items, feedback="implicit")
    held_out = load_data_ml100k(test, users, items, feedback="implicit").inter
    dataset = PRDataset(seen.users, seen.items, seen.inter, items, held_out, seed=0)
    net = NeuMF(10, users, items, [10, 10, 10])
    net.initialize(ctx=try_gpu(), init=mx.init.Xavier(), force_reinit=True)
    net.hybridize(static_alloc=True, static_shape=True)
    history = train_ranking(
        net,
        BatchLoader(dataset, 1024, shuffle=True, seed=0),
        held_out,
        BPRLoss(),
        gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01}),
        None,
        users,
        items,
        200,
        [try_gpu()],
        evaluate_ranking,
        seen.inter,
        1,
        on_epoch=resident,
    )
    assert len(history) == len(sizes) == 200
    # 5 % of a large test process would hide a leak.
    assert sizes[-1] - sizes[9] <= min(0.05 * sizes[9], 8_000_000)
