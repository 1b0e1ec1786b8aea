"""Where data comes from: a folder of yours, the cache, a download, or a generator.

:func:`fetch` gives the folder that holds a data set, by name. It looks in ``data_dir``,
then in the folder named by the environment variable ``D2L_RECSYS_DATA``, then in the
user cache, and downloads what it finds in none of them. Section: ``movielens``,
``ctr``.

A file or folder appears in the cache under its name when it is whole. What a killed
process was at work on stays there under another name, which is never read, until a
process writes to the cache a day later or more and sweeps it.
"""

import os
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Tuple, Union

from d2l_recsys.data.downloads import DatasetUnavailable, download, unpack
from d2l_recsys.data.synthetic_ctr import write_ctr
from d2l_recsys.data.synthetic_movielens import write_movielens

_MADE_UP = "ml-100k-synthetic"  # in place of any set of MovieLens
_LEFTOVER_SECONDS = 24 * 3600  # no process works on a file in the cache for so long
_PathLike = Union[str, "os.PathLike[str]"]


class Download(NamedTuple):
    """A published archive: its address, its hash and the members that are needed."""

    url: str
    hash: Optional[str]  # 'sha1:...' or 'md5:...'; None where the archive may change
    members: Tuple[str, ...]  # the first one is what tells that a folder holds the set
    max_bytes: int  # no honest copy unpacks to more
    ratings: Optional[int] = None  # how many there are in the published set
    folder: Optional[str] = None  # inside the archive, where it is not the set's name


class Generated(NamedTuple):
    """A made-up data set: its writer and the file that tells it is there."""

    write: Callable[[Path], None]
    members: Tuple[str, ...]


class Brought(NamedTuple):
    """A data set that readers get for themselves: where from, and its files."""

    origin: str
    members: Tuple[str, ...]


_CTR_FILES = ("train.csv", "test.csv")
_DAT, _CSV = ("ratings.dat", "movies.dat"), ("ratings.csv", "movies.csv")
# A file of such a name may be of anything, so that the folder's name has to tell.
_SHARED = ("train.csv", "ratings.dat", "ratings.csv")
_MOVIELENS = "https://files.grouplens.org/datasets/movielens/"
DATASETS = {
    "ml-100k": Download(
        f"{_MOVIELENS}ml-100k.zip",
        "sha1:cd4dcac4241c8a4ad7badc7ca635da8a69dddb83",
        ("u.data", "u.item", "u.genre", "u.user", "u.info", "u.occupation", "README"),
        max_bytes=50_000_000,
    ),
    # The MD5 sums are those that GroupLens publishes, in NAME.zip.md5.
    "ml-1m": Download(
        f"{_MOVIELENS}ml-1m.zip",
        "md5:c4d9eecfca2ab87c1945afe126590906",
        _DAT,
        max_bytes=50_000_000,
        ratings=1_000_209,
    ),
    "ml-10m": Download(
        f"{_MOVIELENS}ml-10m.zip",
        "md5:ce571fd55effeba0271552578f2648bd",
        _DAT,
        max_bytes=500_000_000,
        ratings=10_000_054,
        folder="ml-10M100K",
    ),
    "ml-20m": Download(
        f"{_MOVIELENS}ml-20m.zip",
        "md5:cd245b17a1ae2cc31bb14903e1204af3",
        _CSV,
        max_bytes=1_000_000_000,
        ratings=20_000_263,
    ),
    "ml-25m": Download(
        f"{_MOVIELENS}ml-25m.zip",
        "md5:6b51fb2759a8657d3bfcbfc42b592ada",
        _CSV,
        max_bytes=1_000_000_000,
        ratings=25_000_095,
    ),
    "ml-32m": Download(
        f"{_MOVIELENS}ml-32m.zip",
        "md5:d472be332d4daa821edc399621853b57",
        _CSV,
        max_bytes=1_500_000_000,
        ratings=32_000_204,
    ),
    # GroupLens changes this one now and then: no hash can be relied on, and the number
    # of ratings is that of September 2018.
    "ml-latest-small": Download(
        f"{_MOVIELENS}ml-latest-small.zip",
        None,
        _CSV,
        max_bytes=50_000_000,
        ratings=100_836,
    ),
    "ml-100k-synthetic": Generated(write_movielens, ("u.data",)),
    "ml-100k-smoke": Generated(
        partial(write_movielens, num_users=200, num_items=300, num_ratings=8000),
        ("u.data",),
    ),
    "ctr": Download(
        "http://d2l-data.s3-accelerate.amazonaws.com/ctr.zip",
        "sha1:e18327c48c8e8e5c23da714dd614e390d369843f",
        _CTR_FILES,
        max_bytes=100_000_000,
    ),
    "ctr-synthetic": Generated(write_ctr, _CTR_FILES),
    "ctr-smoke": Generated(
        partial(write_ctr, num_train=2000, num_test=500), _CTR_FILES
    ),
    "criteo": Brought(
        "https://www.kaggle.com/c/criteo-display-ad-challenge", _CTR_FILES
    ),
    "avazu": Brought("https://www.kaggle.com/c/avazu-ctr-prediction", _CTR_FILES),
}


def fetch(name: str, data_dir: Optional[_PathLike] = None) -> Path:
    """Return the folder that holds the data set `name`, downloading it if need be.

    `data_dir` may be the folder with the files, a folder that has it as a subfolder
    called `name`, or one that has the published ``name.zip``. A folder whose files are
    called train.csv, ratings.dat or ratings.csv, as those of several sets, must always
    be called exactly `name` (or ml-10M100K, as in the archive of ml-10m). An archive
    is unpacked into the user cache, after its hash was found right; that of
    ml-latest-small has none, because GroupLens changes it.

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
    return _unpack(name, source, _download(name, source))


def find(name: str, data_dir: Optional[_PathLike] = None) -> Optional[Path]:
    """Return the folder that holds `name` if it is on this machine, else None."""
    source = DATASETS[name]
    names = (name, getattr(source, "folder", None) or name)
    for place in _places(data_dir):
        folders = [place / n for n in names]
        if not isinstance(source, Generated):  # u.data alone may be the real one
            folders.append(place)
        for folder in folders:
            if source.members[0] in _SHARED and folder.absolute().name not in names:
                continue
            if (folder / source.members[0]).is_file():
                return folder
        archive = place / f"{name}.zip"
        if isinstance(source, Download) and archive.is_file():
            _check_hash(archive, source.hash)
            return _unpack(name, source, archive)
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


def _check_hash(path, expected):
    import pooch

    kind, _, expected = (expected or "").partition(":")
    actual = pooch.file_hash(str(path), alg=kind) if kind else ""
    if actual != expected:
        raise DatasetUnavailable(
            f"{path} is not the published archive: its {kind.upper()} is {actual}, not "
            f"{expected}. Delete it, or put a good copy in its place."
        )


def _unpack(name, source, archive):
    def write(folder):
        unpack(archive, source.members, source.max_bytes, folder)

    return _fill_cache(name, write)


def _fill_cache(name, write):
    """Make the folder `name` in the cache by `write(folder)`, all of it or nothing."""
    target = _writable_cache(name) / name
    work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    try:
        write(work)
        work.chmod(0o755)  # mkdtemp lets nobody else in
        work.rename(target)
    except OSError as error:
        # Another process may have filled the folder meanwhile: its copy is as good.
        if not (target / DATASETS[name].members[0]).is_file():
            raise DatasetUnavailable(
                f"{name} cannot be written to {target} ({error.strerror}): make room, "
                "or delete what is there"
            ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _writable_cache(name):
    """Return the cache folder, made and swept of what killed processes left there."""
    cache = cache_dir()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        raise DatasetUnavailable(
            f"cannot write to the cache folder {cache} ({error.strerror}): set "
            "XDG_CACHE_HOME to a folder you may write to, or D2L_RECSYS_DATA to one "
            f"that holds {name}"
        ) from error
    started = time.time() - _LEFTOVER_SECONDS
    for left in (*cache.glob("tmp*"), *cache.glob(".*-*")):
        try:
            if left.stat().st_mtime < started:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        except OSError:  # another process was faster, or it is somebody else's
            continue
    return cache


def _download(name, source):
    """Fetch the archive of `source` into the cache."""
    archive = _writable_cache(name) / f"{name}.zip"
    try:
        return download(source.url, source.hash, archive, source.max_bytes)
    except (OSError, ValueError) as error:
        raise DatasetUnavailable(_way_out(name, source, error)) from error


def _way_out(name, source, error):
    reason = str(error).splitlines()[0][:200]
    made_up = f"{name}-synthetic" if f"{name}-synthetic" in DATASETS else _MADE_UP
    return (
        f"{name} could not be downloaded ({type(error).__name__}: {reason}). Fetch "
        f"{source.url} with a browser and put the file, or the folder "
        f"{source.folder or name} in it, into {cache_dir()}, or into a folder that you "
        "name with --data-dir (data_dir=) or D2L_RECSYS_DATA; or use the made-up data "
        f"that needs no download: --data synthetic (fetch('{made_up}'))."
    )
