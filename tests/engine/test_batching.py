from collections import Counter

import numpy
import pandas as pd
import pytest

from d2l_recsys.data.sampling import NegativeSampler
from d2l_recsys.engine import batching
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.neumf import PRDataset
from d2l_recsys.runtime.backend import gluon, np
from d2l_recsys.seqrec import SeqDataset

ROWS = numpy.arange(7, dtype="int32")


def epochs(loader, number):
    return [[b.asnumpy().tolist() for b in loader] for _ in range(number)]


@pytest.mark.parametrize(
    ("last_batch", "drawn"),
    [
        ("keep", [[[0, 1, 2], [3, 4, 5], [6]]] * 3),
        ("discard", [[[0, 1, 2], [3, 4, 5]]] * 3),
        (
            "rollover",
            [
                [[0, 1, 2], [3, 4, 5]],
                [[6, 0, 1], [2, 3, 4]],
                [[5, 6, 0], [1, 2, 3], [4, 5, 6]],
            ],
        ),
    ],
)
def test_batches_as_drawn_by_hand_and_as_gluon_makes_them(last_batch, drawn):
    loader = BatchLoader(ROWS, 3, last_batch=last_batch)
    theirs = gluon.data.DataLoader(ROWS, 3, last_batch=last_batch)
    for expected in drawn:
        assert len(loader) == len(expected)
        assert epochs(loader, 1)[0] == expected
        assert epochs(theirs, 1)[0] == expected


def test_yields_what_gluon_yields():
    columns = ROWS, (ROWS * 0.5).astype("float32")
    ours = BatchLoader(columns, 4)
    theirs = gluon.data.DataLoader(gluon.data.ArrayDataset(*columns), 4)
    for mine, other in zip(ours, theirs):
        assert type(mine) is type(other) is list
        for a, b in zip(mine, other):
            assert type(a) is type(b)
            assert a.dtype == b.dtype
            assert a.asnumpy().tolist() == b.asnumpy().tolist()


def test_large_ids_keep_their_value():
    (ids,) = BatchLoader(numpy.array([2**24 + 1]), 1)
    assert ids.asnumpy().tolist() == [16777217]


def test_an_epoch_shuffles_all_rows_and_keeps_columns_together():
    loader = BatchLoader((ROWS, ROWS * 10), 3, shuffle=True)
    orders = []
    for _ in range(2):
        a, b = (numpy.concatenate([x.asnumpy() for x in c]) for c in zip(*loader))
        assert sorted(a) == ROWS.tolist()
        assert (b == a * 10).all()
        orders.append(a.tolist())
    assert orders[0] != orders[1]


def test_seed_decides_the_order_and_global_state_does_not():
    def order(seed):
        return epochs(BatchLoader(ROWS, 3, shuffle=True, seed=seed), 2)

    first = order(1)
    numpy.random.random(3)
    assert order(1) == first
    assert order(2) != first


def test_rows_beyond_one_block(monkeypatch):
    monkeypatch.setattr("d2l_recsys.engine.batching._BLOCK_ROWS", 4)
    assert epochs(BatchLoader(ROWS, 2), 1)[0] == [[0, 1], [2, 3], [4, 5], [6]]
    assert epochs(BatchLoader(ROWS, 6), 1)[0] == [[0, 1, 2, 3, 4, 5], [6]]


def test_takes_mxnet_arrays():
    matrix = np.array([[1, 2], [3, 4], [5, 6]])
    assert epochs(BatchLoader(matrix, 2), 1)[0] == [[[1, 2], [3, 4]], [[5, 6]]]
    ((a, b),) = BatchLoader((matrix, ROWS[:3]), 3)
    assert a.asnumpy().tolist() == matrix.asnumpy().tolist()
    assert b.asnumpy().tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ROWS, 0), "batch_size must be at least 1, not 0"),
        ((ROWS, 1, False, "drop"), "not 'drop'"),
        (((ROWS, ROWS[1:]), 1), r"differ in length: \[7, 6\]"),
        ((ROWS[:0], 1), "no rows"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        BatchLoader(*arguments)


def test_columns_are_taken_by_position():
    shuffled = pd.Series([0, 1, 2, 3]).sample(frac=1, random_state=0)
    (batch,) = BatchLoader((shuffled, [5, 6, 7, 8]), 4)
    assert [a.tolist() for a in batch] == [shuffled.tolist(), [5, 6, 7, 8]]
    (batch,) = BatchLoader(shuffled, 4)
    assert batch.tolist() == shuffled.tolist()


def test_blocks_of_wide_rows_are_small(monkeypatch):
    matrix, taken = numpy.arange(600.0).reshape(60, 10), []

    class Watched(numpy.ndarray):
        def __getitem__(self, index):
            taken.append(len(index))
            return numpy.asarray(self)[index]

    monkeypatch.setattr(batching, "_BLOCK_BYTES", 20 * 80)
    batches = list(BatchLoader(matrix.view(Watched), 7))
    assert taken == [14, 14, 14, 14, 4]  # whole batches of 20 rows at the most
    assert (numpy.concatenate([b.asnumpy() for b in batches]) == matrix).all()


def pairs(num_neg):
    users, items = numpy.array([0, 0, 1]), numpy.array([1, 2, 0])
    return PRDataset(users, items, {0: [1, 2], 1: [0]}, 6, num_neg=num_neg)


def sequences(num_neg):
    users, items = numpy.array([0, 0, 0, 1]), numpy.array([1, 2, 3, 0])
    candidates = {0: [1, 2, 3], 1: [0]}
    return SeqDataset(users, items, 1, 2, 6, candidates, num_neg=num_neg)


@pytest.mark.parametrize("make", [pairs, sequences])
class TestSeveralNegatives:
    def test_each_positive_appears_that_often(self, make):
        once = [tuple(map(str, row[:-1])) for row in map(make(1).__getitem__, range(3))]
        batches = BatchLoader(make(4), 5, shuffle=True)
        rows = [tuple(map(str, row)) for batch in batches for row in zip(*batch)]
        assert len(make(4)) == len(rows) == 12
        assert Counter(row[:-1] for row in rows) == dict.fromkeys(once, 4)

    def test_negatives_are_drawn_for_each_and_never_positive(self, make):
        *_, negatives = make(300)[:]
        users = make(300)[:][0]
        assert {*negatives[users == 1]} == {1, 2, 3, 4, 5}
        assert not {*negatives[users == 0]} & {1, 2}

    def test_rows_are_counted_from_both_ends(self, make):
        dataset, once = make(4), make(1)
        for row in (0, 3, 4, 11, -1, -12):
            for a, b in zip(dataset[row][:-1], once[row // 4][:-1]):
                assert numpy.array_equal(a, b)
        for row in (12, -13):
            with pytest.raises(IndexError):
                dataset[row]

    def test_an_interrupted_training_goes_on_with_the_same_batches(self, make):
        loader = BatchLoader(make(4), 5, shuffle=True, last_batch="rollover")
        list(loader)
        state = loader.state
        other = BatchLoader(make(4), 5, shuffle=True, last_batch="rollover", seed=9)
        other.state = state
        for a, b in zip(loader, other):
            assert [x.asnumpy().tolist() for x in a] == [
                x.asnumpy().tolist() for x in b
            ]

    def test_ids_that_occur(self, make):
        shapes = [ids.shape[0] for ids in make(4).id_columns()]
        assert shapes == [ids.shape[0] for ids in make(1).id_columns()]

    def test_less_than_one(self, make):
        with pytest.raises(ValueError, match="num_neg must be at least 1, not 0"):
            make(0)


def in_thirds(k):
    """Return a function for the rows of the k-th of three workers."""
    return lambda size: slice(size * k // 3, size * (k + 1) // 3)


class Noisy(PRDataset):
    """A reader's data set, which draws more numbers."""

    def __getitem__(self, index):
        return (*super().__getitem__(index), self.sampler.rng.normal(size=len(index)))


class Highest(NegativeSampler):
    """A reader's sampler, which draws twice."""

    def sample(self, users):
        return numpy.maximum(super().sample(users), super().sample(users))


USERS, ITEMS = numpy.arange(23) % 4, numpy.arange(23, dtype="int32") % 7
SEEN = {user: [user] for user in range(4)}


@pytest.mark.parametrize("last_batch", ["keep", "discard", "rollover"])
@pytest.mark.parametrize("kind", ["array", "columns", "negatives", "two"])
def test_shares_make_up_the_batches(kind, last_batch, monkeypatch):
    monkeypatch.setattr(batching, "_BLOCK_ROWS", 10)  # two batches

    def loader():
        data = {
            "array": numpy.arange(69).reshape(23, 3),
            "columns": (USERS, ITEMS),
            "negatives": PRDataset(USERS, ITEMS, SEEN, 50, seed=3),
            "two": PRDataset(USERS, ITEMS, SEEN, 50, num_neg=2, seed=3),
        }
        return BatchLoader(data[kind], 5, True, last_batch, seed=1)

    whole, shares = loader(), [loader() for _ in range(3)]
    assert whole.can_share
    for _ in range(3):
        parts = [[*one.shares(in_thirds(k))] for k, one in enumerate(shares)]
        batches = [*whole.in_numpy()]
        assert len(batches) == len(parts[0]) > 3
        for batch, *thirds in zip(batches, *parts):
            batch = [batch] if kind == "array" else batch
            for column, *pieces in zip(batch, *thirds):
                assert numpy.concatenate(pieces).tolist() == column.tolist()
                assert len(pieces[0]) == len(column) // 3  # 0 for the smallest batch


def test_data_sets_that_draw_in_their_own_way_are_read_whole():
    noisy, highest = (kind(USERS, ITEMS, SEEN, 50) for kind in (Noisy, PRDataset))
    highest.sampler.__class__ = Highest
    for dataset in (noisy, highest):
        loader = BatchLoader(dataset, 5)
        assert not loader.can_share
        assert sum(len(users) for users, *_ in loader) == 23


class Doubled:
    """A reader's data set, which returns two rows for each index."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return numpy.repeat(index, 2), numpy.tile([1.0, 0.0], len(index))


def test_no_row_of_a_readers_data_set_is_lost():
    users = [users for users, _ in BatchLoader(Doubled(), 2)]
    assert np.concatenate(users).tolist() == [0, 0, 1, 1, 2, 2]
