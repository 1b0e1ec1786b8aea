"""MovieLens as fields: who rated what, and what is known of either. Section: ``fm``."""

import os
from pathlib import Path
from typing import Union

import numpy as np
import pandas as pd

from d2l_recsys.ctr_files import Table
from d2l_recsys.movies import read_movies

AGES = (18, 25, 35, 45, 50, 56)  # years at which a bucket begins, as in MovieLens 1M
_PathLike = Union[str, "os.PathLike[str]"]


def rating_fields(data: pd.DataFrame, folder: _PathLike) -> Table:
    """Return a table of ratings with fields, for ``CTRDataset.from_table``.

    `data` is a frame as read_data_ml100k returns it, or a part of it; `folder` holds
    u.user, u.item and u.genre. Fields are user, item, age (a bucket), gender,
    occupation, and each genre (0 or 1); labels are the ratings. Ids are numbered as in
    `data`, so that with ``min_threshold=1`` each user and item has an index.

    Raises ValueError for a user or an item that the files do not have, or a bad line.
    """
    folder = Path(folder)
    users, items = (_file_ids(data, name) for name in ("user_id", "item_id"))
    people = _found(read_users(folder / "u.user"), users, folder / "u.user")
    films = _found(read_movies(folder), items, folder / "u.item")
    genres = films.columns.drop(["title", "release_date"])
    columns = {
        "user": data["user_id"].astype(str),
        "item": data["item_id"].astype(str),
        "age": _buckets(people["age"].to_numpy()),
        "gender": people["gender"],
        "occupation": people["occupation"],
        **{genre: films[genre].map({False: "0", True: "1"}) for genre in genres},
    }
    coded = [pd.factorize(np.asarray(texts), sort=True) for texts in columns.values()]
    return Table(
        tuple(columns),
        (),
        [values.tolist() for _, values in coded],
        np.stack([codes for codes, _ in coded], axis=1).astype("int32"),
        data["rating"].to_numpy().astype("float32"),
    )


def read_users(path: _PathLike) -> pd.DataFrame:
    """Read a file in the format of u.user: age, gender, occupation by user_id.

    Raises ValueError naming file and line for a line without five fields, or an id or
    an age (in years) that is no number.
    """
    rows = []
    with open(path, encoding="latin-1", newline="\n") as file:
        for number, line in enumerate(file, 1):
            fields = line.rstrip("\r\n").split("|")
            if len(fields) != 5:
                raise ValueError(
                    f"{path}, line {number}: {len(fields)} fields in place of 5 (user, "
                    "age, gender, occupation, zip code, separated by |)"
                )
            user, age, gender, occupation, _ = fields
            if not (user.isdecimal() and age.isdecimal()):
                raise ValueError(
                    f"{path}, line {number}: user {user!r} or age {age!r} is not a "
                    "number"
                )
            rows.append((int(user), int(age), gender, occupation))
    names = ["user_id", "age", "gender", "occupation"]
    return pd.DataFrame(rows, columns=names).set_index("user_id")


def _file_ids(data, name):
    """Return the ids as the files have them: `data` may have been renumbered (E06)."""
    ids = data[name].to_numpy()
    known = data.attrs.get(f"{name}s")
    return ids if known is None else known[ids - 1]


def _found(frame, ids, path):
    missing = np.setdiff1d(ids, frame.index)
    if len(missing):
        raise ValueError(f"{path}: no line for id {missing[0]}, which is rated")
    return frame.loc[ids]


def _buckets(ages):
    names = [f"under {AGES[0]}"]
    names += [f"{low}-{high - 1}" for low, high in zip(AGES, AGES[1:])]
    names.append(f"{AGES[-1]} and over")
    return np.array(names)[np.searchsorted(AGES, ages, side="right")]
