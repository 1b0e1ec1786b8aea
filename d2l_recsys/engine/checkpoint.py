"""Checkpoints: all that the next epoch depends on, in one file, written atomically.

A file is NumPy's zip of plain arrays, read without unpickling anything.
"""

import io
import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Dict, List, Union

import numpy

from d2l_recsys.engine.errors import CheckpointError
from d2l_recsys.runtime.backend import gluon, np
from d2l_recsys.runtime.workers import worker

_FORMAT = "d2l-recsys checkpoint 1"
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


History = List[Dict[str, float]]  # an entry for each epoch


class Checkpoint:
    """The checkpoints of one training in a folder, the newest two of them.

    `identity` says what is trained on what, with which settings: a run resumes only
    from a checkpoint with the same one. With ``resume=False`` the folder must hold no
    checkpoint yet, with ``resume=True`` it must hold a sound one. Of several workers
    the first writes and all read, so that all need to see the folder.

    Raises :class:`CheckpointError` where this is not so, naming the difference, and
    where the folder cannot be written to.
    """

    def __init__(
        self,
        folder: "Union[str, os.PathLike[str]]",
        identity: Dict[str, str],
        resume: bool = False,
    ):
        self.folder, self.identity = Path(folder), identity
        try:
            if worker.rank == 0:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._write(self.folder / ".probe", {})
                (self.folder / ".probe").unlink()
        except OSError as error:
            raise CheckpointError(
                f"cannot write checkpoints to {folder}: {error.strerror}"
            ) from error
        if not resume and self.files():
            raise CheckpointError(
                f"{folder} holds {self.files()[-1].name} already: continue it with "
                "--resume, or name another folder"
            )
        self._found = self._newest_sound() if resume else None

    def files(self) -> List[Path]:
        """Return the checkpoints in the folder, oldest first."""
        return sorted(self.folder.glob("epoch-*.npz"))

    def restore(self, net: gluon.Block, trainer: gluon.Trainer, train_iter):
        """Put the state found into the three; return (history, seed), or None.

        Raises :class:`CheckpointError` naming a parameter of another shape.
        """
        if self._found is None:
            return None
        arrays, meta = self._found
        _put_parameters(net, arrays)
        _put_optimizer(net, trainer, arrays, meta["optimizer"])
        if hasattr(train_iter, "state"):
            train_iter.state = meta["train_iter"]
        return meta["history"], meta["seed"]

    def save(self, net, trainer, train_iter, history, seed: int) -> None:
        """Write a checkpoint of where `history` ends, and drop the third newest."""
        if worker.rank:
            return
        arrays = _get_parameters(net)
        optimizer = _get_optimizer(net, trainer, arrays)
        meta = {
            "format": _FORMAT,
            "identity": self.identity,
            "history": history,
            "seed": seed,
            "optimizer": optimizer,
            "train_iter": getattr(train_iter, "state", None),
        }
        arrays["meta"] = numpy.frombuffer(json.dumps(meta).encode(), dtype="uint8")
        path = self.folder / f"epoch-{len(history):05d}.npz"
        try:
            self._write(path, arrays)
        except OSError as error:
            raise CheckpointError(
                f"cannot write {path}: {error.strerror}; the last sound checkpoint is "
                f"{self.files()[-1] if self.files() else 'none'}"
            ) from error
        for old in self.files()[:-2]:
            old.unlink()

    def _write(self, path, arrays):
        """Write beside the place and move there: never half a file under the name."""
        work = path.with_name(f".{path.name}.{os.getpid()}")
        packed = io.BytesIO()
        numpy.savez(packed, **arrays)
        try:
            with open(work, "wb") as file:
                file.write(packed.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            os.replace(work, path)
        finally:
            if work.exists():
                work.unlink()

    def _newest_sound(self):
        for path in reversed(self.files()):
            try:
                found = _read(path)
            except _DAMAGED as error:
                print(
                    f"{path} is damaged or no checkpoint of ours ({error}): passed over"
                )
                continue
            self._check_identity(path, found[1]["identity"])
            return found
        raise CheckpointError(f"{self.folder} holds no sound checkpoint to resume from")

    def _check_identity(self, path, identity):
        for key in sorted({*identity, *self.identity}):
            then, now = identity.get(key), self.identity.get(key)
            if then != now:
                raise CheckpointError(
                    f"{path} was trained with {key} {then}, this run has {now}: resume "
                    "with the same, or start anew in another folder"
                )


def _read(path):
    with open(path, "rb") as opened, numpy.load(opened, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(arrays.pop("meta").tobytes())
    if meta["format"] != _FORMAT:
        raise ValueError(f"its format is {meta['format']!r}")
    return arrays, meta


def _get_parameters(net):
    parameters = net._collect_params_with_prefix().items()
    return {f"net/{name}": p.list_data()[0].asnumpy() for name, p in parameters}


def _put_parameters(net, arrays):
    for name, parameter in net._collect_params_with_prefix().items():
        saved = arrays.get(f"net/{name}")
        if saved is None or saved.shape != parameter.shape:
            raise CheckpointError(
                f"the checkpoint is of another model: its parameter {name} has shape "
                f"{getattr(saved, 'shape', None)}, this model's {parameter.shape}"
            )
        parameter.set_data(np.array(saved))


def _updaters(trainer):
    """Return what holds the optimizer's state: one updater for each device, or one."""
    if not trainer._kv_initialized:
        trainer._init_kvstore()
    if trainer._params_to_init:
        trainer._init_params()
    if trainer._kvstore is not None and trainer._update_on_kvstore:
        return [trainer._kvstore._updater]
    return trainer._updaters


def _names(net, trainer):
    """Return the place in the net of each parameter that the trainer has a number for.

    The trainer numbers them in the order of names that count up in a process, so that
    the numbers differ from one net to the next.
    """
    places = {id(p): name for name, p in net._collect_params_with_prefix().items()}
    return [places.get(id(p), p.name) for p in trainer._params]


def _get_optimizer(net, trainer, arrays):
    """Add the optimizer's arrays to `arrays`; return its counters."""
    names, optimizer = _names(net, trainer), trainer._optimizer
    for k, updater in enumerate(_updaters(trainer)):
        for index, state in updater.states.items():
            for part, array in enumerate(_flat(state)):
                arrays[f"optimizer/{k}/{names[index]}/{part}"] = array.asnumpy()
    counts = optimizer._all_index_update_counts.items()
    return {
        "class": type(optimizer).__name__,
        "scalars": _scalars(optimizer),
        "counts": {k: {names[i]: n for i, n in count.items()} for k, count in counts},
    }


def _put_optimizer(net, trainer, arrays, saved):
    names, optimizer = _names(net, trainer), trainer._optimizer
    if saved["class"] != type(optimizer).__name__:
        raise CheckpointError(
            f"the checkpoint's optimizer is {saved['class']}, this run's "
            f"{type(optimizer).__name__}"
        )
    if not {*names}.issuperset(*saved["counts"].values()):
        raise CheckpointError(
            "the checkpoint's trainer numbers other parameters than this run's: resume "
            "with a trainer of the kind that saved it"
        )
    vars(optimizer).update(saved["scalars"])
    for device, counts in saved["counts"].items():
        mine = optimizer._all_index_update_counts.setdefault(int(device), {})
        mine.update({names.index(name): n for name, n in counts.items()})
    for k, updater in enumerate(_updaters(trainer)):
        for index, name in enumerate(names):
            if f"optimizer/{k}/{name}/0" not in arrays:
                continue  # there is none, or no step was taken yet
            weight = trainer._params[index].list_data()[k]
            state = updater.optimizer.create_state_multi_precision(index, weight)
            for part, array in enumerate(_flat(state)):
                array[:] = arrays[f"optimizer/{k}/{name}/{part}"]
            updater.states[index] = state
            updater.states_synced[index] = True


def _scalars(optimizer):
    """Return its numbers: counters, and what some keep besides their arrays (Nadam)."""
    return {
        name: value
        for name, value in vars(optimizer).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _flat(state) -> list:
    """Return the arrays of an optimizer's state: None, an array, or nested tuples."""
    if state is None:
        return []
    if isinstance(state, (tuple, list)):
        return [array for part in state for array in _flat(part)]
    return [state]
