"""Write result files: completely or not at all, and never through a link."""

import json
import math
from pathlib import Path
from typing import Any

from d2l_recsys.data.replacing import replacing


def write(path: Path, content: bytes) -> None:
    """Replace the file at `path` by one with this content, atomically.

    Raises an OSError that names `path`.
    """
    with replacing(path) as file:
        file.write(content)


def as_json(record: Any) -> bytes:
    """Return `record` as JSON. NaN and infinity, which JSON lacks, become null."""
    text = json.dumps(_plain(record), indent=1, allow_nan=False)
    return f"{text}\n".encode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if hasattr(value, "item"):  # a number of NumPy
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
