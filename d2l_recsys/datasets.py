"""Where data comes from: a folder of yours, the cache, a download, or a generator.

:func:`fetch` gives the folder that holds a data set, by name. It looks in ``data_dir``,
then in the folder named by the environment variable ``D2L_RECSYS_DATA``, then in the
user cache, and downloads what it finds in none of them. Section: ``movielens``,
``ctr``.
"""

import hashlib
import os
import shutil
import tempfile
import zipfile
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Callable, NamedTuple, Optional, Tuple, Union

from d2l_recsys import synthetic, synthetic_ads

CONNECT_SECONDS = (
    10  # without a connection for so long, the host counts as out of reach
)
_PathLike = Union[str, "os.PathLike[str]"]


class DatasetUnavailable(ValueError):
    """A data set is neither at hand nor to be had; the text says what to do."""


class Download(NamedTuple):
    """A published archive: its address, its SHA-1 and the members that are needed."""

    url: str
    sha1: str
    members: Tuple[str, ...]  # the first one is what tells that a folder holds the set
    max_bytes: int  # no honest copy unpacks to more


class Generated(NamedTuple):
    """A made-up data set: its writer and the file that tells it is there."""

    write: Callable[[Path], None]
    members: Tuple[str, ...]


class Brought(NamedTuple):
    """A data set that readers get for themselves: where from, and its files."""

    origin: str
    members: Tuple[str, ...]


_ADS = ("train.csv", "test.csv")
DATASETS = {
    "ml-100k": Download(
        "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
        "cd4dcac4241c8a4ad7badc7ca635da8a69dddb83",
        ("u.data", "u.item", "u.genre", "u.user", "u.info", "u.occupation", "README"),
        max_bytes=50_000_000,
    ),
    "ml-100k-synthetic": Generated(synthetic.write_movielens, ("u.data",)),
    "ml-100k-smoke": Generated(
        partial(
            synthetic.write_movielens, num_users=200, num_items=300, num_ratings=8000
        ),
        ("u.data",),
    ),
    "ctr": Download(
        "http://d2l-data.s3-accelerate.amazonaws.com/ctr.zip",
        "e18327c48c8e8e5c23da714dd614e390d369843f",
        _ADS,
        max_bytes=100_000_000,
    ),
    "ctr-synthetic": Generated(synthetic_ads.write_ads, _ADS),
    "ctr-smoke": Generated(
        partial(synthetic_ads.write_ads, num_train=2000, num_test=500), _ADS
    ),
    "criteo": Brought("https://www.kaggle.com/c/criteo-display-ad-challenge", _ADS),
    "avazu": Brought("https://www.kaggle.com/c/avazu-ctr-prediction", _ADS),
}


def fetch(name: str, data_dir: Optional[_PathLike] = None) -> Path:
    """Return the folder that holds the data set `name`, downloading it if need be.

    `data_dir` may be the folder with the files, a folder that has it as a subfolder
    called `name`, or one that has the published ``name.zip``. A folder whose files are
    called train.csv and test.csv has to be called `name` in any case. An archive is
    unpacked into the user cache, after its SHA-1 was found right.

    Raises ValueError for an unknown name or a `data_dir` that is no folder, and
    :class:`DatasetUnavailable` where the set can't be had, with the way out.
    """
    if name not in DATASETS:
        raise ValueError(f"no data set {name!r}: choose from {', '.join(DATASETS)}")
    folder = find(name, data_dir)
    if folder is not None:
        return folder
    source = DATASETS[name]
    if isinstance(source, Generated):
        return _fill_cache(name, source.write)
    if isinstance(source, Brought):
        raise DatasetUnavailable(
            f"no folder {name} with the files {', '.join(source.members)} was found: "
            f"get the data from {source.origin} and name the folder above with "
            "--data-dir (data_dir=) or D2L_RECSYS_DATA"
        )
    archive = _download(name, source)
    return _fill_cache(name, lambda target: _extract(archive, source, target))


def find(name: str, data_dir: Optional[_PathLike] = None) -> Optional[Path]:
    """Return the folder that holds `name` if it is on this machine, else None."""
    source = DATASETS[name]
    for place in _places(data_dir):
        for folder in (place / name, place):
            # A train.csv may be of anything, so that the folder's name has to tell.
            if source.members is _ADS and folder.name != name:
                continue
            if (folder / source.members[0]).is_file():
                return folder
        archive = place / f"{name}.zip"
        if isinstance(source, Download) and archive.is_file():
            _check_sha1(archive, source.sha1)
            return _fill_cache(name, lambda to, a=archive: _extract(a, source, to))
    return None


def cache_dir() -> Path:
    """Return the user's cache folder for data sets (it need not exist yet)."""
    import pooch

    return Path(pooch.os_cache("d2l-recsys"))


def _places(data_dir):
    for place, origin in (
        (data_dir, "data_dir"),
        (os.environ.get("D2L_RECSYS_DATA"), "D2L_RECSYS_DATA"),
    ):
        if not place:
            continue
        if not Path(place).is_dir():
            raise ValueError(f"{origin} names {str(place)!r}, which is not a folder")
        yield Path(place)
    yield cache_dir()


def _check_sha1(path, expected):
    actual = hashlib.sha1(path.read_bytes()).hexdigest()
    if actual != expected:
        raise DatasetUnavailable(
            f"{path} is not the published archive: its SHA-1 is {actual}, not "
            f"{expected}. Delete it, or put a good copy in its place."
        )


def _fill_cache(name, write):
    """Make the folder `name` in the cache by `write(folder)`, all of it or nothing."""
    target = cache_dir() / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    except OSError as error:
        raise DatasetUnavailable(
            f"cannot write to the cache folder {target.parent} ({error.strerror}): set "
            "XDG_CACHE_HOME to a folder you may write to, or D2L_RECSYS_DATA to one "
            f"that holds {name}"
        ) from error
    try:
        write(work)
        work.chmod(0o755)  # mkdtemp lets nobody else in
        work.rename(target)
    except OSError:
        # Another process may have filled the folder meanwhile: its copy is as good.
        if not (target / DATASETS[name].members[0]).is_file():
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _download(name, source):
    """Fetch the archive of `source` into the cache; pooch checks its hash."""
    import pooch
    import requests

    downloader = pooch.HTTPDownloader(
        progressbar=True, timeout=(CONNECT_SECONDS, CONNECT_SECONDS)
    )
    for attempt in (1, 2):
        try:
            return Path(
                pooch.retrieve(
                    source.url,
                    f"sha1:{source.sha1}",
                    fname=f"{name}.zip",
                    path=cache_dir(),
                    downloader=downloader,
                )
            )
        # ValueError is pooch's wrong hash. No connection is not tried twice.
        except (OSError, ValueError) as error:
            connected = not isinstance(
                error, (requests.ConnectionError, requests.Timeout)
            )
            if attempt == 2 or not connected:
                raise DatasetUnavailable(_way_out(name, source, error)) from error
    raise AssertionError("unreachable")


def _way_out(name, source, error):
    reason = str(error).splitlines()[0][:200]
    return (
        f"{name} could not be downloaded ({type(error).__name__}: {reason}). Fetch "
        f"{source.url} with a browser and put the file into {cache_dir()}, or into a "
        "folder that you name with --data-dir (data_dir=) or D2L_RECSYS_DATA; or use "
        "the made-up data that needs no download: --data synthetic "
        f"(fetch('{name}-synthetic'))."
    )


def _extract(archive, source, folder):
    """Write the members that `source` needs from `archive` into `folder`, flat."""
    with zipfile.ZipFile(archive) as file:
        found = {}
        for info in file.infolist():
            path = PurePosixPath(info.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts:
                raise DatasetUnavailable(
                    f"{archive}: member {info.filename!r} would leave the folder"
                )
            if path.name in source.members and len(path.parts) <= 2:
                found[path.name] = info
        missing = [member for member in source.members if member not in found]
        if missing:
            raise DatasetUnavailable(f"{archive}: no {', '.join(missing)} inside")
        size = sum(info.file_size for info in found.values())
        if size > source.max_bytes:
            raise DatasetUnavailable(
                f"{archive}: would unpack to {size} bytes, over {source.max_bytes}"
            )
        for member, info in found.items():
            with file.open(info) as packed, open(folder / member, "wb") as target:
                shutil.copyfileobj(packed, target)
