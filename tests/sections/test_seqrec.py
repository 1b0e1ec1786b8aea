import numpy
import pytest

from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.full_ranking import recommend
from d2l_recsys.movielens import (
    load_data_ml100k,
    read_data_ml100k,
    split_data_ml100k,
)
from d2l_recsys.neumf import NeuMF, PRDataset, evaluate_ranking, train_ranking
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import gluon, mx, np
from d2l_recsys.seqrec import Caser, SeqDataset

ITEMS = 10


def dataset(histories, L, **more):
    """Return the windows of {user: items, oldest first}, rows of users interleaved."""
    rows = [(k, u, i) for u, items in histories.items() for k, i in enumerate(items)]
    rows.sort()  # by time: no user's rows stand together
    users, items = [r[1] for r in rows], [r[2] for r in rows]
    return SeqDataset(users, items, L, len(histories), ITEMS, histories, **more)


def windows(data):
    return [
        (int(u), s.tolist(), int(t[0]))
        for u, s, t in zip(data.seq_users, data.seq_items, data.seq_tgt)
    ]


def test_the_docstrings_drawing():
    a, b, c, d, e, f, g = range(7)  # h is held out
    data = dataset({0: [a, b, c, d, e, f, g]}, L=5)
    assert windows(data) == [(0, [b, c, d, e, f], g), (0, [a, b, c, d, e], f)]
    assert data.test_seq.tolist() == [[c, d, e, f, g]]


def test_short_histories_are_padded():
    data = dataset({0: [7], 1: [1, 2], 2: [1, 2, 3], 3: [1, 2, 3, 4]}, L=3)
    pad = ITEMS
    assert windows(data) == [
        (0, [pad, pad, pad], 7),
        (1, [pad, pad, 1], 2),
        (2, [pad, 1, 2], 3),
        (3, [1, 2, 3], 4),
    ]
    assert data.test_seq.tolist() == [[pad, pad, 7], [pad, 1, 2], [1, 2, 3], [2, 3, 4]]


@pytest.mark.parametrize("L", [1, 2, 7, 30])
def test_invariants(L):
    rng = numpy.random.default_rng(L)
    histories = {
        u: rng.permutation(ITEMS)[: rng.integers(1, 9)].tolist() for u in range(6)
    }
    data = dataset(histories, L)
    assert len(data) == sum(max(len(h) - L, 1) for h in histories.values())
    for user, items in histories.items():
        own = [(s, t) for u, s, t in windows(data) if u == user]
        padded = [ITEMS] * L + items
        for k, (seq, target) in enumerate(own):  # newest first, each shifted by one
            end = len(padded) - k
            assert [*seq, target] == padded[end - L - 1 : end]
        assert data.test_seq[user].tolist() == padded[-L:]


def test_one_sample_and_many():
    data = dataset({0: [1, 2, 3], 1: [4, 5]}, L=1)
    user, seq, target, negative = data[1]
    assert (user, seq.tolist(), target.tolist()) == (0, [1], [2])
    assert negative not in (1, 2, 3)
    users, seqs, targets, negatives = data[numpy.array([2, 0])]
    assert users.tolist() == [1, 0]
    assert seqs.tolist() == [[4], [2]]
    assert targets.tolist() == [[5], [3]]
    assert negatives.shape == (2,)
    assert {a.dtype.name for a in (users, seqs, targets, negatives)} == {"int32"}


def test_protocols():
    histories = {0: [1, 2, 3]}
    every = numpy.zeros(400, int)
    book = dataset(histories, 1, test_items={0: [9]})
    assert 9 not in book[every][3]
    assert 9 in dataset(histories, 1)[every][3]


def test_errors():
    with pytest.raises(ValueError, match="L must be at least 1, not 0"):
        dataset({0: [1, 2]}, L=0)
    with pytest.raises(ValueError, match=r"user 1 \(counted from 0\) has no history"):
        SeqDataset([0, 2], [1, 2], 1, 3, ITEMS, {0: [1], 2: [2]})
    with pytest.raises(ValueError, match=r"user 0 .* has interacted with every item"):
        dataset({0: list(range(ITEMS))}, L=2)


def test_the_books_first_sample(ml100k):
    data, users, items = read_data_ml100k(ml100k)
    train, test = split_data_ml100k(data, users, items, "seq-aware")
    loaded = load_data_ml100k(train, users, items, "implicit")
    held_out = load_data_ml100k(test, users, items, "implicit").inter
    dataset = SeqDataset(loaded.users, loaded.items, 5, users, items, loaded.inter)
    user, seq, target, _ = dataset[0]
    assert (user, seq.tolist(), target.tolist()) == (0, [241, 170, 110, 255, 4], [101])
    assert len(dataset) == 94342
    # Nothing of the held-out item is in any window of its user.
    for u, (item,) in held_out.items():
        own = dataset.seq_users == u
        assert item not in dataset.seq_items[own]
        assert item not in dataset.seq_tgt[own]


class TestCaser:
    @pytest.mark.parametrize(("d", "d_prime"), [(3, 2), (0, 2), (3, 0), (0, 0)])
    @pytest.mark.filterwarnings("ignore:The 1-th input to HybridBlock is not used")
    def test_is_the_formula(self, d, d_prime):
        """Filters slide over the embeddings in plain loops, as the paper draws them."""
        k, L = 4, 3
        mx.random.seed(0)
        net = Caser(k, 5, ITEMS, L, d, d_prime, drop_ratio=0)
        net.initialize(mx.init.Normal(1))
        seq, user, item = [7, ITEMS, 2], 3, 6
        score = net(
            *(np.array(x, dtype="int32") for x in ([user], [seq], [item]))
        ).item()

        def array(parameter):
            return parameter.data().asnumpy().astype("float64")

        x = array(net.P.weight)[user]
        if d or d_prime:
            E = numpy.vstack([array(net.Q.weight), numpy.zeros(k)])[seq]  # (L, k)
            out = []
            if d_prime:
                filters, bias = array(net.conv_v.weight), array(net.conv_v.bias)
                for f, b in zip(filters[:, 0, :, 0], bias):
                    out += [f @ column + b for column in E.T]
            for h in range(1, L + 1) if d else []:
                filters = array(net.conv_h[h - 1].weight)[:, 0]  # (d, h, k)
                bias = array(net.conv_h[h - 1].bias)
                for f, b in zip(filters, bias):
                    over_time = [(f * E[t : t + h]).sum() + b for t in range(L - h + 1)]
                    out.append(max(0, *over_time))
            assert len(out) == d_prime * k + d * L
            z = array(net.fc.weight) @ out + array(net.fc.bias)
            x = numpy.r_[numpy.maximum(z, 0), x]
        expected = array(net.Q_prime.weight)[item] @ x + array(net.b.weight)[item, 0]
        assert score == pytest.approx(expected, rel=1e-5)

    def test_a_long_sequence_trains_hybridized(self):
        """MXNet 1.9.1 fails where many slices of one array of ids are looked up."""
        from d2l_recsys.runtime.backend import autograd

        net = Caser(2, 3, ITEMS, L=12)
        net.initialize()
        net.hybridize(static_alloc=True)
        ids = np.zeros((2,), dtype="int32")
        with autograd.record():
            score = net(ids, np.zeros((2, 12), dtype="int32"), ids)
        score.backward()
        assert numpy.isfinite(net.Q.weight.grad().asnumpy()).all()


@pytest.mark.parametrize("hybrid", [False, True])
def test_the_books_float_sequences(hybrid):
    net = Caser(4, 3, ITEMS, L=2)
    net.initialize()
    net.hybridize(hybrid)
    users, items = np.array([0, 2], dtype="int32"), np.array([1, 9], dtype="int32")
    seq = np.array([[1, 2], [8, ITEMS]], dtype="int32")
    scores = net(users, seq, items).asnumpy()
    floats = [x.astype("float32") for x in (users, seq, items)]
    assert (net(*floats).asnumpy() == scores).all()


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("length", [2, 5])
@pytest.mark.parametrize("branch", [{}, {"d": 0}, {"d_prime": 0}])
def test_sequences_of_another_length(hybridize, length, branch):
    net = Caser(4, 3, ITEMS, L=3, **branch)
    net.initialize()
    if hybridize:
        net.hybridize()
    ids = np.zeros(2, dtype="int32")
    with pytest.raises(ValueError, match=r"not \(B, 3\): use the same L for the net"):
        net(ids, np.zeros((2, length), dtype="int32"), ids)


def test_no_length():
    with pytest.raises(ValueError, match="L must be at least 1, not 0"):
        Caser(4, 3, ITEMS, L=0)


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("branches", [{}, {"d": 0, "d_prime": 0}])
def test_a_user_goes_with_many_items(branches, hybridize):
    net = Caser(4, 3, ITEMS, L=2, **branches)
    net.initialize(mx.init.Normal(1))
    if hybridize:
        net.hybridize()
    user, seq = np.array([1], dtype="int32"), np.array([[4, 5]], dtype="int32")
    items = np.arange(ITEMS, dtype="int32")
    singles = [net(user, seq, items[k : k + 1]).item() for k in range(ITEMS)]
    assert net(user, seq, items).asnumpy() == pytest.approx(singles, rel=1e-5)


class TestSequencesToTestWith:
    """A wrong `seq`, or none, is an error that says what to pass."""

    SEEN, HELD_OUT = {0: [1, 2, 3], 1: [4, 5]}, {0: [6], 1: [7]}
    SIZES = 2, ITEMS

    def calls(self, net, seq, data=None):
        net.initialize()
        rest = self.SEEN, *self.SIZES
        yield lambda: evaluate_ranking(net, self.HELD_OUT, seq, *rest)
        yield lambda: recommend(net, 1, 3, *rest, seq=seq)
        trainer = gluon.Trainer(net.collect_params(), "sgd")
        more = trainer, seq, *self.SIZES, 1, None, evaluate_ranking, self.SEEN
        data = data or dataset(self.SEEN, L=2)
        loader = BatchLoader(data, 2)
        yield lambda: train_ranking(net, loader, self.HELD_OUT, BPRLoss(), *more)

    @pytest.mark.parametrize(
        ("seq", "message"),
        [
            (None, "seq: Caser needs sequences: .* evaluate with its test_seq as seq"),
            ([[1, 2]], "seq has 1 rows, but needs one for each of 2 users: pass test_"),
            ([1, 2], r"seq must have shape \(num_users, L\), not \(2,\): pass test_s"),
            (7, r"seq must have shape \(num_users, L\), not \(\): pass test_seq"),
            ([[1, 2.5], [1, 2]], "seq must hold integers, the ids of items: pass test"),
            ([[1, "a"], [1, 2]], "item '1' is not a number"),
            ([[1, 2, 3], [1, 2, 3]], r"not \(B, 2\): use the same L for the net and"),
        ],
        ids=str,
    )
    def test_that_are_wrong(self, seq, message):
        for call in self.calls(Caser(2, *self.SIZES, L=2), seq):
            with pytest.raises(ValueError, match=message):
                call()

    def test_for_a_net_that_takes_none(self):
        for call in self.calls(NeuMF(2, *self.SIZES, [4]), [[1, 2], [3, 4]]):
            with pytest.raises(ValueError, match="NeuMF takes no sequences"):
                call()

    def test_in_batches(self):
        pairs = PRDataset([0, 1], [1, 4], self.SEEN, ITEMS)
        seq = dataset(self.SEEN, L=2).test_seq
        *_, train = self.calls(Caser(2, *self.SIZES, L=2), seq, pairs)
        with pytest.raises(ValueError, match="Caser takes user_id, seq, item_id, but"):
            train()
        *_, train = self.calls(NeuMF(2, *self.SIZES, [4]), None)
        with pytest.raises(ValueError, match="NeuMF takes user_id, item_id, but got 3"):
            train()

    def test_an_error_does_not_forbid_padding_later(self):
        net = Caser(2, *self.SIZES, L=2)
        net.initialize()
        with pytest.raises(ValueError, match="Caser takes"):
            net(np.zeros(1, dtype="int32"), np.zeros(1, dtype="int32"))
        padded = numpy.full((2, 2), ITEMS)
        assert len(recommend(net, 1, 3, self.SEEN, *self.SIZES, seq=padded)) == 3
