import hashlib
import io
import os
import re
import stat
import struct
import subprocess
import sys
import threading
import traceback
import zipfile

import pytest

from d2l_recsys.data import catalog
from d2l_recsys.data.catalog import DatasetUnavailable, fetch, find
from d2l_recsys.data.downloads import DamagedArchive
from d2l_recsys.movielens import read_data_ml100k

MEMBERS = catalog.DATASETS["ml-100k"].members
U_DATA = b"1\t1\t5\t881250949\n"


def packed(names=None, **more):
    """Return the bytes of a zip that looks like the published one."""
    names = [f"ml-100k/{m}" for m in MEMBERS] if names is None else names
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, U_DATA)
        for name, content in more.items():
            file.writestr(name, content)
    return buffer.getvalue()


def send(handler, content, status=200):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def fetching(url, content, code="", stderr=subprocess.PIPE):
    """Return a process that downloads `content` from `url`, after running `code`."""
    sha1 = f"sha1:{hashlib.sha1(content).hexdigest()}"
    code = (
        "from d2l_recsys.data import catalog as d; s = d.DATASETS['ml-100k'];"
        f"d.DATASETS['ml-100k'] = s._replace(url={url!r}, hash={sha1!r});"
        f"{code}\nprint(d.fetch('ml-100k'))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=stderr, text=True
    )


def files_in(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


class TestWhereItLooks:
    def test_data_dir_comes_before_the_environment_and_the_cache(
        self, tmp_path, monkeypatch, empty_cache
    ):
        places = [tmp_path / "dir", tmp_path / "env", empty_cache]
        for place in places:
            (place / "ml-100k").mkdir(parents=True)
            (place / "ml-100k" / "u.data").write_bytes(U_DATA)
        assert fetch("ml-100k") == places[2] / "ml-100k"
        monkeypatch.setenv("D2L_RECSYS_DATA", str(places[1]))
        assert fetch("ml-100k") == places[1] / "ml-100k"
        assert fetch("ml-100k", places[0]) == places[0] / "ml-100k"

    def test_the_folder_itself_will_do(self, tmp_path, empty_cache):
        (tmp_path / "u.data").write_bytes(U_DATA)
        assert fetch("ml-100k", tmp_path) == tmp_path

    def test_a_zip_is_unpacked_into_the_cache(self, tmp_path, published, empty_cache):
        content = packed(**{"ml-100k/u1.base": b"not needed"})
        published(content)
        (tmp_path / "ml-100k.zip").write_bytes(content)
        folder = fetch("ml-100k", tmp_path)
        assert folder == empty_cache / "ml-100k"
        assert files_in(folder) == sorted(MEMBERS)
        assert (folder / "u.data").read_bytes() == U_DATA

    def test_a_zip_with_the_wrong_hash_is_refused(self, tmp_path, published):
        published(packed())
        (tmp_path / "ml-100k.zip").write_bytes(packed(more=b"x"))
        with pytest.raises(DamagedArchive, match=r"ml-100k\.zip is not the publish"):
            fetch("ml-100k", tmp_path)

    def test_find_downloads_nothing(self, empty_cache):
        assert find("ml-100k") is None

    def test_unknown_name(self):
        with pytest.raises(ValueError, match=r"unknown data set 'ml-100'.*ml-100k"):
            fetch("ml-100")

    def test_a_data_dir_that_is_no_folder(self, tmp_path):
        with pytest.raises(ValueError, match=r"data_dir is .*nowhere.* not a folder"):
            fetch("ml-100k", tmp_path / "nowhere")

    def test_a_variable_that_names_no_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("D2L_RECSYS_DATA", str(tmp_path / "nowhere"))
        with pytest.raises(ValueError, match=r"D2L_RECSYS_DATA is .*nowhere"):
            fetch("ml-100k")

    def test_a_cache_that_cannot_be_made_says_what_to_set(self, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        with pytest.raises(DatasetUnavailable, match="XDG_CACHE_HOME"):
            fetch("ml-100k-smoke")


class TestDownload:
    def test_downloads_checks_and_unpacks_once(self, serve, published, empty_cache):
        content, asked = packed(), []

        def respond(handler, number):
            asked.append(number)
            send(handler, content)

        published(content, serve(respond))
        folder = fetch("ml-100k")
        assert (folder / "u.data").read_bytes() == U_DATA
        assert fetch("ml-100k") == folder
        assert asked == [1]
        assert [p.name for p in empty_cache.iterdir() if p.is_dir()] == ["ml-100k"]

    def test_tries_again_once(self, serve, published):
        content = packed()

        def respond(handler, number):
            send(handler, b"busy" if number == 1 else content, (500, 200)[number > 1])

        published(content, serve(respond))
        assert fetch("ml-100k").is_dir()

    def test_wrong_bytes_leave_nothing_behind(self, serve, published, empty_cache):
        asked = []

        def respond(handler, number):
            asked.append(number)
            send(handler, packed(more=b"x"))

        published(packed(), serve(respond))
        with pytest.raises(DatasetUnavailable, match="hash"):
            fetch("ml-100k")
        assert asked == [1, 2]
        assert files_in(empty_cache) == []

    def test_offline_says_what_to_do(self, published, empty_cache):
        published(packed())  # at a closed port
        with pytest.raises(DatasetUnavailable) as error:
            fetch("ml-100k")
        for part in ("127.0.0.1:9", str(empty_cache), "--data-dir", "synthetic"):
            assert part in str(error.value)

    def test_two_processes_at_once_both_succeed(self, serve, empty_cache):
        content = packed()
        both = threading.Barrier(2, timeout=600)

        def respond(handler, number):
            both.wait()  # respond to neither before both have asked
            send(handler, content)

        url = serve(respond)
        runs = [fetching(url, content) for _ in range(2)]
        outputs = [run.communicate(timeout=600)[0].strip() for run in runs]
        assert [run.returncode for run in runs] == [0, 0]
        assert outputs == [str(empty_cache / "ml-100k")] * 2
        assert files_in(empty_cache / "ml-100k") == sorted(MEMBERS)
        assert {p.name for p in empty_cache.iterdir()} == {"ml-100k", "ml-100k.zip"}

    @pytest.mark.parametrize("terminal", [True, False])
    def test_progress_is_for_terminals(self, terminal, serve, empty_cache):
        if terminal:
            pty, fcntl, termios = map(pytest.importorskip, ("pty", "fcntl", "termios"))
            ours, theirs = pty.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
        else:
            ours, theirs = os.pipe()
        content = packed()
        url = serve(lambda handler, _: send(handler, content))
        run = fetching(url, content, stderr=theirs)
        run.communicate(timeout=600)
        shown = os.read(ours, 10_000).decode()
        os.close(ours)
        os.close(theirs)
        assert ("%" in shown) == terminal
        assert shown.count("\n") <= 2


@pytest.mark.parametrize("name", ["../u.data", "/u.data", "ml-100k/../../u.data"])
def test_members_that_leave_the_folder_are_refused(
    name, tmp_path, published, empty_cache
):
    content = packed([f"ml-100k/{m}" for m in MEMBERS] + [name])
    published(content)
    (tmp_path / "ml-100k.zip").write_bytes(content)
    with pytest.raises(DamagedArchive, match="is outside the folder"):
        fetch("ml-100k", tmp_path)
    assert files_in(empty_cache) == []


def test_an_archive_without_the_ratings(tmp_path, published):
    content = packed([f"ml-100k/{m}" for m in MEMBERS[1:]])
    published(content)
    (tmp_path / "ml-100k.zip").write_bytes(content)
    with pytest.raises(DamagedArchive, match=r"it does not contain u\.data"):
        fetch("ml-100k", tmp_path)


def test_an_archive_that_unpacks_to_too_much(tmp_path, published, monkeypatch):
    content = packed()
    published(content)
    source = catalog.DATASETS["ml-100k"]._replace(max_bytes=100)
    monkeypatch.setitem(catalog.DATASETS, "ml-100k", source)
    (tmp_path / "ml-100k.zip").write_bytes(content)
    with pytest.raises(DamagedArchive, match="more than 100"):
        fetch("ml-100k", tmp_path)


def test_made_up_data_is_made_once(empty_cache):
    folder = fetch("ml-100k-smoke")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755  # others may read it
    made = (folder / "u.data").stat().st_mtime_ns
    assert fetch("ml-100k-smoke") == folder
    assert (folder / "u.data").stat().st_mtime_ns == made


class TestAdvertisements:
    def folder(self, place, name):
        (place / name).mkdir(parents=True)
        for member in ("train.csv", "test.csv"):
            (place / name / member).write_bytes(b"1\ta\n")
        return place / name

    def test_the_archive_is_unpacked_from_its_folder(
        self, tmp_path, monkeypatch, empty_cache
    ):
        content = packed(["ctr/train.csv", "ctr/test.csv", "ctr/other"])
        source = catalog.DATASETS["ctr"]._replace(
            hash=f"sha1:{hashlib.sha1(content).hexdigest()}"
        )
        monkeypatch.setitem(catalog.DATASETS, "ctr", source)
        (tmp_path / "ctr.zip").write_bytes(content)
        folder = fetch("ctr", tmp_path)
        assert folder == empty_cache / "ctr"
        assert files_in(folder) == ["test.csv", "train.csv"]

    def test_are_not_taken_for_each_other(self, tmp_path, empty_cache):
        criteo = self.folder(tmp_path, "criteo")
        assert find("criteo", tmp_path) == find("criteo", criteo) == criteo
        for place in (tmp_path, criteo):
            assert find("ctr", place) is find("avazu", place) is None

    def test_of_ones_own_say_where_to_get_them(self, empty_cache):
        with pytest.raises(DatasetUnavailable, match=r"no folder avazu .*kaggle\.com"):
            fetch("avazu")

    def test_made_up_ones_are_written(self, empty_cache):
        folder = fetch("ctr-smoke")
        assert folder == empty_cache / "ctr-smoke"
        assert files_in(folder) == ["test.csv", "train.csv"]


def test_a_folder_with_the_real_ratings_is_not_taken_for_made_up_ones(
    tmp_path, monkeypatch, empty_cache
):
    (tmp_path / "u.data").write_text("1\t1\t5\t0\n")
    monkeypatch.setenv("D2L_RECSYS_DATA", str(tmp_path))
    assert catalog.find("ml-100k") == tmp_path
    assert catalog.find("ml-100k-smoke") is None


def test_without_a_network_a_call_ends_with_one_exception_whose_advice_works(
    published, tmp_path
):
    published(b"")  # at a closed port
    with pytest.raises(DatasetUnavailable) as raised:
        read_data_ml100k(tmp_path)
    text = "".join(traceback.format_exception(None, raised.value, raised.tb))
    assert text.count("Traceback") == 1
    message = str(raised.value)
    looked = "no ml-100k/u.data, u.data or ml-100k.zip is in"
    assert f"{looked} {tmp_path} or {catalog.cache_dir()}. Download " in message
    (code,) = re.findall(r"\(in code: (.*)\)\.", message)
    assert eval(code, {"read_data_ml100k": read_data_ml100k})[1:] == (943, 1682)
