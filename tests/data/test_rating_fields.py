import pytest

from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data.rating_fields import FIELDS, rating_fields, read_users
from d2l_recsys.movielens import read_data_ml100k


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "u.user").write_text(
        "1|17|M|student|123\n2|56|F|other|T8H1N\n5|25|F|writer|9\n"
    )
    (tmp_path / "u.genre").write_text("Action|0\nComedy|1\n")
    (tmp_path / "u.item").write_text(
        "1|A|01-Jan-1995||u|1|0\n2|B|02-Feb-1960||u|1|1\n3|C|||u|0|0\n"
    )
    return tmp_path


def texts(table):
    return [[table.values[f][c] for f, c in enumerate(row)] for row in table.codes]


def test_by_hand(folder, frame):
    data = frame((2, 3, 4, 0), (1, 2, 1, 0))
    table = rating_fields(data, folder, FIELDS)
    names = ["user", "item", "age", "gender", "occupation", "Action", "Comedy", "year"]
    assert list(table.fields) == names
    assert texts(table) == [
        ["2", "3", "56 and over", "F", "other", "0", "0", ""],
        ["1", "2", "under 18", "M", "student", "1", "1", "1960"],
    ]
    assert table.labels.tolist() == [4, 1]
    clicks = rating_fields(data, folder, ["year", "user"], threshold=4)
    assert texts(clicks) == [["", "2"], ["1960", "1"]]
    assert clicks.labels.tolist() == [1, 0]


def test_ids_that_were_renumbered_find_their_lines(folder):
    (folder / "u.data").write_text("1\t1\t5\t9\n5\t3\t4\t9\n")
    data = read_data_ml100k(folder).data
    assert data["user_id"].tolist() == [1, 2]  # 5 became 2
    for part in (data, data[data["user_id"] == 2]):
        row = texts(rating_fields(part, folder, ["user", "item", "age"]))[-1]
        assert row == ["5", "3", "25-34"]


@pytest.mark.parametrize(
    ("age", "group"),
    [(17, "under 18"), (18, "18-24"), (24, "18-24"), (34, "25-34"), (45, "45-49")]
    + [(50, "50-55"), (55, "50-55"), (56, "56 and over"), (80, "56 and over")],
)
def test_ages(folder, frame, age, group):
    (folder / "u.user").write_text(f"1|{age}|M|none|1\n")
    assert texts(rating_fields(frame((1, 1, 3, 0)), folder, ["age"])) == [[group]]


@pytest.mark.parametrize(
    ("row", "fields", "message"),
    [
        ((3, 1, 5, 0), ["age"], r"u\.user: there is no line for id 3, which the rat"),
        ((1, 9, 5, 0), ["year"], r"u\.item: there is no line for id 9, which the rat"),
        ((1, 1, 5, 0), ["zip"], "fields must be different names from user, item"),
        ((1, 1, 5, 0), ["user", "user"], "fields must be different names"),
        ((1, 1, 5, 0), [], "fields must be different names .* not none"),
    ],
)
def test_what_is_not_there(folder, frame, row, fields, message):
    with pytest.raises(ValueError, match=message):
        rating_fields(frame(row), folder, fields)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("2|53|F|other", "4 fields instead of 5"),
        ("", "1 fields instead of 5"),
        ("x|53|F|other|1", "user_id 'x' is not a number"),
        ("2|old|F|other|1", "age 'old' is not a number"),
        ("1|53|F|other|1", "user 1 already has a line"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, fault):
    (tmp_path / "u.user").write_text(f"1|24|M|technician|85711\n{line}\n")
    with pytest.raises(ValueError, match=rf"u\.user, line 2: .*{fault}"):
        read_users(tmp_path / "u.user")


def test_the_real_ones(ml100k):
    data = read_data_ml100k(ml100k).data
    table = rating_fields(data, ml100k, FIELDS)
    dataset = CTRDataset.from_table(table, min_threshold=1)
    # The README: 943 users, 1682 items, 21 occupations, 19 genres. One more index for
    # values that do not occur, and for ages, the groups of MovieLens 1M.
    assert dataset.field_dims[:-1].tolist() == [944, 1683, 8, 3, 22] + [3] * 19
    assert dataset.labels.mean() == pytest.approx(3.52986)
