"""Write result files: completely or not at all, and never through a link."""

import json
import math
from pathlib import Path
from typing import Any

from d2l_recsys.data.plain import plain
from d2l_recsys.data.replacing import replacing


def write(path: Path, content: bytes) -> None:
    """Replace the file at `path` by one with this content, atomically.

    Raises an OSError that names `path`.
    """
    with replacing(path) as file:
        file.write(content)


def as_json(record: Any) -> bytes:
    """Return `record` as JSON. NaN and infinity, which JSON lacks, become null."""
    text = json.dumps(_finite(record), indent=1, allow_nan=False)
    return f"{text}\n".encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    value = plain(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
