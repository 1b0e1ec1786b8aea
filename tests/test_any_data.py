"""Any frames, ids and dictionaries: the right data, or an error for the culprit."""

import numpy
import pandas as pd
from any_input import ITEMS, USERS, L, at_random, dictionaries, frames, ids, outcome
from hypothesis import given
from hypothesis import strategies as st

from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data.ctr_files import Table
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.movielens import load_data_ml100k, split_data_ml100k
from d2l_recsys.neumf import (
    PRDataset,
)
from d2l_recsys.seqrec import SeqDataset


@at_random
@given(frames())
def test_splits(case):
    data, (users, _, _, times) = case
    copy = data.copy()
    result = outcome(
        lambda: split_data_ml100k(data, USERS, ITEMS, seed=1, test_ratio=0.5),
        "so none is left for training",
    )
    if result is not None:
        train, test = result
        assert len(train)
        assert sorted([*train.index, *test.index]) == [*range(len(data))]
    result = outcome(
        lambda: split_data_ml100k(data, USERS, ITEMS, "seq-aware"),
        "user id|timestamp|each user has a single row, .* so none is left for training",
    )
    single = users is not None and len({*users}) == len(users)
    assert (result is None) <= (users is None or times is None or single)
    pd.testing.assert_frame_equal(data, copy)
    if result is None or users is None or times is None:
        return
    last = {}  # the row of each user that is held out: the first at their last time
    for row, (user, time) in enumerate(zip(users, times)):
        if user not in last or time > times[last[user]]:
            last[user] = row
    rest = [row for row in range(len(users)) if row not in last.values()]
    rest.sort(key=lambda row: (users[row], times[row]))
    for part, rows in zip(result, (rest, [*last.values()])):
        expected = data.iloc[rows].reset_index(drop=True)
        pd.testing.assert_frame_equal(part, expected)


@at_random
@given(frames(), st.sampled_from(["explicit", "implicit"]))
def test_loading(case, feedback):
    data, (users, items, ratings, _) = case
    result = outcome(
        lambda: load_data_ml100k(data, USERS, ITEMS, feedback),
        r"row \d+ of data: (user id|item id|rating)|(user id|item id|rating)s? ",
    )
    needed = [users, items] + [ratings] * (feedback == "explicit")
    assert (result is None) == (None in needed)
    if result is None:
        return
    assert result.users.tolist() == [u - 1 for u in users]
    assert result.items.tolist() == [i - 1 for i in items]
    if feedback == "implicit":
        assert result.inter == {
            u - 1: [i - 1 for v, i in zip(users, items) if v == u] for u in {*users}
        }
    else:
        cells = {(i, u): r for u, i, r in zip(users, items, ratings)}
        matrix = numpy.zeros((ITEMS, USERS))
        for (i, u), rating in cells.items():
            matrix[i - 1, u - 1] = rating
        assert (result.inter.asnumpy() == matrix).all()


@at_random
@given(st.data(), st.integers(1, 6), dictionaries())
def test_pairs(data, size, case):
    (users, plain_users), (items, plain_items) = (
        data.draw(ids(size, limit)) for limit in (USERS, ITEMS)
    )
    seen, plain_seen = case
    made = outcome(
        lambda: PRDataset(users, items, seen, ITEMS),
        "user|item|candidates",
    )
    if None in (plain_users, plain_items, plain_seen):
        assert made is None or (plain_seen is None and max(seen) < 2**31)
        return
    if made is None:  # a user whom the dictionary does not know
        assert max(plain_users) > max(plain_seen)
        return
    for k, (user, item) in enumerate(zip(plain_users, plain_items)):
        row = made[k]
        assert row[:2] == (user, item)
        assert row[2] in {*range(ITEMS)} - {*plain_seen.get(user, ())}


@at_random
@given(st.data(), st.integers(USERS, 9))
def test_sequences(data, size):
    (users, plain_users), (items, plain_items) = (
        data.draw(ids(size, limit)) for limit in (USERS, ITEMS)
    )
    made = outcome(
        lambda: SeqDataset(users, items, L, USERS, ITEMS, {0: [1]}), "user|item"
    )
    if plain_users is None or plain_items is None or {*plain_users} != {*range(USERS)}:
        assert made is None
        return
    expected = []
    for user in range(USERS):
        own = [i for u, i in zip(plain_users, plain_items) if u == user]
        padded = [ITEMS] * L + own
        ends = range(
            len(padded) - 1, max(len(padded) - 1 - max(len(own) - L, 1), 0), -1
        )
        expected += [(user, padded[end - L : end], padded[end]) for end in ends]
        assert made.test_seq[user].tolist() == padded[-L:]
    rows = zip(made.seq_users, made.seq_items, made.seq_tgt)
    assert [(u, s.tolist(), t[0]) for u, s, t in rows] == expected


@at_random
@given(
    st.lists(st.lists(st.sampled_from(["", "a", "b", "é"]), min_size=2, max_size=2)),
    st.integers(-1, 3),
)
def test_clicks(rows, threshold):
    values = ["", "a", "b", "é"]
    codes = [[values.index(v) for v in row] for row in rows]
    table = Table(
        ("x", "y"),
        (),
        [values, values],
        numpy.array(codes, dtype="int32").reshape(-1, 2),
        numpy.arange(len(rows), dtype="float32") % 2,
    )
    data = outcome(
        lambda: CTRDataset.from_table(table, min_threshold=threshold),
        "min_threshold|no rows",
    )
    assert (data is not None) == (threshold >= 0 and len(rows) > 0)
    if data is None:
        return
    for field in (0, 1):
        own = [row[field] for row in rows]
        known = sorted(v for v in {*own} if own.count(v) >= max(threshold, 1))
        assert data.field_dims[field] == len(known) + 1
        for k, value in enumerate(own):
            index = known.index(value) if value in known else len(known)
            assert data[k][0][field] == index + data.offsets[field]


@at_random
@given(st.data(), st.integers(1, 6), st.integers(-1, 4))
def test_batches(data, size, batch_size):
    column, plain = data.draw(ids(size, ITEMS))
    if plain is None:
        return  # a loader takes any values
    made = outcome(lambda: BatchLoader([column, column], batch_size), "batch_size")
    assert (made is None) == (batch_size < 1)
    if made is not None:
        rows = [x.asnumpy().tolist() for x, _ in made]
        starts = range(0, size, batch_size)
        assert rows == [plain[start : start + batch_size] for start in starts]
