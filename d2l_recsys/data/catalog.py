"""Find a data set by name: in a folder, in the cache, or from its source.

:func:`fetch` returns the folder that holds a data set. It looks in ``data_dir``, then
in the folder named by the environment variable ``D2L_RECSYS_DATA``, then in the user
cache. If no folder holds the data set, it is downloaded or generated. Sections:
``movielens``, ``ctr``.

A file or folder gets its final name in the cache only when it is complete. A process
that is killed leaves its work under a temporary name, which is never read. A later
write to the cache deletes such leftovers once they are a day old.
"""

import os
import shutil
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Union

from d2l_recsys.data.datasets import (
    DATASETS,
    SUBSTITUTE,
    Download,
    Generated,
    Manual,
)
from d2l_recsys.data.downloads import DatasetUnavailable, check_hash, download, unpack
from d2l_recsys.data.sizes import check_path

_STALE_SECONDS = 24 * 3600  # no process works on one file for this long
_PathLike = Union[str, "os.PathLike[str]"]
# Several data sets have files of these names, so the folder's name must match, too.
_SHARED = ("train.csv", "ratings.dat", "ratings.csv")


def fetch(name: str, data_dir: Optional[_PathLike] = None) -> Path:
    """Return the folder that holds the data set `name`; download it if necessary.

    `data_dir` is the folder with the files, a folder with a subfolder called `name`, or
    a folder with the published ``name.zip``. Several data sets have a train.csv,
    ratings.dat or ratings.csv. The folder of these files must be called exactly `name`;
    for ml-10m, the archive's own ml-10M100K works, too. An archive is unpacked into the
    user cache after its hash has been checked. The archive of ml-latest-small has no
    fixed hash, because GroupLens updates it.

    Raises ValueError for an unknown name, and for a `data_dir` that is not a folder or
    cannot be read. Raises :class:`~d2l_recsys.data.downloads.DamagedArchive` if an
    archive that was found is damaged or not the published one, and
    :class:`DatasetUnavailable`, with advice in the message, if there is no data set.
    """
    if name not in DATASETS:
        raise ValueError(
            f"unknown data set {name!r}: choose from {', '.join(DATASETS)}"
        )
    folder = find(name, data_dir)
    if folder is not None:
        return folder
    source = DATASETS[name]
    if isinstance(source, Generated):
        return _write_to_cache(name, source.write)
    if isinstance(source, Manual):
        raise DatasetUnavailable(
            f"no folder {name} with {' and '.join(source.members)} was found "
            f"({looked_for(name, data_dir)}): get the data from {source.origin}, "
            f"put the files into a folder called {name}, and pass the folder above it "
            "as --data-dir (data_dir=) or D2L_RECSYS_DATA"
        )
    try:
        archive = _download(name, source)
    except (OSError, ValueError) as error:
        if isinstance(error, DatasetUnavailable):
            raise
        advice = _download_advice(name, source, error, data_dir)
        raise DatasetUnavailable(advice) from None
    return _unpack(name, source, archive)


def find(name: str, data_dir: Optional[_PathLike] = None) -> Optional[Path]:
    """Return the folder that holds `name` if it is on this machine, else None.

    Nothing is downloaded or generated, but an archive that is found is unpacked into
    the cache. Raises the errors of :func:`fetch` for `data_dir` and for an archive.
    """
    source = DATASETS[name]
    names = (name, getattr(source, "folder", None) or name)
    for place in _search_folders(data_dir):
        folders = [place / n for n in names]
        # A folder with only a u.data may be the real data set, not a synthetic one.
        if not isinstance(source, Generated):
            folders.append(place)
        for folder in folders:
            if source.members[0] in _SHARED and folder.absolute().name not in names:
                continue
            if _is_file(folder / source.members[0]):
                return folder
        archive = place / f"{name}.zip"
        if isinstance(source, Download) and _is_file(archive):
            check_hash(archive, source.hash)
            return _unpack(name, source, archive)
    return None


def looked_for(name: str, data_dir: Optional[_PathLike] = None) -> str:
    """Return a text on the missing files, any of which would do, and the folders."""
    source, (first, *_) = DATASETS[name], DATASETS[name].members
    names = dict.fromkeys((name, getattr(source, "folder", None) or name))
    expected = [f"{folder}/{first}" for folder in names]
    expected += [first] if first not in _SHARED else []
    expected += [f"{name}.zip"] if isinstance(source, Download) else []
    folders = dict.fromkeys(map(str, _search_folders(data_dir)))
    return f"no {_either(expected)} is in {_either([*folders])}"


def _either(words: List[str]) -> str:
    return " or ".join([x for x in (", ".join(words[:-1]), words[-1]) if x])


def cache_dir() -> Path:
    """Return the user's cache folder for data sets, which may not exist yet."""
    import pooch

    try:
        # Some releases of pooch leave "~" where there is no home folder.
        return Path(pooch.os_cache("d2l-recsys")).expanduser()
    except (RuntimeError, KeyError):  # KeyError: Python 3.8
        raise DatasetUnavailable(
            "the cache folder is unknown, because there is no home folder: set "
            "XDG_CACHE_HOME to a writable folder"
        ) from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise ValueError(f"cannot look for {path} ({error.strerror})") from error


def _search_folders(data_dir: Optional[_PathLike]) -> Iterator[Path]:
    """Yield the folders to look in, in this order."""
    for place, origin in (
        (data_dir, "data_dir"),
        (os.environ.get("D2L_RECSYS_DATA"), "D2L_RECSYS_DATA"),
    ):
        if not place:
            continue
        check_path(place, origin)
        if not Path(place).is_dir():
            raise ValueError(f"{origin} is {str(place)!r}, which is not a folder")
        yield Path(place)
    yield cache_dir()


def _unpack(name: str, source: Download, archive: Path) -> Path:
    def write(folder: Path) -> None:
        unpack(archive, source.members, source.max_bytes, folder)

    return _write_to_cache(name, write)


def _write_to_cache(name: str, write: Callable[[Path], None]) -> Path:
    """Create the cache folder `name` by ``write(folder)``, completely or not at all."""
    target = _writable_cache(name) / name
    work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    try:
        write(work)
        work.chmod(0o755)  # mkdtemp makes the folder private
        work.rename(target)
    except OSError as error:
        # Another process may have created the folder meanwhile; its copy is as good.
        if not (target / DATASETS[name].members[0]).is_file():
            raise DatasetUnavailable(
                f"cannot write {name} to {target} ({error.strerror}): free some disk "
                "space, or delete what is there"
            ) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _writable_cache(name: str) -> Path:
    """Return the cache folder; create it and delete old leftovers in it."""
    cache = cache_dir()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        raise DatasetUnavailable(
            f"cannot write to the cache folder {cache} ({error.strerror}): set "
            "XDG_CACHE_HOME to a writable folder, or D2L_RECSYS_DATA to a folder that "
            f"holds {name}"
        ) from None
    oldest = time.time() - _STALE_SECONDS
    for leftover in (*cache.glob("tmp*"), *cache.glob(".*-*")):
        try:
            if leftover.stat().st_mtime < oldest:
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        except OSError:  # deleted by another process, or owned by another user
            continue
    return cache


def _download(name: str, source: Download) -> Path:
    """Download the archive of `source` into the cache."""
    archive = _writable_cache(name) / f"{name}.zip"
    return download(source.url, source.hash, archive, source.max_bytes)


def _download_advice(
    name: str, source: Download, error: Exception, data_dir: Optional[_PathLike]
) -> str:
    reason = textwrap.shorten(str(error).splitlines()[0], 200, placeholder=" ...")
    own = f"{name}-synthetic"
    synthetic = f"fetch('{own}')"
    if name != "ctr":
        synthetic = f"read_data_ml100k(name='{SUBSTITUTE}')"
    return (
        f"{name} could not be downloaded ({type(error).__name__}: {reason}), and "
        f"{looked_for(name, data_dir)}. Download "
        f"{source.url} with a browser and put the file, or the unpacked folder "
        f"{source.folder or name}, into {cache_dir()}, or into a folder that you pass "
        "as --data-dir (data_dir=) or D2L_RECSYS_DATA. Or use synthetic data, which "
        f"needs no download: --data synthetic (in code: {synthetic})."
    )
