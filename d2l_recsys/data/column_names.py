"""Find the columns of a reader's own data by their names."""

import re
from typing import Dict, Hashable, Mapping, Optional, Sequence

from d2l_recsys.data.frames import NAMES, shown_names
from d2l_recsys.data.lines import shown

COLUMN_OF = dict(zip(("user", "item", "rating", "time"), NAMES))
# Usual names in lower case, without blanks, dots, dashes and underscores.
USUAL = {
    "user": "user userid uid customer customerid reviewer reviewerid member memberid "
    "visitorid",
    "item": "item itemid iid movie movieid product productid book bookid isbn asin "
    "song songid track trackid artist artistid article articleid business businessid",
    "rating": "rating ratings stars star score",
    "time": "time timestamp date datetime when ratedat createdat unixreviewtime",
}


def named(
    columns: Sequence[Hashable],
    name: Optional[Hashable],
    role: str,
    usual: str,
    where: str,
) -> Optional[int]:
    """Return the place of the column `name`, or of one with a `usual` name, or None.

    The book's name takes precedence over other usual ones. Raises a ValueError that
    begins with `where` if there are several such columns, or none called `name`.
    """
    if name is not None:
        fitting = [i for i, column in enumerate(columns) if column == name]
        if not fitting:
            raise ValueError(
                f"{where}: there is no column {shown(name)}; the columns are "
                f"{shown_names(columns)}"
            )
    else:
        fitting = [i for i, x in enumerate(columns) if x == COLUMN_OF.get(role)]
        fitting = fitting or [
            i
            for i, column in enumerate(columns)
            if re.sub(r"[\W_]", "", str(column).lower()) in usual.split()
        ]
    if len(fitting) > 1:
        found = shown_names(columns[i] for i in fitting)
        if len({columns[i] for i in fitting}) == 1:
            raise ValueError(
                f"{where}: {len(fitting)} columns are called {columns[fitting[0]]}: "
                "rename or remove one"
            )
        raise ValueError(
            f"{where}: several columns may be the {role}: {found}; {_way_out(role)}"
        )
    return fitting[0] if fitting else None


def _way_out(role: str) -> str:
    return f"name it with {role}=NAME (in the scripts: --columns {role}=NAME)"


def find_columns(
    columns: Sequence[Hashable], names: Mapping[str, Optional[Hashable]], where: str
) -> Dict[str, int]:
    """Return the places of the columns by role; rating and time may be missing.

    Raises a ValueError that begins with `where` and names the columns.
    """
    places: Dict[str, int] = {}
    for role, name in names.items():
        place = named(columns, name, role, USUAL[role], where)
        if place is None:
            if role in ("user", "item"):
                raise ValueError(
                    f"{where}: no column has a usual name for the {role}; the columns "
                    f"are {shown_names(columns)}; {_way_out(role)}"
                )
            continue
        if place in places.values():
            raise ValueError(
                f"{where}: the column {columns[place]} cannot also be the {role}"
            )
        places[role] = place
    return places
