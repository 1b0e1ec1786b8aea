"""CTRDataset as a data set of Gluon, and its mapper in a JSON file."""

import json

import pytest
from test_ctr import TEST, TRAIN

from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data.ctr_files import read_table
from d2l_recsys.data.ctr_layouts import tabbed
from d2l_recsys.runtime.backend import gluon


@pytest.fixture
def file(tmp_path):
    def write(content, name="train.csv"):
        (tmp_path / name).write_text(content)
        return tmp_path / name

    return write


@pytest.fixture
def train(file):
    return CTRDataset(file(TRAIN), num_feat=2)


class TestAsAGluonDataset:
    def test_it_is_one(self, train):
        assert isinstance(train, gluon.data.Dataset)
        assert [x.tolist() for x in train.take(10)[8]] == [[2, 4], [1]]
        assert len(train.take(4)) == 4
        assert len(train.shard(2, 0)) == 5
        assert train.sample(gluon.data.SequentialSampler(3))[2][0].tolist() == [1, 3]
        clicked = train.filter(lambda row: row[1][0] == 1)
        assert len(clicked) == 5
        first = train.transform_first(lambda features: features[0], lazy=False)
        assert [row[0] for row in first] == [1, 1, 1, 1, 0, 0, 0, 0, 2]

    def test_of_a_table(self, file):
        data = CTRDataset.from_table(read_table(file(TRAIN), tabbed(2)))
        assert len(data.take(3)) == 3


class TestAMapperThatWentThroughJson:
    def test_reads_like_the_original(self, train, file):
        mapper, defaults = (
            json.loads(json.dumps(x)) for x in (train.feat_mapper, train.defaults)
        )
        assert [*mapper] == ["1", "2"]
        path = file(TEST, "test.csv")
        right = CTRDataset(path, train.feat_mapper, train.defaults, num_feat=2)
        for test in (
            CTRDataset(path, mapper, defaults, num_feat=2),
            CTRDataset.from_table(read_table(path, tabbed(2)), mapper, defaults),
        ):
            assert test.features.tolist() == right.features.tolist()
            assert test.field_dims.tolist() == right.field_dims.tolist()
            assert test.feat_mapper == right.feat_mapper

    def test_has_its_bins(self, file):
        lines = "".join(f"1\t{value}\n" for value in range(100))
        train = CTRDataset(file(lines), num_feat=1, numeric=[1], num_bins=4)
        mapper, defaults = (
            json.loads(json.dumps(x, default=vars))
            for x in (train.feat_mapper, train.defaults)
        )
        path = file("1\t24\n0\t24.5\n1\t\n", "test.csv")
        test = CTRDataset(path, mapper, defaults, num_feat=1)
        assert test.features.ravel().tolist() == [0, 1, 4]
        assert test.feat_mapper == train.feat_mapper
        with pytest.raises(ValueError, match="field 1 'x' is not a number"):
            CTRDataset(file("1\tx\n"), mapper, defaults, num_feat=1)

    def test_keeps_a_value_called_edges(self, file):
        data = CTRDataset(file("1\tedges\n" * 4), num_feat=1)
        mapper = json.loads(json.dumps(data.feat_mapper))
        test = CTRDataset(file("1\tedges\n0\tx\n"), mapper, {"1": 1}, num_feat=1)
        assert test.features.ravel().tolist() == [0, 1]

    @pytest.mark.parametrize("key", ["a", "1.0", "", None, 1.5])
    def test_of_other_fields(self, file, key):
        with pytest.raises(ValueError, match="feat_mapper has 1 fields and defaults"):
            CTRDataset(file("1\ta\n"), {key: {"a": 0}}, {key: 1}, num_feat=1)
