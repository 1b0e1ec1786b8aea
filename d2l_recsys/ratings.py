"""Reading the files of MovieLens, with faults named by file and line."""

import csv
import io
import os
import re
import warnings
from pathlib import Path
from typing import Union

import pandas as pd

NAMES = ["user_id", "item_id", "rating", "timestamp"]
_MOVIE = ["item_id", "title", "release_date", "video_release_date", "url"]
_WHOLE = re.compile(r"-?[0-9]+")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_CONTROL = re.compile(r"[\0-\x1f]")
_PathLike = Union[str, "os.PathLike[str]"]


def read_ratings(path: _PathLike, duplicates: str = "error") -> pd.DataFrame:
    """Read a file in the format of u.data, in the order of the file.

    Returns a frame with the columns user_id, item_id, rating and timestamp (seconds
    since 1970), ids as in the file. A user who rated an item twice is an error, unless
    `duplicates` is 'first' or 'last': the row to keep, in file order.

    A number is written in the digits 0-9, with a point in a rating if need be and a
    minus in a timestamp: no blanks, no plus, no exponent. Lines end in LF or CR LF.

    Raises ValueError naming file and line for a line without four fields, a field that
    is no number, an id below 1, a rating outside 1-5, or a file without a line.
    """
    path = Path(path)
    return _without_duplicates(_read_checked(path), duplicates, path)


def read_movies(folder: _PathLike) -> pd.DataFrame:
    """Read titles, release dates and genres: one row a movie, indexed by item_id.

    `folder` holds u.item and u.genre (Latin-1), as MovieLens 100K does.
    The columns are title, release_date (text, None if missing) and one boolean column
    for each genre of u.genre. Item ids are those of the file.

    Raises ValueError naming file and line for a line of another form: genres are named
    once and numbered from 0, an item has one line, and its genres are 0 or 1 each.
    """
    folder = Path(folder)
    genres = _read_genres(folder / "u.genre")
    path, films = folder / "u.item", {}
    for number, line in _lines(path.read_bytes()):
        fields = line.split("|")
        fault = _fault_of_movie(fields, genres)
        if not fault and int(fields[0]) in films:
            fault = f"item {int(fields[0])} has a line already"
        if fault:
            raise ValueError(f"{path}, line {number}: {fault}")
        flags = [field == "1" for field in fields[len(_MOVIE) :]]
        films[int(fields[0])] = [fields[1], fields[2] or None, *flags]
    if not films:
        raise ValueError(f"{path}, line 1: the file is empty")
    ids = pd.Index(list(films), name="item_id")
    columns = ["title", "release_date", *genres]
    return pd.DataFrame(list(films.values()), index=ids, columns=columns)


def _read_genres(path):
    genres = []
    for number, line in _lines(path.read_bytes()):
        if not line:
            continue
        name, _, index = line.partition("|")
        if not name or name in (*genres, *_MOVIE) or _CONTROL.search(name):
            raise ValueError(
                f"{path}, line {number}: {_shown(name)} cannot name a genre, or not a "
                "second one"
            )
        if index != str(len(genres)):
            raise ValueError(
                f"{path}, line {number}: {_shown(index)} in place of {len(genres)}, "
                "the genre's number"
            )
        genres.append(name)
    return genres


def _fault_of_movie(fields, genres):
    """Say what is wrong with the fields of a line of u.item, or return None."""
    expected = len(_MOVIE) + len(genres)
    if len(fields) != expected:
        return f"{len(fields)} fields in place of {expected}, separated by |"
    for field in fields:
        if _CONTROL.search(field):
            return f"a control character in {_shown(field)}"
    for genre, field in zip(genres, fields[len(_MOVIE) :]):
        if field not in ("0", "1"):
            return f"{genre} is 0 or 1, not {_shown(field)}"
    return _fault_of_number("item_id", fields[0])


def _lines(content):
    """Yield the number and the text of each line, without LF or CR LF."""
    for number, line in enumerate(io.BytesIO(content), 1):
        if line.endswith(b"\n"):
            line = line[: -2 if line.endswith(b"\r\n") else -1]
        yield number, line.decode("latin-1")


def _shown(text):
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


def _read_checked(path):
    """Read and check at C speed; look for the line only when there is a fault."""
    content = path.read_bytes()
    # pandas takes blanks, exponents, lone CRs and more in its stride. It is only asked
    # where there are none: in digits alone, or after the slow look at each line.
    digits = not content.translate(None, b"0123456789\t\r\n")
    if not digits or content.count(b"\r") != content.count(b"\r\n"):
        _raise_fault(path, content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            data = pd.read_csv(
                io.BytesIO(content),
                sep="\t",
                names=NAMES,
                index_col=False,
                dtype={n: "float64" if n == "rating" else "int64" for n in NAMES},
                encoding="latin-1",
                float_precision="round_trip",
                quoting=csv.QUOTE_NONE,
                skip_blank_lines=False,
            )
        # Tabs are counted because pandas overlooks one at the end of a line; the types
        # because it makes numbers from 2^63 on uint64, whatever it was told.
        sound = (
            content.count(b"\t") == (len(NAMES) - 1) * len(data) > 0
            and data["rating"].between(1, 5).all()
            and (data.dtypes.drop("rating") == "int64").all()
            and (data[["user_id", "item_id"]] > 0).all(axis=None)
        )
    except (ValueError, OverflowError, TypeError, pd.errors.ParserWarning):
        sound = False
    if not sound:
        _raise_fault(path, content)
        raise ValueError(f"{path}, line 1: pandas cannot read the file")
    if (data["rating"] % 1 == 0).all():
        data["rating"] = data["rating"].astype("int64")
    return data


def _raise_fault(path, content):
    """Raise ValueError for the first bad line of u.data, if there is one."""
    if not content:
        raise ValueError(f"{path}, line 1: the file is empty")
    for number, line in _lines(content):
        fields = line.split("\t")
        fault = None
        if len(fields) != len(NAMES):
            fault = (
                f"{len(fields)} fields in place of 4 (user, item, rating, timestamp, "
                "separated by tabs)"
            )
        else:
            for name, field in zip(NAMES, fields):
                fault = fault or _fault_of_number(name, field)
        if fault:
            raise ValueError(f"{path}, line {number}: {fault}")


def _fault_of_number(name, field):
    """Say what is wrong with the field `name`, or return None."""
    if not (_DECIMAL if name == "rating" else _WHOLE).fullmatch(field):
        return f"{name} {_shown(field)} is not a number"
    if name == "rating":
        inside = 1 <= float(field) <= 5
        return None if inside else f"rating {_shown(field)} is outside 1-5"
    # Their length comes first: Python refuses to read thousands of digits.
    if len(field.lstrip("-0")) > 19 or not -(2**63) <= int(field) < 2**63:
        return f"{name} {_shown(field)} is too large"
    if name != "timestamp" and int(field) < 1:
        return f"{name} {_shown(field)} is below 1; ids count from 1"
    return None


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
