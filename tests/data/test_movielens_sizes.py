"""The larger MovieLens data sets: valid and invalid files in their formats."""

import numpy
import pytest
from damage import damaged, each_damage, parsed_ratings
from hypothesis import given
from movielens_files import CSV, DAT, HALVES, HEADER, rows_of, text_of, write_set
from test_bad_data import Bad, bounded, expected, outcome, same

from d2l_recsys.data import catalog, ratings
from d2l_recsys.data.ratings import FORMATS, count_ratings, read_movielens_ratings
from d2l_recsys.movielens import (
    load_data_ml100k,
    read_data_ml100k,
    split_and_load_ml100k,
)

QUOTED = '"userId","movieId","rating","timestamp"'


class TestRatings:
    @pytest.mark.parametrize("name", DAT + CSV)
    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    @pytest.mark.parametrize("end", [True, False])
    def test_are_what_the_file_has(self, tmp_path, name, newline, end):
        path = tmp_path / "ratings"
        text = text_of(name, rows_of(name)).replace("\n", newline)
        path.write_bytes((text if end else text[: -len(newline)]).encode())
        data = read_movielens_ratings(path, name=name)
        assert list(data.columns) == ["user_id", "item_id", "rating", "timestamp"]
        assert list(map(tuple, data.to_numpy().tolist())) == rows_of(name)
        assert data["rating"].dtype == ("int64" if name == "ml-1m" else "float64")
        assert (data.dtypes.drop("rating") == "int64").all()
        assert count_ratings(path, name) == len(data) == 3

    @pytest.mark.parametrize("name", ["ml-10m", "ml-25m"])
    def test_the_files_name_tells_the_format(self, tmp_path, name):
        folder = write_set(tmp_path, name)
        path = folder / catalog.DATASETS[name].members[0]
        assert read_movielens_ratings(path)["rating"].tolist() == [0.5, 4, 3.5]

    @pytest.mark.parametrize("header", [HEADER, QUOTED])
    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
    @pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
    def test_follow_a_header_as_other_programs_write_it(
        self, tmp_path, header, mark, newline, monkeypatch
    ):
        monkeypatch.delattr(ratings, "_fault_of_line")  # it is slow
        path = tmp_path / "ratings.csv"
        path.write_bytes(mark + newline.join([header.encode(), b"7,2,3.5,4", b""]))
        assert read_movielens_ratings(path).to_numpy().tolist() == [[7, 2, 3.5, 4]]
        assert count_ratings(path, "ml-25m") == 1

    @pytest.mark.parametrize(
        ("name", "line"), [("ml-100k", b"7\t2\t3\t4\n"), ("ml-10m", b"7::2::3::4\n")]
    )
    def test_may_follow_a_byte_order_mark(self, tmp_path, name, line):
        path = tmp_path / "ratings"
        path.write_bytes(b"\xef\xbb\xbf" + line)
        assert read_movielens_ratings(path, name=name).to_numpy().tolist() == [
            [7, 2, 3, 4]
        ]

    def test_whole_half_stars_are_whole_numbers(self, tmp_path):
        (tmp_path / "ratings.csv").write_text(f"{HEADER}\n1,2,3.0,4\n1,5,4,4\n")
        data = read_movielens_ratings(tmp_path / "ratings.csv")
        assert data["rating"].tolist() == [3, 4]
        assert data["rating"].dtype == "int64"

    def test_the_first_set_of_whole_stars_has_no_half_a_star(self, tmp_path):
        (tmp_path / "ratings.dat").write_text("1::2::0.5::4\n")
        assert len(read_movielens_ratings(tmp_path / "ratings.dat")) == 1
        with pytest.raises(ValueError, match=r"line 1: rating '0.5' is outside 1-5"):
            read_movielens_ratings(tmp_path / "ratings.dat", name="ml-1m")

    @pytest.mark.parametrize("name", DAT + CSV)
    def test_of_good_files_are_not_looked_at_one_by_one(
        self, tmp_path, name, monkeypatch
    ):
        """That would take a minute for 25 million ratings."""
        monkeypatch.delattr(ratings, "_fault_of_line")
        write_set(tmp_path, name)
        assert len(read_data_ml100k(tmp_path, name=name).data) == 3

    def test_given_twice_are_named_by_their_lines(self, tmp_path):
        (tmp_path / "ratings.csv").write_text(f"{HEADER}\n1,2,3.0,4\n1,2,3.5,4\n")
        match = r"ratings\.csv, line 3: user 1 already rated item 2 on line 2"
        with pytest.raises(ValueError, match=match):
            read_movielens_ratings(tmp_path / "ratings.csv")
        assert len(read_movielens_ratings(tmp_path / "ratings.csv", "last")) == 1


BAD = [  # (fields of a line, error)
    ("1|2|3", "3 fields instead of 4"),
    ("1|2|3.5|4|5", "5 fields instead of 4"),
    ("1|2|3.5|4|", "5 fields instead of 4"),
    ("", "1 fields instead of 4"),
    ("1|2|3.25|4", "rating '3.25' is not a multiple of 0.5"),
    ("1|2|0|4", "rating '0' is outside 0.5-5"),
    ("1|2|5.5|4", "rating '5.5' is outside 0.5-5"),
    ("1|2|.5|4", "rating '.5' is not a number"),
    ("1|2|5.|4", "rating '5.' is not a number"),
    ("1|2||4", "rating '' is not a number"),
    ("1|2|good|4", "rating 'good' is not a number"),
    ("1|2.0|3.5|4", "item_id '2.0' is not a number"),
    ("1.0|2|3.5|4", "user_id '1.0' is not a number"),
    ("1|2|3.5|4.0", "timestamp '4.0' is not a number"),
    ("1|0|3.5|4", "item_id '0' is below 1"),
    ("1|2|3.5|soon", "timestamp 'soon' is not a number"),
    ("9223372036854775808|2|3.5|4", "user_id .* is too large"),
]
BAD_DAT = [
    ("1:2::3::4", "3 fields instead of 4"),
    ("1::2::3::4:", "timestamp '4:' is not a number"),
    ("1:::2::3::4", "item_id ':2' is not a number"),
    ("1::2::3::4:5", "timestamp '4:5' is not a number"),
    ("1\t2::3::4", "3 fields instead of 4"),
    ("1\t2\t3\t4", "1 fields instead of 4 .*separated by ::"),
]
NO_HEADER = f"line 1: the header {HEADER} is missing"
BAD_CSV = [
    ("1;2;3;4", "1 fields instead of 4 .*separated by commas"),
    ('"1",2,3,4', "user_id '\"1\"' is not a number"),
    (HEADER, "user_id 'userId' is not a number"),
]


class TestABadLine:
    @pytest.mark.parametrize(
        ("name", "line", "fault"),
        [
            *(("ml-10m", line.replace("|", "::"), fault) for line, fault in BAD),
            *(("ml-25m", line.replace("|", ","), fault) for line, fault in BAD),
            *(("ml-10m", *case) for case in BAD_DAT),
            *(("ml-20m", *case) for case in BAD_CSV),
        ],
    )
    @pytest.mark.parametrize("at", [0, 1, 3])
    def test_is_named(self, tmp_path, name, line, fault, at):
        head = name in CSV
        lines = text_of(name, HALVES).splitlines()
        lines.insert(at + head, line)
        path = tmp_path / "ratings"
        path.write_text("\n".join(lines) + "\n")
        with pytest.raises(ValueError, match=f"ratings, line {at + head + 1}: {fault}"):
            read_movielens_ratings(path, name=name)

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("", "line 1: the file is empty"),
            (HEADER, "line 2: no ratings follow the header"),
            (f"{HEADER}\n", "line 2: no ratings follow the header"),
            ("1,2,3,4\n", NO_HEADER),
            (f"{HEADER} \n1,2,3,4\n", NO_HEADER),
            ("userId,itemId,rating,timestamp\n1,2,3,4\n", NO_HEADER),
            ("\ufeff\ufeff" + f"{HEADER}\n1,2,3,4\n", NO_HEADER),
            (f'"",{QUOTED}\n"1",1,2,3,4\n', f'{NO_HEADER}; the line is \'"","userI'),
            (f"{QUOTED}\n", "line 2: no ratings follow the header"),
            (f'{QUOTED}\n"1",2,3,4\n', "line 2: user_id '\"1\"' is not a number"),
            (f"{QUOTED}\r1,2,3,4\n", NO_HEADER),
            (f"{HEADER}\r1,2,3,4\n", NO_HEADER),
            (f"1{HEADER}\n1,2,3,4\n", NO_HEADER),
            (f"{HEADER}1\n1,2,3,4\n", NO_HEADER),
        ],
    )
    def test_is_the_header(self, tmp_path, text, fault):
        path = tmp_path / "ratings.csv"
        path.write_bytes(text.encode())
        with pytest.raises(ValueError, match=rf"ratings\.csv, {fault}"):
            read_movielens_ratings(path)

    @pytest.mark.parametrize("name", ["ml-1m", "ml-10m", "ml-25m"])
    def test_is_found_in_whatever_is_damaged(self, tmp_path, name):
        separator, header, halves = FORMATS[name]
        start = [header] * bool(header)
        lines = [
            separator.join(r.split()) for r in ("7 3 4 8", "2 3 5.0 1", "7 2 3 -9")
        ]
        path = tmp_path / "ratings"

        def check(content):
            path.write_bytes(content)
            actual = outcome(
                lambda: read_movielens_ratings(path, name=name).itertuples(index=False),
                path,
            )
            if not isinstance(actual, Bad):
                actual = [list(row) for row in actual]
            more = (separator.encode(), header.encode() or None, halves)
            same(actual, expected(lambda: parsed_ratings(content, *more)))

        for some in (lines[:2], lines[1:]):
            for content in each_damage([*start, *some], separator):
                check(content)
            strategy = damaged([*start, *some], separator.encode())
            bounded(given(content=strategy)(check))()


class TestReading:
    @pytest.mark.parametrize("name", DAT + CSV)
    def test_ids_are_numbered_and_mapped_back(self, tmp_path, name):
        write_set(tmp_path, name)
        data, num_users, num_items = read_data_ml100k(tmp_path, name=name)
        assert (num_users, num_items) == (2, 2)
        assert data["user_id"].tolist() == [1, 1, 2]
        assert data["item_id"].tolist() == [2, 1, 2]
        users, items = (numpy.array(data.attrs[k]) for k in ("user_ids", "item_ids"))
        assert users[data["user_id"] - 1].tolist() == [3, 3, 90]
        assert items[data["item_id"] - 1].tolist() == [1193, 31, 1193]
        assert data["rating"].tolist() == [row[2] for row in rows_of(name)]
        assert load_data_ml100k(data, 2, 2).scores.dtype == "float32"

    def test_loaders_know_the_set(self, tmp_path):
        write_set(tmp_path, "ml-25m")
        *sizes, _, test = split_and_load_ml100k(data_dir=tmp_path, name="ml-25m")
        assert sizes == [2, 2]
        # The last ratings: 4 stars for item 31, and 3.5 for item 1193.
        assert [a.tolist() for a in test.dataset.arrays] == [[0, 1], [0, 1], [4, 3.5]]

    def test_the_name_tells_what_ratings_there_may_be(self, tmp_path):
        write_set(tmp_path, "ml-1m", [(1, 2, 0.5, 4)])
        with pytest.raises(ValueError, match=r"line 1: rating '0.5' is outside 1-5"):
            read_data_ml100k(tmp_path, name="ml-1m")

    @pytest.mark.parametrize("name", ["ctr", "ml-2m", "ml-100k-smoke"])
    def test_another_name_is_refused(self, name):
        with pytest.raises(ValueError, match=f"MovieLens data set '{name}': .*ml-32m"):
            read_data_ml100k(name=name)

    def test_a_matrix_beyond_mxnets_limit_is_refused(self, frame):
        data, sizes = frame((1, 1, 3, 0)), (2**16, 2**15)
        with pytest.raises(ValueError, match=r"32768 items and 65536 users .*implicit"):
            load_data_ml100k(data, *sizes)
        assert load_data_ml100k(data, *sizes, "implicit").inter == {0: [0]}
