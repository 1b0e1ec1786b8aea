"""The scripts on the formats of the larger MovieLens data sets, with tiny files."""

import json
import re

import numpy
import pytest
from jobs import chapter
from movielens_files import CSV, DAT, write_set

from chapters.runner.data import arguments_for
from d2l_recsys.data import catalog

TINY = [  # 12 users with 6 of 10 movies each
    (3 * user + 1, 100 * item + 7, 1 + (user * item) % 5, 1000 + 10 * item)
    for user in range(12)
    for item in range(10)
    if (user + item) % 5 < 3
]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Put tiny data sets of all names into the folder of D2L_RECSYS_DATA."""
    for name in DAT + CSV:
        write_set(tmp_path / "data", name, TINY)
    monkeypatch.setenv("D2L_RECSYS_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


class TestScripts:
    def run(self, tmp_path, slug, name, *more):
        out = str(tmp_path / "out")
        return chapter(f"chapters.{slug}", "--data", name, "--out", out, *more)

    @pytest.mark.parametrize("name", ["ml-1m", "ml-10m", "ml-32m"])
    def test_take_each_format_and_say_that_it_is_not_the_books(
        self, tmp_path, tiny, name
    ):
        result = self.run(tmp_path, "movielens", name)
        assert (result.returncode, result.stderr) == (0, "")
        assert "instead of MovieLens 100K, as requested." in result.stdout
        assert "THE FIGURES BELOW ARE NOT THE BOOK'S." in result.stdout
        published = catalog.DATASETS[name].ratings
        assert f"has {len(TINY)} ratings instead of {published}." in result.stdout
        assert "number of users: 12, number of items: 10" in result.stdout
        record = json.loads((tmp_path / "out" / "movielens.json").read_text())
        assert record["data"] == "custom"

    @pytest.mark.parametrize(
        ("slug", "name", "more"),
        [
            ("mf", "ml-1m", []),
            ("autorec", "ml-10m", []),
            ("neumf", "ml-latest-small", []),
            ("seqrec", "ml-25m", ["-L", "2"]),
        ],
    )
    def test_train_on_them(self, tmp_path, tiny, slug, name, more):
        result = self.run(tmp_path, slug, name, "--epochs", "2", *more)
        assert (result.returncode, result.stderr) == (0, "")
        assert "THE FIGURES BELOW ARE NOT THE BOOK'S." in result.stdout
        if slug in ("neumf", "seqrec"):
            shown = re.findall(r"^ +[-\d. ]*(Film \d+) \(1990\)$", result.stdout, re.M)
            assert {*shown} <= {f"Film {100 * i + 7}" for i in range(10)}
            # The 5 seen movies in training, and the other 5 as recommendations.
            assert len(shown) == len({*shown}) == 5 + 5

    def test_do_without_titles(self, tmp_path, tiny):
        (tiny / "ml-1m" / "movies.dat").unlink()
        movies = tiny / "ml-20m" / "movies.csv"
        movies.write_text(movies.read_text().replace("107,", "108,"))
        for name, titles in (("ml-1m", 0), ("ml-20m", 9)):
            result = self.run(tmp_path, "neumf", name, "--epochs", "1")
            assert (result.returncode, result.stderr) == (0, "")
            assert re.search(r"^ +[-\d. ]*item 107$", result.stdout, re.M)
            assert result.stdout.count("Film ") == titles

    def test_with_the_published_number_of_ratings_keep_the_name(self, tmp_path):
        sizes = catalog.DATASETS["ml-latest-small"].ratings
        users, items = numpy.divmod(numpy.arange(sizes), 1000)
        rows = [(u, i, 3.0, 5) for u, i in zip(users + 1, items + 1)]
        place = write_set(tmp_path, "ml-latest-small", rows).parent
        more = ["--data-dir", str(place)]
        result = self.run(tmp_path, "movielens", "ml-latest-small", *more)
        assert "ratings instead of" not in result.stdout
        record = json.loads((tmp_path / "out" / "movielens.json").read_text())
        assert record["data"] == "ml-latest-small"

    def test_end_in_one_line_where_the_matrix_is_too_large(self, tmp_path):
        rows = [(i, i, 3.5, 0) for i in range(1, 46342)]  # 46341 squared is over 2^31
        place = write_set(tmp_path, "ml-20m", rows).parent
        more = ["--data-dir", str(place)]
        result = self.run(tmp_path, "autorec", "ml-20m", *more)
        assert result.returncode == 1
        (line,) = result.stderr.splitlines()
        assert line.startswith("python -m chapters.autorec: error: a matrix of 46341")

    def test_end_in_one_line_at_a_bad_file(self, tmp_path, tiny):
        path = tiny / "ml-25m" / "ratings.csv"
        path.write_text(path.read_text().replace(",1,", ",0.7,", 1))
        result = self.run(tmp_path, "mf", "ml-25m")
        assert result.returncode == 1
        (line,) = result.stderr.splitlines()
        assert re.search(r"ratings\.csv, line \d+: rating '0.7' is not a mult", line)

    def test_smoke_is_the_made_up_set_all_the_same(self, tmp_path, tiny):
        result = self.run(tmp_path, "movielens", "ml-1m", "--smoke")
        assert "number of users: 200" in result.stdout

    def test_are_given_only_what_they_know(self):
        given = ["--data", "ml-1m", "--epochs", "1"]
        assert arguments_for("mf", given) == given
        assert arguments_for("fm", given) == ["--epochs", "1"]
