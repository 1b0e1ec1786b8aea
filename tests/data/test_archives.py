"""Malicious and damaged archives, and caches that cannot be written to."""

import contextlib
import io
import os
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from test_catalog import MEMBERS, U_DATA, files_in, packed

from d2l_recsys.data import catalog, downloads
from d2l_recsys.data.catalog import DatasetUnavailable, fetch
from d2l_recsys.data.downloads import DamagedArchive

CONTENT = packed(**{"ml-100k/u1.base": b"x" * 100_000})


def damaged(content, old, new):
    assert content.count(old) == 2  # in the member's header and in the directory
    return content.replace(old, new)


def zip_with(*infos):
    """Return a zip of (ZipInfo or name, content) pairs and the members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for info, content in infos:
            file.writestr(info, content)
        for member in MEMBERS:
            if f"ml-100k/{member}" not in file.namelist():
                file.writestr(f"ml-100k/{member}", U_DATA)
    return buffer.getvalue()


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def lying_bomb():
    """Return a zip whose u.data has 50 MB, but claims to have 54321 bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name in MEMBERS[1:]:
            file.writestr(name, b"")
        file.writestr("u.data", bytes(50_000_000))
    size = (50_000_000).to_bytes(4, "little")
    return damaged(buffer.getvalue(), size, (54321).to_bytes(4, "little"))


ENTRY = b"PK\1\2\x14\3\x14\0"  # of the directory; the flags and the compression follow
ARCHIVES = {
    "a link instead of the ratings": (
        zip_with((link("ml-100k/u.data"), "/etc/passwd")),
        "member 'ml-100k/u.data' is a link",
    ),
    "a link that is not needed": (zip_with((link("ml-100k/x"), "/")), "is a link"),
    "backslashes upwards": (zip_with(("..\\..\\u.data", "")), "is outside the folder"),
    "an absolute name": (zip_with(("/tmp/u.data", "")), "is outside the folder"),
    "a bomb": (zip_with(("ml-100k/u.data", bytes(50_000_001))), "more than 50000000"),
    "a bomb that lies": (lying_bomb(), "Bad CRC|bad CRC"),
    "no zip": (b"PK\3\4 and then nothing", "not a zip"),
    "a zip cut off": (CONTENT[:-30], "not a zip"),
    "a member changed": (CONTENT.replace(U_DATA, b"2" + U_DATA[1:]), "Bad CRC"),
    "another packing": (
        packed().replace(
            b"PK\1\2\x14\3\x14\0\0\0\0\0", b"PK\1\2\x14\3\x14\0\0\0\x63\0"
        ),
        "has an unsupported compression",
    ),
    "a password": (
        packed().replace(ENTRY + b"\0\0", ENTRY + b"\1\0"),
        "encrypted",
    ),
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_an_archive_that_misbehaves(what, published, empty_cache, tmp_path):
    """The hash matches the archive, so the checks of its members must refuse it."""
    content, match = ARCHIVES[what]
    published(content)
    (tmp_path / "ml-100k.zip").write_bytes(content)
    with pytest.raises(DamagedArchive, match=rf"ml-100k\.zip: .*{match}"):
        fetch("ml-100k", tmp_path)
    assert files_in(tmp_path) == ["ml-100k.zip"]


def test_every_damaged_byte_is_noticed_or_harmless(tmp_path):
    """In particular, no damage is taken for a disk that cannot be written."""
    archive, content, folder = tmp_path / "a.zip", packed(), tmp_path / "unpacked"
    folder.mkdir()
    for at in range(len(content)):
        for bit in (1, 0x80):
            archive.write_bytes(
                content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :]
            )
            try:
                downloads.unpack(archive, MEMBERS, 50_000_000, folder)
            except DamagedArchive as error:
                assert str(archive) in str(error)  # noqa: PT017
            else:
                assert {(folder / m).read_bytes() for m in MEMBERS} == {U_DATA}
    for length in range(len(content)):
        archive.write_bytes(content[:length])
        with pytest.raises(DamagedArchive, match=r"a\.zip"):
            downloads.unpack(archive, MEMBERS, 50_000_000, folder)


def test_a_damaged_archive_is_not_passed_over_by_the_scripts(tmp_path, empty_cache):
    (tmp_path / "ml-100k.zip").write_bytes(CONTENT)  # not the published one
    result = subprocess.run(
        [sys.executable, "-m", "chapters.movielens", "--data-dir", tmp_path],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    line = result.stderr.splitlines()[-1]
    assert "ml-100k.zip is not the published archive: its SHA1 is" in line


@pytest.mark.skipif(os.name != "posix", reason="needs the permissions of POSIX")
def test_what_may_not_be_read_is_named():
    with tempfile.TemporaryDirectory() as place:
        archive = Path(place) / "ml-100k.zip"
        archive.write_bytes(CONTENT)
        Path(place).chmod(0o755)
        archive.chmod(0)
        with nobody(), pytest.raises(
            DamagedArchive, match=r"zip cannot be read \(Perm"
        ):
            fetch("ml-100k", place)
        Path(place).chmod(0o600)
        with nobody(), pytest.raises(ValueError, match=r"cannot look for .*\(Permissi"):
            fetch("ml-100k", place)


def test_without_a_home_folder_the_cache_is_unknown():
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("needs root, to become a user without a name")
    code = (
        "import os, pooch, platformdirs, d2l_recsys.data.catalog as d, sys;"
        "os.environ.pop('HOME', 0); os.environ.pop('XDG_CACHE_HOME', 0);"
        "os.environ.pop('D2L_RECSYS_DATA', 0); os.setuid(54321); d.fetch('ml-100k')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    last = result.stderr.strip().splitlines()[-1]
    assert "DatasetUnavailable: the cache folder is unknown, because" in last
    assert "XDG_CACHE_HOME" in last


def test_members_of_deeper_folders_are_not_taken(tmp_path):
    archive = tmp_path / "deep.zip"
    archive.write_bytes(zip_with(("ml-100k/old/u.data", b"of another day")))
    downloads.unpack(archive, MEMBERS, 50_000_000, tmp_path)
    assert (tmp_path / "u.data").read_bytes() == U_DATA
    archive.write_bytes(zip_with()[:0] + packed(["a/b/u.data"]))
    with pytest.raises(DamagedArchive, match=r"does not contain u\.data"):
        downloads.unpack(archive, MEMBERS, 50_000_000, tmp_path)


def test_a_bomb_that_lies_writes_no_more_than_it_says(tmp_path):
    archive = tmp_path / "bomb.zip"
    archive.write_bytes(lying_bomb())
    with pytest.raises(DamagedArchive):
        downloads.unpack(archive, MEMBERS, 50_000_000, tmp_path)
    assert (tmp_path / "u.data").stat().st_size <= 54321


@contextlib.contextmanager
def nobody():
    """Run without root's rights, so that file permissions apply."""
    if os.name != "posix":
        pytest.skip("needs the permissions of POSIX")
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def read_only_cache(monkeypatch):
    """Return a cache folder that is read-only for everyone except root."""
    # The user nobody has no access to tmp_path.
    with tempfile.TemporaryDirectory() as place:
        monkeypatch.setenv("XDG_CACHE_HOME", place)
        monkeypatch.delenv("D2L_RECSYS_DATA", raising=False)
        cache = catalog.cache_dir()
        cache.mkdir()
        for folder in (Path(place), cache):
            folder.chmod(0o555)
        yield cache
        for folder in (Path(place), cache):
            folder.chmod(0o755)


class TestACacheThatCannotBeWrittenTo:
    @pytest.mark.parametrize("name", ["ml-100k", "ml-100k-smoke"])
    def test_says_what_to_set(self, name, published, read_only_cache):
        published(CONTENT)  # at a closed port
        with nobody(), pytest.raises(DatasetUnavailable) as error:
            fetch(name)
        for part in (str(read_only_cache), "Permission denied", "XDG_CACHE_HOME"):
            assert part in str(error.value)

    def test_still_gives_what_is_in_it(self, read_only_cache):
        read_only_cache.chmod(0o755)
        (read_only_cache / "ml-100k").mkdir()
        (read_only_cache / "ml-100k" / "u.data").write_bytes(U_DATA)
        read_only_cache.chmod(0o555)
        with nobody():
            assert fetch("ml-100k") == read_only_cache / "ml-100k"

    @pytest.mark.parametrize("kind", ["file", "folder"])
    def test_because_something_is_in_the_way(self, kind, empty_cache):
        target = empty_cache / "ml-100k-smoke"
        if kind == "file":
            empty_cache.mkdir(parents=True)
            target.write_text("")
        else:
            (target / "something").mkdir(parents=True)
        with pytest.raises(DatasetUnavailable, match=r"ml-100k-smoke .*delete what"):
            fetch("ml-100k-smoke")
        assert [p.name for p in empty_cache.iterdir()] == ["ml-100k-smoke"]

    def test_because_the_disk_is_full(self, tmp_path, published, empty_cache):
        """A limit of 50 kB per file in the process stands for a full disk."""
        pytest.importorskip("resource")
        (tmp_path / "ml-100k.zip").write_bytes(
            zip_with(("ml-100k/u.data", bytes(10**6)))
        )
        code = (
            "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (50_000, 50_000));"
            "from d2l_recsys.data import catalog as d; d.check_hash = lambda *_: None;"
            f"d.fetch('ml-100k', {str(tmp_path)!r})"
        )
        result = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        last = result.stderr.strip().splitlines()[-1]
        assert "DatasetUnavailable: cannot write ml-100k to" in last
        assert list(empty_cache.iterdir()) == []
