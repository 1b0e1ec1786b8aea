"""Errata of Caser and its data set, E36 to E40 and E53: the book's beside ours."""

import inspect

import numpy
import pytest
from d2l import mxnet as d2l

from d2l_recsys.movielens import (
    load_data_ml100k,
    read_data_ml100k,
    split_and_load_ml100k,
    split_data_ml100k,
)
from d2l_recsys.neumf import PRDataset
from d2l_recsys.runtime.backend import mx, nn, np
from d2l_recsys.seqrec import Caser, SeqDataset

ITEMS = 10


def test_e36_a_batch_of_one_is_right_in_spite_of_the_bare_squeeze():
    """Suspected, and found sound: broadcasting puts the lost axis back."""
    rng = numpy.random.default_rng(0)
    x, q, b = (np.array(rng.normal(0, 1, s)) for s in ((4, 6), (4, 1, 6), (4, 1, 1)))
    whole = (x * np.squeeze(q)).sum(1) + np.squeeze(b)  # the book's last lines
    rows = [
        (x[r] * np.squeeze(q[r])).sum(1) + np.squeeze(b[r])
        for r in (slice(k, k + 1) for k in range(4))
    ]
    assert np.squeeze(q[:1]).shape == (6,)  # there it is lost
    assert [row.shape for row in rows] == [(1,)] * 4
    assert numpy.concatenate([r.asnumpy() for r in rows]) == pytest.approx(
        whole.asnumpy()
    )
    net = Caser(4, 5, ITEMS, L=3)
    net.initialize(mx.init.Normal(1))
    user, seq, item = (
        np.array(rng.integers(0, 5, s), dtype="int32") for s in (4, (4, 3), (4, 1))
    )
    scores = net(user, seq, item).asnumpy()
    for k in range(4):
        own = net(user[k : k + 1], seq[k : k + 1], item[k : k + 1]).asnumpy()
        # float32
        assert own == pytest.approx(scores[k : k + 1], rel=1e-5)


@pytest.mark.parametrize(("d", "d_prime"), [(0, 4), (16, 0), (0, 0)])
@pytest.mark.filterwarnings("ignore:The 1-th input to HybridBlock is not used")
def test_e37_a_branch_left_out(d, d_prime):
    L, k = 3, 4

    def books_filters():  # made whether wanted or not
        filters = [nn.Conv2D(d_prime, (L, 1), in_channels=1)]
        filters += [nn.Conv2D(d, (h, k), in_channels=1) for h in range(1, L + 1)]
        for block in filters:
            block.initialize()
            block(np.ones((2, 1, L, k))).wait_to_read()

    with pytest.raises(mx.MXNetError, match="num_filter"):
        books_filters()
    with pytest.raises(AssertionError, match="got None"):
        np.concatenate([None, np.ones((2, 3))], axis=1)  # what forward would do next
    net = Caser(k, 5, ITEMS, L, d, d_prime)
    net.initialize()
    ids = [np.zeros(s, dtype="int32") for s in (2, (2, L), 2)]
    assert net(*ids).shape == (2,)


def books_window(items, L):
    """Return input, target and test sequence of a user with at most L items.

    The window of L + 1 does not fit, and the whole history is handed on in its place.
    """
    items = np.array(items)
    seq, target, test_seq = np.zeros((L,)), np.zeros((1,)), np.zeros((L,))
    seq[:], target[:], test_seq[:] = items[:L], items[-1:], items[-L:]
    return seq.asnumpy().tolist(), target.asnumpy().tolist()


def our_window(items, L):
    data = SeqDataset([0] * len(items), items, L, 1, ITEMS, {0: items})
    assert len(data) == 1
    return data.seq_items[0].tolist(), data.seq_tgt[0].tolist()


class TestShortHistories:
    def test_e38_as_long_as_the_window(self):
        assert books_window([1, 2, 3], 3) == ([1, 2, 3], [3])  # the target is there
        assert our_window([1, 2, 3], 3) == ([ITEMS, 1, 2], [3])

    def test_e38_of_one_item(self):
        assert books_window([7], 3) == ([7, 7, 7], [7])
        assert our_window([7], 3) == ([ITEMS] * 3, [7])

    def test_e38_in_between(self):
        with pytest.raises(mx.MXNetError, match="not broadcastable"):
            books_window([1, 2], 3)
        assert our_window([1, 2], 3) == ([ITEMS, ITEMS, 1], [2])

    def test_e38_in_movielens(self, ml100k):
        data, users, items = read_data_ml100k(ml100k)
        train, _ = split_data_ml100k(data, users, items, "seq-aware")
        counts = train.groupby("user_id").size()
        assert [(counts <= L).sum() for L in (18, 19, 20)] == [0, 32, 56]
        assert (counts == 20).sum() == 24
        loaded = load_data_ml100k(train, users, items, "implicit")
        # Of histories of 19 items: one window each, its target no part of it.
        ours = SeqDataset(loaded.users, loaded.items, 19, users, items, loaded.inter)
        short = counts.to_numpy()[ours.seq_users] == 19
        assert short.sum() == 32
        inputs, targets = ours.seq_items[short], ours.seq_tgt[short]
        assert not (inputs == targets).any()
        assert (inputs[:, 0] == items).all()  # padding


def test_e39_ids_become_floats(monkeypatch, tmp_path, frame):
    number = 2**24 + 1
    assert int(np.array([number]).item()) == 2**24  # another id
    ours = PRDataset([0], [number], {0: [number]}, number + 2)
    assert ours[0][1] == number
    data = frame(*((u, i, 3, u + i) for u in (1, 2) for i in (1, 2, 3)))
    data.to_csv(tmp_path / "u.data", sep="\t", header=False, index=False)
    monkeypatch.setattr(d2l, "download_extract", lambda _: str(tmp_path))
    (users, items, _), *_ = d2l.split_and_load_ml100k(batch_size=4)[2]
    assert {users.dtype.name, items.dtype.name} == {"float32"}
    (users, items, _), *_ = split_and_load_ml100k(batch_size=4, data_dir=tmp_path)[2]
    assert {users.dtype.name, items.dtype.name} == {"int32"}


def test_e40_the_ids_are_sorted_one_by_one_in_mxnet(monkeypatch):
    rng = numpy.random.default_rng(0)
    users, items = rng.permutation(numpy.arange(40) % 4), rng.integers(0, ITEMS, 40)
    compared, original = [], np.ndarray.__lt__

    def counted(*args):
        compared.append(args)
        return original(*args)

    monkeypatch.setattr(np.ndarray, "__lt__", counted)
    mx_users = np.array(users)
    order = sorted(range(40), key=lambda k: mx_users[k])  # the book's way
    assert len(compared) >= 39
    compared.clear()
    seen = {u: items[users == u].tolist() for u in range(4)}
    data = SeqDataset(users, items, 2, 4, ITEMS, seen)
    assert compared == []
    newest = [items[[k for k in order if users[k] == u][-2:]] for u in range(4)]
    assert data.test_seq.tolist() == numpy.array(newest).tolist()


def test_e40_absent_users_get_a_history_of_item_0():
    num_users, L, present = 3, 2, {0: [4, 5, 6], 2: [7, 8, 9]}
    test_seq = np.zeros((num_users, L))  # as the book starts
    for user, items in present.items():
        test_seq[user] = np.array(items[-L:])
    assert test_seq[1].asnumpy().tolist() == [0, 0]  # and item 0 is an item
    with pytest.raises(ValueError, match=r"user 1 \(counted from 0\) has no history"):
        SeqDataset([0] * 3 + [2] * 3, [4, 5, 6, 7, 8, 9], L, 3, ITEMS, present)


def test_e53_the_widths_of_the_dense_layer():
    defaults = inspect.signature(Caser.__init__).parameters
    k, (L, d, d_prime) = 10, (defaults[n].default for n in ("L", "d", "d_prime"))
    net = Caser(k, 5, ITEMS)
    assert net.fc.weight.shape == (k, d_prime * k + d * L) == (10, 120)
    assert d + k * d_prime == 56  # by the book's formula, o being a vector of size d
    # No activation on vertical filters: half of their values stay negative.
    net.initialize(mx.init.Normal(1))
    mx.random.seed(0)
    images = np.random.normal(0, 1, (100, L, k))
    negative = (net.conv_v(images).asnumpy() < 0).mean()
    assert 0.3 < negative < 0.7
