"""Frames of ratings of any type: the right result, or an error that names the row."""

import tracemalloc

import numpy
import pandas as pd
import pytest

from d2l_recsys.data import frames
from d2l_recsys.data.interactions import Interactions
from d2l_recsys.movielens import (
    load_data_ml100k,
    read_data_ml100k,
    split_data_ml100k,
)
from d2l_recsys.neumf import PRDataset

ROWS = [(1, 1, 5, 30), (2, 1, 4, 10), (1, 2, 3, 31), (2, 2, 2, 9)]
HELD_OUT = [[1, 2], [2, 1]]


def held_out(data):
    return split_data_ml100k(data, 2, 2, "seq-aware")[1].to_numpy()[:, :2].tolist()


class TestTimes:
    @pytest.mark.parametrize(
        "times",
        [
            # A key of user and time in one float would lose digits above 2^53.
            [2**52 + 0.5, 2**52, 2**52 + 1, 2**52 - 1],
            [1e17, 5e16, 1e17 + 16, 4e16],
            [-0.75, -0.5, -0.25, -0.6],
            [-0.75, 0.5, 0.25, -0.6],
            [1e300, 1e-300, 1.1e300, -1e-300],
            numpy.array([2**64 - 2, 2**63, 2**64 - 1, 1], dtype="uint64"),
            numpy.array([2, 2, 3, 1], dtype="uint64"),
            numpy.array([2, 2, 3, 1], dtype="int8"),
            numpy.array([2, 2, 3, 1], dtype="float32"),
            pd.array([2, 2, 3, 1], dtype="Int64"),
            pd.array([2.5, 2, 3, 1], dtype="Float64"),
            pd.Series([2, 2, 3, 1], dtype="object"),
            pd.to_datetime([20, 20, 30, 10], unit="s"),
            pd.to_datetime([20, 20, 30, 10], unit="s", utc=True),
        ],
        ids=str,
    )
    def test_of_any_type_are_in_their_order(self, frame, times):
        data = frame(*ROWS).assign(timestamp=times)
        assert held_out(data) == HELD_OUT
        train, test = split_data_ml100k(data, 2, 2, "seq-aware")
        assert len(train) + len(test) == len(data)

    @pytest.mark.parametrize("seed", range(3))
    def test_floats_are_split_like_the_integers_they_equal(self, frame, seed):
        rng = numpy.random.default_rng(seed)
        users = rng.integers(1, 900, 2000)
        times = rng.integers(0, 2**53, 2000)
        data = frame(*zip(users, range(1, 2001), [3] * 2000, times))
        for scale in (1.0, 0.5):  # by 0.5, half of them get a fraction
            floats = data.assign(timestamp=times * scale)
            for whole, part in zip(
                split_data_ml100k(data, 900, 2000, "seq-aware"),
                split_data_ml100k(floats, 900, 2000, "seq-aware"),
            ):
                assert part["item_id"].tolist() == whole["item_id"].tolist()

    @pytest.mark.parametrize(
        ("times", "shown"),
        [
            ([1.0, 2.0, numpy.nan, 3.0], "nan"),
            ([1.0, 2.0, numpy.inf, 3.0], "inf"),
            (pd.array([1, 2, None, 3], dtype="Int64"), "<NA>"),
            (pd.to_datetime(["1997", "1998", None, "1999"]), "NaT"),
            ([1, 2, "1998-01-01", 3], "'1998-01-01'"),
            (["1", "2", "3", "4"], "'1'"),
            ([1, 2, None, 3], "nan"),
            ([True, False, True, True], "True"),
            ([1, 2, 2**64, 3], "18446744073709551616"),
        ],
        ids=str,
    )
    def test_that_are_none_name_row_and_column(self, frame, times, shown):
        data = frame(*ROWS).assign(timestamp=times)
        row = 0 if shown in ("'1'", "True") else 2
        match = f"row {row} of data: timestamp {shown} is not"
        with pytest.raises(ValueError, match=match):
            split_data_ml100k(data, 2, 2, "seq-aware")

    def test_that_are_missing_or_durations(self, frame):
        data = frame(*ROWS)
        with pytest.raises(
            ValueError, match="data has no column timestamp, only user_id, item_id, ra"
        ):
            split_data_ml100k(data.iloc[:, :3], 2, 2, "seq-aware")
        unnamed = data.iloc[:, :3].set_axis(list("abc"), axis=1)
        with pytest.raises(
            ValueError, match="data has 3 columns, but column 4 must be the timestamp"
        ):
            split_data_ml100k(unnamed, 2, 2, "seq-aware")
        durations = data.assign(timestamp=pd.to_timedelta(data["timestamp"]))
        with pytest.raises(ValueError, match="timestamps must be numbers, not of type"):
            split_data_ml100k(durations, 2, 2, "seq-aware")

    @pytest.mark.parametrize("user", [numpy.nan, 1.5, "1", None, numpy.inf])
    def test_of_users_that_are_none(self, frame, user):
        data = frame(*ROWS)
        data["user_id"] = [1, 2, user, 2]
        with pytest.raises(ValueError, match=r"row 2 of data: user id .* is not a"):
            split_data_ml100k(data, 2, 2, "seq-aware")

    @pytest.mark.parametrize("dtype", ["Int64", "float64", "uint64", "int8", "object"])
    def test_of_users_of_any_type(self, frame, dtype):
        data = frame(*ROWS).astype({"user_id": dtype})
        assert held_out(data) == HELD_OUT


@pytest.mark.parametrize("mode", ["random", "seq-aware"])
def test_a_frame_without_rows_cannot_be_split(frame, mode):
    with pytest.raises(ValueError, match="data has no rows: there is nothing to split"):
        split_data_ml100k(frame(*ROWS)[:0], 2, 2, mode)


class TestLoad:
    @pytest.mark.parametrize("feedback", ["implicit", "explicit"])
    @pytest.mark.parametrize(
        "convert",
        [
            pd.DataFrame.convert_dtypes,
            lambda data: data.astype("uint64"),
            lambda data: data.astype("float32"),
            lambda data: data.astype("object"),
            lambda data: data.astype("category"),
            lambda data: data.astype({"rating": "Float64"}),
        ],
    )
    def test_columns_of_any_type_are_alike(self, frame, feedback, convert):
        data = frame(*ROWS)
        right = load_data_ml100k(data, 2, 2, feedback)
        same = load_data_ml100k(convert(data), 2, 2, feedback)
        for a, b in zip(right[:3], same[:3]):
            assert a.dtype == b.dtype
            assert a.tolist() == b.tolist()
        a, b = right.inter, same.inter
        assert a == b if feedback == "implicit" else a.tolist() == b.tolist()

    @pytest.mark.parametrize("column", ["user_id", "item_id", "rating"])
    @pytest.mark.parametrize(
        "value", [None, numpy.nan, "1", "good", pd.NA, numpy.inf, 2**70]
    )
    def test_values_that_are_no_numbers(self, frame, column, value):
        data = frame(*ROWS).astype({column: "object"})
        data.loc[1, column] = value
        name = column.replace("_", " ")
        with pytest.raises(ValueError, match=rf"row 1 of data: {name} .* is not"):
            load_data_ml100k(data, 2, 2)

    def test_a_missing_value_in_a_nullable_column(self, frame):
        data = frame(*ROWS).convert_dtypes()
        data.loc[3, "item_id"] = pd.NA
        with pytest.raises(ValueError, match="row 3 of data: item id <NA> is not a nu"):
            load_data_ml100k(data, 2, 2, "implicit")

    def test_columns_that_are_missing(self, frame):
        data = frame(*ROWS).iloc[:, :2]
        assert load_data_ml100k(data, 2, 2, "implicit").inter == {0: [0, 1], 1: [0, 1]}
        with pytest.raises(
            ValueError, match="data has no column rating, only user_id, i"
        ):
            load_data_ml100k(data, 2, 2)

    @pytest.mark.parametrize("size", [2**31, -1, 2.0, "2", None, True])
    def test_numbers_of_ids(self, frame, size):
        data = frame(*ROWS)
        with pytest.raises(ValueError, match="num_users must be"):
            load_data_ml100k(data, size, 2, "implicit")
        with pytest.raises(ValueError, match="num_items must be"):
            load_data_ml100k(data, 2, size, "implicit")
        with pytest.raises(ValueError, match="num_items must be"):
            Interactions([0], [0], 2, size)

    @pytest.mark.parametrize("zero", [0, 0.0, -0.0, 1e-60])
    def test_a_rating_of_0_does_not_fit_into_the_matrix(self, frame, zero):
        data = frame((2, 1, 5, 1), (1, 2, zero, 2))
        with pytest.raises(ValueError, match="row 1 of data: user 1 rated item 2 with"):
            load_data_ml100k(data, 2, 2)
        data.attrs = {"user_ids": [10, 20], "item_ids": [7, 99]}
        with pytest.raises(ValueError, match="row 1 of data: user 10 rated item 99 wi"):
            load_data_ml100k(data, 2, 2)
        assert load_data_ml100k(data, 2, 2, "implicit").inter == {0: [1], 1: [0]}

    def test_a_rating_that_float32_cannot_hold(self, frame):
        with pytest.raises(ValueError, match=r"row 0 of data: rating 1e\+39 is too la"):
            load_data_ml100k(frame((1, 1, 1e39, 1)), 1, 1)


def test_frames_that_were_read_can_be_joined_and_written(tmp_path):
    rows = ["3\t10\t5\t1\n", "7\t99\t4\t2\n", "7\t10\t4\t1\n"]
    (tmp_path / "u.data").write_text("".join(rows))
    one, other = (read_data_ml100k(tmp_path).data for _ in range(2))
    both = pd.concat([one, other])
    assert both.attrs == {"user_ids": [3, 7], "item_ids": [10, 99]}
    train, test = split_data_ml100k(one, 2, 2, "seq-aware")
    assert len(pd.concat([train, test])) == 3
    assert train.attrs == one.attrs


def test_high_ids_take_no_memory(frame):
    """A list of all integers up to 20,000,000 would take 800 MB."""
    data = frame((1, 1, 3, 0), (1, 20_000_000, 4, 1))
    tracemalloc.start()
    try:
        loaded = load_data_ml100k(data, 1, 20_000_000, "implicit")
        Interactions.of(loaded.inter, 1, 20_000_000)
        PRDataset(loaded.users, loaded.items, loaded.inter, 20_000_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert loaded.inter == {0: [0, 19_999_999]}
    assert peak < 10_000_000


@pytest.mark.parametrize(
    "ids",
    [
        [1, 2, 3, 3, 2],
        [2, 3, 2],
        [5, 1, 4, 1, 5, 2],  # looked up in a table
        [7, 1],  # beyond a table of two entries for each row
        [2**62, 3, 2**63 - 1, 3],
    ],
    ids=str,
)
def test_ids_are_numbered_in_ascending_order(frame, ids):
    data = frame(*((user, 9 - row, 4, 0) for row, user in enumerate(ids)))
    copy = data.copy()
    numbered = frames.numbered_from_1(data)
    distinct = sorted({*ids})
    assert numbered["user_id"].tolist() == [distinct.index(user) + 1 for user in ids]
    assert numbered["item_id"].tolist() == [*range(len(ids), 0, -1)]
    assert numbered.attrs["user_ids"] == distinct
    assert numbered.attrs["item_ids"] == [*range(10 - len(ids), 10)]
    pd.testing.assert_frame_equal(data, copy)


@pytest.mark.parametrize("keep", ["first", "last"])
@pytest.mark.parametrize("highest", [3, 30, 2**31, 2**63 - 1])
@pytest.mark.parametrize("order", [[], ["user_id"], ["user_id", "item_id"]])
@pytest.mark.parametrize("times", [1, 2])
def test_repeated_pairs(keep, highest, order, times):
    rng = numpy.random.default_rng(0)
    some = rng.integers(1, highest, (4, 2), endpoint=True)
    some[:2] = (highest, 1), (highest, 2)
    pairs = numpy.concatenate([some] * times + [some[:, ::-1]])
    data = pd.DataFrame(pairs, columns=["user_id", "item_id"])
    data = data.sort_values(order) if order else data
    step = 1 if keep == "first" else -1
    rows = [*data.itertuples(index=False)][::step]
    again = [row in rows[:k] for k, row in enumerate(rows)]
    assert frames.repeated(data, keep).tolist() == again[::step]
