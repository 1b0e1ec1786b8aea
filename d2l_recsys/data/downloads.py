"""Downloads and archives that end: in time, in size, and as a whole or not at all."""

import shutil
import stat
import threading
import time
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Optional, Sequence

CONNECT_SECONDS = 10  # without an answer for so long, the host is out of reach
DOWNLOAD_SECONDS = 600  # for a download with its second try: 8 kB a second for 5 MB
_BYTES_IN_THAT_TIME = 200_000_000  # unpacked; more may take longer in proportion
_CHUNK = 2**14


class DatasetUnavailable(ValueError):
    """A data set is neither at hand nor to be had; the text says what to do."""


def download(
    url: str, known_hash: Optional[str], archive: Path, max_bytes: int
) -> Path:
    """Download `url` to `archive`, which is there whole and right or not at all.

    `known_hash` is written as 'sha1:...' or 'md5:...'; None where none is known.

    It is tried once more after a fault that may pass: an error of the server (5xx), an
    answer cut off or with the wrong bytes. Where nobody answers it is not.

    Raises requests.RequestException for what goes wrong on the way, ValueError for the
    wrong bytes or more than `max_bytes`, and another OSError where it can't be written.
    """
    import pooch

    if known_hash is None:
        pooch.get_logger().addFilter(_is_for_readers)
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
            if attempt == 2 or not _may_pass(error):
                raise
    return archive


class _Transfer(threading.Thread):
    """One download. Its limits hold whatever the server does: the waiter walks away."""

    def __init__(self, url, path, max_bytes):
        super().__init__(daemon=True)
        self.url, self.path, self.max_bytes = url, path, max_bytes
        self.answered = threading.Event()
        self.error = None

    def wait(self, deadline):
        """Start, and return when all is written; raise what went wrong."""
        import requests

        # Closed when the waiter leaves, whereupon the thread fails at its next write.
        with open(self.path, "wb") as self.file:
            self.start()
            if not self.answered.wait(CONNECT_SECONDS):
                raise requests.Timeout(f"no answer for {CONNECT_SECONDS} s")
            self.join(deadline - time.monotonic())
            if self.is_alive():
                limit = _seconds_for(self.max_bytes)
                raise requests.Timeout(f"not done after {limit:g} s")
        if self.error is not None:
            raise self.error

    def run(self):
        """Copy what the server sends; an error is kept for the waiter."""
        try:
            self._copy()
        except Exception as error:
            self.error = error
        self.answered.set()

    def _copy(self):
        import requests
        from tqdm import tqdm

        with requests.get(self.url, stream=True, timeout=CONNECT_SECONDS) as response:
            self.answered.set()
            response.raise_for_status()
            size = int(response.headers.get("Content-Length", 0)) or None
            # disable=None: it shows in a terminal only.
            with tqdm(total=size, unit="B", unit_scale=True, disable=None) as bar:
                for chunk in response.iter_content(_CHUNK):
                    if self.file.tell() + len(chunk) > self.max_bytes:
                        raise ValueError(f"the server sends over {self.max_bytes} B")
                    self.file.write(chunk)
                    bar.update(len(chunk))


def _seconds_for(max_bytes):
    return DOWNLOAD_SECONDS * max(1, max_bytes / _BYTES_IN_THAT_TIME)


def _is_for_readers(record):
    """Leave out pooch's advice to those who call it: to note the hash."""
    return "known_hash" not in record.msg


def _may_pass(error):
    """Tell whether another try may help."""
    import requests

    if isinstance(error, requests.HTTPError):
        return error.response.status_code >= 500
    if isinstance(error, requests.RequestException):
        return not isinstance(error, (requests.ConnectionError, requests.Timeout))
    return isinstance(error, ValueError)  # pooch's wrong hash; OSError is of the disk


def unpack(archive: Path, members: Sequence[str], max_bytes: int, folder: Path) -> None:
    """Write the `members` of a zip into `folder`, flat; they may lie in one folder.

    Raises :class:`DatasetUnavailable` naming the archive where it is damaged, lacks a
    member, would unpack to more than `max_bytes`, or holds a link or a name that leads
    out of the folder.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            found = _chosen(file.infolist(), members)
            size = sum(info.file_size for info in found.values())
            if size > max_bytes:
                raise ValueError(f"would unpack to {size} bytes, over {max_bytes}")
            for member, info in found.items():
                # zipfile reads no more of a member than its declared size.
                with file.open(info) as packed, open(folder / member, "wb") as target:
                    shutil.copyfileobj(packed, target)
    # RuntimeError: encrypted, or packed in a way that zipfile doesn't know.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as why:
        raise DatasetUnavailable(f"{archive}: {why}; delete it") from why


def _chosen(infos, members):
    found = {}
    for info in infos:
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"member {info.filename!r} would leave the folder")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ValueError(f"member {info.filename!r} is a link")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"member {info.filename!r} is packed in an unknown way")
        if path.name in members and len(path.parts) <= 2:
            found[path.name] = info
    missing = [member for member in members if member not in found]
    if missing:
        raise ValueError(f"no {', '.join(missing)} inside")
    return found
