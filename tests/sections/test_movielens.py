"""The four functions give the same results as those of the installed d2l package."""

import random

import numpy
import pandas as pd
import pytest
from d2l import mxnet as d2l

from d2l_recsys.movielens import (
    load_data_ml100k,
    read_data_ml100k,
    split_and_load_ml100k,
    split_data_ml100k,
)


@pytest.fixture(scope="module")
def real(ml100k):
    return read_data_ml100k(ml100k)


def same_rows(ours, theirs):
    return numpy.array_equal(ours.to_numpy(), theirs.to_numpy())


def write_ratings(folder, *rows):
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    (folder / "u.data").write_text(text)
    return folder


class TestParityOnRealData:
    def test_read(self, ml100k, real, monkeypatch):
        monkeypatch.setattr(d2l, "download_extract", lambda _: str(ml100k))
        theirs, num_users, num_items = d2l.read_data_ml100k()
        pd.testing.assert_frame_equal(real.data, theirs)
        assert (real.num_users, real.num_items) == (num_users, num_items) == (943, 1682)

    def test_seq_aware_split_and_implicit_load(self, real):
        ours = split_data_ml100k(*real, "seq-aware")
        theirs = d2l.split_data_ml100k(*real, "seq-aware")
        for mine, books in zip(ours, theirs):
            assert same_rows(mine, books)
            a = load_data_ml100k(mine, *real[1:], "implicit")
            b = d2l.load_data_ml100k(books, *real[1:], "implicit")
            assert (a.users.tolist(), a.items.tolist()) == b[:2]
            assert a.scores.tolist() == b[2]
            assert a.inter == b[3]

    def test_explicit_load(self, real):
        train, _ = split_data_ml100k(*real)
        a = load_data_ml100k(train, *real[1:])
        b = d2l.load_data_ml100k(train, *real[1:])
        assert (a.users.tolist(), a.items.tolist(), a.scores.tolist()) == b[:3]
        assert type(a.inter) is type(b[3])
        assert a.inter.dtype == b[3].dtype
        assert numpy.array_equal(a.inter.asnumpy(), b[3].asnumpy())

    def test_the_split_holds_out_the_first_of_tied_rows(self, real):
        train, test = split_data_ml100k(*real, "seq-aware")
        assert (len(train), len(test)) == (99057, 943)
        last = test.set_index("user_id")["timestamp"]
        tied = train["timestamp"] == train["user_id"].map(last)
        assert tied.sum() == 1205  # ERRATA E02
        assert (train["timestamp"] <= train["user_id"].map(last)).all()

    def test_split_and_load(self, ml100k, real):
        num_users, num_items, train, test = split_and_load_ml100k(
            test_ratio=0.1, batch_size=512, data_dir=ml100k
        )
        assert (num_users, num_items) == (943, 1682)
        users, items, ratings = next(iter(train))
        assert users.shape == items.shape == ratings.shape == (512,)
        assert (users.dtype, items.dtype, ratings.dtype) == (
            numpy.int32,
            numpy.int32,
            numpy.float32,
        )
        _, expected = split_data_ml100k(*real, "seq-aware")
        columns = [numpy.concatenate([x.asnumpy() for x in c]) for c in zip(*test)]
        assert numpy.array_equal(
            numpy.stack(columns, 1), expected.to_numpy()[:, :3] - [1, 1, 0]
        )


class TestParityOnHandMadeFrames:
    def test_seq_aware_with_ties_and_users_in_any_order(self, frame):
        data = frame(
            (3, 1, 5, 20),
            (1, 1, 4, 30),
            (3, 2, 3, 20),
            (1, 2, 2, 10),
            (2, 3, 1, 5),
            (1, 3, 5, 30),
            (2, 1, 4, 4),
            (3, 3, 3, 10),
        )
        train, test = split_data_ml100k(data, 3, 3, "seq-aware")
        books = d2l.split_data_ml100k(data, 3, 3, "seq-aware")
        assert same_rows(train, books[0])
        assert same_rows(test, books[1])
        # By hand: users in the order 3, 1, 2, each with the first row of the last time.
        assert test.to_numpy().tolist() == [[3, 1, 5, 20], [1, 1, 4, 30], [2, 3, 1, 5]]
        assert train.to_numpy().tolist() == [
            [1, 2, 2, 10],
            [1, 3, 5, 30],
            [2, 1, 4, 4],
            [3, 3, 3, 10],
            [3, 2, 3, 20],
        ]
        assert list(train.columns) == list(test.columns) == list(data.columns)

    @pytest.mark.parametrize("seed", range(3))
    def test_seq_aware_on_random_frames(self, frame, seed):
        rng = numpy.random.default_rng(seed)
        cells = rng.permutation(12 * 30)[:200]
        data = frame(
            *zip(
                numpy.r_[:12, cells % 12] + 1,
                numpy.r_[[30] * 12, cells // 12] + 1,
                rng.integers(1, 6, 212),
                rng.integers(0, 9, 212),  # many ties
            )
        )
        ours = split_data_ml100k(data, 12, 31, "seq-aware")
        theirs = d2l.split_data_ml100k(data, 12, 31, "seq-aware")
        assert all(map(same_rows, ours, theirs))

    def test_users_with_gaps_and_one_rating_only(self, frame):
        data = frame((7, 1, 5, 2), (4, 2, 3, 1), (7, 2, 4, 1))
        train, test = split_data_ml100k(data, 2, 2, "seq-aware")
        assert test["user_id"].tolist() == [7, 4]
        assert train["user_id"].tolist() == [7]

    def test_implicit_lists_are_in_the_order_of_the_frame(self, frame):
        data = frame((2, 3, 5, 1), (1, 2, 3, 2), (2, 1, 4, 3))
        loaded = load_data_ml100k(data, 2, 3, "implicit")
        assert loaded.inter == {1: [2, 0], 0: [1]}
        assert loaded.scores.tolist() == [1, 1, 1]


class TestRandomSplit:
    def test_is_a_partition_of_about_the_ratio_in_the_order_of_the_data(self, frame):
        data = frame(*((1, i, 3, i) for i in range(1, 10001)))
        train, test = split_data_ml100k(data, 1, 10000, test_ratio=0.2)
        assert sorted([*train.index, *test.index]) == list(range(10000))
        assert train.index.is_monotonic_increasing
        assert test.index.is_monotonic_increasing
        # Binomial(10000, 0.2): standard deviation 40, so 5 of them.
        assert abs(len(test) - 2000) < 200

    def test_of_the_newest_edition(self, real, ml100k):
        """The numbers of rows are those that the edition's own code gives."""
        train, test = split_data_ml100k(*real, seed="book")
        assert (len(train), len(test)) == (89_979, 10_021)
        ours = split_data_ml100k(*real)[1].index
        assert len(ours.intersection(test.index)) == 991
        draws = random.Random(0)
        in_test = [draws.random() >= 0.9 for _ in range(1000)]
        assert test.index[test.index < 1000].tolist() == [
            row for row in range(1000) if in_test[row]
        ]
        *_, train_iter, test_iter = split_and_load_ml100k(
            "random", seed="book", data_dir=ml100k
        )
        assert len(train_iter.dataset) == 89_979
        assert len(test_iter.dataset) == 10_021

    def test_seeds_that_are_none(self, frame):
        with pytest.raises(
            ValueError, match="seed must be an integer or 'book', not '"
        ):
            split_data_ml100k(frame((1, 1, 5, 1)), 1, 1, seed="books")

    def test_seed(self, frame):
        data = frame(*((1, i, 3, i) for i in range(1, 1001)))
        first, second = (split_data_ml100k(data, 1, 1000)[1].index for _ in range(2))
        other = split_data_ml100k(data, 1, 1000, seed=1)[1].index
        assert first.equals(second)
        assert not first.equals(other)

    def test_does_not_depend_on_what_was_drawn_before(self, frame):
        data = frame(*((1, i, 3, i) for i in range(1, 1001)))
        first = split_data_ml100k(data, 1, 1000)[1].index
        numpy.random.default_rng().random(7)
        state = numpy.random.get_state()[1].copy()
        assert split_data_ml100k(data, 1, 1000)[1].index.equals(first)
        assert numpy.array_equal(state, numpy.random.get_state()[1])

    def test_draws_the_rows_that_the_generator_is_known_to_give(self, frame):
        # PCG64's stream is part of NumPy's compatibility promise: these numbers are
        # what default_rng(0).random() gives on every platform.
        data = frame(*((1, i, 3, i) for i in range(1, 101)))
        _, test = split_data_ml100k(data, 1, 100)
        draws = numpy.random.Generator(numpy.random.PCG64(0)).random(100)
        assert draws[0] == pytest.approx(0.6369616873214543, abs=0)
        assert test.index.tolist() == numpy.flatnonzero(draws >= 0.9).tolist()


class TestErrors:
    def test_ids_with_gaps_are_renumbered_and_can_be_traced(self, tmp_path):
        folder = write_ratings(tmp_path, (7, 10, 5, 1), (3, 99, 4, 2), (7, 99, 2, 3))
        data, num_users, num_items = read_data_ml100k(folder)
        assert (num_users, num_items) == (2, 2)
        assert data.to_numpy().tolist() == [[2, 1, 5, 1], [1, 2, 4, 2], [2, 2, 2, 3]]
        assert data.attrs["user_ids"] == [3, 7]
        assert data.attrs["item_ids"] == [10, 99]

    def test_duplicates_option_reaches_the_reader(self, tmp_path):
        folder = write_ratings(tmp_path, (1, 1, 5, 1), (1, 1, 4, 2))
        with pytest.raises(ValueError, match="line 2: user 1 already rated item 1 on"):
            read_data_ml100k(folder)
        assert read_data_ml100k(folder, "last").data["rating"].tolist() == [4]

    @pytest.mark.parametrize(("keep", "score"), [("first", 5), ("last", 4)])
    def test_duplicates_option_of_the_loaders(self, tmp_path, keep, score):
        folder = write_ratings(tmp_path, (1, 1, 5, 1), (1, 2, 1, 0), (1, 1, 4, 2))
        with pytest.raises(
            ValueError,
            match=r"duplicates='first' or 'last' \(in the scripts: --dup",
        ):
            split_and_load_ml100k(data_dir=folder)
        *_, test = split_and_load_ml100k(data_dir=folder, duplicates=keep)
        assert next(iter(test))[2].tolist() == [score]

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ((3, 1, 5, 1), "row 1 of data: user id 3 is not in 1..2"),
            ((1, 4, 5, 1), "row 1 of data: item id 4 is not in 1..3"),
            ((0, 1, 5, 1), "row 1 of data: user id 0 is not in 1..2"),
        ],
    )
    def test_ids_outside_the_matrix(self, frame, row, message):
        with pytest.raises(ValueError, match=message):
            load_data_ml100k(frame((1, 1, 5, 1), row), 2, 3)

    def test_unknown_modes(self, frame):
        data = frame((1, 1, 5, 1))
        with pytest.raises(ValueError, match="not 'sequential'"):
            split_data_ml100k(data, 1, 1, "sequential")
        with pytest.raises(ValueError, match="not 'both'"):
            load_data_ml100k(data, 1, 1, "both")

    @pytest.mark.parametrize("ratio", [0, 1, -0.1, float("nan")])
    def test_a_ratio_that_leaves_nothing(self, frame, ratio):
        with pytest.raises(ValueError, match="between 0 and 1"):
            split_data_ml100k(frame((1, 1, 5, 1)), 1, 1, test_ratio=ratio)

    def test_a_ratio_without_meaning(self, frame):
        with pytest.raises(ValueError, match="no meaning in 'seq-aware'"):
            split_data_ml100k(frame((1, 1, 5, 1)), 1, 1, "seq-aware", 0.5)


@pytest.mark.parametrize("bad", [numpy.nan, 2.5, 0, 4])
@pytest.mark.parametrize("feedback", ["implicit", "explicit"])
def test_ids_that_are_none(bad, feedback):
    data = pd.DataFrame({"user_id": [1, bad], "item_id": [1, 2], "rating": [3, 4]})
    with pytest.raises(ValueError, match=rf"row 1 of data: user id {bad}.* not"):
        load_data_ml100k(data, 3, 3, feedback)
