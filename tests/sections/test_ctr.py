import os
import subprocess
import sys

import numpy
import pytest

from d2l_recsys import ctr
from d2l_recsys.ctr import Bins, CTRDataset
from d2l_recsys.data import catalog
from d2l_recsys.data.ctr_files import read_table
from d2l_recsys.data.ctr_layouts import tabbed
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.runtime.backend import gluon

# Field 1: b 4 times, a 4 times, c once. Field 2: y 5 times, z 4 times.
TRAIN = "".join(
    f"{label}\t{first}\t{second}\n"
    for label, first, second in zip("101010101", "bbbbaaaac", "yyyyyzzzz")
)
TEST = "1\ta\tz\n0\tc\tq\n1\td\ty\n"
RECORD_0 = (
    "143 144 227 231 957 1250 1471 1566 1624 1736 2008 2061 2225 2304 2305 2360 2745 "
    "2746 2747 2748 2892 2988 3165 3182 3194 3195 3279 3651 3687 3708 3722 3751 3786 "
    "3801"
)


@pytest.fixture
def file(tmp_path):
    def write(content, name="train.csv"):
        (tmp_path / name).write_text(content)
        return tmp_path / name

    return write


@pytest.fixture
def train(file):
    return CTRDataset(file(TRAIN), num_feat=2)


class TestVocabulary:
    def test_by_hand(self, train):
        assert train.feat_mapper == {1: {"a": 0, "b": 1}, 2: {"y": 0, "z": 1}}
        assert train.defaults == {1: 2, 2: 2}
        assert train.field_dims.tolist() == [3, 3]
        assert train.offsets.tolist() == [0, 3]
        assert train.features.tolist() == (
            [[1, 3]] * 4 + [[0, 3]] + [[0, 4]] * 3 + [[2, 4]]
        )

    @pytest.mark.parametrize("rows", [1, 2, 4, 9])
    def test_blocks_of_any_size_give_the_same(self, train, file, monkeypatch, rows):
        monkeypatch.setattr(ctr, "_ROWS", rows)
        parts = CTRDataset(file(TRAIN), num_feat=2)
        assert parts.features.tolist() == train.features.tolist()

    def test_rare_and_unseen_values_share_the_last_index(self, train, file):
        test = CTRDataset(file(TEST), train.feat_mapper, train.defaults, num_feat=2)
        assert test.features.tolist() == [[0, 4], [2, 5], [2, 3]]
        assert test.field_dims.tolist() == train.field_dims.tolist()

    @pytest.mark.parametrize(
        ("threshold", "sizes"), [(1, [4, 3]), (5, [1, 2]), (9, [1, 1])]
    )
    def test_threshold(self, file, threshold, sizes):
        data = CTRDataset(file(TRAIN), min_threshold=threshold, num_feat=2)
        assert data.field_dims.tolist() == sizes

    def test_is_sorted_as_text(self, file):
        data = CTRDataset(
            file("1\t10\n0\t9\n0\té\n1\tA\n"), min_threshold=1, num_feat=1
        )
        assert list(data.feat_mapper[1]) == ["10", "9", "A", "é"]

    def test_does_not_depend_on_the_order_of_files(self, file):
        paths = [file("1\tb\n", "one"), file("0\ta\n", "two")]
        for order in (paths, paths[::-1]):
            data = CTRDataset(order, min_threshold=1, num_feat=1)
            assert data.feat_mapper == {1: {"a": 0, "b": 1}}

    def test_does_not_depend_on_the_hash_seed(self, tmp_path):
        from d2l_recsys.data.synthetic_ctr import write_ctr

        write_ctr(tmp_path, 300, 10)
        code = (
            "from d2l_recsys.ctr import CTRDataset;"
            f"d = CTRDataset({str(tmp_path / 'train.csv')!r});"
            "print(d.features.tolist(), d.feat_mapper)"
        )
        printed = [
            subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for seed in ("0", "1")
        ]
        assert printed[0] == printed[1] != ""

    def test_does_not_depend_on_the_order_of_rows(self, file):
        backwards = "".join(reversed(TRAIN.splitlines(keepends=True)))
        one, other = (CTRDataset(file(t), num_feat=2) for t in (TRAIN, backwards))
        assert one.feat_mapper == other.feat_mapper
        assert one.features.tolist() == other.features[::-1].tolist()

    def test_of_a_part_of_a_table_is_that_of_its_rows(self, file):
        table = read_table(file(TRAIN), tabbed(2))
        part = CTRDataset.from_table(table.rows(slice(4, 9)), min_threshold=1)
        assert part.feat_mapper == {1: {"a": 0, "c": 1}, 2: {"y": 0, "z": 1}}
        with pytest.raises(ValueError, match="belong together"):
            CTRDataset.from_table(table, part.feat_mapper)


class TestRows:
    def test_one_and_many(self, train):
        features, label = train[8]
        assert (features.tolist(), label.tolist()) == ([2, 4], [1])
        assert (features.shape, label.shape) == ((2,), (1,))
        assert (features.dtype, label.dtype) == ("int32", "float32")
        features, labels = train[numpy.array([8, 0])]
        assert (features.tolist(), labels.tolist()) == ([[2, 4], [1, 3]], [[1], [1]])
        assert len(train) == 9
        with pytest.raises(IndexError):
            train[9]

    def test_loaders_yield_the_same(self, train):
        ours = BatchLoader(train, 4)
        theirs = gluon.data.DataLoader(train, 4)
        for mine, other in zip(ours, theirs):
            for a, b in zip(mine, other):
                assert a.dtype == b.dtype
                assert a.asnumpy().tolist() == b.asnumpy().tolist()
        assert [len(labels) for _, labels in ours] == [4, 4, 1]


class TestErrors:
    @pytest.mark.parametrize(
        ("known", "default"),
        [
            ({"a": 3}, 2),
            ({"a": -1}, 2),
            ({"a": 0.5}, 2),
            ({"a": "0"}, 2),
            ({"a": 0}, "1"),
            (Bins((1.0, 2.0)), 1),
            ({"a": 0}, -1),
        ],
    )
    def test_an_index_beyond_the_field(self, file, known, default):
        """It would be an index of another field."""
        with pytest.raises(
            ValueError, match="field 1: the indices of feat_mapper must"
        ):
            CTRDataset(file("1\t1\n"), {1: known}, {1: default}, num_feat=1)

    def test_no_file(self):
        with pytest.raises(ValueError, match="there is no file to read: pass a path"):
            CTRDataset([])

    def test_another_number_of_fields(self, file):
        with pytest.raises(ValueError, match="line 1: 3 fields instead of 35"):
            CTRDataset(file(TRAIN))

    def test_skipped_lines_are_counted(self, file):
        with pytest.warns(UserWarning, match=r"train\.csv: 2 lines skipped"):
            data = CTRDataset(file(TRAIN + "1\n7\ta\tb\n"), num_feat=2, on_error="skip")
        assert (len(data), data.skipped) == (9, 2)

    @pytest.mark.parametrize("missing", ["feat_mapper", "defaults"])
    def test_mapper_and_defaults_belong_together(self, train, file, missing):
        known = {"feat_mapper": train.feat_mapper, "defaults": train.defaults}
        del known[missing]
        with pytest.raises(
            ValueError, match="feat_mapper and defaults belong together"
        ):
            CTRDataset(file(TEST), num_feat=2, **known)

    def test_a_mapper_of_other_fields(self, train, file):
        with pytest.raises(
            ValueError, match="has 2 fields and defaults has 2, but the file has 1"
        ):
            CTRDataset(file("1\ta\n"), train.feat_mapper, train.defaults, num_feat=1)

    def test_an_unknown_layout(self, file):
        with pytest.raises(
            ValueError, match=r"layout must be criteo, avazu .* not 'movielens'"
        ):
            CTRDataset(file(TRAIN), layout="movielens")

    def test_no_fields(self, file):
        with pytest.raises(ValueError, match="num_feat must be at least 1, not 0"):
            CTRDataset(file("1\n"), num_feat=0)

    def test_no_bins(self, file):
        with pytest.raises(ValueError, match="num_bins must be at least 1, not 0"):
            CTRDataset(file("1\t1\n"), num_feat=1, numeric=[1], num_bins=0)

    @pytest.mark.parametrize("number", [0, 3, "1"])
    def test_numbers_of_fields_count_from_1(self, file, number):
        with pytest.raises(ValueError, match=f"no field {number!r}; .* are 1 to 2"):
            CTRDataset(file("1\t1\t2\n"), num_feat=2, numeric=[number])


class TestNumbers:
    def write(self, file, values, name="train.csv"):
        return file("".join(f"1\t{value}\n" for value in values), name)

    def test_bins_hold_about_as_many_rows_each(self, file):
        values = numpy.random.default_rng(0).permutation(1000) / 8
        data = CTRDataset(
            self.write(file, values), num_feat=1, numeric=[1], num_bins=10
        )
        counts = numpy.bincount(data.features[:, 0], minlength=11)
        assert counts.tolist() == [100] * 10 + [0]
        assert data.field_dims.tolist() == [11]  # one index for missing numbers
        in_order = data.features[numpy.argsort(values), 0]
        assert (numpy.diff(in_order) >= 0).all()

    def test_by_hand(self, file):
        values = [1, 1, 1, 1, 2, 2, 10, ""]
        data = CTRDataset(self.write(file, values), num_feat=1, numeric=[1], num_bins=4)
        assert data.feat_mapper[1] == Bins((1.0, 2.0))
        assert data.features.ravel().tolist() == [0, 0, 0, 0, 1, 1, 2, 3]
        assert data.defaults == {1: 3}

    def test_no_bin_is_empty(self, file):
        values = [1, 2, 2, 2]
        data = CTRDataset(self.write(file, values), num_feat=1, numeric=[1], num_bins=4)
        assert data.feat_mapper[1] == Bins((1.0,))
        assert data.features.ravel().tolist() == [0, 1, 1, 1]

    def test_see_no_test_data(self, file):
        train = CTRDataset(
            self.write(file, range(100)), num_feat=1, numeric=[1], num_bins=4
        )
        # The bins are those of the training file; missing and extreme values have one.
        test = CTRDataset(
            self.write(file, [-7, 24, 24.5, 1000, 2000, ""], "test.csv"),
            train.feat_mapper,
            train.defaults,
            num_feat=1,
        )
        assert train.feat_mapper[1].edges == (24, 49, 74)
        assert test.features.ravel().tolist() == [0, 0, 1, 3, 3, 4]
        assert test.feat_mapper is train.feat_mapper

    def test_only_missing_ones(self, file):
        data = CTRDataset(self.write(file, ["", ""]), num_feat=1, numeric=[1])
        assert data.features.ravel().tolist() == [1, 1]
        assert data.field_dims.tolist() == [2]

    def test_of_a_test_file_are_checked(self, file):
        train = CTRDataset(self.write(file, [1, 2]), num_feat=1, numeric=[1])
        path = self.write(file, ["1", "many"], "test.csv")
        with pytest.raises(ValueError, match="line 2: field 1 'many' is not a number"):
            CTRDataset(path, train.feat_mapper, train.defaults, num_feat=1)


@pytest.mark.parametrize(("name", "fields"), [("criteo", 39), ("avazu", 23)])
def test_real_samples(name, fields):
    folder = catalog.find(name)
    if folder is None:
        pytest.skip(f"{name} is not in the folder that D2L_RECSYS_DATA names")
    train = CTRDataset(folder / "train.csv", layout=name)
    test = CTRDataset(
        folder / "test.csv", train.feat_mapper, train.defaults, layout=name
    )
    for data in (train, test):
        assert data.features.shape == (len(data), fields)
        within = data.features - data.offsets
        assert (within >= 0).all()
        assert (within < data.field_dims).all()
    numeric = sum(isinstance(known, Bins) for known in train.feat_mapper.values())
    assert numeric == (13 if name == "criteo" else 0)
    # The last index of a field stands for rare values; some training rows have it.
    assert (train.features == train.offsets + train.field_dims - 1).any(
        axis=0
    ).sum() > 9


def test_record_0_of_the_book():
    folder = catalog.find("ctr")
    if folder is None:
        pytest.skip("ctr/train.csv is not in the folder that D2L_RECSYS_DATA names")
    train = CTRDataset(folder / "train.csv")
    features, label = train[0]
    assert " ".join(map(str, features)) == RECORD_0
    assert label.tolist() == [1]
    assert len(train) == 15000
