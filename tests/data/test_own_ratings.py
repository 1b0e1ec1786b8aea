"""A reader's own ratings: found by name, read exactly, or an error that names them."""

import csv
import io
import itertools
import random

import numpy
import pandas as pd
import pytest

from d2l_recsys.movielens import (
    load_data_ml100k,
    read_data_ml100k,
    read_ratings,
    split_and_load_ml100k,
    split_data_ml100k,
)

NAMES = ["user_id", "item_id", "rating", "timestamp"]


@pytest.fixture
def file(tmp_path):
    def write(content, encoding="utf-8"):
        path = tmp_path / "own.csv"
        path.write_bytes(content.encode(encoding))
        return path

    return write


def own(read):
    """Return the rows with the reader's own ids."""
    columns = [read.data[name].tolist() for name in read.data.columns[2:]]
    users = [read.ids.users[i - 1] for i in read.data["user_id"]]
    items = [read.ids.items[i - 1] for i in read.data["item_id"]]
    return list(zip(users, items, *columns))


def test_what_the_book_needs_comes_back(file):
    text = 'when,"Movie ID",stars,userId\n2024-01-02,"a, b",4,x\n1999-12-31,c,10,"y"\n'
    read = read_ratings(file(text))
    assert list(read.data.columns) == NAMES
    assert read.data.to_numpy().tolist() == [
        [1, 1, 4, 1704153600],  # date -d '2024-01-02 UTC' +%s
        [2, 2, 10, 946598400],
    ]
    assert (read.data.dtypes == "int64").all()
    assert read[1:] == (2, 2)
    assert read.ids == (["x", "y"], ["a, b", "c"])
    assert read.data.attrs["scale"] == [4, 10]


@pytest.mark.parametrize("seed", range(12))
def test_files_of_any_kind_are_read_like_the_frames_they_hold(file, seed):
    rng = random.Random(seed)
    texts = rng.random() < 0.5
    users = rng.sample(["ä", "b c", 'd"e', "f,g", "h\ti", "j\nk", "007", "7"], 5)
    users = users if texts else rng.sample(range(-3, 10**12), 5)
    items = rng.sample(range(1, 10**9), 6)
    pairs = rng.sample([(u, i) for u in users for i in items], 20)
    rows = [(u, i, rng.choice([1, 2.5, -3]), rng.randrange(10**9)) for u, i in pairs]
    order = rng.sample(range(4), 4)
    columns = [["User-ID", "itemId", "Score", "Timestamp"][k] for k in order]
    buffer = io.StringIO(newline="")
    separator = rng.choice(",;\t")
    writer = csv.writer(
        buffer,
        delimiter=separator,
        quoting=rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        lineterminator=rng.choice(["\n", "\r\n"]),
    )
    stars = [str(row[2]) for row in rows]
    stars = [x.replace(".", ",") for x in stars] if separator == ";" else stars
    written = [(u, i, x, t) for (u, i, _, t), x in zip(rows, stars)]
    writer.writerows([columns, *([row[k] for k in order] for row in written)])
    encoding = rng.choice(["utf-8", "utf-8-sig", "latin-1"])
    read = read_ratings(file(buffer.getvalue(), encoding))
    assert own(read) == [(u, i, float(r), t) for u, i, r, t in rows]
    assert read.ids == (sorted({u for u, _ in pairs}), sorted({i for _, i in pairs}))
    frame = pd.DataFrame([[row[k] for k in order] for row in rows], columns=columns)
    assert read_ratings(frame).data.equals(read.data)
    assert read_ratings(frame).data.attrs == read.data.attrs


def test_names_are_taken_as_they_are_given(file):
    text = "user,who,item,rating,stars\n1,7,5,3,4\n2,8,5,2,1\n"
    read = read_ratings(file(text), user="who", rating="stars")
    assert own(read) == [(7, 5, 4), (8, 5, 1)]
    frame = pd.DataFrame([[1, 2, 3.5]])
    assert own(read_ratings(frame, user=0, item=1, rating=2)) == [(1, 2, 3.5)]


@pytest.mark.parametrize(
    ("text", "given", "error"),
    [
        ("a,item\n1,2\n", {}, "line 1: no column has a usual name for the user; the co"
         "lumns are a, item; name it with user=NAME .in the scripts: --columns user=N"),
        ("1\t2\t3\t4\n", {}, "no column has a usual name for the user; .* are 1, 2, 3"),
        ("user,uid,item\n1,1,2\n", {}, "several columns may be the user: user, uid; n"),
        ("user,item\n1,2\n", {"rating": "stars"}, "there is no column 'stars'; the co"),
        ("user,item\n1,2\n", {"time": "user"}, "the column user cannot also be the t"),
        ("user,item\n1,2\n1\n", {}, "line 3: 1 fields instead of 2, as in the header"),
        ("user,item\n1,2,3\n", {}, "line 2: 3 fields instead of 2"),
        ('user,item\n\n"1\n1",2\n"3,4\n', {}, "line 5: unexpected end of data"),
        ("user,item\n", {}, "line 2: no rows follow the header"),
        ("", {}, "line 1: the file is empty"),
        ("user,item\n1,2\0\n", {}, "line 2: the line contains a zero b"),
        ('user,item\n\n"1\n1",2\n3, \n', {}, "line 5, column item: the item is "),
        ("user,item,rating\n1,2,3\n1,3,\n", {}, "line 3, column rating: the rating is"),
        ("user,item,stars\n1,2,nan\n", {}, "line 2, column stars: rating 'nan' is not"),
        ("user,item,stars\n1,2,1e999\n", {}, "column stars: rating '1e999' is not a n"),
        ("user,item,when\n1,2,3\n1,3,2024-01-01\n", {}, "line 3, column when: time '"),
        ("user,item,when\n1,2,today\n", {}, "line 2, column when: time 'today' is nei"),
        ("user,item,when\n1,2,2024-02-30\n", {}, "column when: time '2024-02-30' is n"),
        ("user,item,when\n1,2,9999-12-31\n", {}, "line 2, .* from 1678 to 2261"),
        ("user,item,when\n1,2,2024-01-02 10:00 CET\n", {}, "with or without Z or .01:"),
        ("user,item,user\n1,2,3\n", {}, "2 columns are called user: rename or remove"),
        ("user;item,x\n1;2\n", {}, "line 1: the header has commas and semicolons"),
        ("user;item\n1;2\n1;2;3\n", {}, "line 3: 3 fields .*separated by semicolons"),
        ("user;item;stars\n1;2;3,5\n1;3;3.5\n", {}, "line 3, column stars: '3.5' is no"
         "t a number with a decimal comma"),
        ("user,item,stars\n1,2,3\n1,3,11\n", {"scale": (1, 10)}, "line 3, column sta"
         "rs: rating 11 is outside 1-10"),
        ("user,item\n1,2\n1,3\n1,2\n", {}, "line 4: user 1 already rated item 2 .*lin"
         "e 2.: keep one of the two with duplicates='first' or 'last' .in the scripts"),
        ("user,item\n1,2\n", {"duplicates": "both"}, "duplicates must be 'error', 'fi"),
        ("user,item\n1,2\n", {"min_rating": 3}, "min_rating needs a column of ratings"),
        ("user,item,rating\n1,2,3\n", {"min_rating": 4}, "no rating is at least 4: mi"),
        ("user,item,rating\n1,2,3\n", {"scale": (3, 3)}, "scale must be the lowest an"),
    ],
)  # fmt: skip
def test_errors_name_the_place(file, text, given, error):
    path = file(text)
    with pytest.raises(ValueError, match=error) as raised:
        read_ratings(path, **given)
    if ", line" in error:
        assert str(raised.value).startswith(f"{path}, ")


@pytest.mark.parametrize(
    ("column", "values", "error"),
    [
        ("user", ["a", None, "b"], "row 1 of data, column user: the user is missing"),
        ("user", ["a", 1, "b"], "row 0 of data, column user: id 'a' is text, but oth"),
        ("item", [1, 2, 2.5], "row 2 of data, column item: id 2.5 is neither text nor"),
        ("item", [True, False, True], "row 0 of data, column item: id True is neither"),
        ("rating", [1, 2, numpy.inf], "row 2 of data, column rating: rating inf is no"),
        ("time", pd.to_datetime(["1999", None, "2000"]), "row 1 of data, column time:"),
    ],
)
def test_errors_name_the_row_of_a_frame(column, values, error):
    data = pd.DataFrame({"user": [1, 2, 3], "item": [1, 2, 3]}).assign(
        **{column: pd.Series(values)}
    )
    with pytest.raises(ValueError, match=error):
        read_ratings(data)


def test_dates_are_in_order_to_the_microsecond():
    days = ["2024-01-01T00:00:00.000002Z", "2024-01-01 01:00:00.000001+01:00"]
    data = pd.DataFrame({"user": ["a", "a"], "item": [1, 2], "date": days})
    for dates in (days, pd.to_datetime(days, utc=True, format="ISO8601")):
        read = read_ratings(data.assign(date=dates))
        train, test = split_data_ml100k(*read, "seq-aware")
        assert (train["item_id"].item(), test["item_id"].item()) == (2, 1)


DATES = {  # seconds since 1970, from `date -u -d ... +%s`
    "2024-01-02": 1704153600,
    "2024-01-02 10:20:30": 1704190830,
    "2024-01-02T10:20:30Z": 1704190830,
    "2024-01-02 10:20": 1704190800,
    "2024-01-02 10:20:30+01:00": 1704187230,
    "2024-01-02 10:20:30 UTC": 1704190830,
    "1969-12-31 23:59:59": -1,
    "2024-01-02 10:20:30.25": 1704190830.25,
}


@pytest.mark.parametrize("one", DATES)
def test_dates_are_seconds_since_1970(file, one):
    for other, frame in itertools.product(DATES, (False, True)):
        text = f"user,item,date\n1,1,{one}\n1,2,{other}\n"
        source = pd.read_csv(io.StringIO(text)) if frame else file(text)
        times = read_ratings(source).data["timestamp"]
        assert times.tolist() == [DATES[one], DATES[other]]
        assert times.dtype == ("float64" if ".25" in one + other else "int64")


def test_large_numbers_are_exact(file):
    text = "user,item,rating,time\na,x,1e20,1704067200000000000\na,y,1,"
    data = read_ratings(file(f"{text}1704067200000000001\n")).data
    assert data["rating"].tolist() == [1e20, 1]
    assert data["timestamp"].tolist() == [1704067200 * 10**9, 1704067200 * 10**9 + 1]


def test_without_times_only_two_splits_are_left(file):
    read = read_ratings(file("user,item,rating\n1,1,2\n1,2,4\n2,1,3\n2,2,5\n"))
    for mode in ("seq-aware", "time"):
        match = r"no column timestamp, .*'random' or 'item"
        with pytest.raises(ValueError, match=match):
            split_data_ml100k(*read, mode)
    assert [*map(len, split_data_ml100k(*read, "item-cold", 0.5))] == [2, 2]
    assert sum(map(len, split_data_ml100k(*read, "random"))) == 4


def test_without_ratings_the_rows_are_implicit_feedback(file):
    read = read_ratings(file("user,item\nb,y\na,x\nb,x\n"))
    assert load_data_ml100k(*read, "implicit").inter == {0: [0], 1: [1, 0]}
    with pytest.raises(ValueError, match="data has no column rating, only user_id"):
        load_data_ml100k(*read)


@pytest.mark.parametrize("keep", ["first", "last"])
def test_one_of_two_ratings_is_kept(file, keep):
    read = read_ratings(file("user,item,rating\n1,2,3\n1,2,5\n"), duplicates=keep)
    assert own(read) == [(1, 2, {"first": 3, "last": 5}[keep])]


def test_low_ratings_are_left_out_with_their_users_and_items(file, tmp_path):
    rows = [(7, 20, 3, 1), (7, 30, 4, 2), (9, 40, 5, 3), (9, 30, 3.9, 4), (5, 20, 1, 5)]
    text = "".join(f"{u},{i},{r},{t}\n" for u, i, r, t in rows)
    read = read_ratings(file("user,item,rating,time\n" + text), min_rating=4)
    assert own(read) == [(7, 30, 4, 2), (9, 40, 5, 3)]
    assert read[1:] == (2, 2)
    assert read.data.attrs["scale"] == [1, 5]
    (tmp_path / "u.data").write_text(text.replace(",", "\t"))
    same = read_data_ml100k(tmp_path, min_rating=4)
    assert own(same) == own(read)
    data, num_users, num_items = read_data_ml100k(tmp_path)
    loaded = load_data_ml100k(data, num_users, num_items, "implicit", min_rating=4)
    assert loaded.inter == {1: [1], 2: [2]}


def test_own_ratings_are_split_and_loaded(file):
    rows = "".join(f"u{n % 5},{n},{n % 3},{n}\n" for n in range(50))
    read = read_ratings(file("user,item,rating,time\n" + rows))
    num_users, num_items, train, test = split_and_load_ml100k(data=read)
    assert (num_users, num_items) == (5, 50)
    assert sorted(test.dataset.arrays[1]) == [45, 46, 47, 48, 49]
    assert len(train.dataset.arrays[0]) == 45


@pytest.mark.parametrize("mode", ["random", "seq-aware", "time", "item-cold"])
@pytest.mark.parametrize("seed", range(3))
def test_columns_may_stand_in_any_order(mode, seed):
    rng = numpy.random.default_rng(seed)
    data = pd.DataFrame(rng.integers(1, 9, (60, 4)), columns=NAMES)
    data = data.drop_duplicates(NAMES[:2]).reset_index(drop=True)
    mixed = data.assign(more="x")[rng.permutation([*NAMES, "more"])]
    for part, same in zip(
        split_data_ml100k(data, 8, 8, mode), split_data_ml100k(mixed, 8, 8, mode)
    ):
        assert same[NAMES].equals(part)
        right, loaded = (load_data_ml100k(x, 8, 8) for x in (part, same))
        for a, b in zip(right, loaded):
            assert a.tolist() == b.tolist()


def test_a_missing_or_double_name_is_told():
    data = pd.DataFrame([[1, 1, 3, 0]], columns=["userId", *NAMES[1:]])
    with pytest.raises(ValueError, match="no column user_id, only userId, item_id, ra"):
        split_data_ml100k(data, 1, 1, "seq-aware")
    with pytest.raises(ValueError, match="2 columns called item_id: drop one"):
        load_data_ml100k(data.set_axis(["item_id", *NAMES[:3]], axis=1), 1, 1)
