"""Ids, types and shapes at random, and what they mean.

Two outcomes of a call are allowed: the result of a simple loop, or a ValueError of this
package whose text names the culprit.
"""

import contextlib
import io
import math
import re
import traceback
from pathlib import Path

import numpy
import pandas as pd
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

import d2l_recsys
from d2l_recsys.runtime.backend import np

USERS, ITEMS, L = 3, 5, 2
OURS = Path(d2l_recsys.__file__).parent
at_random = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[*HealthCheck],
    phases=[Phase.generate, Phase.shrink],
)

# Values that are no id of anything here.
FAULTS = [-1, 2**31, 2**63 - 1, 2**63, 2**64, 0.5, math.nan, math.inf, None, "1", [1]]
NO_NUMBERS = [math.nan, math.inf, None, "1", 2**64]
CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "array": numpy.array,
    "uint64": lambda values: numpy.array(values, dtype="uint64"),
    "int8": lambda values: numpy.array(values, dtype="int8"),
    "float32": lambda values: numpy.array(values, dtype="float32"),
    "object": lambda values: numpy.array([*values, None], dtype="object")[:-1],
    "series": lambda values: pd.Series(values, index=range(7, 7 + len(values))),
    "Int64": lambda values: pd.Series(values, dtype="Int64"),
    "Float64": lambda values: pd.Series(values, dtype="Float64"),
    "mxnet": lambda values: np.array(values, dtype="int32"),
    "column": lambda values: numpy.array(values).reshape(-1, 1),  # not (n,)
}


def packed(draw, values, names):
    """Return `values` in one of these containers, or a list if they do not fit."""
    name = draw(st.sampled_from(names))
    with contextlib.suppress(TypeError, ValueError, OverflowError, Warning):
        container = CONTAINERS[name](values)
        plain = container.asnumpy() if name == "mxnet" else container
        if [*numpy.ravel(plain)] == values:  # not wrapped, cut or missing
            return container, name != "column"
    return list(values), True


@st.composite
def ids(draw, size, limit, first=0, names=tuple(CONTAINERS), faults=None):
    """Draw (container, its ids or None); None if they are not in first..limit-1."""
    faults = faults or [*FAULTS, first - 1, limit]
    values = draw(st.lists(st.integers(first, limit - 1), min_size=size, max_size=size))
    bad = draw(st.booleans()) and draw(st.booleans())
    if bad:
        values[draw(st.integers(0, size - 1))] = draw(st.sampled_from(faults))
    container, fits = packed(draw, values, names)
    return container, None if bad or not fits else values


FRAME = ("list", "array", "uint64", "int8", "float32", "object", "Int64", "Float64")


@st.composite
def frames(draw):
    """Draw a frame of ratings, and its rows or None."""
    size = draw(st.integers(1, 8))
    columns = [
        draw(ids(size, USERS + 1, 1, FRAME)),
        draw(ids(size, ITEMS + 1, 1, FRAME)),
        draw(ids(size, 6, 1, FRAME, NO_NUMBERS)),
        draw(ids(size, 100, 0, FRAME, NO_NUMBERS)),
    ]
    names = ["user_id", "item_id", "rating", "timestamp"]
    data = pd.DataFrame({n: list(c) for n, (c, _) in zip(names, columns)})
    for name, (column, _) in zip(names, columns):
        if hasattr(column, "dtype"):
            data[name] = column if isinstance(column, numpy.ndarray) else column.array
    return data, [values for _, values in columns]


@st.composite
def dictionaries(draw, one_item=False):
    """Draw {user: items} and what it means, or None."""
    users = draw(st.lists(st.integers(0, USERS - 1), unique=True, min_size=1))
    given, plain, bad = {}, {}, False
    for user in users:
        items = st.integers(0, ITEMS - 1)
        count = (1, 1) if one_item else (0, ITEMS - 2)
        values = draw(
            st.lists(items, unique=True, min_size=count[0], max_size=count[1])
        )
        plain[user] = values
        if values and draw(st.integers(0, 7)) == 0:
            values, bad = [*values[1:], draw(st.sampled_from([*FAULTS, ITEMS]))], True
        names = ("list", "tuple", "array", "series") if values else ("list", "tuple")
        given[user], _ = packed(draw, values, names)
    if draw(st.integers(0, 7)) == 0:
        wrong = draw(st.sampled_from([-1, USERS, 2**31, 2**64, 0.5, "0", None]))
        given[wrong], bad = [0], True
    return given, None if bad else plain


def outcome(call, culprit):
    """Return the result of `call`, or None after a ValueError that names `culprit`."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return call()
    except ValueError as error:
        last, text = traceback.extract_tb(error.__traceback__)[-1], str(error)
    ours = OURS in Path(last.filename).parents
    assert ours, last
    assert re.search(culprit, text)
    return None
