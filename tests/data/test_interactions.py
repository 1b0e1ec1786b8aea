import numpy
import pandas as pd
import pytest

from d2l_recsys.data.ids import single_items
from d2l_recsys.data.interactions import Interactions
from d2l_recsys.runtime.backend import np


def test_items_of_users_in_the_order_given():
    inter = Interactions([2, 0, 2, 0, 2], [5, 3, 1, 4, 0], 4, 6)
    lists = [inter.of_user(u).tolist() for u in range(4)]
    assert lists == [[3, 4], [], [5, 1, 0], []]
    assert inter.counts.tolist() == [2, 0, 3, 0]
    assert inter.users.tolist() == [0, 0, 2, 2, 2]
    assert len(inter) == 5


def test_many_items_of_users_in_the_order_given():
    """There are 60 rows, because unstable sorts keep the order of 16 or fewer."""
    users, items = numpy.arange(60) % 3, numpy.random.default_rng(0).permutation(60)
    inter = Interactions(users, items, 3, 60)
    for user in range(3):
        assert inter.of_user(user).tolist() == items[user::3].tolist()


def test_keys_are_sorted_and_single():
    inter = Interactions([1, 0, 1, 1], [2, 1, 0, 2], 2, 3)
    assert inter.keys().tolist() == [1, 3, 5]


def test_of_the_books_dictionary():
    inter = Interactions.of({3: [2, 0], 1: [1]}, 4, 3)
    assert [inter.of_user(u).tolist() for u in range(4)] == [[], [1], [], [2, 0]]
    assert Interactions.of(inter, 4, 3) is inter


def test_memory_is_linear_in_the_data():
    inter = Interactions([0, 999_999], [0, 999_999], 1_000_000, 1_000_000)
    assert inter.items.nbytes + inter.offsets.nbytes < 9_000_000


@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        ([0, 2], [0, 0], r"row 1: user 2 is not in 0\.\.1"),
        ([0, -1], [0, 0], r"row 1: user -1 is not in 0\.\.1"),
        ([0, 1], [3, 0], r"row 0: item 3 is not in 0\.\.2"),
        ([0], [0, 1], "1 users do not go with 2 items"),
        ([0, numpy.nan], [0, 0], "row 1: user nan"),
        ([0, 1], [0, 1.5], r"row 1: item 1\.5"),
        ([0, 1], ["a", "b"], "row 0: item 'a' is not a number"),
    ],
)
def test_errors(users, items, message):
    with pytest.raises(ValueError, match=message):
        Interactions(users, items, 2, 3)


def test_single_items():
    assert single_items({1: [2], 0: numpy.array([0])}, 2, 3) == {1: 2, 0: 0}
    with pytest.raises(
        ValueError, match=r"user 1 \(counted from 0\) has 2 held-out items"
    ):
        single_items({1: [0, 2]}, 2, 3)
    with pytest.raises(ValueError, match=r"user 1 .* has 0 held-out items"):
        single_items({1: []}, 2, 3)
    with pytest.raises(ValueError, match=r"item 3 of user 1 is not in 0\.\.2"):
        single_items({1: [3]}, 2, 3)


def test_interactions_of_other_sizes():
    inter = Interactions([0, 1], [1, 4], 2, 5)
    with pytest.raises(
        ValueError,
        match="have 2 users and 5 items, but num_users is 2 and num_items is 7",
    ):
        Interactions.of(inter, 2, 7)


@pytest.mark.parametrize("candidates", [numpy.ones((3, 2)), [[1]], None])
def test_candidates_are_a_dictionary(candidates):
    with pytest.raises(
        ValueError, match=r"must be a dictionary .* feedback='implicit'"
    ):
        Interactions.of(candidates, 3, 3)
    with pytest.raises(ValueError, match="test_input must be a dictionary"):
        single_items(candidates, 3, 3)


def test_whole_floats_are_ids():
    for items in ([2.0, 0.0], np.array([2, 0]), pd.Series([2.0, 0.0], index=[1, 0])):
        assert Interactions([0.0, 1.0], items, 2, 3).items.tolist() == [2, 0]
    assert len(Interactions([], [], 2, 3)) == 0
