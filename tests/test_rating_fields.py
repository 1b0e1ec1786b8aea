import pandas as pd
import pytest

from d2l_recsys.ctr import CTRDataset
from d2l_recsys.movielens import read_data_ml100k
from d2l_recsys.rating_fields import rating_fields, read_users


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "u.user").write_text(
        "1|17|M|student|123\n2|56|F|other|T8H1N\n5|25|F|writer|9\n"
    )
    (tmp_path / "u.genre").write_text("Action|0\nComedy|1\n")
    (tmp_path / "u.item").write_text("1|A|||u|1|0\n2|B|||u|1|1\n3|C|||u|0|0\n")
    return tmp_path


def texts(table):
    return [[table.values[f][c] for f, c in enumerate(row)] for row in table.codes]


def test_by_hand(folder, frame):
    data = frame((2, 3, 4, 0), (1, 2, 1, 0))
    table = rating_fields(data, folder)
    assert table.fields == (
        "user", "item", "age", "gender", "occupation", "Action", "Comedy"
    )  # fmt: skip
    assert texts(table) == [
        ["2", "3", "56 and over", "F", "other", "0", "0"],
        ["1", "2", "under 18", "M", "student", "1", "1"],
    ]
    assert table.labels.tolist() == [4, 1]
    dataset = CTRDataset.from_table(table, min_threshold=1)
    assert dataset.field_dims.tolist() == [3] * 7
    assert dataset[0][0].tolist() == [1, 4, 6, 9, 12, 15, 18]
    assert dataset[0][1].tolist() == [4]


def test_ids_that_were_renumbered_find_their_lines(folder):
    rows = "1\t1\t5\t9\n5\t3\t4\t9\n"
    (folder / "u.data").write_text(rows)
    data = read_data_ml100k(folder).data
    assert data["user_id"].tolist() == [1, 2]  # 5 became 2, item 3 too
    for part in (data, data[data["user_id"] == 2]):
        assert texts(rating_fields(part, folder))[-1][:5] == [
            "2", "2", "25-34", "F", "writer"
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("age", "bucket"),
    [(17, "under 18"), (18, "18-24"), (24, "18-24"), (34, "25-34"), (45, "45-49")]
    + [(50, "50-55"), (55, "50-55"), (56, "56 and over"), (80, "56 and over")],
)
def test_ages(folder, frame, age, bucket):
    (folder / "u.user").write_text(f"1|{age}|M|none|1\n")
    assert texts(rating_fields(frame((1, 1, 3, 0)), folder))[0][2] == bucket


@pytest.mark.parametrize(
    ("row", "message"),
    [((3, 1, 5, 0), "u.user: no line for id 3"), ((1, 9, 5, 0), "no line for id 9")],
)
def test_who_has_no_line(folder, frame, row, message):
    with pytest.raises(ValueError, match=message):
        rating_fields(frame(row), folder)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("2|53|F|other", "4 fields in place of 5"),
        ("", "1 fields in place of 5"),
        ("x|53|F|other|1", "user 'x' or age '53' is not a number"),
        ("2|old|F|other|1", "age 'old' is not a number"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, fault):
    (tmp_path / "u.user").write_text(f"1|24|M|technician|85711\n{line}\n")
    with pytest.raises(ValueError, match=f"u.user, line 2: .*{fault}"):
        read_users(tmp_path / "u.user")


def test_the_real_ones(ml100k):
    data = read_data_ml100k(ml100k).data
    dataset = CTRDataset.from_table(rating_fields(data, ml100k), min_threshold=1)
    assert dataset.features.shape == (100_000, 24)
    assert dataset.field_dims.tolist() == [944, 1683, 8, 3, 22] + [3] * 19
    assert dataset.labels.mean() == pytest.approx(3.52986)
    assert isinstance(read_users(ml100k / "u.user"), pd.DataFrame)
