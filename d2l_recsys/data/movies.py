"""Read the movies of MovieLens. Errors name the file and the line."""

import csv
import os
import re
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

import pandas as pd

from d2l_recsys.data.lines import (
    content_of,
    encoding_of,
    fault_of_header,
    fault_of_number,
    numbered_lines,
    shown,
)

_U_ITEM = ["item_id", "title", "release_date", "video_release_date", "url"]
_HEADER = "movieId,title,genres"
_NO_GENRES = "(no genres listed)"
_CONTROL = re.compile(r"[\0-\x1f]")
_PathLike = Union[str, "os.PathLike[str]"]


def read_movies(folder: _PathLike) -> pd.DataFrame:
    """Read titles, release dates and genres into a frame indexed by item_id.

    `folder` holds one of

    * u.item and u.genre, as in MovieLens 100K (separated by ``|``);
    * movies.dat, as in MovieLens 1M and 10M (separated by ``::``);
    * movies.csv, as in the newer data sets (with a header).

    A file is read as UTF-8, or as Latin-1 if it is not valid UTF-8. It may start with a
    byte order mark.

    The columns are title, release_date (text or None; only u.item has dates) and one
    boolean column per genre, in the order of u.genre or else in alphabetical order.
    The item ids are those in the file.

    Raises a ValueError that names file and line if a line is invalid. In u.genre,
    genres are distinct and numbered from 0. An item has one line. Its genres are flags
    0 or 1 in u.item, and names separated by | in the other files.
    Section: ``movielens``.
    """
    folder = Path(folder)
    for name in ("movies.dat", "movies.csv"):
        if (folder / name).is_file():
            return _read_named(folder / name)
    genres = _read_genres(folder / "u.genre")
    path = folder / "u.item"
    movies: Dict[int, Sequence] = {}
    content = content_of(path)
    for number, line in numbered_lines(content, encoding_of(content)):
        fields = line.split("|")
        fault = _fault_of_movie(fields, genres) or _fault_of_id(fields[0], movies)
        if fault:
            raise ValueError(f"{path}, line {number}: {fault}")
        flags = [field == "1" for field in fields[len(_U_ITEM) :]]
        movies[int(fields[0])] = [fields[1], fields[2] or None, *flags]
    return _frame(movies, genres, path)


def _read_named(path: Path) -> pd.DataFrame:
    """Read a file whose lines hold an id, a title and the names of genres."""
    content = content_of(path)
    movies: Dict[int, Tuple[str, List[str]]] = {}
    lines = numbered_lines(content, encoding_of(content))
    if path.suffix == ".csv":
        fault = fault_of_header(next(lines, (1, ""))[1], _HEADER)
        if fault:
            raise ValueError(f"{path}, line 1: {fault}")
    for number, text in lines:
        fields, fault = _fields(text, path.suffix)
        fault = fault or _fault_of_id(fields[0], movies)
        if fault:
            raise ValueError(f"{path}, line {number}: {fault}")
        genres = fields[2].split("|") if fields[2] != _NO_GENRES else []
        movies[int(fields[0])] = (fields[1], genres)
    names = sorted({genre for _, genres in movies.values() for genre in genres})
    rows = {
        item: [title, None, *(name in genres for name in names)]
        for item, (title, genres) in movies.items()
    }
    return _frame(rows, names, path)


def _fields(text: str, suffix: str) -> Tuple[List[str], Optional[str]]:
    """Return the fields of a line of movies.dat or movies.csv, and a fault or None."""
    try:
        # Parse each line by itself, so that an open quote cannot swallow later lines.
        fields = (
            next(csv.reader([text], strict=True))
            if suffix == ".csv"
            else text.split("::")
        )
    except csv.Error as error:
        return [], f"{error} in {shown(text)}"
    if len(fields) != 3:
        return fields, f"{len(fields)} fields instead of 3 (movie, title, genres)"
    for field in fields:
        if _CONTROL.search(field):
            return fields, f"{shown(field)} contains a control character"
    for genre in fields[2].split("|"):
        if not genre or genre in _U_ITEM:
            return fields, f"{shown(genre)} is not a valid genre name"
    return fields, None


def _frame(
    movies: Mapping[int, Sequence], genres: Iterable[str], path: Path
) -> pd.DataFrame:
    if not movies:
        raise ValueError(f"{path}, line 1: the file has no movies")
    ids = pd.Index(list(movies), name="item_id")
    columns = ["title", "release_date", *genres]
    return pd.DataFrame(list(movies.values()), index=ids, columns=columns)


def _fault_of_id(field: str, movies: Mapping[int, Sequence]) -> Optional[str]:
    fault = fault_of_number("item_id", field)
    if not fault and int(field) in movies:
        fault = f"item {int(field)} already has a line"
    return fault


def _read_genres(path: Path) -> List[str]:
    genres: List[str] = []
    content = content_of(path)
    for number, line in numbered_lines(content, encoding_of(content)):
        if not line:
            continue
        name, _, index = line.partition("|")
        if not name or name in (*genres, *_U_ITEM) or _CONTROL.search(name):
            raise ValueError(
                f"{path}, line {number}: {shown(name)} is not a valid genre name, or a "
                "duplicate"
            )
        if index != str(len(genres)):
            raise ValueError(
                f"{path}, line {number}: the genre's number must be {len(genres)}, not "
                f"{shown(index)}"
            )
        genres.append(name)
    return genres


def _fault_of_movie(fields: List[str], genres: List[str]) -> Optional[str]:
    """Return what is wrong with the fields of a line of u.item, or None."""
    expected = len(_U_ITEM) + len(genres)
    if len(fields) != expected:
        return f"{len(fields)} fields instead of {expected} (separated by |)"
    for field in fields:
        if _CONTROL.search(field):
            return f"{shown(field)} contains a control character"
    for genre, field in zip(genres, fields[len(_U_ITEM) :]):
        if field not in ("0", "1"):
            return f"{genre} must be 0 or 1, not {shown(field)}"
    return None
