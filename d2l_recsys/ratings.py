"""Reading the files of MovieLens, with faults named by file and line."""

import csv
import io
import os
import warnings
from pathlib import Path
from typing import Union

import pandas as pd

NAMES = ["user_id", "item_id", "rating", "timestamp"]
_PathLike = Union[str, "os.PathLike[str]"]


def read_ratings(path: _PathLike, duplicates: str = "error") -> pd.DataFrame:
    """Read a file in the format of u.data, in the order of the file.

    Returns a frame with the columns user_id, item_id, rating and timestamp (seconds
    since 1970), ids as in the file. A user who rated an item twice is an error, unless
    `duplicates` is 'first' or 'last': the row to keep, in file order.

    Raises ValueError naming file and line for a line without four fields, a field that
    is no number, an id below 1, a rating outside 1-5, or a file without a line.
    """
    path = Path(path)
    return _without_duplicates(_read_checked(path), duplicates, path)


def read_movies(folder: _PathLike) -> pd.DataFrame:
    """Read titles, release dates and genres: one row a movie, indexed by item_id.

    `folder` holds u.item (Latin-1) and u.genre, as MovieLens 100K does.
    The columns are title, release_date (text, may be missing) and one boolean column
    for each genre of u.genre. Item ids are those of the file.
    """
    folder = Path(folder)
    genres = [
        line.split("|")[0] for line in (folder / "u.genre").read_text().split("\n")
    ]
    genres = [genre for genre in genres if genre]
    columns = ["item_id", "title", "release_date", "video_release_date", "url", *genres]
    path = folder / "u.item"
    try:
        movies = pd.read_csv(
            path,
            sep="|",
            names=columns,
            index_col="item_id",
            encoding="latin-1",
            quoting=csv.QUOTE_NONE,
            dtype=dict.fromkeys(genres, bool),
            true_values=["1"],
            false_values=["0"],
        )
    except ValueError as error:
        raise ValueError(f"{path}: not in the format of u.item ({error})") from error
    return movies[["title", "release_date", *genres]]


def _read_checked(path):
    """Read and check at C speed; look for the line only when there is a fault."""
    content = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            data = pd.read_csv(
                io.BytesIO(content),
                sep="\t",
                names=NAMES,
                index_col=False,
                dtype={name: "int64" for name in NAMES if name != "rating"},
                encoding="latin-1",
                quoting=csv.QUOTE_NONE,
                skip_blank_lines=False,
            )
        # Tabs are counted because pandas overlooks one at the end of a line, and it
        # takes a zero byte for the end of a number.
        sound = (
            content.count(b"\t") == (len(NAMES) - 1) * len(data) > 0
            and b"\0" not in content
            and data["rating"].between(1, 5).all()
            and (data[["user_id", "item_id"]] > 0).all(axis=None)
        )
    except (ValueError, OverflowError, TypeError, pd.errors.ParserWarning):
        sound = False
    if not sound:
        raise ValueError(f"{path}, {_first_fault(path)}")
    if data["rating"].dtype != "int64" and (data["rating"] % 1 == 0).all():
        data["rating"] = data["rating"].astype("int64")
    return data


def _first_fault(path):
    """Say what is wrong with the first bad line of u.data, and which line it is."""
    number = 0
    with open(path, encoding="latin-1", newline="\n") as file:
        for number, line in enumerate(file, 1):
            fields = line.rstrip("\r\n").split("\t")
            if len(fields) != len(NAMES):
                return (
                    f"line {number}: {len(fields)} fields in place of 4 (user, item, "
                    "rating, timestamp, separated by tabs)"
                )
            for name, field in zip(NAMES, fields):
                try:
                    value = float(field) if name == "rating" else int(field)
                except ValueError:
                    return f"line {number}: {name} {field!r} is not a number"
                if name in ("user_id", "item_id") and value < 1:
                    return f"line {number}: {name} {value} is below 1; ids count from 1"
                if name != "rating" and value >= 2**63:
                    return f"line {number}: {name} {value} is too large"
                if name == "rating" and not 1 <= value <= 5:
                    return f"line {number}: rating {field} is outside 1-5"
    if number == 0:
        return "line 1: the file is empty"
    return f"one of its {number} lines cannot be read"


def _without_duplicates(data, duplicates, path):
    if duplicates not in ("error", "first", "last"):
        raise ValueError(
            f"duplicates is 'error', 'first' or 'last', not {duplicates!r}"
        )
    pairs = ["user_id", "item_id"]
    if duplicates != "error":
        return data.drop_duplicates(pairs, keep=duplicates, ignore_index=True)
    again = data.duplicated(pairs).to_numpy()
    if again.any():
        line = int(again.argmax())
        user, item = data.loc[line, pairs]
        first = int(((data[pairs] == [user, item]).all(axis=1)).to_numpy().argmax())
        raise ValueError(
            f"{path}, line {line + 1}: user {user} rated item {item} on line "
            f"{first + 1} already; duplicates='first' or 'last' keeps one of them"
        )
    return data
