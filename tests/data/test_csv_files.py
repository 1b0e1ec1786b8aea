"""Fast reading gives the same results and errors as the csv module."""

import numpy
import pytest

from d2l_recsys.data import csv_files
from d2l_recsys.movielens import read_ratings


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "own.csv"
        path.write_bytes(content.encode())
        return path

    return write


def items(read):
    return read.data["item_id"].tolist()


@pytest.mark.parametrize(
    "fault", ["1,1,3", "1,1,3,4,5", "1", '"1,1,3,4', "x" * 200_000 + ",1,3,4,5"]
)
@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("before", [1, 5])
def test_a_bad_line_is_named_whatever_precedes_it(
    file, monkeypatch, fault, quote, before
):
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", 30)
    text = "user,item,rating,time\n" + f"{quote}u{quote},1,3,4\n" * before
    with pytest.raises(ValueError, match=f"own.csv, line {before + 2}: "):
        read_ratings(file(f"{text}{fault}\n"), duplicates="last")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("text", ["\n1,1\n\n1,2\n", "1,1\n1,2", "1,1\n1,2\n\n"])
@pytest.mark.parametrize("header", ["user,item", '"user","item"', '"user\nid","item"'])
@pytest.mark.parametrize("size", [3, 1000])
def test_line_ends_of_any_kind(file, monkeypatch, newline, text, header, size):
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", size)
    content = f"{header}\n{text}".replace("\n", newline)
    assert items(read_ratings(file(content))) == [1, 2]
    again = content.rstrip() + newline + "1,2"
    line = again.count(newline) + 1
    with pytest.raises(ValueError, match=f"line {line}: user 1 already rated item 2"):
        read_ratings(file(again))


def test_a_field_too_long_for_the_csv_module_is_an_error(file):
    text = "user,item,rating\n1,1,3\n" + "x" * 200_000 + ",1,3\n2,1,bad\n"
    with pytest.raises(ValueError, match="line 3: field larger than field limit"):
        read_ratings(file(text))


def test_carriage_returns_alone_end_lines(file):
    assert items(read_ratings(file("user,item\r1,1\r1,2\r"))) == [1, 2]
    with pytest.raises(ValueError, match="line 3: 1 fields instead of 2"):
        read_ratings(file("user,item\r1,1\r1\n2,3\n"))


TIMES = {  # what may stand in a column of times, and what it means
    "5": 5,
    "-5": -5,
    " 5 ": 5,
    "007": 7,
    "5.0": 5,
    "5e1": 50,
    "1.5": 1.5,
    str(2**63 - 1): 2**63 - 1,
    str(2**63): 2.0**63,
    "1e300": 1e300,
    "+5": None,
    "True": None,
    "nan": None,
    "": None,
    "1_0": None,
    "0x1": None,
    "\u0665": None,
    "5 5": None,
}


@pytest.mark.parametrize("text", TIMES)
def test_times_of_any_form(file, text):
    right = TIMES[text]
    for user, others in (("a", []), ("+", []), ("a", [9]), ("a", [9.5])):
        rows = [f"{user},1,{text}\n", *(f"b,1,{other}\n" for other in others)]
        path = file("user,item,time\n" + "".join(rows))
        if right is None:
            with pytest.raises(ValueError, match=r"line 2, column time: (the )?time "):
                read_ratings(path)
            continue
        times = read_ratings(path).data["timestamp"]
        if all(isinstance(time, int) for time in [right, *others]):
            assert times.dtype == "int64"
        assert times.tolist() == numpy.array([right, *others]).tolist()


def test_pandas_reads_a_long_file_in_chunks(file):
    """Chunks may get different types. With 64 columns, the first has 8192 rows."""
    head = "user,item,time" + ",x" * 61
    lines = [f"{row},1,{row}" + "," * 61 for row in range(17_000)]
    for last, right in (("7", 7), ("1.5", 1.5), (str(2**63), 2.0**63)):
        text = "\n".join([head, *lines, f"a,1,{last}" + "," * 61])
        times = read_ratings(file(text)).data["timestamp"]
        assert times.tolist() == [*range(17_000), right]
    with pytest.raises(ValueError, match="line 17002, column time: time 'x' is not a"):
        read_ratings(file(text.replace(last, "x")))
