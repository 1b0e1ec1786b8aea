"""MovieLens ratings as rows of fields: user, movie, and what is known about both."""

import os
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Union

import numpy
import pandas as pd

from d2l_recsys.data.ctr_files import Table
from d2l_recsys.data.lines import (
    content_of,
    encoding_of,
    fault_of_number,
    numbered_lines,
    shown,
)
from d2l_recsys.data.movies import read_movies

FIELDS = ("user", "item", "age", "gender", "occupation", "genres", "year")
AGES = (18, 25, 35, 45, 50, 56)  # where an age group begins, as in MovieLens 1M
_U_USER = ["user_id", "age", "gender", "occupation", "zip code"]
_PathLike = Union[str, "os.PathLike[str]"]


def rating_fields(
    data: pd.DataFrame,
    folder: _PathLike,
    fields: Sequence[str] = ("user", "item"),
    threshold: Optional[float] = None,
) -> Table:
    """Return a table for ``CTRDataset.from_table``: a row of fields for each rating.

    `data` is the frame of read_data_ml100k or a part of it. `folder` holds u.user,
    u.item and u.genre, which are read if a field needs them. `fields` are names from
    'user' and 'item' (the ids in the files), 'age' (an age group), 'gender',
    'occupation', 'genres' (a field for each genre, 0 or 1) and 'year' (of release). The
    labels are the ratings. With `threshold`, they are 1 for ratings of at least
    `threshold` and 0 for others.

    Raises ValueError for an unknown or missing field, for a user or an item that is not
    in the files, and for an invalid line. The message names the line. Section: ``fm``.
    """
    unknown = [name for name in fields if name not in FIELDS]
    if unknown or not fields or len({*fields}) < len(fields):
        raise ValueError(
            f"fields must be different names from {', '.join(FIELDS)}, not "
            f"{', '.join(fields) or 'none'}"
        )
    columns = _columns(data, Path(folder), {*fields})
    chosen = [name for field in fields for name in columns[field]]
    texts = {name: column for part in columns.values() for name, column in part.items()}
    coded = [pd.factorize(numpy.asarray(texts[name]), sort=True) for name in chosen]
    labels = data["rating"].to_numpy()
    return Table(
        tuple(chosen),
        (),
        [values.tolist() for _, values in coded],
        numpy.stack([codes for codes, _ in coded], axis=1).astype("int32"),
        (labels if threshold is None else labels >= threshold).astype("float32"),
    )


def read_users(path: _PathLike) -> pd.DataFrame:
    """Read a file in the format of u.user: age, gender and occupation by user_id.

    Raises a ValueError that names file and line if a line does not have five fields, an
    id or an age is not a number, or a user has two lines.
    """
    rows: Dict[int, List] = {}
    content = content_of(Path(path))
    for number, line in numbered_lines(content, encoding_of(content)):
        fields = line.split("|")
        fault = _fault_of_user(fields)
        if not fault and int(fields[0]) in rows:
            fault = f"user {int(fields[0])} already has a line"
        if fault:
            raise ValueError(f"{path}, line {number}: {fault}")
        rows[int(fields[0])] = [int(fields[1]), *fields[2:4]]
    ids = pd.Index(list(rows), name="user_id")
    return pd.DataFrame(list(rows.values()), index=ids, columns=_U_USER[1:4])


def _fault_of_user(fields: List[str]) -> Optional[str]:
    """Return what is wrong with the fields of a line of u.user, or None."""
    if len(fields) != len(_U_USER):
        names = ", ".join(_U_USER)
        return f"{len(fields)} fields instead of {len(_U_USER)} ({names})"
    if not fields[1].isdecimal() or len(fields[1]) > 3:
        return f"age {shown(fields[1])} is not a number of years"
    return fault_of_number("user_id", fields[0])


def _columns(data: pd.DataFrame, folder: Path, fields: set) -> Dict[str, Dict]:
    """Return the columns of text of each of `fields`, by name."""
    users, items = (_file_ids(data, name) for name in ("user_id", "item_id"))
    columns = {"user": {"user": users.astype(str)}, "item": {"item": items.astype(str)}}
    if fields & {"age", "gender", "occupation"}:
        people = _found(read_users(folder / "u.user"), users, folder / "u.user")
        columns["age"] = {"age": _age_groups(people["age"].to_numpy())}
        for name in ("gender", "occupation"):
            columns[name] = {name: people[name].to_numpy()}
    if fields & {"genres", "year"}:
        movies = _found(read_movies(folder), items, folder / "u.item")
        columns["year"] = {"year": movies["release_date"].fillna("").str[-4:]}
        columns["genres"] = {
            genre: movies[genre].map({False: "0", True: "1"})
            for genre in movies.columns.drop(["title", "release_date"])
        }
    return columns


def _file_ids(data: pd.DataFrame, name: str) -> numpy.ndarray:
    """Return the ids in the file; those of `data` may have been renumbered (E06)."""
    ids = data[name].to_numpy()
    known = data.attrs.get(f"{name}s")
    return ids if known is None else numpy.asarray(known)[ids - 1]


def _found(frame: pd.DataFrame, ids: numpy.ndarray, path: Path) -> pd.DataFrame:
    missing = numpy.setdiff1d(ids, frame.index)
    if len(missing):
        raise ValueError(
            f"{path}: there is no line for id {missing[0]}, which the ratings contain"
        )
    return frame.loc[ids]


def _age_groups(ages: numpy.ndarray) -> numpy.ndarray:
    names = [f"under {AGES[0]}"]
    names += [f"{low}-{high - 1}" for low, high in zip(AGES, AGES[1:])]
    names.append(f"{AGES[-1]} and over")
    return numpy.array(names)[numpy.searchsorted(AGES, ages, side="right")]
