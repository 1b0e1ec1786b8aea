"""The files of checkpoints: damaged, foreign, old, left over, or refused."""

import json
import re
import subprocess
import sys

import numpy
import pytest
from test_checkpoint import ITEMS, USERS, run, same

from d2l_recsys.engine.checkpoint import Checkpoint, CheckpointError
from d2l_recsys.mf import MF
from d2l_recsys.runtime.backend import gluon


class TestDamage:
    @pytest.fixture
    def folder(self, tmp_path):
        run("mf", 3, tmp_path)
        return tmp_path

    @pytest.mark.parametrize(
        "damage",
        [
            lambda data: data[: len(data) // 2],
            lambda data: b"",
            lambda data: b"not a checkpoint at all",
            lambda data: data[:300] + bytes([data[300] ^ 255]) + data[301:],
            lambda data: data[:-1] + bytes([data[-1] ^ 1]),
            lambda data: data + b"\0",
            # The zip's own checksums are of contents only.
            lambda data: data.replace(b"optimizer/0", b"optimizer/8"),
            # zipfile raises NotImplementedError for this "version needed to extract".
            lambda data: re.sub(rb"(?s)(PK\x01\x02..).", rb"\1" + b"\xff", data),
        ],
        ids=[
            "truncated",
            "empty",
            "foreign",
            "a flipped byte",
            "a flipped bit at the end",
            "a byte too many",
            "flipped bits in names",
            "of a later zip version",
        ],
    )
    def test_the_newest_intact_one_is_used_and_a_line_says_so(
        self, folder, damage, capsys
    ):
        newest = folder / "epoch-00003.npz"
        before = newest.read_bytes()
        newest.write_bytes(damage(before))
        assert newest.read_bytes() != before
        point = Checkpoint(folder, {"section": "mf"}, resume=True)
        assert f"{newest} is damaged or not a checkpoint" in capsys.readouterr().out
        assert point._found[0].name == "epoch-00002.npz"
        del point
        assert same(run("mf", 3, folder, seed=99), run("mf", 3))

    def test_a_zip_of_arrays_that_is_not_ours(self, folder, capsys):
        numpy.savez(folder / "epoch-00003.npz", a=numpy.zeros(3))
        Checkpoint(folder, {"section": "mf"}, resume=True)
        assert "not a checkpoint" in capsys.readouterr().out

    def test_none_is_left(self, folder):
        for path in folder.glob("*.npz"):
            path.write_bytes(b"")
        with pytest.raises(CheckpointError, match="contains no intact checkpoint"):
            Checkpoint(folder, {"section": "mf"}, resume=True)

    def test_a_pickle_is_never_loaded(self, folder):
        for path in folder.glob("*.npz"):
            numpy.savez(path, meta=numpy.array([{"format": "x"}], dtype=object))
        with pytest.raises(CheckpointError, match="no intact checkpoint"):
            Checkpoint(folder, {"section": "mf"}, resume=True)

    @pytest.mark.parametrize("resume", [False, True])
    def test_a_checkpoint_of_an_old_release_is_an_error(self, folder, resume):
        (folder / "epoch-00003.npz").unlink()
        meta = json.dumps({"format": "d2l-recsys checkpoint 1", "history": []})
        meta = numpy.frombuffer(meta.encode(), dtype="uint8")
        numpy.savez(folder / "epoch-00003.npz", meta=meta)
        said = (
            r"version 0\.1\.0 and cannot be resumed" if resume else "already contains"
        )
        with pytest.raises(CheckpointError, match=said):
            Checkpoint(folder, {"section": "mf"}, resume)


def test_names_are_in_the_order_of_epochs(tmp_path):
    """From epoch 100000 on, the order of the text is another one."""
    run("mf", 2, tmp_path)
    for old, new in ((1, 99_999), (2, 100_000)):
        number = tmp_path / f"epoch-{old:05d}.npz"
        number.rename(tmp_path / f"epoch-{new:05d}.npz")
    (tmp_path / "epoch-best.npz").write_text("of somebody else")
    point = Checkpoint(tmp_path, {"section": "mf"}, resume=True)
    assert [path.name for path in point.files()] == [
        "epoch-99999.npz",
        "epoch-100000.npz",
    ]
    assert point._found[0].name == "epoch-100000.npz"


def test_leftovers_of_killed_writes_are_removed(tmp_path):
    run("mf", 1, tmp_path)
    (tmp_path / ".epoch-00002.npz.1234").write_bytes(b"half a file")
    run("mf", 2, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


class TestRefusals:
    def test_fewer_epochs_than_are_done(self, tmp_path):
        run("mf", 5, tmp_path)
        kept = sorted(tmp_path.iterdir())
        with pytest.raises(CheckpointError, match=r"00005\.npz is already at epoch 5"):
            run("mf", 3, tmp_path)
        assert sorted(tmp_path.iterdir()) == kept

    def test_other_settings_are_named(self, tmp_path):
        run("mf", 1, tmp_path)
        with pytest.raises(CheckpointError, match="trained with section mf, this run"):
            Checkpoint(tmp_path, {"section": "fm"}, resume=True)

    def test_another_model_is_named(self, tmp_path):
        run("mf", 1, tmp_path)
        net = MF(4, USERS, ITEMS)
        net.initialize()
        settings = {"learning_rate": 0.05, "wd": 1e-4}
        trainer = gluon.Trainer(net.collect_params(), "adam", settings)
        point = Checkpoint(tmp_path, {"section": "mf"}, resume=True)
        with pytest.raises(CheckpointError, match=r"its parameter P\.weight has shape"):
            point.restore(net, trainer, None, 1)

    def test_a_folder_in_use_is_not_overwritten(self, tmp_path):
        run("mf", 1, tmp_path)
        with pytest.raises(CheckpointError, match=r"already contains epoch-00001\.npz"):
            Checkpoint(tmp_path, {"section": "mf"})

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(CheckpointError, match="cannot write checkpoints to"):
            Checkpoint(tmp_path / "file" / "below", {})


def test_a_full_disk_leaves_the_last_intact_checkpoint(tmp_path):
    """A limit on file size stands in for the disk: the write fails half way."""
    run("mf", 2, tmp_path)
    size = (tmp_path / "epoch-00002.npz").stat().st_size
    code = (
        "import resource, signal, pathlib, test_checkpoint as t\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size // 2}, {size // 2}))\n"
        f"t.run('mf', 4, pathlib.Path({str(tmp_path)!r}))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=__file__.rsplit("/", 1)[0],
    )
    last = result.stderr.strip().splitlines()[-1]
    assert "CheckpointError: cannot write" in last
    assert "the last intact checkpoint is" in last
    assert "epoch-00002.npz" in last
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["epoch-00001.npz", "epoch-00002.npz"]
    assert same(run("mf", 4, tmp_path), run("mf", 4))
