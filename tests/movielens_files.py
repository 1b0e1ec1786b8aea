"""Files and archives in the formats of the larger MovieLens sets."""

import io
import zipfile

HEADER = "userId,movieId,rating,timestamp"
WHOLE = [(3, 1193, 5, 978300760), (3, 31, 1, 978302109), (90, 1193, 4, 978301968)]
HALVES = [(3, 1193, 0.5, 978300760), (3, 31, 4.0, 978302109), (90, 1193, 3.5, 0)]
DAT, CSV = ["ml-1m", "ml-10m"], ["ml-20m", "ml-25m", "ml-32m", "ml-latest-small"]
FOLDER = {name: name for name in DAT + CSV}
FOLDER["ml-10m"] = "ml-10M100K"


def rows_of(name):
    return WHOLE if name == "ml-1m" else HALVES


def text_of(name, rows):
    """Return a ratings file of the set `name`: 4 in ml-10m is 4.0 in newer sets."""
    if name in CSV:
        return "\n".join([HEADER, *(",".join(map(str, row)) for row in rows), ""])
    return "".join(
        "::".join(f"{value:g}" for value in row[:3]) + f"::{row[3]}\n" for row in rows
    )


def movies_of(name, titles):
    if name in CSV:
        lines = [f'{i},"{t}",Drama|War' for i, t in titles.items()]
        return "\n".join(["movieId,title,genres", *lines, ""])
    return "".join(f"{i}::{t}::Drama|War\n" for i, t in titles.items())


def write_set(place, name, rows=None, titles=None):
    """Write a set as it is in its archive, and return its folder."""
    rows = rows_of(name) if rows is None else rows
    titles = titles or {item: f"Film {item} (1990)" for _, item, *_ in rows}
    folder, kind = place / FOLDER[name], "csv" if name in CSV else "dat"
    folder.mkdir(parents=True)
    (folder / f"ratings.{kind}").write_text(text_of(name, rows))
    (folder / f"movies.{kind}").write_text(movies_of(name, titles))
    return folder


def packed(name, rows=None):
    """Return the bytes of an archive in the form of the published one."""
    kind, buffer = "csv" if name in CSV else "dat", io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        text = text_of(name, rows or rows_of(name))
        file.writestr(f"{FOLDER[name]}/ratings.{kind}", text)
        file.writestr(f"{FOLDER[name]}/movies.{kind}", movies_of(name, {31: "A"}))
        file.writestr(f"{FOLDER[name]}/tags.{kind}", "not needed")
    return buffer.getvalue()
