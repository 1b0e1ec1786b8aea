"""The scripts on a reader's own files."""

import json
import random
import re
from argparse import ArgumentTypeError, Namespace

import pytest
from jobs import chapter

from chapters.__main__ import main
from chapters.runner.ctr_data import load_ctr
from chapters.runner.data import MOVIELENS, find_data, forget_warnings
from chapters.runner.options import Options
from chapters.runner.own_data import column, scale
from d2l_recsys import load, recommend

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
        ("mf", ["--validation"], "predicted rating of user reader 9 for item 120: "),
        ("autorec", [], "matrix factorization on the same split:"),
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
    assert line in result.stdout
    record = json.loads((tmp_path / f"{slug}.json").read_text())
    assert record["data"] == "custom"


@pytest.mark.parametrize(
    ("slug", "fields"), [("mf", "012"), ("autorec", "012"), ("neumf", "013")]
)
def test_models_know_the_ids_of_the_file(run, tmp_path, slug, fields):
    header = ",".join(["userId", "isbn", "stars", "when"][int(k)] for k in fields)
    options = ["--split", "random"] if slug == "mf" else []
    result = run(slug, *options, header=header, fields=fields)
    assert (result.returncode, result.stderr) == (0, "")
    net = load(tmp_path / slug)
    data = net.trained_on
    assert sorted(data.user_ids) == sorted(USERS)
    user = data.user_ids.index("reader 3")
    mine = {str(row[1]) for row in rows() if row[0] == "reader 3"}
    seen = {str(data.item_ids[item]) for item in data.seen.of_user(user)}
    best = {str(data.item_ids[item]) for item, _ in recommend(net, user, 20)}
    assert seen < mine
    assert seen | best == {*map(str, data.item_ids)}
    assert not seen & best
    assert (data.ratings is None) == (slug == "neumf")


def test_columns_of_any_name_and_low_ratings(run):
    names = ["user=a", "item=b", "rating=c", "time=d"]
    result = run(
        "neumf", "--columns", *names, "--min-rating", "5", "--scale=0-10",
        header="d,c,b,a", fields="3210",
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    high = [row for row in rows() if row[2] >= 5]
    users, items = ({row[k] for row in high} for k in (0, 1))
    assert (
        f"\n{len(high)} ratings on a scale from 0 to 10, at least 5, {len(users)} "
        f"users, {len(items)} items\n" in result.stdout
    )
    assert f"\nlast items of user {min(users)}:\n    item 1" in result.stdout


def test_implicit_feedback(run):
    result = run("neumf", header="user,item,date", fields="013")
    assert (result.returncode, result.stderr) == (0, "")
    assert f"\n{len(rows())} rows without ratings, 12 users" in result.stdout


@pytest.mark.parametrize(
    ("slug", "options", "kind", "error"),
    [
        ("mf", [], ("user,item,date", "013"), "own.csv: no column has a usual name for"
         " the rating, which mf needs: name it with --columns rating=NAME, or use neu"),
        ("neumf", [], ("user,item,stars", "012"), "usual name for the time, which neu"),
        ("mf", ["--scale", "1-9", "--data", "ml-100k"], ("a,b", "01"), "argument --sc"
         "ale: needs --data FILE"),
    ],
)  # fmt: skip
def test_errors(run, slug, options, kind, error):
    result = run(slug, *options, header=kind[0], fields=kind[1])
    assert result.returncode in (1, 2)
    assert error in re.sub(r"\s+", " ", result.stderr)
    assert "Traceback" not in result.stderr


SHORT = "user,item,rating,time\na,x,3,1\na,y,4,2\nb,y,2,3\nb,z,3,2\n"


def short(tmp_path, slug, *options, more=""):
    """Run a script on users with two ratings each."""
    path = tmp_path / "short.csv"
    path.write_text(SHORT + more)
    options = "--data", path, "--out", tmp_path, "--epochs", "1", *options
    return chapter(f"chapters.{slug}", *map(str, options))


def test_short_sequences_are_padded(tmp_path):
    more = "b,w,1,1\nc,z,5,1\nc,w,5,2\n"
    result = short(tmp_path, "seqrec", more=more)
    assert (result.returncode, result.stderr) == (0, "")
    assert "sample 0: user a, items [None, None, None, None, None], ta" in result.stdout


@pytest.mark.parametrize(
    ("slug", "error"),
    [
        ("mf", "of 2 training rows, 2 would be held out: use more data, or leave out"),
        ("neumf", "of 2 training rows, 2 would be held out: use more data, or leave o"),
        ("seqrec", "of 2 training rows, 2 would be held out: use more data, or leave "),
    ],
)
def test_too_little_for_validation(tmp_path, slug, error):
    result = short(tmp_path, slug, "--validation")
    assert result.returncode == 1
    assert f"chapters.{slug}: error: --validation: {error}" in result.stderr
    assert result.stderr.count("\n") == 1


def test_columns_add_up(capsys):
    options = Options("mf")
    words = ["--columns", "user=a", "--columns", "item=b"]
    assert options.parse_args(words).columns == [("user", "a"), ("item", "b")]
    with pytest.raises(SystemExit):
        options.parse_args([*words, "--columns", "user=c"])
    assert "argument --columns: user= is there twice" in capsys.readouterr().err


def test_a_label_without_a_usual_name(tmp_path):
    path = tmp_path / "own.csv"
    for text, error in (
        ("page,ad,bought\na,x,1\n", "name the column with --columns label=NAME"),
        ("page\tbought\na\t1\n", "name the column with --columns label=NAME"),
        ("", "line 1: the file is empty"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=error):
            load_ctr(path, "custom")


def test_values_of_options():
    assert column(("user", "item"), "user=a=b") == ("user", "a=b")
    for text in ("who=a", "user=", "user"):
        with pytest.raises(
            ArgumentTypeError, match="is not ROLE=NAME, with one of the roles"
        ):
            column(("user",), text)
    assert [scale(x) for x in ("1-10", "-1.5--1")] == [(1, 10), (-1.5, -1)]
    for text in ("10-1", "1", "1-1", "a-b", "1-.", "-", "1-2-3"):
        with pytest.raises(ArgumentTypeError):
            scale(text)


def test_without_times_mf_has_a_random_split(run, tmp_path):
    point = ["--checkpoint", tmp_path / "points"]
    kind = {"header": "user,item,stars", "fields": "012"}
    result = run("mf", "--split", "random", *point, **kind)
    assert (result.returncode, result.stderr) == (0, "")
    again = run("mf", "--split", "random", *point, "--resume", **kind)
    assert (again.returncode, again.stderr) == (0, "")
    other = run("mf", "--split", "random", *point, "--resume", header="user,item,score",
                fields="012")  # fmt: skip
    assert other.returncode == 2
    assert "start a new training in another folder" in other.stderr


class TestClicks:
    @pytest.fixture
    def clicks(self, tmp_path):
        """Return a function that writes rows with a header to a file."""

        def write(name, count, header="ad,bought,site"):
            rng = random.Random(count)
            rows = (
                f'"ad, {rng.randrange(4)}",{rng.randrange(2)},s{rng.randrange(3)}\n'
                for _ in range(count)
            )
            (tmp_path / name).write_text(f"{header}\n" + "".join(rows))
            return tmp_path / name

        return write

    def test_scripts_take_files_with_a_header(self, clicks, tmp_path):
        train, test = clicks("own.csv", 60), clicks("test.csv", 20)
        result = chapter(
            "chapters.fm", "--data", train, "--test", test, "--columns", "label=bought",
            "--epochs", "1", "--out", tmp_path,
        )  # fmt: skip
        assert (result.returncode, result.stderr) == (0, "")
        assert f"\n60 training rows, 20 test rows: {test}\n" in result.stdout

    def test_a_random_sixth_is_the_test_part(self, clicks, capsys):
        parts = load_ctr(clicks("own.csv", 60), "custom", label="bought")
        assert [*map(len, parts[:2])] == [50, 10]
        told = "50 training rows, 10 test rows: a random sixth\n"
        assert capsys.readouterr().out == told
        assert parts.train.fields == ("ad", "site")
        assert "ad, 1" in parts.train.feat_mapper[1]

    @pytest.mark.parametrize("separator", [",", ";"])
    def test_files_without_a_header(self, tmp_path, separator):
        rows = '1,"a,a",b;e\n0,c,d\n'
        if separator == ";":
            rows = '1;"a;a";b,e\n0;c;d\n'
        (tmp_path / "own.csv").write_text(rows * 6)
        parts = load_ctr(tmp_path / "own.csv", "custom", min_count=1)
        assert parts.train.fields == ("field 1", "field 2")

    def test_other_columns_are_refused(self, clicks):
        train, test = clicks("own.csv", 60), clicks("test.csv", 20, "site,bought,ad")
        match = "the columns are site, bought, ad, but those of .*own.csv are ad, bou"
        with pytest.raises(ValueError, match=match):
            load_ctr(train, "custom", test_file=test, label="bought")


def test_a_warning_is_printed_once_for_all_sections_of_a_run(capsys, smoke_data):
    args = Namespace(smoke=False, data="auto", data_dir=smoke_data)
    forget_warnings()
    for runs in (1, 2):
        for _ in range(2):
            find_data(args, MOVIELENS)
        assert capsys.readouterr().out.count("NOT THE BOOK'S") == 1, runs
        forget_warnings()


def test_all_sections_cannot_share_a_file(monkeypatch, capsys, tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("user,item\n1,2\n")
    monkeypatch.setattr("sys.argv", ["chapters", "--data", str(path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert f"python -m chapters.NAME --data {path}, where NAME is movielens" in error
