"""Checkpoints: everything the next epoch depends on, in one file, written atomically.

A file is a NumPy archive of plain arrays. Reading it unpickles nothing. The comment at
the end of the archive is a checksum of everything before it.
"""

import hashlib
import io
import json
import os
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

import numpy

from d2l_recsys.engine import training_state
from d2l_recsys.engine.errors import CheckpointError
from d2l_recsys.engine.folder_lock import lock_folder
from d2l_recsys.runtime.backend import gluon
from d2l_recsys.runtime.workers import worker

_FORMAT = "d2l-recsys checkpoint 2"
_OLD_FORMAT = "d2l-recsys checkpoint 1"  # that of version 0.1.0
_CHECKSUM_BYTES = 64


History = List[Dict[str, float]]  # one entry per epoch


class Checkpoint:
    """The newest two checkpoints of one training, in a folder.

    `identity` describes the model, the data and the settings. A run only resumes from
    a checkpoint with the same identity. With ``resume=False``, the folder must not
    contain a checkpoint; with ``resume=True``, it must contain an intact one. With
    several workers, worker 0 writes and all workers read, so all must see the folder.

    The folder is locked against other processes as long as this object exists. There is
    no lock on file systems that do not support it.

    Raises :class:`CheckpointError` if one of these conditions is not met, if the folder
    is in use, or if it cannot be written to.
    """

    def __init__(
        self,
        folder: "Union[str, os.PathLike[str]]",
        identity: Dict[str, str],
        resume: bool = False,
    ):
        self.folder, self.identity = Path(folder), identity
        self._settings: Dict[str, float] = {}
        if worker.rank == 0:
            self._lock = self._prepare_folder()
        if not resume and self.files():
            raise CheckpointError(
                f"{folder} already contains {self.files()[-1].name}: continue it with "
                "--resume, or choose another folder"
            )
        self._found = self._newest_intact() if resume else None

    def _prepare_folder(self) -> Any:
        """Create and lock the folder; remove what killed writes have left there."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = lock_folder(self.folder)
            with tempfile.TemporaryFile(dir=self.folder):
                pass  # fail now, not after the first epoch
            # Without a lock, the files could be those of a running training.
            for path in self.folder.glob(".epoch-*.npz.*") if lock else ():
                path.unlink()
        except BlockingIOError:
            raise CheckpointError(
                f"{self.folder} is in use by another process: wait until it ends, or "
                "choose another folder"
            ) from None
        except OSError as error:
            raise CheckpointError(
                f"cannot write checkpoints to {self.folder}: {error.strerror}"
            ) from error
        return lock

    def files(self) -> List[Path]:
        """Return the checkpoints in the folder, oldest first."""
        numbers = {}
        for path in self.folder.glob("epoch-*.npz"):
            found = re.fullmatch(r"epoch-([0-9]+)\.npz", path.name)
            if found:
                numbers[path] = int(found[1])
        return sorted(numbers, key=lambda path: numbers[path])

    def restore(
        self, net: gluon.Block, trainer: gluon.Trainer, train_iter: Any, num_epochs: int
    ) -> Optional[Tuple[History, int]]:
        """Restore the state of the arguments; return (history, seed), or None.

        Raises :class:`CheckpointError` if the state of a training with these arguments
        cannot be saved, if the checkpoint has more than `num_epochs` epochs, or if its
        model, optimizer or loader is another. The text names the difference.
        """
        training_state.check_can_be_saved(net, train_iter)
        self._settings = training_state.get_settings(trainer)
        if self._found is None:
            return None
        path, arrays, meta = self._found
        if len(meta["history"]) > num_epochs:
            raise CheckpointError(
                f"{path} is already at epoch {len(meta['history'])}, past the "
                f"{num_epochs} asked for: ask for at least {len(meta['history'])} "
                "epochs, or start a new training in another folder"
            )
        optimizers = meta["optimizer"]["class"], type(trainer._optimizer).__name__
        self._check_same(path, *({"optimizer": name} for name in optimizers))
        self._check_same(path, meta["settings"], self._settings)
        training_state.put_parameters(net, arrays)
        training_state.put_optimizer(net, trainer, arrays, meta["optimizer"])
        training_state.put_batches(train_iter, meta["train_iter"])
        return meta["history"], meta["seed"]

    def save(
        self,
        net: gluon.Block,
        trainer: gluon.Trainer,
        train_iter: Any,
        history: History,
        seed: int,
    ) -> None:
        """Write a checkpoint for the end of `history`; delete the third newest."""
        if worker.rank:
            return
        arrays = training_state.get_parameters(net)
        optimizer = training_state.get_optimizer(net, trainer, arrays)
        meta = {
            "format": _FORMAT,
            "identity": self.identity,
            "settings": self._settings,
            "history": history,
            "seed": seed,
            "optimizer": optimizer,
            "train_iter": getattr(train_iter, "state", None),
        }
        arrays["meta"] = numpy.frombuffer(json.dumps(meta).encode(), dtype="uint8")
        path = self.folder / f"epoch-{len(history):05d}.npz"
        try:
            _write(path, arrays)
        except OSError as error:
            raise CheckpointError(
                f"cannot write {path}: {error.strerror}; the last intact checkpoint is "
                f"{self.files()[-1] if self.files() else 'none'}"
            ) from error
        for old in self.files()[:-2]:
            old.unlink()

    def _newest_intact(self) -> Tuple[Path, Dict[str, Any], Dict[str, Any]]:
        for path in reversed(self.files()):
            try:
                found = _read(path)
            except CheckpointError:
                raise
            # zipfile and NumPy raise almost any exception for damaged files.
            except Exception as error:
                print(f"{path} is damaged or not a checkpoint ({error}): skipped")
                continue
            self._check_same(path, found[1]["identity"], self.identity)
            return (path, *found)
        raise CheckpointError(
            f"{self.folder} contains no intact checkpoint to resume from"
        )

    def _check_same(self, path: Path, saved: Dict, current: Dict) -> None:
        """Raise CheckpointError that names a setting with another value."""
        for key in sorted({*saved, *current}):
            then, now = saved.get(key), current.get(key)
            if then != now:
                raise CheckpointError(
                    f"{path} was trained with {key} {then}, this run has {now}: resume "
                    "with the same value, or start a new training in another folder"
                )


def _write(path: Path, arrays: Dict[str, Any]) -> None:
    """Write a temporary file and rename it: `path` is never incomplete."""
    work = path.with_name(f".{path.name}.{os.getpid()}")
    packed = io.BytesIO()
    numpy.savez(packed, **arrays)
    with zipfile.ZipFile(packed, "a") as archive:
        archive.comment = bytes(_CHECKSUM_BYTES)
    content = packed.getbuffer()
    content[-_CHECKSUM_BYTES:] = _checksum(content)
    try:
        with open(work, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(work, path)
    finally:
        if work.exists():
            work.unlink()


def _read(path: Path) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """Return arrays and description; a damaged file may raise any exception."""
    content = path.read_bytes()
    if content[-_CHECKSUM_BYTES:] != _checksum(content):
        if _OLD_FORMAT.encode() in content:
            raise CheckpointError(
                f"{path} was written by version 0.1.0 and cannot be resumed: start a "
                "new training in another folder"
            )
        raise ValueError("its checksum is wrong")
    with numpy.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(arrays.pop("meta").tobytes())
    if meta["format"] != _FORMAT:
        raise ValueError(f"its format is {meta['format']!r}")
    return arrays, meta


def _checksum(content: Any) -> bytes:
    """Return the SHA-256 of everything but the checksum's own place, as text."""
    return hashlib.sha256(content[:-_CHECKSUM_BYTES]).hexdigest().encode()
