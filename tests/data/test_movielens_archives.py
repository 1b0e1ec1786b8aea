"""The larger MovieLens data sets: finding and downloading them."""

import hashlib
import re
import subprocess
import sys

import pytest
from movielens_files import CSV, DAT, FOLDER, packed, rows_of, write_set
from test_catalog import files_in, send

from d2l_recsys.data import catalog, downloads
from d2l_recsys.data.catalog import DatasetUnavailable, fetch, find
from d2l_recsys.data.downloads import DamagedArchive
from d2l_recsys.movielens import read_data_ml100k


class TestWhereItIsFound:
    @pytest.mark.parametrize("name", DAT + CSV)
    def test_in_a_folder_of_its_name(self, tmp_path, name, empty_cache, monkeypatch):
        folder = write_set(tmp_path, name)
        assert find(name, tmp_path) == find(name, folder) == folder
        monkeypatch.chdir(folder)
        assert find(name, ".").resolve() == folder
        others = {*catalog.DATASETS} - {name}
        assert [o for o in others if find(o, tmp_path) or find(o, folder)] == []

    def test_in_ml_10m_too(self, tmp_path, empty_cache):
        write_set(tmp_path, "ml-10m").rename(tmp_path / "ml-10m")
        assert find("ml-10m", tmp_path) == tmp_path / "ml-10m"

    def test_not_in_a_folder_of_another_name(self, tmp_path, empty_cache):
        folder = write_set(tmp_path, "ml-25m").rename(tmp_path / "mine")
        assert find("ml-25m", folder) is None


@pytest.fixture
def archive_of(monkeypatch, empty_cache):
    """Return a function that publishes an archive of a data set."""

    def publish(name, content, url="http://127.0.0.1:9/x.zip"):
        source = catalog.DATASETS[name]._replace(url=url)
        if source.hash:
            source = source._replace(hash=f"md5:{hashlib.md5(content).hexdigest()}")
        monkeypatch.setitem(catalog.DATASETS, name, source)

    return publish


class TestArchives:
    @pytest.mark.parametrize("name", DAT + CSV)
    def test_are_downloaded_checked_and_unpacked(
        self, name, serve, archive_of, empty_cache
    ):
        content = packed(name)
        archive_of(name, content, serve(lambda handler, _: send(handler, content)))
        data = read_data_ml100k(name=name).data
        assert data["rating"].tolist() == [row[2] for row in rows_of(name)]
        assert files_in(empty_cache / name) == sorted(catalog.DATASETS[name].members)

    @pytest.mark.parametrize("name", [*DAT, *CSV[:-1]])
    def test_with_the_wrong_md5_are_refused(
        self, name, serve, archive_of, empty_cache, tmp_path
    ):
        wrong = packed(name, rows_of(name)[:2])
        url = serve(lambda handler, _: send(handler, wrong))
        archive_of(name, packed(name), url)
        with pytest.raises(DatasetUnavailable, match="MD5 hash of downloaded file"):
            fetch(name)
        assert files_in(empty_cache) == []
        (tmp_path / f"{name}.zip").write_bytes(wrong)
        with pytest.raises(DamagedArchive, match=r"not the publish.*its MD5 is"):
            fetch(name, tmp_path)

    def test_without_a_known_hash_must_be_whole(self, serve, archive_of, empty_cache):
        content = packed("ml-latest-small")
        half = content[: len(content) // 2]
        archive_of("ml-latest-small", b"", serve(lambda h, _: send(h, half)))
        with pytest.raises(DamagedArchive, match=r"ml-latest-small\.zip: .*delete"):
            fetch("ml-latest-small")

    def test_without_a_known_hash_bring_no_advice_to_programmers(
        self, serve, empty_cache
    ):
        content = packed("ml-latest-small")
        url = serve(lambda handler, _: send(handler, content))
        code = (
            "from d2l_recsys.data import catalog as d; n = 'ml-latest-small';"
            f"d.DATASETS[n] = d.DATASETS[n]._replace(url={url!r}); d.fetch(n)"
        )
        result = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
        (notice,) = result.stderr.splitlines()
        assert notice.startswith(f"Downloading data from '{url}' to file")

    @pytest.mark.parametrize("name", DAT + CSV)
    def test_that_cannot_be_had_say_how_to_get_them(
        self, name, archive_of, empty_cache
    ):
        archive_of(name, b"")  # at a closed port
        with pytest.raises(DatasetUnavailable) as error:
            fetch(name)
        folder = f"the unpacked folder {FOLDER[name]}, into"
        synthetic = "(in code: read_data_ml100k(name='ml-100k-synthetic'))"
        for part in ("http://127.0.0.1:9", folder, str(empty_cache), synthetic):
            assert part in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("name", DAT + CSV)
    def test_addresses_hashes_and_limits(self, name):
        source = catalog.DATASETS[name]
        place = "https://files.grouplens.org/datasets/movielens"
        assert source.url == f"{place}/{name}.zip"
        small = name == "ml-latest-small"
        assert small or re.fullmatch("md5:[0-9a-f]{32}", source.hash)
        # A rating is a line of 21 to 29 bytes, and the movies add little.
        assert 30 * source.ratings < source.max_bytes
        # Archives have a third of the unpacked size: 115 kB per second are enough.
        assert source.max_bytes / 3 / downloads._seconds_for(source.max_bytes) < 115_000

    def test_the_time_for_a_download_goes_with_its_size(self):
        seconds = [downloads._seconds_for(size) for size in (10**6, 2 * 10**8, 10**9)]
        assert seconds == [600, 600, 3000]
