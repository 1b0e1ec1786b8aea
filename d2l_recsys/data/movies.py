"""Reading the movies of MovieLens, with faults named by file and line."""

import csv
import os
import re
from pathlib import Path
from typing import Union

import pandas as pd

from d2l_recsys.data.lines import fault_of_number, numbered_lines, shown

_U_ITEM = ["item_id", "title", "release_date", "video_release_date", "url"]
_HEADER = "movieId,title,genres"
_NO_GENRES = "(no genres listed)"
_CONTROL = re.compile(r"[\0-\x1f]")
_PathLike = Union[str, "os.PathLike[str]"]


def read_movies(folder: _PathLike) -> pd.DataFrame:
    """Read titles, release dates and genres: one row a movie, indexed by item_id.

    `folder` holds movies.dat, as MovieLens 1M and 10M do (``::`` between fields, UTF-8
    or else Latin-1), or movies.csv, as the newer sets do (a header, UTF-8), or u.item
    and u.genre, as MovieLens 100K does (Latin-1). The columns are title, release_date
    (text, None if missing, as it always is but in u.item) and one boolean column for
    each genre, in the order of u.genre or of the alphabet. Item ids are the file's.

    Raises ValueError naming file and line for a line of another form: genres are named
    once and numbered from 0 in u.genre, an item has one line, and its genres are 0 or 1
    each in u.item, and names with | between them elsewhere.
    """
    folder = Path(folder)
    for name in ("movies.dat", "movies.csv"):
        if (folder / name).is_file():
            return _read_named(folder / name)
    genres = _read_genres(folder / "u.genre")
    path, films = folder / "u.item", {}
    for number, line in numbered_lines(path.read_bytes()):
        fields = line.split("|")
        fault = _fault_of_movie(fields, genres) or _fault_of_id(fields[0], films)
        if fault:
            raise ValueError(f"{path}, line {number}: {fault}")
        flags = [field == "1" for field in fields[len(_U_ITEM) :]]
        films[int(fields[0])] = [fields[1], fields[2] or None, *flags]
    return _frame(films, genres, path)


def _read_named(path):
    """Read a file whose lines hold an id, a title and the names of genres."""
    content, films = path.read_bytes(), {}
    lines = numbered_lines(content, _encoding(content))
    if path.suffix == ".csv" and next(lines, (1, ""))[1] != _HEADER:
        raise ValueError(f"{path}, line 1: no header {_HEADER}")
    for number, text in lines:
        fields, fault = _fields(text, path.suffix)
        fault = fault or _fault_of_id(fields[0], films)
        if fault:
            raise ValueError(f"{path}, line {number}: {fault}")
        genres = fields[2].split("|") if fields[2] != _NO_GENRES else []
        films[int(fields[0])] = (fields[1], genres)
    names = sorted({genre for _, genres in films.values() for genre in genres})
    rows = {
        item: [title, None, *(name in genres for name in names)]
        for item, (title, genres) in films.items()
    }
    return _frame(rows, names, path)


def _encoding(content):
    """Return the encoding of a file: that of ml-1m is the only one not in UTF-8."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _fields(text, suffix):
    """Return the fields of a line of movies.dat or movies.csv, and a fault or None."""
    try:
        # A line by itself, so that a quote left open does not swallow the next ones.
        fields = (
            next(csv.reader([text], strict=True))
            if suffix == ".csv"
            else text.split("::")
        )
    except csv.Error as error:
        return [], f"{error} in {shown(text)}"
    if len(fields) != 3:
        return fields, f"{len(fields)} fields in place of 3 (movie, title, genres)"
    for field in fields:
        if _CONTROL.search(field):
            return fields, f"a control character in {shown(field)}"
    for genre in fields[2].split("|"):
        if not genre or genre in _U_ITEM:
            return fields, f"{shown(genre)} cannot name a genre"
    return fields, None


def _frame(films, genres, path):
    if not films:
        raise ValueError(f"{path}, line 1: the file has no movie")
    ids = pd.Index(list(films), name="item_id")
    columns = ["title", "release_date", *genres]
    return pd.DataFrame(list(films.values()), index=ids, columns=columns)


def _fault_of_id(field, films):
    fault = fault_of_number("item_id", field)
    if not fault and int(field) in films:
        fault = f"item {int(field)} has a line already"
    return fault


def _read_genres(path):
    genres = []
    for number, line in numbered_lines(path.read_bytes()):
        if not line:
            continue
        name, _, index = line.partition("|")
        if not name or name in (*genres, *_U_ITEM) or _CONTROL.search(name):
            raise ValueError(
                f"{path}, line {number}: {shown(name)} cannot name a genre, or not a "
                "second one"
            )
        if index != str(len(genres)):
            raise ValueError(
                f"{path}, line {number}: {shown(index)} in place of {len(genres)}, "
                "the genre's number"
            )
        genres.append(name)
    return genres


def _fault_of_movie(fields, genres):
    """Say what is wrong with the fields of a line of u.item, or return None."""
    expected = len(_U_ITEM) + len(genres)
    if len(fields) != expected:
        return f"{len(fields)} fields in place of {expected}, separated by |"
    for field in fields:
        if _CONTROL.search(field):
            return f"a control character in {shown(field)}"
    for genre, field in zip(genres, fields[len(_U_ITEM) :]):
        if field not in ("0", "1"):
            return f"{genre} is 0 or 1, not {shown(field)}"
    return None
