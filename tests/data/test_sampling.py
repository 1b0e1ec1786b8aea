import numpy
import pytest
from scipy import stats

from d2l_recsys.data.interactions import Interactions
from d2l_recsys.data.sampling import NegativeSampler
from d2l_recsys.neumf import PRDataset
from d2l_recsys.runtime.backend import gluon
from d2l_recsys.seqrec import SeqDataset

SEEN = {0: [1, 3, 4], 1: [0], 2: [0, 1, 2, 3, 4, 6, 7], 3: []}
HELD_OUT = {0: [0], 1: [7], 2: [], 3: [2]}
ITEMS = 8


def allowed(user, held_out):
    forbidden = {*SEEN[user], *(HELD_OUT[user] if held_out else [])}
    return sorted({*range(ITEMS)} - forbidden)


@pytest.mark.parametrize("held_out", [None, HELD_OUT])
def test_uniform_over_exactly_what_is_allowed(held_out):
    sampler = NegativeSampler(SEEN, 4, ITEMS, held_out, seed=1)
    draws = 8000
    for user in SEEN:
        items = sampler.sample(numpy.full(draws, user))
        counts = numpy.bincount(items, minlength=ITEMS)
        permitted = allowed(user, held_out)
        assert counts[permitted].sum() == draws
        assert sampler.allowed[user] == len(permitted)
        # One seed in a million would fail, and the seed is fixed.
        if len(permitted) > 1:
            assert stats.chisquare(counts[permitted]).pvalue > 1e-6


POPULAR = numpy.array([9, 4, 1, 0, 7, 2, 0, 30])  # two items that are never drawn


@pytest.mark.parametrize("held_out", [None, HELD_OUT])
def test_by_weight_among_exactly_what_is_allowed(held_out):
    sampler = NegativeSampler(SEEN, 4, ITEMS, held_out, seed=1, weights=POPULAR)
    draws = 8000
    users = numpy.arange(4).repeat(draws).reshape(-1, 4)
    items = sampler.sample(users)
    for user in SEEN:
        expected = numpy.zeros(ITEMS)
        expected[allowed(user, held_out)] = POPULAR[allowed(user, held_out)]
        expected *= draws / expected.sum()
        counts = numpy.bincount(items[users == user], minlength=ITEMS)
        drawn = expected > 0
        assert counts[drawn].sum() == draws
        if drawn.sum() > 1:
            assert stats.chisquare(counts[drawn], expected[drawn]).pvalue > 1e-6


def test_equal_weights_draw_as_without():
    users = numpy.arange(4).repeat(100)
    plain = NegativeSampler(SEEN, 4, ITEMS, HELD_OUT, seed=3)
    weighted = NegativeSampler(SEEN, 4, ITEMS, HELD_OUT, 3, numpy.ones(ITEMS, int))
    assert numpy.array_equal(weighted.sample(users), plain.sample(users))


def test_mixed_users_and_any_shape():
    sampler = NegativeSampler(SEEN, 4, ITEMS)
    users = numpy.random.default_rng(0).integers(0, 4, (50, 7))
    items = sampler.sample(users)
    assert items.shape == (50, 7)
    assert items.dtype == "int32"
    assert all(i in allowed(u, None) for u, i in zip(users.ravel(), items.ravel()))
    assert sampler.sample(numpy.int32(2)) == 5  # user 2 has seen all items but 5


def test_never_a_forbidden_item_on_real_data(ml100k):
    from d2l_recsys.movielens import (
        load_data_ml100k,
        read_data_ml100k,
        split_data_ml100k,
    )

    data, users, items = read_data_ml100k(ml100k)
    train, test = split_data_ml100k(data, users, items, "seq-aware")
    loaded = load_data_ml100k(train, users, items, "implicit")
    held_out = load_data_ml100k(test, users, items, "implicit").inter
    seen = Interactions(loaded.users, loaded.items, users, items)
    sampler = NegativeSampler(seen, users, items, held_out)
    forbidden = {*seen.keys(), *Interactions.of(held_out, users, items).keys()}
    draws = loaded.users.astype("int64") * items + sampler.sample(loaded.users)
    assert forbidden.isdisjoint(draws)
    strict = NegativeSampler(seen, users, items)
    assert (strict.allowed == sampler.allowed + 1).all()


def test_seeds():
    users = numpy.arange(4).repeat(10)

    def draws(seed):
        sampler = NegativeSampler(SEEN, 4, ITEMS, seed=seed)
        return [sampler.sample(users).tolist() for _ in range(2)]

    first = draws(1)
    assert first[0] != first[1]  # new draws each time
    numpy.random.seed(0)
    assert draws(1) == first
    assert draws(2) != first


def test_duplicates_in_what_was_seen_count_once():
    sampler = NegativeSampler({0: [1, 1, 1, 0]}, 1, 4)
    assert sampler.allowed[0] == 2
    assert {*sampler.sample(numpy.zeros(50, int))} == {2, 3}


class TestPRDataset:
    users, items = [0, 0, 1, 2], [1, 3, 0, 4]

    def test_one_sample_and_many(self):
        data = PRDataset(self.users, self.items, SEEN, ITEMS)
        assert len(data) == 4
        user, item, negative = data[1]
        assert (user, item) == (0, 3)
        assert negative in allowed(0, None)
        users, items, negatives = data[numpy.array([3, 0])]
        assert users.tolist() == [2, 0]
        assert items.tolist() == [4, 1]
        assert negatives[0] == 5
        assert {a.dtype.name for a in (users, items, negatives)} == {"int32"}

    def test_protocols(self):
        users = numpy.zeros(500, int)
        book = PRDataset(users, users + 1, SEEN, ITEMS, test_items=HELD_OUT)
        strict = PRDataset(users, users + 1, SEEN, ITEMS)
        every = numpy.arange(500)
        assert 0 not in book[every][2]  # item 0 is held out for user 0
        assert 0 in strict[every][2]

    @pytest.mark.parametrize("sequences", [False, True])
    def test_popularity_is_the_count_in_training(self, sequences):
        seen = {0: [1, 2, 3], 1: [2, 3], 2: [3, 4]}
        users, items = [0, 0, 0, 1, 1, 2, 2], [1, 2, 3, 2, 3, 3, 4]
        if sequences:
            data = SeqDataset(users, items, 2, 3, 6, seen, negatives="popularity")
        else:
            data = PRDataset(users, items, seen, 6, negatives="popularity")
        rows = numpy.flatnonzero(data.columns[0] == 2).repeat(6000)
        drawn = numpy.bincount(data[rows][-1], minlength=6)
        assert drawn[[0, 3, 4, 5]].sum() == 0  # never rated, or rated by the user
        total = drawn.sum()
        expected = [total / 3, total * 2 / 3]
        assert stats.chisquare(drawn[1:3], expected).pvalue > 1e-6
        with pytest.raises(ValueError, match="'uniform' or 'popularity', not 'rare'"):
            PRDataset(users, items, seen, 6, negatives="rare")

    def test_by_popularity_a_user_of_every_rated_item_is_named(self):
        seen = {0: [1, 2], 1: [1]}
        with pytest.raises(ValueError, match=r"user 0 .* every item with a weight"):
            PRDataset([0, 0, 1], [1, 2, 1], seen, 9, negatives="popularity")

    def test_a_user_with_nothing_left_is_named(self):
        full = {**SEEN, 2: range(ITEMS)}
        with pytest.raises(
            ValueError,
            match=r"user 2 \(counted from 0\) has interacted with every item",
        ):
            PRDataset(self.users, self.items, full, ITEMS)
        last = {**HELD_OUT, 2: [5]}
        with pytest.raises(
            ValueError,
            match=r"user 2 \(counted from 0\) has interacted with every item",
        ):
            PRDataset(self.users, self.items, SEEN, ITEMS, last)
        PRDataset(self.users[:3], self.items[:3], full, ITEMS)  # without user 2

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_forked_workers_do_not_repeat_each_other(self):
        users = numpy.ones(64, int)
        data = PRDataset(users, users, {1: [1]}, 10**6)
        loader = gluon.data.DataLoader(data, 8, num_workers=2)
        drawn = [n for _ in range(2) for batch in loader for n in batch[2].asnumpy()]
        # 128 draws of a million: a repeat has probability 0.8 %, and 3 have 1e-7.
        assert len({*drawn}) > 125
