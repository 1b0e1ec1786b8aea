"""The cells of `movielens`, `mf` and `autorec`, in the way that readers type them."""

import os
import re

import mxnet as mx
import pandas as pd
import pytest
from mxnet import autograd, gluon, np, npx
from mxnet.gluon import nn

from d2l_recsys import autorec, d2l, mf

npx.set_np()
pytestmark = pytest.mark.usefixtures("book_data")


def read_in_the_first_edition(data_dir, names):
    return pd.read_csv(data_dir + "u.data", sep="\t", names=names, engine="python")


def read_in_the_newer_editions(data_dir, names):
    path = os.path.join(data_dir, "u.data")
    return pd.read_csv(path, sep="\t", names=names, engine="python")


@pytest.mark.parametrize(
    "read", [read_in_the_first_edition, read_in_the_newer_editions]
)
def test_movielens(read, capsys):
    before = d2l.DATA_HUB["ml-100k"]
    d2l.DATA_HUB["ml-100k"] = (before[0].replace("https", "http"), before[1])
    try:
        data_dir = d2l.download_extract("ml-100k")
    finally:
        d2l.DATA_HUB["ml-100k"] = before
    names = ["user_id", "item_id", "rating", "timestamp"]
    data = read(data_dir, names)
    theirs, num_users, num_items = d2l.read_data_ml100k()
    pd.testing.assert_frame_equal(data, theirs, check_dtype=False)
    assert (num_users, num_items) == (200, data.item_id.nunique())
    sparsity = 1 - len(data) / (num_users * num_items)
    print(f"matrix sparsity: {sparsity:f}")
    assert re.fullmatch(r"matrix sparsity: 0\.\d{6}\n", capsys.readouterr().out)
    counts, _, _ = d2l.plt.hist(data["rating"], bins=5, ec="black")
    d2l.plt.close("all")
    assert counts.sum() == 8000


class MF(nn.Block):
    def __init__(self, num_factors, num_users, num_items, **kwargs):
        super().__init__(**kwargs)
        self.P = nn.Embedding(input_dim=num_users, output_dim=num_factors)
        self.Q = nn.Embedding(input_dim=num_items, output_dim=num_factors)
        self.user_bias = nn.Embedding(num_users, 1)
        self.item_bias = nn.Embedding(num_items, 1)

    def forward(self, user_id, item_id):
        b_u, b_i = self.user_bias(user_id), self.item_bias(item_id)
        product = (self.P(user_id) * self.Q(item_id)).sum(axis=1)
        return (product + np.squeeze(b_u) + np.squeeze(b_i)).flatten()


def rmse_by_mxnet(net, test_iter, devices):
    rmse = mx.metric.RMSE()
    for batch in test_iter:
        u, i, r = (
            gluon.utils.split_and_load(x, devices, even_split=False) for x in batch
        )
        rmse.update(labels=r, preds=[net(*pair) for pair in zip(u, i)])
    return float(np.mean(np.array([rmse.get()[1]])))


def loaders_of_the_package(batch_size):
    return d2l.split_and_load_ml100k(test_ratio=0.1, batch_size=batch_size)


def loaders_of_the_reader(batch_size):
    data, num_users, num_items = d2l.read_data_ml100k()
    parts = d2l.split_data_ml100k(data, num_users, num_items, "seq-aware", 0.1)
    sets = []
    for part in parts:
        users, items, ratings, _ = d2l.load_data_ml100k(
            part, num_users, num_items, "explicit"
        )
        arrays = np.array(users), np.array(items), np.array(ratings)
        sets.append(gluon.data.ArrayDataset(*arrays))
    train_iter = gluon.data.DataLoader(
        sets[0], shuffle=True, last_batch="rollover", batch_size=batch_size
    )
    test_iter = gluon.data.DataLoader(sets[1], batch_size=batch_size)
    return num_users, num_items, train_iter, test_iter


@pytest.mark.parametrize("load", [loaders_of_the_package, loaders_of_the_reader])
@pytest.mark.parametrize("evaluator", [rmse_by_mxnet, mf.evaluator])
@pytest.mark.parametrize("weight", [1, 2])
def test_mf(load, evaluator, weight, printed):
    devices = [mx.cpu(0), mx.cpu(1)] if weight == 2 else d2l.try_all_gpus()
    num_users, num_items, train_iter, test_iter = load(512)
    net = MF(30, num_users, num_items)
    net.initialize(ctx=devices, force_reinit=True, init=mx.init.Normal(0.01))
    lr, num_epochs, wd, optimizer = 0.02, 3, 1e-5, "adam"
    loss = gluon.loss.L2Loss(weight=weight)
    trainer = gluon.Trainer(
        net.collect_params(), optimizer, {"learning_rate": lr, "wd": wd}
    )
    d2l.train_recsys_rating(
        net, train_iter, test_iter, loss, trainer, num_epochs, devices, evaluator
    )
    train_loss, test_rmse = printed(
        r"train loss (.*), test RMSE (.*)\n.* examples/sec on \[cpu\(0\).*\]\n"
    )
    assert 0.3 * weight < train_loss < 3 * weight
    assert 0.8 < test_rmse < 2
    scores = net(
        np.array([20], dtype="int", ctx=devices[0]),
        np.array([30], dtype="int", ctx=devices[0]),
    )
    assert scores.shape == (1,)


class AutoRec(nn.Block):
    def __init__(self, num_hidden, num_users, dropout=0.05):
        super().__init__()
        self.encoder = nn.Dense(num_hidden, activation="sigmoid", use_bias=True)
        self.decoder = nn.Dense(num_users, use_bias=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input):
        pred = self.decoder(self.dropout(self.encoder(input)))
        return pred * np.sign(input) if autograd.is_training() else pred


def rmse_of_rows(network, inter_matrix, test_data, devices):
    rows = []
    for values in inter_matrix:
        shards = gluon.utils.split_and_load(values, devices, even_split=False)
        rows.extend([network(shard).asnumpy() for shard in shards])
    recons = np.array([row for part in rows for row in part])
    error = np.square(test_data - np.sign(test_data) * recons)
    return float(np.sqrt(np.sum(error) / np.sum(np.sign(test_data))))


@pytest.mark.parametrize("evaluator", [rmse_of_rows, autorec.evaluator])
@pytest.mark.parametrize("workers", [0, None])
def test_autorec(evaluator, workers, printed):
    devices = d2l.try_all_gpus() if workers == 0 else [mx.cpu(0), mx.cpu(1)]
    num_workers = d2l.get_dataloader_workers() if workers is None else workers
    df, num_users, num_items = d2l.read_data_ml100k()
    train_data, test_data = d2l.split_data_ml100k(df, num_users, num_items)
    _, _, _, train_inter_mat = d2l.load_data_ml100k(train_data, num_users, num_items)
    _, _, _, test_inter_mat = d2l.load_data_ml100k(test_data, num_users, num_items)
    train_iter = gluon.data.DataLoader(
        train_inter_mat,
        shuffle=True,
        last_batch="rollover",
        batch_size=64,
        num_workers=num_workers,
    )
    test_iter = gluon.data.DataLoader(
        np.array(train_inter_mat),
        shuffle=False,
        last_batch="keep",
        batch_size=1024,
        num_workers=num_workers,
    )
    net = AutoRec(50, num_users)
    net.initialize(ctx=devices, force_reinit=True, init=mx.init.Normal(0.01))
    loss = gluon.loss.L2Loss()
    trainer = gluon.Trainer(
        net.collect_params(), "adam", {"learning_rate": 0.02, "wd": 1e-5}
    )
    d2l.train_recsys_rating(
        net,
        train_iter,
        test_iter,
        loss,
        trainer,
        3,
        devices,
        evaluator,
        inter_mat=test_inter_mat,
    )
    train_loss, test_rmse = printed(
        r"train loss (.*), test RMSE (.*)\n.* examples/sec on \[cpu\(0\).*\]\n"
    )
    assert 0.2 < train_loss < 6
    assert 0.8 < test_rmse < 2
