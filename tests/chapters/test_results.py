"""What a script saves, and that nothing that fails later can lose it."""

import json
import os
import resource
import subprocess
import sys

import pytest
from test_chapters import ROOT, SLUGS, chapter

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
        timeout=120,
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


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
    starts = "no titles were saved", "no recommendations"
    for warning, start in zip(result.stderr.splitlines(), starts):
        assert warning.startswith(f"python -m chapters.{slug}: warning: {start}: ")
        assert line in warning
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
    # The picture does not fit: a warning.
    result = with_limit(5000, *options)
    assert result.returncode == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith("python -m chapters.ranking: warning: no figure was saved: ")
    assert line.endswith("ranking.png: File too large")
    assert (tmp_path / "ranking.png").read_bytes() == b"before"
    # Nothing fits: an error, and the old files stay.
    result = with_limit(100, *options)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("python -m chapters.ranking: error: ")
    assert line.endswith("ranking.json: File too large")
    assert (tmp_path / "ranking.json").read_bytes() == before
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"ranking.json", "ranking.png"}


def test_a_model_that_cannot_be_saved_is_a_warning(tmp_path):
    result = with_limit(10_000, "chapters.mf", "--smoke", "--out", tmp_path)
    assert result.returncode == 0
    first, second = result.stderr.splitlines()
    assert first.startswith("python -m chapters.mf: warning: no model was saved: ")
    assert "warning: no figure was saved" in second
    assert strictly(tmp_path / "mf.json")["metrics"]["test_rmse"] > 0
    assert not list(tmp_path.glob("mf/*"))


def test_result_files_never_go_through_a_link(tmp_path):
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_text("mine")
    out.mkdir()
    files = sorted(out / f"{slug}.{kind}" for slug in SLUGS for kind in ("json", "png"))
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
    assert "test auc undefined " in capsys.readouterr().out


def test_numbers_of_numpy_are_numbers():
    import numpy

    record = {"a": [numpy.float32(0.5), numpy.int64(3)], "b": (float("inf"), True)}
    expected = {"a": [0.5, 3], "b": [None, True]}
    assert json.loads(results.as_json(record)) == expected
