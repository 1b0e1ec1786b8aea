"""What a script saves, and that nothing that fails later can lose it."""

import json
import os
import resource
import subprocess
import sys

import pytest
from jobs import ROOT, chapter
from test_chapters import PICTURES, SLUGS

from chapters.__main__ import _print_summary
from chapters.runner import results
from d2l_recsys import load

FULL = "/dev/full"  # every write to it fails as on a full disk


def strictly(path):
    """Read JSON as other languages do, where NaN and Infinity are errors."""

    def refuse(name):
        pytest.fail(f"{name} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def with_limit(size, *arguments):
    """Run a script that cannot write more than `size` bytes to a file."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


@pytest.fixture(scope="module")
def smoke_records(tmp_path_factory):
    """Return [(section, record), ...] of all sections."""
    out = tmp_path_factory.mktemp("out")
    assert chapter("chapters", "--smoke", "--out", str(out)).returncode == 0
    return [(slug, strictly(out / f"{slug}.json")) for slug in SLUGS]


@pytest.fixture
def u_data(smoke_data, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "u.data").write_bytes((smoke_data / "u.data").read_bytes())
    return folder


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("u.item", "1|A title|01-Jan-1995\n", "u.item, line 1: 3 fields instead of 6"),
        ("u.genre", "Drama|1\n", "u.genre, line 1: the genre's number must be 0"),
    ],
)
@pytest.mark.parametrize("slug", ["neumf", "seqrec"])
def test_titles_that_cannot_be_read_are_a_warning(
    slug, name, content, line, u_data, tmp_path
):
    (u_data / "u.genre").write_text("Drama|0\n")
    (u_data / "u.item").write_text("1|A title|||http://a.org|1\n")
    (u_data / name).write_text(content)
    out = tmp_path / "out"
    options = "--epochs", "1", "--data-dir", u_data, "--out", out
    result = chapter(f"chapters.{slug}", *map(str, options))
    assert result.returncode == 0
    said = ["no titles were saved", "no recommendations"]
    said[1:1] = ["could not draw the figure 'window'"] * (slug == "seqrec")
    for warning, what in zip(result.stderr.splitlines(), said):
        assert warning.startswith(f"python -m chapters.{slug}: warning: {what}: ")
        assert line in warning
    assert len(result.stderr.splitlines()) == len(said)
    assert load(out / slug).trained_on.titles is None
    metrics = strictly(out / f"{slug}.json")["metrics"]
    assert metrics["test_hit_rate"] >= 0
    assert slug == "seqrec" or metrics["strict_test_hit_rate"] >= 0
    assert (out / f"{slug}.png").is_file()


def test_what_a_terminal_cannot_show_is_replaced(tmp_path):
    result = chapter(
        *("chapters.neumf", "--smoke", "--out", str(tmp_path)),
        PYTHONIOENCODING="ascii",
    )
    assert (result.returncode, result.stderr) == (0, "")
    titles = result.stdout.split("recommendations (score, title):\n")[1]
    assert "?" in titles
    assert len(titles.splitlines()) == 10
    assert (tmp_path / "neumf.json").is_file()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_under_stdout_is_a_warning(tmp_path, unbuffered):
    with open(FULL, "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "chapters.mf", "--smoke", "--out", tmp_path],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert result.returncode == 0
    assert result.stderr == (
        "python -m chapters.mf: warning: cannot print to stdout: No space left on "
        "device\n"
    )
    assert strictly(tmp_path / "mf.json")["metrics"]["test_rmse"] > 0


def test_nobody_reads_stdout_any_more(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-m", "chapters", "--smoke", "--out", tmp_path],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=ROOT,
    )
    os.close(writer)
    assert result.returncode == 1
    assert result.stderr == ""


def test_a_full_disk_is_one_line(tmp_path):
    options = "chapters.ranking", "--smoke", "--out", tmp_path
    assert chapter(*map(str, options)).returncode == 0
    before = (tmp_path / "ranking.json").read_bytes()
    (tmp_path / "ranking.png").write_bytes(b"before")
    (tmp_path / "ranking.svg").unlink()
    # The pictures do not fit: warnings.
    result = with_limit(5000, *options)
    assert result.returncode == 0
    for line, name in zip(result.stderr.splitlines(), ("ranking", "ranking-gradients")):
        said = "python -m chapters.ranking: warning: no figure was saved: "
        assert line.startswith(said)
        assert line.endswith(f"{name}.png: File too large")
    assert len(result.stderr.splitlines()) == 2
    assert (tmp_path / "ranking.png").read_bytes() == b"before"
    # Nothing fits: an error, and the old files stay.
    result = with_limit(100, *options)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("python -m chapters.ranking: error: ")
    assert line.endswith("ranking.json: File too large")
    assert (tmp_path / "ranking.json").read_bytes() == before
    names = {path.name for path in tmp_path.iterdir()}
    pictures = {"ranking-gradients.png", "ranking-gradients.svg", "ranking.png"}
    assert names == {"ranking.json", *pictures}


def test_a_model_that_cannot_be_saved_is_a_warning(tmp_path, smoke_data):
    result = with_limit(10_000, "chapters.mf", "--smoke", "--out", tmp_path)
    assert result.returncode == 0
    lines = result.stderr.splitlines()  # without those of matplotlib on its cache
    model, *figures = [line for line in lines if line.startswith("python -m")]
    assert model.startswith("python -m chapters.mf: warning: no model was saved: ")
    assert len(figures) == 2
    assert all("warning: no figure was saved" in line for line in figures)
    assert strictly(tmp_path / "mf.json")["metrics"]["test_rmse"] > 0
    assert not list(tmp_path.glob("mf/*"))


def test_result_files_never_go_through_a_link(tmp_path):
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_text("mine")
    out.mkdir()
    pictures = [f"{x}.{kind}" for x in (*SLUGS, *PICTURES) for kind in ("png", "svg")]
    files = sorted(out / name for name in (*(f"{x}.json" for x in SLUGS), *pictures))
    for path in files:
        path.symlink_to(victim)
    result = chapter("chapters", "--smoke", "--out", str(out))
    assert (result.returncode, result.stderr) == (0, "")
    assert victim.read_text() == "mine"
    assert not any(path.is_symlink() for path in files)
    assert sorted(x for x in out.iterdir() if not x.is_dir()) == files
    umask = os.umask(0)
    os.umask(umask)
    assert {path.stat().st_mode & 0o777 for path in files} == {0o666 & ~umask}


def test_json_has_null_for_nan(tmp_path):
    path = tmp_path / "own.tsv"  # without clicks, there is no AUC
    path.write_text("".join(f"0\tv{i % 7}\tw{i % 5}\n" for i in range(120)))
    result = chapter(
        "chapters.fm", "--data", str(path), "--epochs", "1", "--out", str(tmp_path)
    )
    assert (result.returncode, result.stderr) == (0, "")
    record = strictly(tmp_path / "fm.json")
    assert record["metrics"]["test_auc"] is None
    assert record["history"][-1]["test_auc"] is None
    assert record["metrics"]["test_log_loss"] > 0


def test_the_summary_shows_that_a_metric_is_undefined(capsys):
    _print_summary([("fm", {"data": "ctr", "metrics": {"test_auc": None}}, 1.0)])
    assert "test AUC  undefined" in capsys.readouterr().out


def test_numbers_of_numpy_are_numbers():
    import numpy

    record = {"a": [numpy.float32(0.5), numpy.int64(3)], "b": (float("inf"), True)}
    expected = {"a": [0.5, 3], "b": [None, True]}
    assert json.loads(results.as_json(record)) == expected


def test_the_summary_fits_a_terminal(smoke_records, capsys):
    """With the longest names that the data sets have."""
    for data in ("smoke", "ml-latest-small"):
        rows = [(slug, {**r, "data": data}, 1234.5) for slug, r in smoke_records]
        _print_summary(rows)
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 100
        name = "made up" if data == "smoke" else data
        (neumf,) = [line for line in lines if line.startswith("neumf")]
        assert f"  {name}  test hit rate" in neumf
        assert neumf.endswith("0.359         0.323 (E27)")
        (head,) = [line for line in lines if line.startswith("section")]
        assert head.endswith("newest, 2026  first, 2020")
