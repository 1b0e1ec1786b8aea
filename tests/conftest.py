import hashlib
import http.server
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import numpy
import pandas as pd
import pytest

from d2l_recsys.data import catalog
from d2l_recsys.runtime import cuda

cuda.load()  # before any test imports MXNet


@pytest.fixture(autouse=True)
def _seeds():
    """Seed the global generators, so that results do not depend on the test order."""
    from d2l_recsys.runtime.devices import seed_everything  # some tests need no MXNet

    seed_everything(0)


@pytest.fixture
def loops_for_small_nets(monkeypatch):
    """Compute in compiled loops for nets of any size."""
    monkeypatch.setattr("d2l_recsys.engine.compiled_loops.WORTHWHILE", 1)


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c():
    """Let Ctrl-C end the processes of tests, even if it is ignored here.

    A shell ignores it for commands in the background, and child processes inherit this.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory):
    """Use a temporary cache instead of the user's."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="session")
def ml100k(_cache_of_its_own) -> Path:
    """Return the folder of the real MovieLens 100K; skip the test without it."""
    folder = catalog.find("ml-100k")
    if folder is None:
        pytest.skip("MovieLens 100K is not in the folder that D2L_RECSYS_DATA names")
    return folder


@pytest.fixture(scope="session")
def smoke_data(_cache_of_its_own) -> Path:
    """Return the folder of the tiny synthetic MovieLens data."""
    return catalog.fetch("ml-100k-smoke")


@pytest.fixture
def book_data(smoke_data, tmp_path, monkeypatch) -> Path:
    """Provide the tiny synthetic data under the names of the book's data."""
    (tmp_path / "ml-100k").symlink_to(smoke_data)
    (tmp_path / "ctr").symlink_to(catalog.fetch("ctr-smoke"))
    monkeypatch.setenv("D2L_RECSYS_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def printed(capsys):
    """Return a function that matches the output and returns the numbers in it."""

    def numbers(pattern):
        match = re.fullmatch(pattern, capsys.readouterr().out)
        assert match, "not what the book prints"
        return [float(number) for number in match.groups()]

    return numbers


@pytest.fixture
def empty_cache(tmp_path, monkeypatch) -> Path:
    """Use an empty cache, and unset D2L_RECSYS_DATA."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("D2L_RECSYS_DATA", raising=False)
    return catalog.cache_dir()


@pytest.fixture
def published(monkeypatch, empty_cache):
    """Return a function that registers an archive as the published ml-100k.zip."""

    def publish(content, url="http://127.0.0.1:9/ml-100k.zip"):
        source = catalog.DATASETS["ml-100k"]._replace(
            url=url, hash=f"sha1:{hashlib.sha1(content).hexdigest()}"
        )
        monkeypatch.setitem(catalog.DATASETS, "ml-100k", source)

    return publish


@pytest.fixture
def serve():
    """Return a function that starts a local HTTP server: serve(respond) -> address.

    ``respond(handler, number)`` answers each request; `number` counts from 1.
    """
    servers = []

    def start(respond):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.server.count += 1
                respond(self, self.server.count)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.count = 0
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/ml-100k.zip"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def compile_library():
    """Return a function that compiles a C file: compile(library, source, *needed)."""
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")

    def compile_it(path, source, *needed):
        name = f"-Wl,--no-as-needed,-soname,{path.name}"
        command = ["gcc", "-shared", "-fPIC", "-x", "c", source, "-x", "none", *needed]
        subprocess.run([*command, name, "-o", path], check=True)

    return compile_it


@pytest.fixture(scope="session")
def driver(tmp_path_factory, compile_library):
    """Return the folder of a stub libcuda.so.1 that reports the GPUs in STUB_GPUS."""
    folder = tmp_path_factory.mktemp("driver")
    compile_library(folder / "libcuda.so.1", Path(__file__).with_name("libcuda.c"))
    return folder


@pytest.fixture
def frame():
    """Return a function that creates a data frame of ratings from rows."""

    def make(*rows):
        return pd.DataFrame(rows, columns=["user_id", "item_id", "rating", "timestamp"])

    return make


def checkerboard(size=20):
    """Return training and test interactions from a checkerboard.

    User u interacts with item i if u + i is even, so there are two groups of users. The
    diagonal is held out. It follows from a user's group.
    """
    users, items = numpy.indices((size, size))
    alike = (users + items) % 2 == 0
    hidden = numpy.eye(size, dtype=bool)
    return [
        tuple(a.astype("int32") for a in numpy.nonzero(cells))
        for cells in (alike & ~hidden, alike & hidden)
    ]
