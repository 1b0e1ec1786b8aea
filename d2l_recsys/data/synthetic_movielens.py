"""A made-up MovieLens in the file format of MovieLens 100K, for work without the data.

It holds what the chapter's models look for, each known to be there: biases, a taste of
low rank, a long tail of films, and viewers who watch one genre for a while. Nothing is
taken from the real data but the format and the rough shape. NumPy only.
"""

from pathlib import Path
from typing import Union

import numpy as np


def _words(text):
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
# Some words are not ASCII: the real u.item is Latin-1, and readers must cope.
ADJECTIVES = _words(
    "Amber Borrowed Brittle Cobalt Copper Crooked Damp Distant Drowsy Eleventh Faded "
    "Forgetful Frozen Hollow Idle Jagged Mislaid Naïve Polite Reluctant Silent Woolen"
)
NOUNS = _words(
    "Almanac Anchor Attic Café Carousel Château Clockmaker Doppelgänger Ferry Fiancée "
    "Gardener Glacier Harbor Inkwell Ladder Lantern Orchard Piñata Señor Windmill"
)
MONTHS = _words("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec")
STAR_SHARES = (0.06, 0.11, 0.27, 0.34, 0.22)  # of one to five stars, as in reality
MIN_RATINGS = 20  # of each user, where the size permits
RANK = 5  # of the taste, well under the 30 factors of the chapter's models
FIRST_SECOND = 874_713_600  # 1997-09-20 00:00 UTC
SECONDS = 215 * 86_400  # to the end of 1998-04-22


def write_movielens(
    folder: Union[str, Path],
    num_users: int = 943,
    num_items: int = 1682,
    num_ratings: int = 100_000,
    seed: int = 0,
) -> None:
    """Write a made-up MovieLens into `folder` (made if need be): u.data, u.item, ….

    Section: ``movielens``. The same arguments give the same bytes. Every user and every
    item occurs; each user has 20 ratings or more, or ``num_ratings // num_users`` where
    that is less. Timestamps are seconds since 1970. Holds a few arrays of shape
    ``(num_users, num_items)``.

    Raises ValueError for sizes that no such data set can have.
    """
    least, most = max(num_users, num_items), num_users * num_items
    if min(num_users, num_items) < 1 or not least <= num_ratings <= most:
        raise ValueError(
            f"no data set has num_users={num_users}, num_items={num_items} and "
            f"num_ratings={num_ratings}: choose 1 or more users and items, and "
            "ratings from the larger of the two up to their product"
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


def _genres(rng, num_items):
    """Draw main genre `(items,)` and flags `(items, genres)`, 1 to 3 an item."""
    main = rng.integers(1, len(GENRES), num_items)  # 0 is "unknown"
    score = rng.random((num_items, len(GENRES)))
    score[:, 0] = -1.0
    score[np.arange(num_items), main] = 2.0
    rank = np.argsort(np.argsort(-score, axis=1), axis=1)
    number = rng.choice([1, 2, 3], num_items, p=[0.5, 0.35, 0.15])
    return main, (rank < number[:, None]).astype(int)


def _taste(rng, num_users, main_genre, flags):
    """Draw how much users like items, `(users, items)`: of rank 5, mean square 1.

    An item's factors are the mean of its genres', the main one twice, plus its own.
    """
    genres = rng.standard_normal((len(GENRES), RANK))
    factors = (genres[main_genre] + flags @ genres) / (1 + flags.sum(1))[:, None]
    factors += 0.5 * rng.standard_normal(factors.shape)
    taste = rng.standard_normal((num_users, RANK)) @ factors.T
    return taste / np.sqrt(np.mean(taste**2))


def _activity(rng, num_users, num_items, num_ratings):
    """Draw the number of ratings of each user, `(users,)`."""
    counts = np.full(num_users, min(MIN_RATINGS, num_ratings // num_users))
    weights = rng.gamma(0.7, size=num_users)  # this shape fits the real quantiles
    while counts.sum() < num_ratings:  # again for what went over a user's num_items
        share = weights * (counts < num_items)
        extra = rng.multinomial(num_ratings - counts.sum(), share / share.sum())
        counts = np.minimum(counts + extra, num_items)
    return counts


def _picks(rng, taste, counts):
    """Draw who rates what: users and items `(ratings,)`, by user.

    The k best of log-weights plus Gumbel noise are k draws without replacement, each
    in proportion to its weight, here popularity times taste: all users in one sort.
    """
    num_users, num_items = taste.shape
    # A power of a gamma: the long tail, and as steep a head as the real one.
    popularity = 1.5 * np.log(rng.gamma(0.6, size=num_items))
    score = popularity + 1.3 * taste + rng.gumbel(size=taste.shape)
    # Items of the tail might be drawn by nobody: one user rates each in any case.
    owners = rng.permutation(np.repeat(np.arange(num_users), counts))[:num_items]
    score[owners, np.arange(num_items)] = np.inf
    users, place = np.nonzero(np.arange(num_items) < counts[:, None])
    return users, np.argsort(-score, axis=1)[users, place]


def _runs(rng, users, main_genre):
    """Order the ratings, by user: one genre after the other, each in a run.

    So the last few items tell the genre of the next. A genre's run has the place of its
    latest item in an order drawn evenly: thus the last item of all is drawn evenly too,
    and a user's rare genres are not held out more often than they should be.
    """
    turn = rng.random(len(users))
    run_turn = np.zeros((users.max() + 1, len(GENRES)))
    np.maximum.at(run_turn, (users, main_genre), turn)
    return np.lexsort((turn, run_turn[users, main_genre], users))


def _stars(rng, users, items, taste):
    """Draw stars `(ratings,)`: biases of user and item, taste and noise."""
    user_bias, item_bias = (0.35 * rng.standard_normal(n) for n in taste.shape)
    score = user_bias[users] + item_bias[items] + 0.9 * taste[users, items]
    score += 0.75 * rng.standard_normal(len(users))
    # Cut by rank, so that nine ratings are enough for every star to occur.
    rank = np.argsort(np.argsort(score))
    return 1 + np.searchsorted(np.cumsum(STAR_SHARES[:-1]), (rank + 0.5) / len(rank))


def _times(rng, users):
    """Draw timestamps `(ratings,)` in seconds, never decreasing within a user.

    Half the ratings share the second of the one before: films of one page, sent in at
    once. Three breaks of an hour to ten days make up to four sessions a user.
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


def _file_order(rng, users, times):
    """Draw the order of the lines: shuffled, but rows of one user and second in order.

    So a stable sort by time gives the order of `_runs` back, and nothing less does.
    """
    new_second = (np.diff(users, prepend=-1) != 0) | (np.diff(times, prepend=-1) != 0)
    line = rng.permutation(len(users))
    return np.argsort(line[np.lexsort((line, np.cumsum(new_second)))])


def _item_lines(rng, flags):
    names = rng.permutation([f"The {a} {n}" for a in ADJECTIVES for n in NOUNS])
    years = 1996 - np.minimum(rng.exponential(8, len(flags)), 70).astype(int)
    days, months = rng.integers(1, 29, len(flags)), rng.choice(MONTHS, len(flags))
    for k, (year, day, month) in enumerate(zip(years, days, months)):
        part, name = divmod(k, len(names))
        title = names[name] + (f" {part + 1}" if part else "")  # out of names: a sequel
        bits = "|".join(map(str, flags[k]))
        yield f"{k + 1}|{title} ({year})|{day:02d}-{month}-{year}|||{bits}"


def _user_lines(rng, num_users):
    ages = np.clip(rng.normal(34, 12, num_users), 7, 73).astype(int)
    genders = rng.choice(["M", "F"], num_users, p=[0.7, 0.3])
    jobs = rng.choice(OCCUPATIONS, num_users)
    zips = rng.integers(0, 100_000, num_users)
    for k, (age, gender, job, code) in enumerate(zip(ages, genders, jobs, zips)):
        yield f"{k + 1}|{age}|{gender}|{job}|{code:05d}"


def _write(path, lines):
    # Bytes: text mode would end lines differently on Windows.
    path.write_bytes("".join(f"{line}\n" for line in lines).encode("latin-1"))
