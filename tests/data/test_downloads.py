"""Downloads from faulty servers, and downloads that are killed."""

import gzip
import hashlib
import os
import signal
import threading
import time

import pytest
from test_catalog import MEMBERS, U_DATA, fetching, files_in, packed, send

from d2l_recsys.data import catalog, downloads
from d2l_recsys.data.catalog import DatasetUnavailable, fetch

CONTENT = packed(**{"ml-100k/u1.base": b"x" * 100_000})


@pytest.fixture
def publish(serve, monkeypatch, empty_cache):
    """Return publish(respond): serve ml-100k; return the list of requested paths."""
    holding = threading.Event()  # set at the end, to stop endless responses

    def start(respond, **changes):
        asked = []

        def counted(handler, number):
            asked.append(handler.path)
            respond(handler, number)

        url = serve(counted)
        sha1 = f"sha1:{hashlib.sha1(CONTENT).hexdigest()}"
        source = catalog.DATASETS["ml-100k"]._replace(url=url, hash=sha1, **changes)
        monkeypatch.setitem(catalog.DATASETS, "ml-100k", source)
        return asked

    start.holding = holding
    yield start
    holding.set()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(downloads, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(downloads, "DOWNLOAD_SECONDS", 1.5)


def header(handler, length, status=200, **more):
    handler.send_response(status)
    for name, value in {"Content-Length": str(length), **more}.items():
        handler.send_header(name, value)
    handler.end_headers()


def cut_off(handler, _):
    header(handler, len(CONTENT))
    handler.wfile.write(CONTENT[: len(CONTENT) // 2])


def too_short_a_length(handler, _):
    header(handler, len(CONTENT) // 2)
    handler.wfile.write(CONTENT)


def no_length_and_cut_off(handler, _):
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(CONTENT[: len(CONTENT) // 2])


def a_length_that_is_none(handler, _):
    header(handler, "many")
    handler.wfile.write(b"?")


def wrong_bytes(handler, _):
    send(handler, bytes([CONTENT[0] ^ 1]) + CONTENT[1:])


def a_page_in_its_place(handler, _):
    send(handler, b"<html>Please log in</html>")


def nothing(handler, _):
    send(handler, b"")


def server_error(handler, _):
    send(handler, b"", 500)


def a_circle(handler, _):
    header(handler, 0, 302, Location="/again")


def no_page(handler, _):
    send(handler, b"", 404)


def hangs_up(handler, _):
    handler.close_connection = True


FAULTS = [  # (response, number of requests)
    (cut_off, 2),
    (too_short_a_length, 2),
    (no_length_and_cut_off, 2),
    (a_length_that_is_none, 2),
    (wrong_bytes, 2),
    (a_page_in_its_place, 2),
    (nothing, 2),
    (server_error, 2),
    (a_circle, 62),  # 30 redirections each in two attempts
    (no_page, 1),
    (hangs_up, 1),
]


class TestAServerThatFails:
    @pytest.mark.parametrize(("respond", "times"), FAULTS)
    def test_leaves_nothing_and_the_next_run_works(
        self, respond, times, publish, empty_cache
    ):
        asked = publish(respond)
        with pytest.raises(DatasetUnavailable, match="could not be downloaded"):
            fetch("ml-100k")
        assert len(asked) == times
        assert files_in(empty_cache) == []
        publish(lambda handler, _: send(handler, CONTENT))
        assert (fetch("ml-100k") / "u.data").read_bytes() == U_DATA

    @pytest.mark.parametrize(
        "respond", [respond for respond, times in FAULTS if times == 2]
    )
    def test_once_is_asked_once_more(self, respond, publish):
        asked = publish(
            lambda handler, number: (
                respond(handler, number) if number == 1 else send(handler, CONTENT)
            )
        )
        assert (fetch("ml-100k") / "u.data").read_bytes() == U_DATA
        assert len(asked) == 2

    def test_a_redirection_is_followed(self, publish):
        def respond(handler, number):
            if handler.path == "/ml-100k.zip":
                header(handler, 0, 302, Location="/elsewhere.zip")
            else:
                send(handler, CONTENT)

        asked = publish(respond)
        assert fetch("ml-100k").is_dir()
        assert asked == ["/ml-100k.zip", "/elsewhere.zip"]


class TestAServerWithoutEnd:
    def fails(self, empty_cache, match, limit):
        start = time.monotonic()
        with pytest.raises(DatasetUnavailable, match=match):
            fetch("ml-100k")
        assert time.monotonic() - start < limit
        assert files_in(empty_cache) == []

    def test_that_drips(self, publish, impatient, empty_cache):
        def respond(handler, number):
            header(handler, len(CONTENT))
            while not publish.holding.wait(0.05):
                handler.wfile.write(b"P")

        asked = publish(respond)
        self.fails(empty_cache, "not finished after 1.5 s", 5)
        assert len(asked) == 1

    def test_that_drips_its_header(self, publish, impatient, empty_cache):
        def respond(handler, number):
            handler.wfile.write(b"HTTP/1.0 200 OK\r\nX-Long: ")
            while not publish.holding.wait(0.05):
                handler.wfile.write(b"x")

        asked = publish(respond)
        self.fails(empty_cache, "no answer for 0.5 s", 3)
        assert len(asked) == 1

    def test_that_says_nothing(self, publish, impatient, empty_cache):
        asked = publish(lambda handler, number: publish.holding.wait(600))
        self.fails(empty_cache, "out of reach|no answer|timed out", 3)
        assert len(asked) == 1

    def test_that_goes_silent_half_way(self, publish, impatient, empty_cache):
        def respond(handler, number):
            cut_off(handler, number)
            publish.holding.wait(600)

        asked = publish(respond)
        self.fails(empty_cache, "timed out|not finished", 4)
        assert len(asked) == 1

    @pytest.mark.parametrize("packing", ["identity", "gzip"])
    def test_that_sends_more_and_more(self, packing, publish, empty_cache):
        block, times = b"P" * 2**20, 200
        if packing == "gzip":
            block, times = gzip.compress(block * 32), 1
        sent = []

        def respond(handler, number):
            handler.send_response(200)
            handler.send_header("Content-Encoding", packing)
            handler.end_headers()
            for _ in range(times):
                handler.wfile.write(block)
                sent.append(len(block))

        publish(respond, max_bytes=200_000)
        self.fails(empty_cache, "sent more than 200000 bytes", 20)
        assert sum(sent) < 50 * 2**20

    def test_the_limits_are_bearable(self):
        assert downloads.CONNECT_SECONDS == 10
        assert downloads.DOWNLOAD_SECONDS <= 600


class TestAProcessThatDies:
    def test_half_way_through_a_download(self, publish, empty_cache):
        half_way = threading.Event()

        def respond(handler, number):
            if number > 1:
                return send(handler, CONTENT)
            cut_off(handler, number)
            handler.wfile.flush()
            half_way.set()
            publish.holding.wait(600)

        publish(respond)
        run = fetching(catalog.DATASETS["ml-100k"].url, CONTENT)
        assert half_way.wait(600)
        deadline = time.monotonic() + 600
        while not any(p.stat().st_size for p in empty_cache.glob("*")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        run.kill()
        run.communicate()
        self.check_next_run(empty_cache)

    def test_half_way_through_unpacking(self, publish, empty_cache):
        publish(lambda handler, _: send(handler, CONTENT))
        code = (
            "import os; from d2l_recsys.data import downloads;"
            "downloads._chunks = lambda *_: os.kill(os.getpid(), 9)"
        )
        run = fetching(catalog.DATASETS["ml-100k"].url, CONTENT, code)
        run.communicate(timeout=600)
        assert run.returncode == -signal.SIGKILL
        assert (empty_cache / "ml-100k.zip").read_bytes() == CONTENT
        self.check_next_run(empty_cache)

    def check_next_run(self, empty_cache):
        """The data are complete, and leftovers are deleted when they are a day old."""
        left = {p for p in empty_cache.iterdir() if p.name != "ml-100k.zip"}
        assert len(left) == 1
        assert empty_cache / "ml-100k" not in left
        folder = fetch("ml-100k")
        assert files_in(folder) == sorted(MEMBERS)
        assert (folder / "u.data").read_bytes() == U_DATA
        assert all(p.exists() for p in left)  # their process may still be running
        for path in left:
            os.utime(path, (time.time() - 2 * 86400,) * 2)
        fetch("ml-100k-smoke")
        names = ["ml-100k", "ml-100k-smoke", "ml-100k.zip"]
        assert sorted(p.name for p in empty_cache.iterdir()) == names
