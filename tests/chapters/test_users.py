"""The ids that scripts print and accept are those of the reader's file."""

import pytest
from jobs import chapter

from chapters.runner.data import arguments_for


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a script on rows of (user, item)."""

    def run(slug, pairs, *options):
        rows = (f"{u}\t{i}\t{3 + n % 2}\t{n}\n" for n, (u, i) in enumerate(pairs))
        (tmp_path / "u.data").write_text("".join(rows))
        options = "--data-dir", tmp_path, "--out", tmp_path, "--epochs", "1", *options
        return chapter(f"chapters.{slug}", *map(str, options))

    return run


def grid(users, items):
    """Return pairs in which each user lacks some of the items."""
    return [
        (u, i)
        for n, u in enumerate(users)
        for m, i in enumerate(items)
        if (n + m) % 4 < 2
    ]


@pytest.mark.parametrize(
    ("pairs", "who"),
    [
        ([(1, 1), (1, 2)], "user 1 for item 2"),
        ([(7, 10), (7, 500)], "user 7 for item 500"),
        (grid(range(51, 81), range(101, 151)), "user 71 for item 131"),
    ],
)
def test_mf_predicts_for_a_user_and_an_item_of_the_file(run, pairs, who):
    result = run("mf", pairs)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"\npredicted rating of {who}: " in result.stdout


@pytest.mark.parametrize("slug", ["neumf", "seqrec"])
def test_recommendations_are_for_a_user_of_the_file(run, slug):
    result = run(slug, grid(range(51, 71), range(101, 131)))
    assert (result.returncode, result.stderr) == (0, "")
    assert "\nlast movies of user 51:\n    item " in result.stdout
    assert "user 0" not in result.stdout
    if slug == "seqrec":
        sample = "sample 0: user 51, items [118, 121, 122, 125, 126], target 129, "
        assert sample in result.stdout


def test_a_user_without_a_history_is_named_as_in_the_file(run):
    result = run("seqrec", [*grid(range(51, 61), range(101, 131)), (99, 101)])
    assert (result.returncode, result.stdout.count("user 10 ")) == (1, 0)
    (line,) = result.stderr.splitlines()
    start = "python -m chapters.seqrec: error: user 99 has a single rating, which"
    assert line.startswith(start)


@pytest.mark.parametrize(
    ("slug", "options"), [("neumf", []), ("seqrec", []), ("seqrec", ["--strict"])]
)
def test_a_user_without_negatives_is_named_as_in_the_file(run, slug, options):
    pairs = grid(range(51, 61), range(101, 131))
    every = [(77, item) for item in range(101, 131)]
    result = run(slug, [*pairs, *every], *options)
    if options:  # the held-out item can be a negative
        assert (result.returncode, result.stderr) == (0, "")
        return
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    start = f"python -m chapters.{slug}: error: user 77 has rated all 30 items"
    assert line.startswith(start)


@pytest.mark.parametrize("slug", ["movielens", "mf", "autorec", "neumf", "seqrec"])
def test_duplicates(run, slug):
    pairs = grid(range(51, 71), range(101, 131))
    twice = [*pairs, pairs[0]]
    result = run(slug, twice)
    assert result.returncode == 1
    assert f"line {len(twice)}" in result.stderr
    for kept in ("first", "last"):
        result = run(slug, twice, "--duplicates", kept)
        assert (result.returncode, result.stderr) == (0, "")


def test_the_runner_passes_duplicates_on():
    given = ["--duplicates", "first", "--epochs", "1"]
    assert arguments_for("mf", given) == given
    assert arguments_for("fm", given) == ["--epochs", "1"]
    assert arguments_for("fm", ["--data", "ctr", *given])[:2] == ["--data", "ctr"]


def test_a_user_without_history_is_recommended_something(tmp_path, smoke_data):
    lines = (smoke_data / "u.data").read_text().splitlines()
    of_user = [line for line in lines if line.startswith("1\t")]
    # Keep one rating of the user, which is then held out.
    lines = [line for line in lines if line not in of_user[1:]]
    (tmp_path / "u.data").write_text("\n".join(lines))
    result = chapter(
        "chapters.neumf", "--epochs", "1", "--data-dir", tmp_path, "--out", tmp_path
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert (
        "user 1 has no movies yet\nrecommendations (score, title):\n" in result.stdout
    )
