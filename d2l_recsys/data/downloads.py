"""Download and unpack archives, with limits of time and size.

The result is complete or absent: a failed download leaves no file behind.
"""

import contextlib
import logging
import stat
import threading
import time
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Dict, Iterable, Iterator, Optional, Sequence

CONNECT_SECONDS = 10  # a host that does not answer for this long is unreachable
DOWNLOAD_SECONDS = 600  # for both attempts together: 5 MB at 8 kB per second
_BYTES_IN_THAT_TIME = 200_000_000  # unpacked; larger files get proportionally longer
_CHUNK = 2**14


class DatasetUnavailable(ValueError):
    """A data set could not be found or obtained. The message says what to do."""


class DamagedArchive(ValueError):
    """An archive on this machine is damaged. The message names it.

    This is no :class:`DatasetUnavailable`, so that it is not passed over in silence
    where other data can be used instead.
    """


def download(
    url: str, known_hash: Optional[str], archive: Path, max_bytes: int
) -> Path:
    """Download `url` to the file `archive` and check its hash.

    `known_hash` is 'sha1:...' or 'md5:...', or None if no hash is known. If the
    download fails, no file is left behind.

    There is a second attempt after errors that may be temporary: a server error (5xx),
    a truncated response or wrong bytes. There is none if the server does not answer.

    Raises requests.RequestException for network errors, ValueError for wrong bytes or
    more than `max_bytes`, and OSError if the file cannot be written.
    """
    import pooch

    if known_hash is None:
        pooch.get_logger().addFilter(_is_for_users)
    deadline = time.monotonic() + _seconds_for(max_bytes)
    for attempt in (1, 2):
        try:
            pooch.retrieve(
                url,
                known_hash,
                fname=archive.name,
                path=archive.parent,
                downloader=lambda url, file, _: _Transfer(url, file, max_bytes).wait(
                    deadline
                ),
            )
            break
        except (OSError, ValueError) as error:
            if attempt == 2 or not _may_be_temporary(error):
                raise
    return archive


class _Transfer(threading.Thread):
    """One download in a thread, so the caller can give up whatever the server does."""

    file: BinaryIO

    def __init__(self, url: str, path: str, max_bytes: int) -> None:
        super().__init__(daemon=True)
        self.url, self.path, self.max_bytes = url, path, max_bytes
        self.answered = threading.Event()
        self.error: Optional[Exception] = None

    def wait(self, deadline: float) -> None:
        """Download until `deadline`; raise the error if the download fails."""
        import requests

        # If the caller gives up, the file is closed and the thread's next write fails.
        with open(self.path, "wb") as self.file:
            self.start()
            if not self.answered.wait(CONNECT_SECONDS):
                raise requests.Timeout(f"no answer for {CONNECT_SECONDS} s")
            self.join(deadline - time.monotonic())
            if self.is_alive():
                limit = _seconds_for(self.max_bytes)
                raise requests.Timeout(f"not finished after {limit:g} s")
        if self.error is not None:
            raise self.error

    def run(self) -> None:
        """Write the response to the file; keep an error for :meth:`wait`."""
        try:
            self._copy()
        except Exception as error:
            self.error = error
        self.answered.set()

    def _copy(self) -> None:
        import requests
        from tqdm import tqdm

        with requests.get(self.url, stream=True, timeout=CONNECT_SECONDS) as response:
            self.answered.set()
            response.raise_for_status()
            size = int(response.headers.get("Content-Length", 0)) or None
            # disable=None shows the bar in a terminal only.
            with tqdm(total=size, unit="B", unit_scale=True, disable=None) as bar:
                for chunk in response.iter_content(_CHUNK):
                    if self.file.tell() + len(chunk) > self.max_bytes:
                        raise ValueError(
                            f"the server sent more than {self.max_bytes} bytes"
                        )
                    self.file.write(chunk)
                    bar.update(len(chunk))


def _seconds_for(max_bytes: float) -> float:
    return DOWNLOAD_SECONDS * max(1, max_bytes / _BYTES_IN_THAT_TIME)


def _is_for_users(record: logging.LogRecord) -> bool:
    """Tell whether a log record is not pooch's advice to programmers about hashes."""
    return "known_hash" not in record.msg


def _may_be_temporary(error: Exception) -> bool:
    """Tell whether a second attempt may succeed."""
    import requests

    if isinstance(error, requests.HTTPError):
        return error.response.status_code >= 500
    if isinstance(error, requests.RequestException):
        return not isinstance(error, (requests.ConnectionError, requests.Timeout))
    return isinstance(error, ValueError)  # wrong hash; an OSError comes from the disk


def check_hash(archive: Path, expected: Optional[str]) -> None:
    """Check the hash of an archive: 'sha1:...', 'md5:...', or None if it has none.

    Raises a :class:`DamagedArchive` that names the archive.
    """
    import pooch

    kind, _, expected = (expected or "").partition(":")
    with _reading(archive):
        actual = pooch.file_hash(str(archive), alg=kind) if kind else ""
    if actual != expected:
        raise DamagedArchive(
            f"{archive} is not the published archive: its {kind.upper()} is {actual}, "
            f"not {expected}. Delete the file, or replace it with a good copy."
        )


def unpack(archive: Path, members: Sequence[str], max_bytes: int, folder: Path) -> None:
    """Unpack the `members` of a zip file into `folder`, without subfolders.

    In the archive the members may be at the top or in one folder.

    Raises a :class:`DamagedArchive` that names the archive if it is damaged, lacks a
    member, would unpack to more than `max_bytes`, or contains a link or a path outside
    the folder. Raises OSError if a file cannot be written.
    """
    with _reading(archive):
        file = zipfile.ZipFile(archive)
    with file:
        with _reading(archive):
            found = _find_members(file.infolist(), members)
            size = sum(info.file_size for info in found.values())
            if size > max_bytes:
                raise ValueError(
                    f"it would unpack to {size} bytes, more than {max_bytes}"
                )
        for member, info in found.items():
            with open(folder / member, "wb") as target:
                for chunk in _chunks(archive, file, info):
                    target.write(chunk)


def _chunks(
    archive: Path, file: zipfile.ZipFile, info: zipfile.ZipInfo
) -> Iterator[bytes]:
    """Yield the bytes of a member, no more than its declared size."""
    with _reading(archive), file.open(info) as packed:
        yield from iter(lambda: packed.read(_CHUNK), b"")


@contextlib.contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Raise DamagedArchive for whatever goes wrong while an archive is read."""
    try:
        yield
    except PermissionError as error:
        raise DamagedArchive(f"{archive} cannot be read ({error.strerror})") from error
    # RuntimeError: the archive is encrypted or uses an unsupported compression. zipfile
    # raises OSError, too, if a damaged archive sends it to an invalid position.
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        RuntimeError,
        OSError,
        ValueError,
    ) as error:
        raise DamagedArchive(f"{archive}: {error}; delete the file") from error


def _find_members(
    infos: Iterable[zipfile.ZipInfo], members: Sequence[str]
) -> Dict[str, zipfile.ZipInfo]:
    found = {}
    for info in infos:
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"member {info.filename!r} is outside the folder")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ValueError(f"member {info.filename!r} is a link")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"member {info.filename!r} has an unsupported compression")
        if path.name in members and len(path.parts) <= 2:
            found[path.name] = info
    missing = [member for member in members if member not in found]
    if missing:
        raise ValueError(f"it does not contain {', '.join(missing)}")
    return found
