import pytest

from d2l_recsys.data import ratings
from d2l_recsys.data.ratings import read_movielens_ratings

GOOD = "196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t377\t1\t878887116\n"


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "u.data"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("end", [True, False])
def test_reads_what_is_there(file, newline, end):
    text = GOOD.replace("\n", newline)
    data = read_movielens_ratings(file(text if end else text[: -len(newline)]))
    assert list(data.columns) == ["user_id", "item_id", "rating", "timestamp"]
    assert data.to_numpy().tolist() == [
        [196, 242, 3, 881250949],
        [186, 302, 3, 891717742],
        [22, 377, 1, 878887116],
    ]
    assert (data.dtypes == "int64").all()


def test_half_stars_stay_halves(file):
    data = read_movielens_ratings(file(GOOD + "1\t1\t3.5\t1\n"))
    assert data["rating"].tolist() == [3, 3, 1, 3.5]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("1\t2\t3", "3 fields instead of 4"),
        ("1\t2\t3\t4\t5", "5 fields instead of 4"),
        ("1\t2\t3\t4\t5\t6\t7", "7 fields instead of 4"),
        ("1\t2\t3\t4\t", "5 fields instead of 4"),
        ("", "1 fields instead of 4"),
        ("1 2 3 4", "1 fields instead of 4"),
        ("one\t2\t3\t4", "user_id 'one' is not a number"),
        ("1\t2.5\t3\t4", "item_id '2.5' is not a number"),
        ("1\t\t3\t4", "item_id '' is not a number"),
        ("1\t2\tgood\t4", "rating 'good' is not a number"),
        ("1\t2\t3\tnow", "timestamp 'now' is not a number"),
        ("1\t2\tnan\t4", "rating 'nan' is not a number"),
        ("1\t2\tinf\t4", "rating 'inf' is not a number"),
        ("1\t2\t1e0\t4", "rating '1e0' is not a number"),
        ("1\t2\t\t4", "rating '' is not a number"),
        ("1\t2\t0\t4", "rating '0' is outside 1-5"),
        ("1\t2\t5.5\t4", "rating '5.5' is outside 1-5"),
        ("0\t2\t3\t4", "user_id '0' is below 1"),
        ("1\t-2\t3\t4", "item_id '-2' is below 1"),
        ("99999999999999999999\t2\t3\t4", "user_id .* is too large"),
        ("9223372036854775808\t2\t3\t4", "user_id .* is too large"),
        ("1\t2\t3\t-9223372036854775809", "timestamp .* is too large"),
        ("1\t" + "9" * 5000 + "\t3\t4", "item_id '9{40}...' is too large"),
        (" 1\t2\t3\t4", "user_id ' 1' is not a number"),
        ("1\t+2\t3\t4", r"item_id '\+2' is not a number"),
        ("1\t2.0\t3\t4", "item_id '2.0' is not a number"),
        ("1\t2e0\t3\t4", "item_id '2e0' is not a number"),
        ("1\t2_0\t3\t4", "item_id '2_0' is not a number"),
        ("True\t2\t3\t4", "user_id 'True' is not a number"),
        ("1\t2\t3\t4\r1\t2\t3\t4", "7 fields instead of 4"),
        ('"1\t2\t3\t4', "user_id '\"1' is not a number"),
        ("1\x002\t2\t3\t4", "user_id .* is not a number"),
        ("\xff\t2\t3\t4", "user_id '\xff' is not a number"),
    ],
)
@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_bad_line_is_named(file, line, fault, number):
    lines = GOOD.splitlines()
    lines.insert(number - 1, line)
    path = file(("\n".join(lines) + "\n").encode("latin-1"))
    with pytest.raises(ValueError, match=f"u.data, line {number}: {fault}"):
        read_movielens_ratings(path)


@pytest.mark.parametrize("size", [1, 20, 24, 50])
@pytest.mark.parametrize("last", ["1\t1\t3.5\t1", "1\t1\t2\t-1"])
def test_blocks_of_any_size_give_the_same(file, monkeypatch, size, last):
    path = file(GOOD + last)
    whole = read_movielens_ratings(path)
    monkeypatch.setattr(ratings, "_BLOCK_BYTES", size)
    monkeypatch.delattr(ratings, "_fault_of_line")  # it is slow
    parts = read_movielens_ratings(path)
    assert parts.equals(whole)
    assert [str(kind) for kind in parts.dtypes] == [str(kind) for kind in whole.dtypes]
    assert parts["rating"].dtype == ("float64" if "." in last else "int64")


@pytest.mark.parametrize("size", [1, 24])
@pytest.mark.parametrize("line", ["", "1\t2\t3\t4\t", "1.0\t2\t3\t4", "1\t2\t3\t+4"])
def test_a_bad_line_of_a_later_block_is_named(file, monkeypatch, size, line):
    monkeypatch.setattr(ratings, "_BLOCK_BYTES", size)
    with pytest.raises(ValueError, match=r"u\.data, line 4: "):
        read_movielens_ratings(file(f"{GOOD}{line}\n9\t9\t3\t4\n"))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("1\t3\t3\t4 ", "timestamp '4 ' is not a n"),
        ("1\t3\t3\t4\r5\t3\t3\t4 ", "7 fields"),
    ],
)
def test_additional_bytes_do_not_hide_missing_ones(file, line, fault):
    with pytest.raises(ValueError, match=f"line 2: {fault}"):
        read_movielens_ratings(file(f"1\t2\t3\t4\n{line}\n1\t4\t3\t4"))


def test_an_empty_file(file):
    with pytest.raises(ValueError, match=r"u\.data, line 1: the file is empty"):
        read_movielens_ratings(file(""))


class TestDuplicates:
    text = GOOD + "196\t242\t5\t881250950\n"

    def test_are_an_error_naming_both_lines(self, file):
        with pytest.raises(
            ValueError, match="line 4: user 196 already rated item 242 on line"
        ):
            read_movielens_ratings(file(self.text))

    @pytest.mark.parametrize(
        ("keep", "ratings"), [("first", [3, 3, 1]), ("last", [3, 1, 5])]
    )
    def test_one_can_be_kept(self, file, keep, ratings):
        data = read_movielens_ratings(file(self.text), duplicates=keep)
        assert data["rating"].tolist() == ratings
        assert data.index.tolist() == [0, 1, 2]

    def test_another_word_is_refused(self, file):
        with pytest.raises(ValueError, match="not 'both'"):
            read_movielens_ratings(file(self.text), duplicates="both")
