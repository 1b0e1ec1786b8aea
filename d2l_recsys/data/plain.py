"""Convert values to types that JSON has."""

import dataclasses
from typing import Any


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it, for ``json.dumps(..., default=plain)``.

    Numbers and arrays of NumPy become numbers and lists, and dataclasses become
    dictionaries. Other values, such as paths, become text.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "tolist"):
        return value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
