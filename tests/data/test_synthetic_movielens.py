import re

import numpy
import pandas as pd
import pytest

from d2l_recsys.data.synthetic_movielens import _file_order, write_movielens

FILES = ["u.data", "u.genre", "u.info", "u.item", "u.occupation", "u.user"]
USERS, ITEMS = 943, 1682


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "made" / "if need be"
    write_movielens(folder)
    return folder


@pytest.fixture(scope="module")
def ratings(folder):
    return read_ratings(folder)


def read_ratings(folder):
    """Return u.data with ids from 0, in the order of the file."""
    data = pd.read_csv(
        folder / "u.data", sep="\t", header=None, names=["user", "item", "star", "time"]
    )
    assert (data.dtypes == "int64").all()
    return data.assign(user=data["user"] - 1, item=data["item"] - 1)


def read_films(folder):
    return pd.read_csv(folder / "u.item", sep="|", header=None, encoding="latin-1")


def lines(folder, name):
    return (folder / name).read_bytes().decode("latin-1").split("\n")


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "pattern", "number"),
        [
            ("u.data", r"\d+\t\d+\t[1-5]\t\d{9}", 100_000),
            ("u.item", r"\d+\|.+ \(\d{4}\)\|\d\d-\w{3}-\d{4}\|\|.*(\|[01]){19}", ITEMS),
            ("u.user", r"\d+\|\d{1,2}\|[MF]\|[a-z]+\|\d{5}", USERS),
            ("u.genre", r"([A-Z][A-Za-z'-]+|unknown)\|\d+|", 20),  # the last is empty
            ("u.info", r"\d+ (users|items|ratings)", 3),
            ("u.occupation", r"[a-z]+", 21),
        ],
    )
    def test_lines_look_like_the_real_ones(self, folder, name, pattern, number):
        *rows, end = lines(folder, name)
        assert end == ""
        assert len(rows) == number
        assert [row for row in rows if not re.fullmatch(pattern, row)] == []

    def test_tables_agree(self, folder):
        assert sorted(path.name for path in folder.iterdir()) == FILES
        sizes = lines(folder, "u.info")[:-1]
        assert sizes == ["943 users", "1682 items", "100000 ratings"]
        genres = pd.read_csv(folder / "u.genre", sep="|", header=None)
        assert genres[1].tolist() == list(range(19))
        people = pd.read_csv(folder / "u.user", sep="|", header=None)
        assert people[0].tolist() == list(range(1, USERS + 1))
        assert people[1].between(7, 73).all()
        assert set(people[2]) == {"M", "F"}
        assert set(people[3]) <= set(lines(folder, "u.occupation")[:-1])

    def test_films(self, folder):
        films = read_films(folder)
        assert films.shape == (ITEMS, 24)
        assert films[1].str[: -len(" (1996)")].is_unique  # with more movies than names
        assert films[0].tolist() == list(range(1, ITEMS + 1))
        assert films.loc[:, 5:].sum(axis=1).between(1, 3).all()
        assert set(numpy.flatnonzero(films.loc[:, 5:].sum())) == set(range(1, 19))
        dates = pd.to_datetime(films[2], format="%d-%b-%Y")
        assert (dates.dt.year == films[1].str[-5:-1].astype(int)).all()
        assert (dates < "1997-09-20").all()  # released before the first rating

    def test_titles_are_latin_1(self, folder):
        assert (~read_films(folder)[1].map(str.isascii)).sum() >= 5
        with pytest.raises(UnicodeDecodeError):
            (folder / "u.item").read_bytes().decode("utf-8")

    def test_the_seed_decides(self, folder, tmp_path):
        write_movielens(tmp_path / "same", seed=0)
        write_movielens(tmp_path / "other", seed=1)
        first, same, other = (
            [(where / name).read_bytes() for name in FILES]
            for where in (folder, tmp_path / "same", tmp_path / "other")
        )
        assert first == same
        changed = [name for name, a, b in zip(FILES, first, other) if a != b]
        assert changed == ["u.data", "u.item", "u.user"]


class TestSizes:
    @pytest.mark.parametrize(
        ("users", "items", "number", "fewest"),
        [
            (USERS, ITEMS, 100_000, 20),
            (60, 90, 1500, 20),
            (60, 90, 700, 11),
            (5, 10, 50, 10),  # all users rate all items
            (5, 40, 190, 20),  # the most active user would exceed 40 items
            (3, 500, 500, 20),  # each item has one rating
            (30, 7, 30, 1),
            (1, 1, 1, 1),
        ],
    )
    def test_all_occur_and_none_twice(self, tmp_path, users, items, number, fewest):
        write_movielens(tmp_path, users, items, number)
        data = read_ratings(tmp_path)
        assert len(data) == number
        assert not data.duplicated(["user", "item"]).any()
        assert sorted(data["user"].unique()) == list(range(users))
        assert sorted(data["item"].unique()) == list(range(items))
        assert data["user"].value_counts().min() >= fewest
        if number >= 9:
            assert sorted(data["star"].unique()) == [1, 2, 3, 4, 5]
        assert len(read_films(tmp_path)) == items

    @pytest.mark.parametrize(
        "sizes", [(0, 0, 0), (0, 5, 0), (5, 0, 0), (5, 8, 7), (8, 5, 7), (5, 8, 41)]
    )
    def test_impossible_sizes_are_refused(self, tmp_path, sizes):
        with pytest.raises(ValueError, match=rf"num_ratings={sizes[2]}: choose"):
            write_movielens(tmp_path / "no", *sizes)
        assert not (tmp_path / "no").exists()


class TestShape:
    """Compare the shape with the figures of the real data."""

    def test_stars(self, ratings):
        # Real: 3.53 and 1.126. The shares are cut by rank, so they do not vary.
        assert ratings["star"].mean() == pytest.approx(3.55, abs=1e-3)
        assert ratings["star"].std() == pytest.approx(1.126, abs=1e-3)

    @pytest.mark.parametrize(
        ("column", "real", "median"), [("user", 0.319, 65), ("item", 0.427, 27)]
    )
    def test_few_have_many(self, ratings, column, real, median):
        counts = ratings[column].value_counts()
        share = counts.head(len(counts) // 10).sum() / len(ratings)
        # Over six seeds, shares differ by up to 0.03 and medians by up to an eighth.
        assert share == pytest.approx(real, abs=0.04)
        assert counts.median() == pytest.approx(median, rel=0.2)

    def test_times(self, ratings):
        times = pd.to_datetime(ratings["time"], unit="s")
        assert times.between("1997-09-20", "1998-04-22 23:59:59").all()
        assert times.max() - times.min() > pd.Timedelta(days=200)  # real: 214
        ordered = ratings.sort_values(["user", "time"])
        breaks = ordered.groupby("user")["time"].diff() >= 3600
        sessions = 1 + breaks.groupby(ordered["user"]).sum()
        assert sessions.between(1, 4).all()
        assert (sessions >= 3).mean() > 0.9

    def test_three_quarters_share_a_second(self, ratings):
        tied = ratings.duplicated(["user", "time"], keep=False).mean()
        assert tied == pytest.approx(0.75, abs=0.01)  # real 0.758, seeds 0.749-0.753

    def test_the_file_is_shuffled_but_for_tied_rows(self, ratings):
        assert (ratings["user"].diff() == 0).mean() < 0.01
        step = ratings.groupby("user")["time"].diff()
        assert (step < 0).sum() > 0.9 * (step > 0).sum()  # about equally often

        users = numpy.repeat([0, 1, 2], 40)
        times = numpy.arange(120) // 4
        order = _file_order(numpy.random.Generator(numpy.random.PCG64(3)), users, times)
        assert (numpy.diff(order) < 0).sum() > 30
        assert (order[numpy.lexsort((times[order], users[order]))] == range(120)).all()


class TestStructure:
    """Better models find more of the structure."""

    def test_factors_beat_biases_beat_the_mean(self, ratings):
        rng = numpy.random.Generator(numpy.random.PCG64(0))
        in_test = rng.random(len(ratings)) < 0.1
        train, test = ratings[~in_test], ratings[in_test]
        mean = train["star"].mean()
        biased = mean + fit_biases(train, mean)
        factors = fit_factors(train, train["star"] - at(biased, train), rng)

        by_mean, by_biases, by_factors = (
            numpy.sqrt(((at(guess, test).clip(1, 5) - test["star"]) ** 2).mean())
            for guess in (numpy.full_like(biased, mean), biased, biased + factors)
        )
        # Six seeds: 1.11-1.13, 0.94-0.96, and 0.07-0.09 below that.
        assert 1.08 < by_mean < 1.15
        assert 0.93 < by_biases < 0.98
        assert by_factors < by_biases - 0.05

    def test_stars_go_with_genres(self, folder, ratings):
        mean = ratings["star"].mean()
        residual = ratings["star"] - mean - at(fit_biases(ratings, mean), ratings)
        flags = read_films(folder).loc[:, 5:].to_numpy()
        genre = numpy.where(flags.sum(axis=1) == 1, flags.argmax(axis=1), numpy.nan)
        # Six seeds: 0.54-0.66. Groups of films drawn at random: -0.11 to 0.04.
        assert agreement(ratings, residual, genre) > 0.4
        rng = numpy.random.Generator(numpy.random.PCG64(0))
        assert abs(agreement(ratings, residual, rng.permutation(genre))) < 0.2

    def test_taste_beats_popularity_and_order_beats_taste(self, ratings):
        train, last = hold_out_last(ratings)
        seen = matrix(train, 1)
        popularity = seen.sum(axis=0)
        together = seen.T @ seen
        following, recent = transitions(train)
        numpy.fill_diagonal(together, 0)
        scale = numpy.sqrt(popularity + 1)  # keeps popular items from dominating
        together, following = together / scale[:, None], following / scale[:, None]

        popular = rank_last(numpy.tile(popularity, (USERS, 1)), seen, last)
        taste = rank_last(seen @ together / scale**0.5, seen, last)
        order = rank_last(recent @ following / scale**0.5, seen, last)
        # Six seeds: hit rates 0.25-0.30, 0.33-0.37, 0.84-0.87, at a standard error of
        # 0.015; AUC 0.85-0.87, 0.015 to 0.025 more, and again 0.08 to 0.1 more.
        assert 0.2 < popular[0] < 0.33
        assert taste[0] > popular[0] + 0.04
        assert taste[1] > popular[1] + 0.01
        assert order[0] > taste[0] + 0.2
        assert order[1] > taste[1] + 0.04


def at(values, data):
    return values[data["user"], data["item"]]


def matrix(data, values):
    filled = numpy.zeros((USERS, ITEMS))
    filled[data["user"], data["item"]] = values
    return filled


def fit_biases(data, mean, pull=5, rounds=10):
    """Fit biases by alternating means; return user plus item bias, (users, items)."""
    bias = {"user": numpy.zeros(USERS), "item": numpy.zeros(ITEMS)}
    for _ in range(rounds):
        for own, other in (("item", "user"), ("user", "item")):
            rest = data["star"] - mean - bias[other][data[other]]
            size = len(bias[own])
            count = numpy.bincount(data[own], minlength=size)
            bias[own] = numpy.bincount(data[own], rest, size) / (count + pull)
    return bias["user"][:, None] + bias["item"]


def fit_factors(data, residual, rng, rank=8, pull=12.0, rounds=8):
    """Fit factors by alternating least squares; return predictions, (users, items)."""
    known, target = matrix(data, 1), matrix(data, residual)

    def half(factors, known, target):
        squares = (factors[:, :, None] * factors[:, None, :]).reshape(len(factors), -1)
        left = (known @ squares).reshape(-1, rank, rank) + pull * numpy.eye(rank)
        return numpy.linalg.solve(left, (target @ factors)[:, :, None])[:, :, 0]

    items = rng.normal(0, 0.1, (ITEMS, rank))
    for _ in range(rounds):
        users = half(items, known, target)
        items = half(users, known.T, target.T)
    return users @ items.T


def agreement(data, residual, genre):
    """Correlate the mean residuals per user and genre in two halves of the movies."""
    keys = [data["user"], genre[data["item"]], data["item"] % 2]
    halves = residual.groupby(keys).agg(["mean", "size"]).unstack()
    return halves["mean"][(halves["size"] >= 5).all(axis=1)].corr().iloc[0, 1]


def hold_out_last(data):
    """Return the training rows, sorted by user and time, and each user's last item."""
    latest = data["time"] == data.groupby("user")["time"].transform("max")
    held = data[latest].drop_duplicates("user").sort_values("user")
    train = data.drop(held.index).sort_values(["user", "time"], kind="stable")
    return train, held["item"].to_numpy()


def transitions(train, reach=5):
    """Count the items that follow each item, and mark each user's last items."""
    user, item = (train[name].to_numpy() for name in ("user", "item"))
    following = numpy.zeros((ITEMS, ITEMS))
    for lag in range(1, reach + 1):
        same = user[:-lag] == user[lag:]
        numpy.add.at(following, (item[:-lag][same], item[lag:][same]), 1)
    return following, matrix(train.groupby("user").tail(reach), 1)


def rank_last(scores, seen, last):
    """Return the hit rate at 50 and AUC of the held-out items among unseen items."""
    scores = numpy.where(seen > 0, -numpy.inf, scores)
    own = scores[numpy.arange(USERS), last][:, None]
    rank = (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2
    others = ITEMS - seen.sum(axis=1) - 1
    return (rank < 50).mean(), (1 - rank / others).mean()
