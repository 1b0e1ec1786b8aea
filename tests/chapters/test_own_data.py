"""The scripts on a reader's own files."""

import json
import random
import re

import pytest
from test_chapters import chapter

USERS = [f"reader {n}" for n in range(12)]


def rows():
    """Return rows of (user, item, stars, date): each user lacks some items."""
    rng = random.Random(0)
    pairs = [(u, i) for u in USERS for i in range(101, 121) if rng.random() < 0.5]
    rng.shuffle(pairs)
    days = (f"2024-{1 + n // 28:02}-{1 + n % 28:02}" for n in range(len(pairs)))
    return [(u, i, rng.randint(1, 10), day) for (u, i), day in zip(pairs, days)]


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a script on columns of the rows."""

    def run(slug, *options, header="userId,isbn,stars,when", fields="0123"):
        lines = [",".join(str(row[int(k)]) for k in fields) for row in rows()]
        path = tmp_path / "own.csv"
        path.write_text("\n".join([header, *lines]) + "\n")
        options = "--data", path, "--out", tmp_path, "--epochs", "1", *options
        return chapter(f"chapters.{slug}", *map(str, options))

    return run


@pytest.mark.parametrize(
    ("slug", "options", "line"),
    [
        ("movielens", [], "seq-aware: {train} training ratings, 12 test ratings"),
        ("mf", ["--validation"], "predicted rating of user reader 9 for item 120: "),
        ("autorec", [], "matrix factorization on the same split:"),
        ("neumf", ["--scale", "1-10"], "last items of user reader 0:\n    item 1"),
        ("seqrec", ["-L", "2"], "sample 0: user reader 0, items ["),
    ],
)
def test_ratings(run, tmp_path, slug, options, line):
    result = run(slug, *options)
    assert (result.returncode, result.stderr) == (0, "")
    count = len(rows())
    assert (
        f"\n{count} ratings on a scale from 1 to 10, 12 users, 20 items\n"
        in result.stdout
    )
    assert line.format(train=count - 12) in result.stdout
    record = json.loads((tmp_path / f"{slug}.json").read_text())
    assert record["data"] == "custom"


def test_columns_of_any_name_and_low_ratings(run):
    names = ["user=a", "item=b", "rating=c", "time=d"]
    result = run(
        "neumf", "--columns", *names, "--min-rating", "5", header="d,c,b,a",
        fields="3210",
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    high = [row for row in rows() if row[2] >= 5]
    users, items = ({row[k] for row in high} for k in (0, 1))
    assert (
        f"\n{len(high)} ratings on a scale from 1 to 10, at least 5, {len(users)} "
        f"users, {len(items)} items\n" in result.stdout
    )


def test_implicit_feedback(run):
    result = run("neumf", header="user,item,date", fields="013")
    assert (result.returncode, result.stderr) == (0, "")
    assert f"\n{len(rows())} rows without ratings, 12 users" in result.stdout


@pytest.mark.parametrize(
    ("slug", "options", "kind", "error"),
    [
        ("mf", [], ("user,item,date", "013"), "own.csv: no column has a usual name of "
         "the rating, which mf needs: name it with --columns rating=NAME, or use neum"),
        ("neumf", [], ("user,item,stars", "012"), "usual name of the time, which neum"),
        ("mf", ["--columns", "user=who"], ("user,item,stars", "012"), "own.csv, line "
         "1: there is no column 'who'; the columns are user, item, stars"),
        ("mf", ["--columns", "who=user"], ("a,b", "01"), "'who=user' is not ROLE=NAME"),
        ("mf", ["--scale", "10-1"], ("a,b", "01"), "'10-1' is not LOW-HIGH, the lowes"),
        ("mf", ["--scale", "1-9"], ("user,item,stars", "012"), "outside 1-9"),
        ("mf", ["--scale", "1-9", "--data", "ml-100k"], ("a,b", "01"), "argument --sc"
         "ale: needs --data FILE"),
    ],
)  # fmt: skip
def test_errors(run, slug, options, kind, error):
    result = run(slug, *options, header=kind[0], fields=kind[1])
    assert result.returncode in (1, 2)
    assert error in re.sub(r"\s+", " ", result.stderr)
    assert "Traceback" not in result.stderr


def test_without_times_mf_has_a_random_split(run, tmp_path):
    point = ["--checkpoint", tmp_path / "points"]
    kind = {"header": "user,item,stars", "fields": "012"}
    result = run("mf", "--split", "random", *point, **kind)
    assert (result.returncode, result.stderr) == (0, "")
    again = run("mf", "--split", "random", *point, "--resume", **kind)
    assert (again.returncode, again.stderr) == (0, "")
    (tmp_path / "own.csv").write_text("user,item,stars\n1,1,1\n1,2,2\n")
    other = run("mf", "--split", "random", *point, "--resume", header="user,item,score",
                fields="012")  # fmt: skip
    assert other.returncode == 2
    assert "data" in other.stderr
