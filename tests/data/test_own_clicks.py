"""A reader's own click data: files with a header, frames, and saved vocabularies."""

import csv
import io
import json
import random

import numpy
import pandas as pd
import pytest

from d2l_recsys.ctr import CTRDataset


@pytest.fixture
def file(tmp_path):
    def write(content, name="own.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def same(a, b):
    return (
        a.feat_mapper == b.feat_mapper
        and a.defaults == b.defaults
        and a.fields == b.fields
        and a.features.tolist() == b.features.tolist()
        and a.labels.tolist() == b.labels.tolist()
    )


@pytest.mark.parametrize("seed", range(8))
def test_files_of_any_kind_are_encoded_like_the_books_format(file, seed):
    rng = random.Random(seed)
    quoting = rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    separator, place = rng.choice(",\t"), rng.randrange(3)
    values = ["a", "b c", "", "ä", "7"] + (['d"e', "f,g"] if quoting else [])
    rows = [[rng.choice(values) for _ in range(2)] for _ in range(60)]
    labels = [rng.choice("01") for _ in rows]
    book = "".join("\t".join([x, *row]) + "\n" for x, row in zip(labels, rows))
    right = CTRDataset(file(book, "book.csv"), num_feat=2, min_threshold=2)

    names = ["site", "ad"]
    names.insert(place, rng.choice(["Click", "is_click", "target"]))
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=separator, quoting=quoting)
    writer.writerow(names)
    for x, row in zip(labels, rows):
        writer.writerow([*row[:place], x, *row[place:]])
    text = ("\ufeff" if rng.random() < 0.5 else "") + buffer.getvalue()
    data = CTRDataset(file(text), min_threshold=2)
    assert data.fields == ("site", "ad")
    assert same(data, _named(right, data.fields))

    frame = pd.DataFrame(rows, columns=["site", "ad"])
    frame.insert(place, names[place], [int(x) for x in labels])
    assert same(CTRDataset(frame, min_threshold=2), data)


def _named(data, fields):
    data.fields = fields
    return data


def test_the_label_is_found_or_named(file):
    text = "clicked,target,x\n1,0,a\n0,1,b\n"
    with pytest.raises(ValueError, match="line 1: several columns may be the label: c"):
        CTRDataset(file(text))
    assert CTRDataset(file(text), label="target").labels.tolist() == [[0], [1]]
    with pytest.raises(ValueError, match="no column 'y'; the columns are clicked, tar"):
        CTRDataset(file(text), label="y")
    assert CTRDataset(file("bought,x\n1,a\n0,b\n")).labels.tolist() == [[1], [0]]
    frame = pd.DataFrame({"bought": [True, False], "x": ["a", "b"]})
    assert CTRDataset(frame).labels.tolist() == [[1], [0]]
    assert CTRDataset(frame[["x", "bought"]], label="bought").fields == ("x",)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("click,x\n1,a\n1,a,b\n", "line 3: 3 fields instead of 2 .separated by commas"),
        ('click,x\n1,"a\n1,b"\n', "line 2: unexpected end of data in '1,\"a'"),
        ('click,x\n1,"a"b\n', "line 2: ',' expected after '\"'"),
        ("click,x\n2,a\n", "line 2: the label must be 0 or 1, not '2'"),
        ("click,x,x\n1,a,b\n", "line 1: 2 columns are called 'x'"),
        ("click,\n1,a\n", "line 1: 1 columns are called ''"),
        ("click,x\n", "the file has no rows"),
        (b"click,x\n1,\xff\n", "line 2: not UTF-8"),
        ("2\ta\n1\tb\n", "line 1: the label must be 0 or 1, not '2'"),
    ],
)
def test_errors_name_the_line(file, text, error):
    with pytest.raises(ValueError, match=error):
        CTRDataset(file(text), num_feat=1)


def test_between_semicolons_numbers_have_decimal_commas(file):
    rows = [(n % 2, n / 4, "a,b" if n % 3 else "c") for n in range(40)]
    lines = [f"{y};{str(price).replace('.', ',')};{x}\n" for y, price, x in rows]
    text = 'click;"price, total";x\n' + "".join(lines)
    data = CTRDataset(file(text), numeric=["price, total"], num_bins=4)
    frame = pd.DataFrame(rows, columns=["click", "price, total", "x"])
    assert same(CTRDataset(frame, numeric=[1], num_bins=4), data)
    wrong = file(text.replace(";0,25;", ";0.25;"))
    with pytest.raises(ValueError, match=r"line 3: price, total '0\.25' is not a n"):
        CTRDataset(wrong, numeric=["price, total"])
    with pytest.raises(ValueError, match="line 1: the header has commas and semicolon"):
        CTRDataset(file(text.replace('"', "")))


def test_numbers_by_name(file):
    text = "y,price,x\n" + "".join(f"{n % 2},{n},a\n" for n in range(40))
    data = CTRDataset(file(text), numeric=["price"], num_bins=4)
    assert data.field_dims.tolist() == [5, 2]
    frame = pd.read_csv(io.StringIO(text)).astype({"price": float})
    assert same(CTRDataset(frame, numeric=[1], num_bins=4), data)
    with pytest.raises(ValueError, match="numeric: there is no field 'cost'; the fiel"):
        CTRDataset(frame, numeric=["cost"])


@pytest.mark.parametrize(
    ("columns", "given", "error"),
    [
        ({"click": [0, 1, 2], "x": "a"}, {}, "row 2 of data: the label must be 0 or 1"),
        ({"click": [0, None, 1], "x": "a"}, {}, "row 1 of data: the label must be 0 o"),
        ({"click": [0, 1, 1], "x": ["1", "b", "2"]}, {"numeric": ["x"]}, "row 1 of da"
         "ta: x 'b' is not a number"),
        ({"click": [0, 1, 1]}, {}, "a label and fields, all with different names"),
        ({"click": []}, {}, "the frame has no rows"),
    ],
)  # fmt: skip
def test_errors_name_the_row_of_a_frame(columns, given, error):
    with pytest.raises(ValueError, match=error):
        CTRDataset(pd.DataFrame(columns), **given)


def test_values_of_a_frame_are_text():
    values = [1, 1.0, "1", None, "", numpy.nan]
    frame = pd.DataFrame({"y": [0, 1] * 3, "x": pd.Series(values, dtype="object")})
    data = CTRDataset(frame, min_threshold=3)
    assert data.feat_mapper == {1: {"": 0, "1": 1}}
    assert data.features[:, 0].tolist() == [1, 1, 1, 0, 0, 0]


class TestVocabulary:
    @pytest.fixture
    def train(self, file):
        text = "y,price,x\n" + "".join(f"{n % 2},{n},v{n % 3}\n" for n in range(40))
        return CTRDataset(file(text), numeric=["price"], num_bins=4)

    @pytest.mark.parametrize("rows", ["0,7,v1\n1,,new\n", "1,99,v2\n"])
    def test_encodes_other_data_alike(self, train, file, tmp_path, rows):
        path = tmp_path / "vocabulary.json"
        train.save_vocabulary(path)
        test = file("y,price,x\n" + rows, "test.csv")
        direct = CTRDataset(test, train.feat_mapper, train.defaults)
        assert same(CTRDataset(test, vocabulary=path), direct)
        frame = pd.read_csv(test, dtype={"x": str})
        assert same(CTRDataset(frame, vocabulary=path), direct)

    def test_keeps_keys_and_bins(self, tmp_path):
        x = ["1", "", "ä", '"', "null", "\ud800"] * 4
        frame = pd.DataFrame({"y": [0, 1] * 12, "x": x})
        train = CTRDataset(frame)
        train.save_vocabulary(tmp_path / "v")
        assert same(CTRDataset(frame, vocabulary=tmp_path / "v"), train)

    def test_of_other_fields_is_refused(self, train, tmp_path):
        train.save_vocabulary(tmp_path / "v")
        frame = pd.DataFrame({"y": [0], "x": ["v1"], "price": ["3"]})
        with pytest.raises(ValueError, match="has the fields price, x, but the data h"):
            CTRDataset(frame, vocabulary=tmp_path / "v", numeric=())
        with pytest.raises(ValueError, match="vocabulary replaces feat_mapper and def"):
            CTRDataset(frame, train.feat_mapper, vocabulary=tmp_path / "v")

    def test_that_is_damaged_is_told(self, train, tmp_path):
        path = tmp_path / "v"
        train.save_vocabulary(path)
        whole = path.read_bytes()
        record = json.loads(whole)
        frame = pd.DataFrame({"y": [0], "price": ["3"], "x": ["v1"]})
        damaged = [whole[:size] for size in range(0, len(whole) - 2, 37)]
        damaged += [b"\xff", b"[]", b"{}", b"[" * 100_000]
        damaged += [
            json.dumps({**record, name: value}).encode()
            for name, value in [
                ("format", "other"),
                ("fields", "xy"),
                ("fields", ["x"]),
                ("defaults", {"1": 4}),
                ("defaults", {"1": -1, "2": 3}),
                ("feat_mapper", {"1": {"edges": [2, 1]}, "2": {}}),
                ("feat_mapper", {"1": {"edges": ["a"]}, "2": {}}),
                ("feat_mapper", {"1": {"edges": [1]}, "2": {"a": 0.5}}),
                ("feat_mapper", 3),
            ]
        ]
        for content in damaged:
            path.write_bytes(content)
            with pytest.raises(
                ValueError, match=f"{path}: this is not a complete file"
            ):
                CTRDataset(frame, vocabulary=path)

    def test_replaces_a_file_completely_or_not_at_all(self, train, tmp_path):
        path = tmp_path / "v"
        path.write_text("old")
        train.feat_mapper[2]["v0"] = object()  # cannot be written
        with pytest.raises(
            ValueError, match="field 2: the indices of feat_mapper must"
        ):
            train.save_vocabulary(path)
        assert path.read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == ["own.csv", "v"]
