"""Write result files: completely or not at all, and never through a link."""

import io
import json
import math
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def write(path: Path, content: bytes) -> None:
    """Write a temporary file in the same folder, and rename it to `path`.

    A reader of `path` sees the old content or the new one. If `path` is a symbolic
    link, the link is replaced, not the file it points to.

    Raises an OSError that names `path`.
    """
    work = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(work, "xb") as file:
            file.write(content)
        os.replace(work, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            work.unlink()


def as_json(record: Any) -> bytes:
    """Return `record` as JSON. NaN and infinity, which JSON lacks, become null."""
    text = json.dumps(_plain(record), indent=1, allow_nan=False)
    return f"{text}\n".encode()


def as_png(figure: Figure) -> bytes:
    """Return `figure` as a PNG picture."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    return picture.getvalue()


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
