"""Synthetic ratings in the file format of MovieLens 100K.

They contain the structure that the chapter's models look for: biases of users and
items, preferences of low rank, a long tail of movies, and users who watch one genre for
a while. Only the format and the rough shape are taken from the real data.
Section: ``movielens``.
"""

from pathlib import Path
from typing import Iterable, Iterator, List, Tuple, Union

import numpy as np


def _words(text: str) -> List[str]:
    return text.split()


GENRES = _words(
    "unknown Action Adventure Animation Children's Comedy Crime Documentary Drama "
    "Fantasy Film-Noir Horror Musical Mystery Romance Sci-Fi Thriller War Western"
)
OCCUPATIONS = _words(
    "administrator artist doctor educator engineer entertainment executive healthcare "
    "homemaker lawyer librarian marketing none other programmer retired salesman "
    "scientist student technician writer"
)
# Some words are not ASCII, because the real u.item is Latin-1, too.
ADJECTIVES = _words(
    "Amber Borrowed Brittle Cobalt Copper Crooked Damp Distant Drowsy Eleventh Faded "
    "Forgetful Frozen Hollow Idle Jagged Mislaid Naïve Polite Reluctant Silent Woolen"
)
NOUNS = _words(
    "Almanac Anchor Attic Café Carousel Château Clockmaker Doppelgänger Ferry Fiancée "
    "Gardener Glacier Harbor Inkwell Ladder Lantern Orchard Piñata Señor Windmill"
)
MONTHS = _words("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec")
STAR_SHARES = (0.06, 0.11, 0.27, 0.34, 0.22)  # of 1 to 5 stars, as in the real data
MIN_RATINGS = 20  # per user, if there are enough ratings
RANK = 5  # of the preferences; the chapter's models have up to 30 factors
FIRST_SECOND = 874_713_600  # 1997-09-20 00:00 UTC
SECONDS = 215 * 86_400  # to the end of 1998-04-22


def write_movielens(
    folder: Union[str, Path],
    num_users: int = 943,
    num_items: int = 1682,
    num_ratings: int = 100_000,
    seed: int = 0,
) -> None:
    """Write u.data, u.item and the other files into `folder`; create it if necessary.

    The same arguments give the same bytes. Every user and every item occurs. Each user
    has at least 20 ratings, or ``num_ratings // num_users`` if that is less. Timestamps
    are seconds since 1970. Memory grows with ``num_users * num_items``.

    Raises ValueError if no data set can have these sizes. Section: ``movielens``.
    """
    fewest, most = max(num_users, num_items), num_users * num_items
    if min(num_users, num_items) < 1 or not fewest <= num_ratings <= most:
        raise ValueError(
            f"no data set has num_users={num_users}, num_items={num_items} and "
            f"num_ratings={num_ratings}: choose at least one user and one item, and a "
            "number of ratings between the larger of the two and their product"
        )
    rng = np.random.Generator(np.random.PCG64(seed))
    main_genre, flags = _genres(rng, num_items)
    taste = _taste(rng, num_users, main_genre, flags)
    users, items = _picks(rng, taste, _activity(rng, num_users, num_items, num_ratings))
    order = _runs(rng, users, main_genre[items])
    users, items = users[order], items[order]
    stars = _stars(rng, users, items, taste)
    times = _times(rng, users)
    rows = np.stack([users + 1, items + 1, stars, times], axis=1)
    rows = rows[_file_order(rng, users, times)].tolist()

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [f"{num_users} users", f"{num_items} items", f"{num_ratings} ratings"]
    _write(folder / "u.data", ("\t".join(map(str, row)) for row in rows))
    _write(folder / "u.item", _item_lines(rng, flags))
    _write(folder / "u.user", _user_lines(rng, num_users))
    _write(folder / "u.genre", [f"{name}|{k}" for k, name in enumerate(GENRES)] + [""])
    _write(folder / "u.info", sizes)
    _write(folder / "u.occupation", OCCUPATIONS)


def _genres(rng: np.random.Generator, num_items: int) -> Tuple[np.ndarray, np.ndarray]:
    """Draw each item's main genre `(items,)` and 1 to 3 flags `(items, genres)`."""
    main = rng.integers(1, len(GENRES), num_items)  # 0 is "unknown"
    score = rng.random((num_items, len(GENRES)))
    score[:, 0] = -1.0
    score[np.arange(num_items), main] = 2.0
    rank = np.argsort(np.argsort(-score, axis=1), axis=1)
    number = rng.choice([1, 2, 3], num_items, p=[0.5, 0.35, 0.15])
    return main, (rank < number[:, None]).astype(int)


def _taste(
    rng: np.random.Generator, num_users: int, main_genre: np.ndarray, flags: np.ndarray
) -> np.ndarray:
    """Draw the preferences `(users, items)`, of rank 5 and mean square 1.

    An item's factors are the mean of its genres' factors, with the main genre counted
    twice, plus factors of its own.
    """
    genres = rng.standard_normal((len(GENRES), RANK))
    factors = (genres[main_genre] + flags @ genres) / (1 + flags.sum(1))[:, None]
    factors += 0.5 * rng.standard_normal(factors.shape)
    taste = rng.standard_normal((num_users, RANK)) @ factors.T
    return taste / np.sqrt(np.mean(taste**2))


def _activity(
    rng: np.random.Generator, num_users: int, num_items: int, num_ratings: int
) -> np.ndarray:
    """Draw the number of ratings of each user, `(users,)`."""
    counts = np.full(num_users, min(MIN_RATINGS, num_ratings // num_users))
    weights = rng.gamma(0.7, size=num_users)  # this shape fits the real quantiles
    while counts.sum() < num_ratings:  # redistribute what exceeds num_items
        share = weights * (counts < num_items)
        extra = rng.multinomial(num_ratings - counts.sum(), share / share.sum())
        counts = np.minimum(counts + extra, num_items)
    return counts


def _picks(
    rng: np.random.Generator, taste: np.ndarray, counts: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Draw the rated pairs: users and items `(ratings,)`, sorted by user.

    The k largest of log-weights plus Gumbel noise are k draws without replacement, each
    in proportion to its weight. So one sort draws for all users.
    """
    num_users, num_items = taste.shape
    # A power of a gamma variable has a long tail and as steep a head as the real data.
    popularity = 1.5 * np.log(rng.gamma(0.6, size=num_items))
    score = popularity + 1.3 * taste + rng.gumbel(size=taste.shape)
    # Every item gets at least one rating, even in the tail.
    owners = rng.permutation(np.repeat(np.arange(num_users), counts))[:num_items]
    score[owners, np.arange(num_items)] = np.inf
    users, place = np.nonzero(np.arange(num_items) < counts[:, None])
    return users, np.argsort(-score, axis=1)[users, place]


def _runs(
    rng: np.random.Generator, users: np.ndarray, main_genre: np.ndarray
) -> np.ndarray:
    """Return the order of the ratings: by user, and one genre after the other.

    So the last few items predict the genre of the next one. Items are put in random
    order, and a genre takes the place of its last item. Then each item is equally
    likely to be the last of all, and rare genres are not held out too often.
    """
    place = rng.random(len(users))
    genre_place = np.zeros((users.max() + 1, len(GENRES)))
    np.maximum.at(genre_place, (users, main_genre), place)
    return np.lexsort((place, genre_place[users, main_genre], users))


def _stars(
    rng: np.random.Generator, users: np.ndarray, items: np.ndarray, taste: np.ndarray
) -> np.ndarray:
    """Draw stars `(ratings,)` from the biases of user and item, taste and noise."""
    user_bias, item_bias = (0.35 * rng.standard_normal(n) for n in taste.shape)
    score = user_bias[users] + item_bias[items] + 0.9 * taste[users, items]
    score += 0.75 * rng.standard_normal(len(users))
    # Cut by rank: then every number of stars occurs from nine ratings on.
    rank = np.argsort(np.argsort(score))
    return 1 + np.searchsorted(np.cumsum(STAR_SHARES[:-1]), (rank + 0.5) / len(rank))


def _times(rng: np.random.Generator, users: np.ndarray) -> np.ndarray:
    """Draw timestamps `(ratings,)` in seconds, in ascending order within each user.

    About half of the ratings have the same second as the previous one, as if a page of
    movies was submitted at once. Three breaks of an hour to ten days give each user up
    to four sessions.
    """
    counts = np.bincount(users)
    first = np.cumsum(counts) - counts
    gap = rng.integers(5, 60, len(users)) * (rng.random(len(users)) < 0.48)
    breaks = first[:, None] + rng.integers(0, counts[:, None], (len(first), 3))
    gap[breaks] = rng.integers(3600, 10 * 86_400, breaks.shape)
    clock = np.cumsum(gap)
    clock -= clock[first][users]
    start = rng.random(len(first)) * (SECONDS - clock[first + counts - 1])
    return FIRST_SECOND + start.astype(int)[users] + clock


def _file_order(
    rng: np.random.Generator, users: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """Draw the order of the lines. Rows of one user and second keep their order.

    So a stable sort by time, and only that, restores the order of `_runs`.
    """
    new_second = (np.diff(users, prepend=-1) != 0) | (np.diff(times, prepend=-1) != 0)
    line = rng.permutation(len(users))
    return np.argsort(line[np.lexsort((line, np.cumsum(new_second)))])


def _item_lines(rng: np.random.Generator, flags: np.ndarray) -> Iterator[str]:
    names = rng.permutation([f"The {a} {n}" for a in ADJECTIVES for n in NOUNS])
    years = 1996 - np.minimum(rng.exponential(8, len(flags)), 70).astype(int)
    days, months = rng.integers(1, 29, len(flags)), rng.choice(MONTHS, len(flags))
    for k, (year, day, month) in enumerate(zip(years, days, months)):
        part, name = divmod(k, len(names))
        title = names[name] + (
            f" {part + 1}" if part else ""
        )  # reused names are sequels
        bits = "|".join(map(str, flags[k]))
        yield f"{k + 1}|{title} ({year})|{day:02d}-{month}-{year}|||{bits}"


def _user_lines(rng: np.random.Generator, num_users: int) -> Iterator[str]:
    ages = np.clip(rng.normal(34, 12, num_users), 7, 73).astype(int)
    genders = rng.choice(["M", "F"], num_users, p=[0.7, 0.3])
    jobs = rng.choice(OCCUPATIONS, num_users)
    zips = rng.integers(0, 100_000, num_users)
    for k, (age, gender, job, code) in enumerate(zip(ages, genders, jobs, zips)):
        yield f"{k + 1}|{age}|{gender}|{job}|{code:05d}"


def _write(path: Path, lines: Iterable[str]) -> None:
    # Write bytes, because text mode would change the line ends on Windows.
    path.write_bytes("".join(f"{line}\n" for line in lines).encode("latin-1"))
