"""Ranking all items for many users, against plain loops over a net that is a table."""

import numpy
import pytest

from d2l_recsys.engine.full_ranking import rank_held_out, recommend
from d2l_recsys.engine.metrics import auc, hit_rate
from d2l_recsys.mf import MF
from d2l_recsys.neumf import NeuMF, evaluate_ranking, train_ranking
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import gluon, mx, nn, np
from d2l_recsys.seqrec import Caser

CPU, TWO = [mx.cpu()], [mx.cpu(0), mx.cpu(1)]


class Fixed(nn.HybridBlock):
    """A net that knows flat ids only, as a reader's own: its scores are a table."""

    def __init__(self, table, devices=TWO):
        super().__init__()
        self.table = nn.Embedding(table.size, 1)
        self.columns = table.shape[1]
        self.initialize(ctx=devices)
        self.table.weight.set_data(np.array(table.reshape(-1, 1).astype("float32")))

    def forward(self, user_id, item_id):
        assert user_id.ndim == item_id.ndim == 1
        return self.table(user_id * self.columns + item_id)  # (B, 1), unsqueezed


def by_brute_force(table, test, seen, k):
    """Rank with plain loops."""
    hits, aucs = [], []
    for user, (item,) in test.items():
        others = [
            j
            for j in range(table.shape[1])
            if j not in seen.get(user, []) and j != item
        ]
        above = sum(table[user, j] >= table[user, item] for j in others)
        hits.append(above < k)
        aucs.append(1 - above / len(others))
    return numpy.mean(hits), numpy.mean(aucs)


class TestEvaluateRanking:
    num_users, num_items = 9, 40

    @pytest.fixture
    def case(self):
        rng = numpy.random.default_rng(0)
        order = [rng.permutation(self.num_items) for _ in range(self.num_users)]
        seen = {u: o[: rng.integers(0, 20)].tolist() for u, o in enumerate(order)}
        test = {u: [int(o[-1])] for u, o in enumerate(order) if u != 4}
        return seen, test

    def evaluate(self, table, case, devices=CPU, **more):
        seen, test = case
        return evaluate_ranking(
            Fixed(table),
            test,
            None,
            seen,
            self.num_users,
            self.num_items,
            devices,
            **more,
        )

    @pytest.mark.parametrize("levels", [10**6, 5, 2])  # the fewer, the more ties
    @pytest.mark.parametrize("k", [1, 5, 50])
    def test_against_plain_loops(self, case, levels, k):
        rng = numpy.random.default_rng(levels)
        table = rng.integers(0, levels, (self.num_users, self.num_items))
        expected = by_brute_force(table, case[1], case[0], k)
        assert self.evaluate(table, case, k=k) == pytest.approx(expected)

    def test_perfect_worst_and_constant(self, case):
        shape = self.num_users, self.num_items
        perfect = numpy.zeros(shape)
        for user, (item,) in case[1].items():
            perfect[user, item] = 1
        assert self.evaluate(perfect, case, k=1) == (1, 1)
        assert self.evaluate(-perfect, case, k=5) == (0, 0)
        assert self.evaluate(numpy.zeros(shape), case, k=5) == (0, 0)  # ties: no credit

    @pytest.mark.parametrize("devices", [CPU, TWO, None])
    @pytest.mark.parametrize("pairs", [1, 100, 10**6])
    def test_chunks_and_devices_do_not_matter(self, case, devices, pairs):
        table = numpy.random.default_rng(1).normal(
            size=(self.num_users, self.num_items)
        )
        expected = by_brute_force(table.astype("float32"), case[1], case[0], 5)
        sizes, rest = (self.num_users, self.num_items), (devices, pairs)
        ranks = rank_held_out(Fixed(table), case[1], None, case[0], sizes, *rest)
        assert (hit_rate(ranks, 5), auc(ranks)) == pytest.approx(expected)

    @pytest.mark.parametrize("levels", [10**6, 3])
    @pytest.mark.parametrize("pairs", [100, 10**6])
    def test_several_held_out_items(self, case, levels, pairs):
        rng = numpy.random.default_rng(levels)
        table = rng.integers(0, levels, (self.num_users, self.num_items))
        seen = {user: [*items, *items[:2]] for user, items in case[0].items()}
        test = {
            user: rng.permutation([i for i in range(40) if i not in seen[user]])
            for user in (8, 1, 3)
        }
        test = {
            user: items[:size] for (user, items), size in zip(test.items(), (5, 1, 2))
        }
        sizes = self.num_users, self.num_items
        ranks = rank_held_out(Fixed(table), test, None, seen, sizes, None, pairs)
        expected = []
        for user in sorted(test):
            held_out, rivals = {*test[user].tolist()}, {*range(40)} - {*seen[user]}
            above = sorted(
                sum(table[user, j] >= table[user, i] for j in rivals - held_out)
                for i in held_out
            )
            expected += [1 + place + n for place, n in enumerate(above)]
        assert ranks.ranks.tolist() == expected
        assert ranks.counts.tolist() == [1, 2, 5]
        assert ranks.ranked.tolist() == [40 - len({*seen[u]}) for u in sorted(test)]

    def test_further_metrics_on_request(self, case):
        table = numpy.random.default_rng(1).normal(
            size=(self.num_users, self.num_items)
        )
        hit_rate, auc, more = self.evaluate(table, case, k=5, ks=[5, 10])
        assert (hit_rate, auc) == self.evaluate(table, case, k=5)
        assert more["recall@5"] == hit_rate
        assert {name.split("@")[1] for name in more} == {"5", "10"}

    def test_nan_scores_name_the_user(self, case):
        table = numpy.zeros((self.num_users, self.num_items))
        table[3, 0] = numpy.nan
        with pytest.raises(ValueError, match="some scores of user 3 are NaN"):
            self.evaluate(table, case)

    def test_errors_name_the_user(self, case):
        seen, _ = case
        table = numpy.zeros((self.num_users, self.num_items))
        with pytest.raises(ValueError, match=r"item 1 of user 0 .* is held out twice"):
            self.evaluate(table, ({}, {0: [1, 2, 1]}))
        with pytest.raises(ValueError, match=r"user 0 .* has no held-out item"):
            self.evaluate(table, (seen, {0: []}))
        with pytest.raises(
            ValueError,
            match="item 7 of user 1 is held out, but was",
        ):
            self.evaluate(table, ({1: [7]}, {1: [7]}))
        with pytest.raises(ValueError, match="test_input is empty"):
            self.evaluate(table, (seen, {}))
        with pytest.raises(ValueError, match="test_input: item 40 of user 0 is not in"):
            self.evaluate(table, (seen, {0: [40]}))


class TestRecommend:
    table = numpy.array([[5, 4, 3, 2, 1], [1, 1, 1, 1, 1]])

    def recommend(self, user, n, seen=None):
        return recommend(Fixed(self.table), user, n, seen or {0: [0, 2]}, 2, 5)

    def test_the_best_unseen_items_in_order(self):
        assert self.recommend(0, 2) == [(1, 4), (3, 2)]
        assert self.recommend(0, 9) == [(1, 4), (3, 2), (4, 1)]

    def test_ties_are_in_the_order_of_ids(self):
        net = Fixed(numpy.ones((1, 40)))  # of 16 or fewer NumPy keeps the order anyway
        best = recommend(net, 0, 40, {0: [5]}, 1, 40)
        assert [item for item, _ in best] == [i for i in range(40) if i != 5]

    def test_unknown_user(self):
        with pytest.raises(ValueError, match=r"user 2 is not in 0\.\.1"):
            self.recommend(2, 1)


def test_an_item_seen_twice_is_one_item():
    table = numpy.arange(6.0)[None]
    for seen in ([1, 2], [1, 1, 2], [1] * 40 + [2]):
        _, auc = evaluate_ranking(Fixed(table), {0: [3]}, None, {0: seen}, 1, 6)
        assert auc == pytest.approx(1 - 2 / 3)  # 4 and 5 of 0, 4 and 5 rank before it


class Popular(NeuMF):
    """A reader's variant, which scores higher ids higher."""

    def forward(self, user_id, item_id):
        return super().forward(user_id, item_id) + item_id.astype("float32") * 100


class Flat(gluon.Block):
    """A reader's net that is no HybridBlock and knows flat ids only."""

    def forward(self, user_id, item_id):
        assert user_id.shape == item_id.shape
        return item_id.astype("float32")


@pytest.mark.parametrize("net", [Popular(4, 3, 6, [4]), Flat()])
def test_nets_of_the_readers_are_scored_as_they_say(net):
    net.initialize()
    best = recommend(net, 0, 6, {}, 3, 6, devices=mx.cpu())
    assert [item for item, _ in best] == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("make", [MF, lambda *n: NeuMF(*n, [4]), Caser])
@pytest.mark.parametrize(("less", "what"), [((1, 0), "2 users"), ((0, 1), "5 items")])
def test_nets_that_know_too_few(make, less, what):
    net = make(4, 3 - less[0], 6 - less[1])
    net.initialize()
    seq = numpy.zeros((3, 5), dtype="int32") if make is Caser else None
    with pytest.raises(ValueError, match=f"the net has {what}, but"):
        evaluate_ranking(net, {2: [3]}, seq, {2: [1]}, 3, 6)


class Counted(dict):
    """A dictionary that counts how often all of its lists are read."""

    count = 0

    def values(self):
        self.count += 1
        return super().values()


USERS = np.arange(7, dtype="int32")
BATCH = USERS, USERS, USERS + 1


def trained(test, valid=None, evaluator=evaluate_ranking, batches=(BATCH,)):
    """Train for 7 users and 9 items. Each user has seen the item with the same id."""
    net = NeuMF(3, 7, 9, [4])
    net.initialize()
    seen = Counted((user, [user]) for user in range(7))
    trainer = gluon.Trainer(net.collect_params(), "sgd")
    rest = BPRLoss(), trainer, None, 7, 9, 3, CPU, evaluator, seen
    train_ranking(net, batches, test, *rest, valid=valid)
    return seen


def test_a_training_converts_its_dictionaries_once(capsys):
    test, known = Counted({0: [7], 3: [8]}), Counted({1: [1]})
    valid = Counted({1: [7]}), None, known
    seen = trained(test, valid)
    assert [each.count for each in (test, seen, valid[0], known)] == [1] * 4


def test_another_evaluator_gets_the_dictionaries_themselves(capsys):
    test, given = {0: [7]}, []

    def evaluator(*arguments):
        given.append(arguments)
        return 0.5, 0.5

    seen = trained(test, evaluator=evaluator)
    assert len(given) == 3
    for _, first, _, third, *_ in given:
        assert first is test
        assert third is seen


@pytest.mark.parametrize(
    ("test", "valid", "message"),
    [
        ({}, None, "test_input is empty"),
        ({0: [9]}, None, "item 9 of user 0 is not in 0..8"),
        ({0: [7]}, ({5: []}, None, {}), "user 5 .* has no held-out item"),
        ({0: [7]}, ({5: [1]}, None, {0: [-1]}), "candidates: item -1 of user 0"),
    ],
)
def test_a_training_refuses_bad_test_data_at_once(test, valid, message, capsys):
    untouched = iter([BATCH])
    with pytest.raises(ValueError, match=message):
        trained(test, valid, batches=untouched)
    assert len([*untouched]) == 1
