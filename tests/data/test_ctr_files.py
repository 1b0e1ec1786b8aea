import codecs

import numpy
import pytest

from d2l_recsys.data import catalog, ctr_files
from d2l_recsys.data.ctr_files import read_table
from d2l_recsys.data.ctr_layouts import LAYOUTS, Layout, tabbed

GOOD = "1\ta\tx\n0\tb\tx\n0\ta\t\n"
AVAZU = "7,1,14102103,1005,0," + ",".join("abcdefghijklmnopqrs") + "\n"
CRITEO = "0\t1\t\t-3" + "\t5" * 10 + "\tab" * 26 + "\n"


@pytest.fixture
def file(tmp_path):
    def write(content, name="train.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def texts(table):
    """Return the texts of the rows, as in the file."""
    return [[table.values[f][c] for f, c in enumerate(row)] for row in table.codes]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_reads_what_is_there(file, newline, end, mark):
    content = GOOD.replace("\n", newline)
    content = content if end else content[: -len(newline)]
    table = read_table(file(mark + content.encode()), tabbed(2))
    assert texts(table) == [["a", "x"], ["b", "x"], ["a", ""]]
    assert table.labels.tolist() == [1, 0, 0]
    assert (table.codes.dtype, table.labels.dtype) == ("int32", "float32")


def test_values_stay_text(file):
    lines = '1\t007\tNA\n0\t1.50\tnan\n0\t"\té,\n'
    table = read_table(file(lines), tabbed(2))
    assert texts(table) == [["007", "NA"], ["1.50", "nan"], ['"', "é,"]]


@pytest.mark.parametrize("start", ["", "é", "é" * 4, "é" * 9])
def test_values_of_any_length_are_told_apart(file, start):
    values = [start + "a" * size + end for size in range(9) for end in ("", "b", "ß")]
    rows = [[value, "x", other] for value in values for other in values]
    table = read_table(
        file("".join("\t".join(["0", *r]) + "\n" for r in rows)), tabbed(3)
    )
    assert texts(table) == rows
    assert [len(v) for v in table.values] == [len(values), 1, len(values)]


@pytest.mark.parametrize("end", ["\n", "\n\n", "\n\nc,d\n"])
def test_blank_lines_are_named_also_after_quotes(file, end):
    layout = Layout(",", ("x", "y"), None, quoted=True)
    with pytest.raises(ValueError, match="line 2: 1 fields instead of 2"):
        read_table(file('"a",b\n' + end), layout)
    table = read_table(
        file('"a"\n' + end.replace(",", "")), layout._replace(columns=("x",))
    )
    assert texts(table)[:2] == [["a"], [""]]


@pytest.mark.parametrize("size", [1, 7, 8, 12, 1000])
def test_blocks_of_any_size_give_the_same(file, monkeypatch, size):
    whole = read_table(file(GOOD * 5), tabbed(2))
    monkeypatch.setattr(ctr_files, "_BLOCK_BYTES", size)
    parts = read_table(file(GOOD * 5), tabbed(2))
    assert texts(parts) == texts(whole)
    assert parts.labels.tolist() == whole.labels.tolist()


def test_a_layout_of_ones_own(file):
    layout = Layout(";", ("click", "a", "b"), "click", ("b",))
    assert texts(read_table(file("1;x;y\n0;z;y\n"), layout)) == [["x"], ["z"]]
    with pytest.raises(
        ValueError, match=r"line 2: 2 fields instead of 3 .*by semicolons"
    ):
        read_table(file("1;x;y\n0;z\n"), layout)


def test_a_byte_order_mark_is_no_fault(file):
    mark = codecs.BOM_UTF8.decode()
    with pytest.raises(ValueError, match="line 2: 1 fields"):
        read_table(file(mark + "1\ta\tb\n1\n"), tabbed(2))
    table = read_table(file(mark + "label\tfield 1\n1\ta\n"), tabbed(1))
    assert texts(table) == [["a"]]


def test_several_files_are_one_table(file):
    paths = [file(GOOD, "a"), file("1\tc\tx\n", "b")]
    table = read_table(paths, tabbed(2))
    assert texts(table)[-2:] == [["a", ""], ["c", "x"]]


def test_rows_of_a_table(file):
    table = read_table(file(GOOD), tabbed(2))
    part = table.rows(numpy.array([False, True, True]))
    assert texts(part) == [["b", "x"], ["a", ""]]
    assert part.labels.tolist() == [0, 0]


BAD = [
    (b"1\ta", "2 fields instead of 3"),
    (b"1\ta\tb\tc", "4 fields instead of 3"),
    (b"1\ta\tb\t", "4 fields instead of 3"),
    (b"", "1 fields instead of 3"),
    (b"1 a b", "1 fields instead of 3"),
    (b"1,a,b", "1 fields instead of 3 .separated by tabs"),
    (b"-1\ta\tb", "the label must be 0 or 1, not '-1'"),
    (b"2\ta\tb", "the label must be 0 or 1, not '2'"),
    (b"\ta\tb", "the label must be 0 or 1, not ''"),
    (b"yes\ta\tb", "the label must be 0 or 1, not 'yes'"),
    (b"1\t\xe9\tb", "not UTF-8"),
    (b"1\ta\0\tb", "the line contains a zero byte"),
]


@pytest.mark.parametrize(("line", "fault"), BAD)
@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("size", [9, 1000])
class TestBadLines:
    def lines(self, line, number):
        lines = GOOD.encode().splitlines()
        lines.insert(number - 1, line)
        return b"\n".join(lines) + b"\n"

    def test_are_named(self, file, monkeypatch, line, fault, number, size):
        monkeypatch.setattr(ctr_files, "_BLOCK_BYTES", size)
        path = file(self.lines(line, number))
        with pytest.raises(ValueError, match=rf"train\.csv, line {number}: {fault}"):
            read_table(path, tabbed(2))

    def test_are_skipped_if_asked(self, file, monkeypatch, line, fault, number, size):
        monkeypatch.setattr(ctr_files, "_BLOCK_BYTES", size)
        path = file(self.lines(line, number))
        with pytest.warns(
            UserWarning, match=f"1 lines skipped.*line {number}: {fault}"
        ):
            table = read_table(path, tabbed(2), on_error="skip")
        assert table.skipped == 1
        assert texts(table) == [["a", "x"], ["b", "x"], ["a", ""]]


def test_one_field_too_many_and_one_too_few_do_not_make_up(file):
    with pytest.raises(ValueError, match="line 2: 4 fields"):
        read_table(file("1\ta\tb\n1\ta\tb\tc\n1\ta\n"), tabbed(2))


def test_a_line_break_within_a_line_is_seen(file):
    with pytest.raises(ValueError, match="line 4: the line contains a carriage return"):
        read_table(file(GOOD + "1\ta\rb\tc\n"), tabbed(2))


def test_one_byte_order_mark_may_stand_at_the_start(file):
    mark = "\ufeff"
    assert len(read_table(file(mark + GOOD), tabbed(2)).labels) == 3
    with pytest.raises(ValueError, match=r"line 1: .* byte order mark"):
        read_table(file(mark + mark + GOOD), tabbed(2))
    with pytest.raises(ValueError, match=r"line 4: .* byte order mark"):
        read_table(file(GOOD + mark + GOOD), tabbed(2))


@pytest.mark.parametrize("text", [" 1", "1 ", "+1", "1_0", "\u0661", "1e999", "0x1"])
def test_what_only_python_takes_for_a_number(file, text):
    with pytest.raises(ValueError, match=r"line 1: field 1 '.*' is not a number"):
        read_table(file(f"1\t{text}\tc\n"), tabbed(2, numeric=[1]))


def test_a_half_written_last_line(file):
    with pytest.raises(ValueError, match=r"line 4: 2 fields .*may be truncated here"):
        read_table(file(GOOD + "1\ta"), tabbed(2))


@pytest.mark.parametrize("content", ["", "label\tfield 1\tfield 2\n"])
def test_an_empty_file(file, content):
    with pytest.raises(ValueError, match=r"train\.csv, line 1: the file has no rows"):
        read_table(file(content), tabbed(2))


def test_nothing_left_after_skipping(file):
    with pytest.warns(UserWarning, match="2 lines skipped"), pytest.raises(
        ValueError, match="no rows"
    ):
        read_table(file("a\nb\n"), tabbed(2), on_error="skip")


def test_what_no_check_explains_is_an_error_too(file, monkeypatch):
    monkeypatch.setattr(ctr_files, "_parse", lambda *_: None)
    with pytest.raises(
        ValueError, match=r"train\.csv, line 1: the file cannot be read"
    ):
        read_table(file(GOOD), tabbed(2), on_error="skip")


def test_utf_16(file):
    with pytest.raises(ValueError, match=r"train\.csv, line 1: not UTF-8"):
        read_table(file(GOOD.encode("utf-16")), tabbed(2))


def test_another_word_for_on_error(file):
    with pytest.raises(ValueError, match="not 'ignore'"):
        read_table(file(GOOD), tabbed(2), on_error="ignore")


class TestCriteo:
    layout = LAYOUTS["criteo"]

    def test_fields(self, file):
        table = read_table(file(CRITEO), self.layout)
        assert len(table.fields) == 39
        assert len(table.numeric) == 13
        assert texts(table)[0][:4] == ["1", "", "-3", "5"]

    @pytest.mark.parametrize("value", ["x", "1,5", "nan", "inf", "0x1"])
    def test_numbers_are_checked(self, file, value):
        bad = CRITEO.replace("-3", value)
        with pytest.raises(ValueError, match=rf"line 2: I3 '{value}' is not a number"):
            read_table(file(CRITEO + bad), self.layout)


class TestAvazu:
    layout = LAYOUTS["avazu"]

    @pytest.mark.parametrize("header", [True, False])
    def test_fields(self, file, header):
        names = ",".join(self.layout.columns) + "\n"
        table = read_table(file(names * header + AVAZU), self.layout)
        assert len(table.fields) == 23
        assert table.fields[:3] == ("hour: weekday", "hour: hour", "C1")
        # 21 October 2014 was a Tuesday.
        assert texts(table)[0][:5] == ["2", "03", "1005", "0", "a"]
        assert texts(table)[0][-1] == "s"
        assert table.labels.tolist() == [1]

    @pytest.mark.parametrize(
        "hour", ["", "141021", "14102124", "14133100", "1410210a", "1410 103"]
    )
    def test_hours_are_checked(self, file, hour):
        bad = AVAZU.replace("14102103", hour)
        names = ",".join(self.layout.columns) + "\n"
        with pytest.raises(
            ValueError,
            match=rf"line 3: the hour must have the form YYMMDDHH, not '{hour}",
        ):
            read_table(file(names + AVAZU + bad), self.layout)

    def test_two_days_share_an_hour(self, file):
        table = read_table(file(AVAZU + AVAZU.replace("141021", "141022")), self.layout)
        assert [row[:2] for row in texts(table)] == [["2", "03"], ["3", "03"]]


@pytest.mark.parametrize(
    ("name", "rows", "fields"),
    [("criteo", (7200, 409, 391), 39), ("avazu", (8087, 480, 432), 23)],
)
def test_the_real_samples(name, rows, fields):
    folder = catalog.find(name)
    if folder is None:
        pytest.skip(f"{name} is not in the folder that D2L_RECSYS_DATA names")
    for part, expected in zip(("train", "dev", "test"), rows):
        path = folder / f"{part}.csv"
        table = read_table(path, LAYOUTS[name])
        assert table.codes.shape == (expected, fields)
        separator = LAYOUTS[name].separator
        last = path.read_text().splitlines()[-1].split(separator)
        assert texts(table)[-1][-3:] == last[-3:]
        assert table.labels.sum() == sum(
            line.split(separator)[1 if name == "avazu" else 0] == "1"
            for line in path.read_text().splitlines()
        )
