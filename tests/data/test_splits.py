"""The splits other than the random one, against plain loops and their definitions."""

import numpy
import pandas as pd
import pytest

from d2l_recsys.movielens import split_data_ml100k


def same_rows(ours, theirs):
    return numpy.array_equal(ours.to_numpy(), theirs.to_numpy())


@pytest.mark.parametrize("span", [1, 5, 2**40, 2**62])
def test_the_last_rating_is_found_whatever_the_range_of_times(frame, span):
    rng = numpy.random.default_rng(0)
    users = rng.integers(1, 2**20, 50)[rng.integers(0, 50, 400)]
    times = rng.integers(0, span, 400) - span // 2
    items = numpy.arange(1, 401)
    data = frame(*zip(users, items, [3] * 400, times))
    train, test = split_data_ml100k(data, 2**20, 400, "seq-aware")
    order = numpy.lexsort((times, users))
    held_out = {}  # {user: first of the rows with the last time}
    for row in range(400):
        user, time = users[row], times[row]
        if user not in held_out or time > times[held_out[user]]:
            held_out[user] = row
    assert test["item_id"].tolist() == [items[row] for row in held_out.values()]
    rest = [row for row in order if row not in held_out.values()]
    assert train["item_id"].tolist() == items[rest].tolist()


def test_narrow_ids_are_split_like_wide_ones():
    """The product of user id and time span overflows int32."""
    times = [472979016, 1028885131, 665177902, 40302690, 917867908]
    times += [875586535, 210786744, 107144097, 1035814706]
    users = [1, 2, 3, 4, 4, 2, 4, 3, 1]
    data = pd.DataFrame(
        {"user_id": users, "item_id": range(1, 10), "rating": 5, "timestamp": times}
    )
    for part, narrow in zip(
        split_data_ml100k(data, 4, 9, "seq-aware"),
        split_data_ml100k(data.astype("int32"), 4, 9, "seq-aware"),
    ):
        assert same_rows(part, narrow)


class TestSplitsOfAReadersQuestion:
    """The modes 'time' and 'item-cold', against their definitions."""

    @pytest.fixture
    def data(self, frame):
        rng = numpy.random.default_rng(0)
        pairs = rng.permutation(600)[:300]
        times = rng.integers(0, 40, 300)
        return frame(*zip(pairs // 30 + 1, pairs % 30 + 1, [3] * 300, times))

    def split(self, data, mode, **more):
        train, test = split_data_ml100k(data, 20, 30, mode, **more)
        together = pd.concat([train, test]).sort_values(["user_id", "item_id"])
        assert same_rows(together, data.sort_values(["user_id", "item_id"]))
        for part in (train, test):
            assert same_rows(part, part.sort_values(["user_id", "timestamp"]))
            assert part.index.tolist() == [*range(len(part))]
        return train, test

    @pytest.mark.parametrize("ratio", [0.1, 0.5])
    def test_time(self, data, ratio):
        train, test = self.split(data, "time", test_ratio=ratio)
        assert train["timestamp"].max() < test["timestamp"].min()
        # As few rows as possible, without dividing those of one time.
        earliest = (test["timestamp"] == test["timestamp"].min()).sum()
        assert len(test) - earliest < round(ratio * 300) <= len(test)

    def test_item_cold(self, data):
        train, test = self.split(data, "item-cold", test_ratio=0.2)
        assert not {*train["item_id"]} & {*test["item_id"]}
        assert test["item_id"].nunique() == 6
        again, other = (
            {*self.split(data, "item-cold", test_ratio=0.2, seed=s)[1]["item_id"]}
            for s in (0, 1)
        )
        assert again == {*test["item_id"]} != other

    def test_nothing_left_for_training(self, frame):
        data = frame((1, 1, 5, 7), (2, 1, 5, 7))
        with pytest.raises(ValueError, match="so none is left for training"):
            split_data_ml100k(data, 2, 1, "time")
        with pytest.raises(ValueError, match=r"none is left .* --split random"):
            split_data_ml100k(data, 2, 1, "seq-aware")
        with pytest.raises(ValueError, match=r"none is left .*: use more data"):
            split_data_ml100k(data, 2, 1, test_ratio=0.99)  # draws 0.64 and 0.27
        with pytest.raises(ValueError, match="a single item"):
            split_data_ml100k(data, 2, 1, "item-cold")
