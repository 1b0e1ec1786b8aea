"""Write files completely or not at all, and never through a link."""

import os
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Iterator, Union


@contextmanager
def replacing(path: "Union[str, os.PathLike[str]]") -> Iterator[IO[bytes]]:
    """Open a temporary file in the same folder, and rename it to `path` at the end.

    Readers of `path` see either the old or the new content. If `path` is a symbolic
    link, the link is replaced, not the file it points to. If the block raises an error,
    `path` stays as it is.

    Raises an OSError that names `path`.
    """
    path = Path(path)
    work = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(work, "xb") as file:
            yield file
        os.replace(work, path)
    except OSError as error:
        if error.filename not in (None, str(work)):  # about another file
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            work.unlink()
