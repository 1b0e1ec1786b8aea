"""Find the columns of a reader's own ratings by their names."""

import re
from typing import Dict, Hashable, Mapping, Optional, Sequence

from d2l_recsys.data import frames
from d2l_recsys.data.lines import shown

COLUMN_OF = dict(zip(("user", "item", "rating", "time"), frames.NAMES))
# Usual names in lower case, without blanks, dots, dashes and underscores.
USUAL = {
    "user": "user userid uid customer customerid reviewer reviewerid member memberid "
    "visitorid",
    "item": "item itemid iid movie movieid product productid book bookid isbn asin "
    "song songid track trackid artist artistid article articleid business businessid",
    "rating": "rating ratings stars star score",
    "time": "time timestamp date datetime when ratedat createdat unixreviewtime",
}


def find_columns(
    columns: Sequence[Hashable], names: Mapping[str, Optional[Hashable]], where: str
) -> Dict[str, int]:
    """Return the places of the columns by role; rating and time may be missing.

    Raises a ValueError that begins with `where` and names the columns.
    """
    places: Dict[str, int] = {}
    for role, name in names.items():
        usual = USUAL[role].split()
        if name is not None:
            fitting = [i for i, column in enumerate(columns) if column == name]
        else:
            fitting = [i for i, x in enumerate(columns) if x == COLUMN_OF[role]]
            fitting = fitting or [
                i
                for i, column in enumerate(columns)
                if re.sub(r"[\W_]", "", str(column).lower()) in usual
            ]
        way_out = f"name it with {role}=NAME (of the scripts: --columns {role}=NAME)"
        there = f"the columns are {frames.shown_names(columns)}"
        if len(fitting) > 1:
            found = frames.shown_names(columns[i] for i in fitting)
            raise ValueError(
                f"{where}: several columns may be the {role}: {found}; {way_out}"
            )
        if name is not None and not fitting:
            raise ValueError(f"{where}: there is no column {shown(name)}; {there}")
        if fitting and fitting[0] in places.values():
            raise ValueError(
                f"{where}: the column {columns[fitting[0]]} cannot be the {role}, too"
            )
        if fitting:
            places[role] = fitting[0]
        elif role in ("user", "item"):
            raise ValueError(
                f"{where}: no column has a usual name of the {role}; {there}; {way_out}"
            )
    return places
