"""Damaged files give the right result, or an error that names file and line.

The damage and the right results come from damage.py.
"""

import re
import time
import tracemalloc
from unittest import mock

import pytest
from damage import (
    Bad,
    damaged,
    each_damage,
    parsed_movies,
    parsed_ratings,
    parsed_table,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data import ctr_files
from d2l_recsys.data.ctr_files import read_table
from d2l_recsys.data.ctr_layouts import LAYOUTS, tabbed
from d2l_recsys.data.movies import read_movies
from d2l_recsys.data.ratings import read_movielens_ratings

bounded = settings(
    derandomize=True,
    deadline=None,
    max_examples=200,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def outcome(read, path):
    """Return the result of `read`, or the number of the line that its error names."""
    try:
        return read()
    except ValueError as error:
        kind, text = type(error), str(error)
    assert kind is ValueError
    found = re.match(rf"{re.escape(str(path))}, line (\d+): .", text)
    assert found, text[:200]
    assert len(text) < len(str(path)) + 300
    return Bad(int(found[1]))


def expected(parse):
    try:
        return parse()
    except Bad as bad:
        return bad


def same(actual, right):
    """Compare two outcomes. Two errors are the same if they name the same line."""
    if isinstance(actual, Bad) or isinstance(right, Bad):
        assert getattr(actual, "args", "read") == getattr(right, "args", "read")
    else:
        assert actual == right


RATINGS = ["7\t3\t4\t881250949", "12\t3\t5\t1", "7\t12\t3.5\t0", "1\t1\t1\t-9"]
MOVIES = ["1|A (1995)|01-Jan-1995||http://x|0|1", "2|\xc9 'NA'|||y|1|0", "30|B|||z|0|0"]
CTR = ["1\t3\ta\t", "0\t\tb\tc d", "1\t-2.5e3\t\t\u4e2d", "0\t3\ta\t"]
CRITEO = ["\t".join("1" + "9" * 13 + "f" * 26), "\t".join("0-" + "3" * 12 + "e" * 26)]
CRITEO[1] = CRITEO[1].replace("-", "-7")
NAMES = ",".join(LAYOUTS["avazu"].columns)
AVAZU = [
    ",".join(["x", label, hour, *"0123456789abcdefghijk"])
    for label, hour in (("0", "14102103"), ("1", "99123123"))
]


def check_ratings(content, folder):
    path = folder / "u.data"
    path.write_bytes(content)
    actual = outcome(lambda: read_movielens_ratings(path).itertuples(index=False), path)
    if not isinstance(actual, Bad):
        actual = [list(row) for row in actual]
    same(actual, expected(lambda: parsed_ratings(content)))


@bounded
@given(content=damaged(RATINGS, b"\t") | damaged(RATINGS[:2], b"\t"))
def test_ratings(content, tmp_path):
    check_ratings(content, tmp_path)


@pytest.mark.parametrize("lines", [RATINGS[:2], RATINGS[1:3]])
def test_ratings_with_one_fault(lines, tmp_path):
    for content in each_damage(lines, "\t"):
        check_ratings(content, tmp_path)


def check_movies(content, folder):
    path = folder / "u.item"
    path.write_bytes(content)
    (folder / "u.genre").write_bytes(b"Action|0\nDrama|1\n")

    def read():
        frame = read_movies(folder)
        return dict(zip(frame.index.tolist(), frame.to_numpy().tolist()))

    same(outcome(read, path), expected(lambda: parsed_movies(content)))


@bounded
@given(content=damaged(MOVIES, b"|"))
def test_movies(content, tmp_path):
    check_movies(content, tmp_path)


def test_movies_with_one_fault(tmp_path):
    for content in each_damage(MOVIES[:2], "|"):
        check_movies(content, tmp_path)


def rows_of(table):
    """Return labels and fields of each row, as parsed_table does."""
    texts = [
        [values[code] for values, code in zip(table.values, row)] for row in table.codes
    ]
    return list(zip(table.labels.tolist(), texts))


def check_ctr(content, block, layout, folder):
    path = folder / "train.csv"
    path.write_bytes(content)
    with mock.patch.object(ctr_files, "_BLOCK_BYTES", block):
        actual = outcome(lambda: read_table(path, layout), path)
    right = expected(lambda: parsed_table(content, layout))
    if isinstance(right, list):
        right = [(label, list(fields.values())) for label, fields in right]
    same(actual if isinstance(actual, Bad) else rows_of(actual), right)


LAYOUTS_AND_LINES = {
    "book": (tabbed(3, numeric=[1]), CTR),
    "criteo": (LAYOUTS["criteo"], CRITEO),
    "avazu": (LAYOUTS["avazu"], AVAZU),
    "avazu with names": (
        LAYOUTS["avazu"],
        [",".join(LAYOUTS["avazu"].columns), *AVAZU],
    ),
}


@pytest.mark.parametrize("name", LAYOUTS_AND_LINES)
def test_advertisements(name, tmp_path):
    layout, lines = LAYOUTS_AND_LINES[name]

    @bounded
    @given(
        content=damaged(lines, layout.separator.encode()),
        block=st.sampled_from([1, 40, 2**24]),
    )
    def check(content, block):
        check_ctr(content, block, layout, tmp_path)
        data = outcome(
            lambda: CTRDataset(tmp_path / "train.csv", layout=layout),
            tmp_path / "train.csv",
        )
        if not isinstance(data, Bad):
            right = [label for label, _ in parsed_table(content, layout)]
            assert data.labels[:, 0].tolist() == right
            assert (data.features < data.offsets + data.field_dims).all()

    check()


@pytest.mark.parametrize("name", ["book", "avazu"])
def test_advertisements_with_one_fault(name, tmp_path):
    layout, lines = LAYOUTS_AND_LINES[name]
    for number, content in enumerate(each_damage(lines[:2], layout.separator)):
        check_ctr(content, (1, 2**24)[number % 2], layout, tmp_path)


BIG = 4_000_000
LONG = {
    "one line of digits": b"1" * BIG,
    "one line of separators": b"\t" * BIG,
    "empty lines": b"\n" * BIG,
    "zero bytes": bytes(BIG),
    "a long rating": b"1\t1\t" + b"2" * BIG + b"\t1\n",
    "a long number": b"2" * BIG + b"\t1\t1\t1\n",
}


@pytest.mark.parametrize("content", LONG.values(), ids=LONG)
def test_time_and_memory_are_bounded(content, tmp_path):
    path = tmp_path / "u.data"
    path.write_bytes(content)
    (tmp_path / "u.genre").write_bytes(b"")
    (tmp_path / "u.item").write_bytes(content)
    tracemalloc.start()
    start = time.process_time()
    try:
        assert outcome(lambda: read_movielens_ratings(path), path).args == (1,)
        movies = outcome(lambda: read_movies(tmp_path), tmp_path / "u.item")
        assert movies.args == (1,)
        numeric = tabbed(3, numeric=[1, 2, 3])
        assert outcome(lambda: read_table(path, numeric), path).args == (1,)
        assert tracemalloc.get_traced_memory()[1] < 30 * BIG
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 10
