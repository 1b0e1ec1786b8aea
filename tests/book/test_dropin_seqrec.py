"""The cells of `seqrec`, in the way that readers type them."""

import random

import mxnet as mx
import numpy
import pytest
from mxnet import gluon, np, npx
from mxnet.gluon import nn
from test_dropin_ranking import LINES, TWO, BPRLoss, implicit, trained

from d2l_recsys import d2l

npx.set_np()
pytestmark = pytest.mark.usefixtures("book_data")


class Caser(nn.Block):
    def __init__(
        self,
        num_factors,
        num_users,
        num_items,
        L=5,
        d=16,
        d_prime=4,
        drop_ratio=0.05,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.P = nn.Embedding(num_users, num_factors)
        self.Q = nn.Embedding(num_items, num_factors)
        self.d_prime, self.d = d_prime, d
        self.conv_v = nn.Conv2D(d_prime, (L, 1), in_channels=1)
        self.conv_h, self.max_pool = nn.Sequential(), nn.Sequential()
        for height in range(1, L + 1):
            self.conv_h.add(nn.Conv2D(d, (height, num_factors), in_channels=1))
            self.max_pool.add(nn.MaxPool1D(L - height + 1))
        self.fc1_dim_v, self.fc1_dim_h = d_prime * num_factors, d * L
        self.fc = nn.Dense(
            in_units=d_prime * num_factors + d * L,
            activation="relu",
            units=num_factors,
        )
        self.Q_prime = nn.Embedding(num_items, num_factors * 2)
        self.b = nn.Embedding(num_items, 1)
        self.dropout = nn.Dropout(drop_ratio)

    def forward(self, user_id, seq, item_id):
        item_embs = np.expand_dims(self.Q(seq), 1)
        out_v = self.conv_v(item_embs)
        out_hs = [out_v.reshape(out_v.shape[0], self.fc1_dim_v)]
        for conv, maxp in zip(self.conv_h, self.max_pool):
            conv_out = np.squeeze(npx.relu(conv(item_embs)), axis=3)
            out_hs.append(np.squeeze(maxp(conv_out), axis=2))
        z = self.fc(self.dropout(np.concatenate(out_hs, axis=1)))
        x = np.concatenate([z, self.P(user_id)], axis=1)
        q_prime_i, b = np.squeeze(self.Q_prime(item_id)), np.squeeze(self.b(item_id))
        return (x * q_prime_i).sum(1) + b


class SeqDataset(gluon.data.Dataset):
    """Keeps MXNet arrays, float ids and all, as the book's does."""

    def __init__(
        self, user_ids, item_ids, L, num_users, num_items, candidates, test_items=None
    ):
        held_out = test_items or {}
        self.pool = {
            u: list({*range(num_items)} - {*candidates[u]} - {*held_out.get(u, [])})
            for u in candidates
        }
        histories = {}
        for user, item in zip(user_ids, item_ids):
            histories.setdefault(int(user), []).append(item)
        rows = [
            (user, history[end - L - 1 : end])
            for user, history in sorted(histories.items())
            for end in range(len(history), L, -1)
        ]
        self.seq_users = np.array([user for user, _ in rows], dtype="int32")
        windows = np.array(numpy.array([window for _, window in rows], "float32"))
        self.seq_items, self.seq_tgt = windows[:, :L], windows[:, L:]
        self.test_seq = np.zeros((num_users, L))
        for user, history in histories.items():
            self.test_seq[user][:] = np.array(history[-L:])

    def __len__(self):
        return len(self.seq_users)

    def __getitem__(self, i):
        pool = self.pool[int(self.seq_users[i])]
        negative = pool[random.randint(0, len(pool) - 1)]
        return self.seq_users[i], self.seq_items[i], self.seq_tgt[i], negative


@pytest.mark.parametrize(
    ("devices", "L", "dataset", "model", "num_workers"),
    [
        (None, 5, SeqDataset, Caser, 0),
        (TWO, 3, SeqDataset, Caser, d2l.get_dataloader_workers()),
        (TWO, 5, d2l.SeqDataset, Caser, d2l.get_dataloader_workers()),
        (None, 5, SeqDataset, d2l.Caser, d2l.get_dataloader_workers()),
        (TWO, 3, d2l.SeqDataset, d2l.Caser, 0),
    ],
)
def test_seqrec(devices, L, dataset, model, num_workers, printed):
    data = num_users, num_items, users, items, candidates, test_iter = implicit()
    in_newer_editions = {"test_items": test_iter} if L == 5 else {}
    train_seq_data = dataset(
        users, items, L, num_users, num_items, candidates, **in_newer_editions
    )
    user, sequence, target, negative = train_seq_data[0]
    assert int(user) == 0
    assert [int(x) for x in [*sequence, target[0]]] == candidates[0][-L - 1 :]
    assert int(negative) not in candidates[0]
    assert train_seq_data.test_seq.shape == (num_users, L)

    train_iter = gluon.data.DataLoader(
        train_seq_data, 1024, True, last_batch="rollover", num_workers=num_workers
    )
    test_seq_iter = train_seq_data.test_seq
    devices = devices or d2l.try_all_gpus()
    net = model(10, num_users, num_items, L)
    net.initialize(ctx=devices, force_reinit=True, init=mx.init.Normal(0.01))
    loss = BPRLoss() if L == 5 else d2l.BPRLoss()
    evaluator = d2l.evaluate_ranking
    trained(net, train_iter, test_seq_iter, devices, evaluator, loss, data)
    train_loss, hit_rate, auc = printed(LINES)
    assert 0.3 < train_loss < 0.8
    assert 0.1 < hit_rate <= 1
    assert 0.5 < auc < 1
