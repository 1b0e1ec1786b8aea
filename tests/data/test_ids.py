"""Ids in dictionaries and arrays: the right result, or an error that names the id."""

import numpy
import pandas as pd
import pytest

from d2l_recsys.data.ids import single_items
from d2l_recsys.data.interactions import Interactions
from d2l_recsys.neumf import PRDataset
from d2l_recsys.runtime.backend import np
from d2l_recsys.seqrec import SeqDataset


class TestDictionaries:
    """Every function takes the same dictionaries, or refuses them alike."""

    TAKE = (
        lambda d: Interactions.of(d, 3, 3),
        lambda d: PRDataset([0], [1], d, 3),
        lambda d: PRDataset([0], [1], {0: [1]}, 3, d),
        lambda d: SeqDataset([0, 1, 2], [0, 1, 1], 1, 3, 3, d),
        lambda d: single_items(d, 3, 3),
    )

    @pytest.mark.parametrize("take", TAKE)
    @pytest.mark.parametrize(
        ("lists", "culprit"),
        [
            ({0: [0.9]}, r"item 0\.9 of user 0 is not an integer"),
            ({0: [1.0]}, r"item 1\.0 of user 0 is not an integer"),
            ({0: ["1"]}, "item '1' of user 0 is not an integer"),
            ({0: [None]}, "item None of user 0 is not an integer"),
            ({0: [True]}, "item True of user 0 is not an integer"),
            ({0: [[1]]}, r"item \[1\] of user 0 is not an integer"),
            ({0: numpy.array([0.9])}, r"item .*0\.9.* of user 0 is not an integer"),
            ({0: numpy.array([[1]])}, r"item .* of user 0 is not an integer"),
            ({0: numpy.array(1)}, "items of user 0 must be a list, not .* ndarray"),
            ({0: [2**63]}, "item 9223372036854775808 of user 0 is not an integer in"),
            ({0: "1"}, "items of user 0 must be a list, not of type str"),
            ({0: 1}, "items of user 0 must be a list, not of type int"),
            ({0: None}, "items of user 0 must be a list, not of type NoneType"),
            ({0: iter([1])}, "items of user 0 must be a list, not of type list_it"),
            ({0.5: [1]}, r"user 0\.5 is not an integer"),
            ({"0": [1]}, "user '0' is not an integer"),
            ({None: [1]}, "user None is not an integer"),
            ({2**64: [1]}, "user 18446744073709551616 is not an integer in"),
        ],
    )
    def test_of_anything_but_integers(self, take, lists, culprit):
        with pytest.raises(ValueError, match=culprit):
            take(lists)

    @pytest.mark.parametrize(
        "items",
        [
            [2],
            (2,),
            {2},
            range(2, 3),
            numpy.array([2], dtype="uint8"),
            [numpy.int64(2)],
            np.array([2], dtype="int32"),
            pd.Series([2], index=[7]),
        ],
        ids=lambda items: type(items).__name__,
    )
    def test_of_integers_in_any_container(self, items):
        assert single_items({numpy.int64(1): items}, 3, 3) == {1: 2}
        assert Interactions.of({1: items}, 3, 3).of_user(1).tolist() == [2]

    def test_of_users_beyond_int32(self):
        with pytest.raises(ValueError, match=r"user 2147483647 is too large"):
            PRDataset([0], [1], {0: [1], 2**31 - 1: [1]}, 3)


class TestArraysOfIds:
    @pytest.mark.parametrize(
        ("users", "message"),
        [
            ([0, "1"], "row 0: user '0' is not a number"),
            ([0, None], "row 1: user None is not a number"),
            ([False, True], "row 0: user False is not a number"),
            ([[0], [1]], r"user: the shape must be \(n,\), not \(2, 1\)"),
            (0, r"user: the shape must be \(n,\), not \(\)"),
            (None, r"user: the shape must be \(n,\), not \(\)"),
            ([0, 2**63], r"row 1: user 9.223372036854776e\+18 is not in 0\.\.1"),
            ([0, 2**64], "row 1: user 18446744073709551616 is not an integer in the"),
            ([0, 1e300], r"row 1: user 1e\+300 is not in 0\.\.1"),
            (pd.Series([0, None], dtype="Int64"), "row 1: user <NA> is not a number"),
            (pd.to_datetime([0, 1]), "users must be numbers, not of type datetime64"),
        ],
        ids=str,
    )
    def test_that_are_none(self, users, message):
        with pytest.raises(ValueError, match=message):
            Interactions(users, [0, 0], 2, 2)
        with pytest.raises(ValueError, match=message):
            PRDataset(users, [0, 0], {0: [0], 1: [0]}, 2)
        with pytest.raises(ValueError, match=message):
            SeqDataset(users, [0, 0], 1, 2, 2, {0: [0], 1: [0]})

    @pytest.mark.parametrize("dtype", ["uint64", "int8", "float32", "object", "Int64"])
    def test_of_any_type(self, dtype):
        users = pd.Series([1, 0]).astype(dtype)
        assert Interactions(users, [2, 1], 2, 3).items.tolist() == [1, 2]
