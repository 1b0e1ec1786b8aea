"""Save a trained net with what it was trained on, and load it to use it.

A folder holds three files. ``model.params`` has the parameters in Gluon's format, which
the book's class also loads. ``model.npz`` has the users' interactions as plain arrays.
``model.json`` has the rest, and the SHA-256 hashes of the other files. Nothing is
unpickled.
"""

import hashlib
import io
import json
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Union

import numpy

import d2l_recsys
from d2l_recsys.data.ctr_layouts import Layout
from d2l_recsys.data.interactions import Interactions
from d2l_recsys.data.plain import plain
from d2l_recsys.data.replacing import replacing
from d2l_recsys.data.sizes import check_path
from d2l_recsys.engine.errors import ModelError
from d2l_recsys.runtime.backend import gluon, mx, npx

MODELS = ("AutoRec", "Caser", "DeepFM", "FM", "MF", "NeuMF")
_FORMAT = 1  # raised when an older version could not read the files
_PathLike = Union[str, "os.PathLike[str]"]


class Histories(NamedTuple):
    """What the users have interacted with in training.

    In the net, users and items are numbered from 0; `user_ids` and `item_ids` are their
    ids in the file. `seen` holds the items of each user, oldest first. `ratings`,
    float32 (n,), belong to ``seen.items``. They are None if the net was trained on
    interactions alone. `rows` is 'item' or 'user': what an AutoRec's rows are.
    """

    user_ids: Sequence[Any]
    item_ids: Sequence[Any]
    seen: Interactions
    ratings: Optional[numpy.ndarray] = None
    titles: Optional[Sequence[str]] = None
    rows: Optional[str] = None


class Vocabulary(NamedTuple):
    """How the rows of a CTR model are encoded, and what its outputs are.

    `layout` describes the file. `feat_mapper` and `defaults` are those of the
    CTRDataset. `output` is 'probability' or 'rating'.
    """

    layout: Layout
    feat_mapper: Mapping
    defaults: Mapping
    output: str = "probability"


def save(
    folder: _PathLike,
    net: gluon.Block,
    trained_on: Union[Histories, Vocabulary],
    settings: Optional[Mapping[str, Any]] = None,
) -> None:
    """Write `net` and what it was trained on to `folder`, which is created.

    `net` is one of this package's models. `settings` are written to ``model.json`` for
    information. The files of an earlier model are replaced when all new ones have been
    written, ``model.json`` last.

    Raises ModelError, a ValueError, for another net, and an OSError that names the file
    if it cannot be written.
    """
    check_path(folder, "folder")
    folder, name = Path(folder), type(net).__name__
    if name not in MODELS or type(net) is not getattr(d2l_recsys, name):
        raise ModelError(
            f"{name} is not one of the models that can be saved, which are "
            f"{', '.join(MODELS)}: use net.save_parameters"
        )
    named = trained_on._asdict()
    if name == "AutoRec" and (not named.get("rows") or named.get("ratings") is None):
        raise ModelError("AutoRec needs Histories(ratings=..., rows='item' or 'user')")
    files = {"model.params": _parameters(net)}
    record: Dict[str, Any] = {
        "format": _FORMAT,
        "version": d2l_recsys.__version__,
        "class": name,
        "arguments": net.arguments,
        "settings": settings or {},
    }
    if isinstance(trained_on, Histories):
        files["model.npz"] = _arrays(trained_on)
        record["histories"] = {k: named[k] for k in named if k not in _IN_ARRAYS}
    else:
        record["vocabulary"] = {**named, "layout": trained_on.layout._asdict()}
    record["sha256"] = {k: _sha256(content) for k, content in files.items()}
    files["model.json"] = _as_json(record)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as written:  # which replaces the last one first
        for file_name, content in reversed(files.items()):
            file = written.enter_context(replacing(folder / file_name))
            file.write(content)
            file.flush()


def load(
    folder: _PathLike, devices: Union[mx.Context, Sequence[mx.Context], None] = None
) -> gluon.Block:
    """Return the net that was saved in `folder`, on `devices` or else on the CPU.

    What it was trained on is ``net.trained_on``: :class:`Histories` for MF, AutoRec,
    NeuMF and Caser, :class:`Vocabulary` for FM and DeepFM.

    Raises ModelError, a ValueError that names the file, if there is no model, a file is
    damaged, or it was saved by an incompatible version.
    """
    check_path(folder, "folder")
    folder = Path(folder)
    path = folder / "model.json"
    record = _record(path)
    files = {name: _checked(folder / name, record) for name in record["sha256"]}
    try:
        net = getattr(d2l_recsys, record["class"])(**record["arguments"])
        with tempfile.TemporaryDirectory() as work:
            copy = Path(work) / "model.params"
            copy.write_bytes(files["model.params"])
            net.load_parameters(str(copy), ctx=devices or mx.cpu())
        net.trained_on = _trained_on(record, files.get("model.npz", b""))
        _check_sizes(net)
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        AssertionError,
        mx.MXNetError,
    ) as error:
        lines = str(error).strip().split("\n")
        traced = lines[0].startswith("Traceback")  # by MXNet
        reason = lines[-1 if traced else 0] or repr(error)
        raise ModelError(
            f"{path} does not describe the files beside it ({reason}): train again"
        ) from error
    return net


def trained_on(net: gluon.Block, kind: type) -> Any:
    """Return what `net` was trained on.

    Raises ModelError if it is not of this `kind`, or `net` was not loaded.
    """
    data = getattr(net, "trained_on", None)
    if isinstance(data, kind):
        return data
    name = type(net).__name__
    if data is None:
        raise ModelError(
            f"this {name} knows no users: pass candidates, num_users and num_items, or "
            "load the net with d2l_recsys.load"
        )
    if kind is Histories:
        raise ModelError(
            f"{name} scores rows of fields, so it cannot recommend to a user: use "
            "python -m d2l_recsys predict"
        )
    raise ModelError(
        f"{name} scores items for users, not rows of fields: use "
        "python -m d2l_recsys recommend"
    )


_IN_ARRAYS = ("seen", "ratings")


def _parameters(net: gluon.Block) -> bytes:
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "model.params"
        try:
            net.save_parameters(str(path))
            npx.load(str(path))  # MXNet does not notice if the disk is full at the end
        except mx.MXNetError as error:
            reason = str(error).strip().splitlines()[-1]
            raise OSError(f"{path} cannot be written ({reason})") from error
        return path.read_bytes()


def _arrays(histories: Histories) -> bytes:
    seen, ratings = histories.seen, histories.ratings
    arrays = {"users": seen.users.astype("int32"), "items": seen.items}
    if ratings is not None:
        arrays["ratings"] = numpy.asarray(ratings, dtype="float32")
    file = io.BytesIO()
    numpy.savez_compressed(file, **arrays)
    return file.getvalue()


def _trained_on(record: Dict[str, Any], content: bytes) -> Any:
    if "vocabulary" in record:
        entries = dict(record["vocabulary"])
        layout = entries.pop("layout")
        layout = {k: tuple(v) if isinstance(v, list) else v for k, v in layout.items()}
        return Vocabulary(Layout(**layout), **entries)
    with numpy.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    known = record["histories"]
    sizes = len(known["user_ids"]), len(known["item_ids"])
    seen = Interactions(arrays["users"], arrays["items"], *sizes)
    return Histories(seen=seen, ratings=arrays.get("ratings"), **known)


def _check_sizes(net: gluon.Block) -> None:
    """Raise ValueError if `net` was trained on other users or items than it lists."""
    data = net.trained_on
    if not isinstance(data, Histories):
        return
    if (data.rows is not None) != (type(net).__name__ == "AutoRec"):
        raise ValueError(f"rows is {data.rows!r}")
    for what in ("users", "items"):
        known = getattr(data.seen, f"num_{what}")
        if getattr(net, f"num_{what}", known) != known:
            raise ValueError(f"{known} {what} are listed")
    if data.titles is not None and len(data.titles) != data.seen.num_items:
        raise ValueError(f"{len(data.titles)} titles are listed")


def _record(path: Path) -> Dict[str, Any]:
    """Return the contents of ``model.json``, after checking what they are."""
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(
            f"{path} does not exist, so there is no model to load: "
            "python -m chapters.neumf saves one in results/neumf"
        ) from None
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError):
        record = None
    keys = ("format", "version", "class", "arguments", "sha256")
    if not isinstance(record, dict) or not all(key in record for key in keys):
        raise ModelError(f"{path} is damaged or not from this package: train again")
    if record["format"] != _FORMAT:
        raise ModelError(
            f"{path} was written by version {record['version']} of d2l-recsys, in "
            f"format {record['format']}, but version {d2l_recsys.__version__} reads "
            f"format {_FORMAT}: train again, or use that version"
        )
    if record["class"] not in MODELS:
        raise ModelError(
            f"{path}: unknown class {record['class']!r}; use one of {', '.join(MODELS)}"
        )
    sums = record["sha256"]
    files = {*sums} if isinstance(sums, dict) else {*()}
    if not {"model.params"} <= files <= {"model.params", "model.npz"}:
        raise ModelError(f"{path} does not list its files: train again")
    return record


def _checked(path: Path, record: Dict[str, Any]) -> bytes:
    """Return the contents of a file whose hash is in `record`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}: train again") from error
    if _sha256(content) != record["sha256"][path.name]:
        raise ModelError(
            f"{path} is damaged, or does not belong to the model.json beside it: "
            "train again"
        )
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _as_json(record: Dict[str, Any]) -> bytes:
    """Return `record` as JSON, with one entry per line."""
    lines: List[str] = [
        f"{json.dumps(key)}: {json.dumps(value, default=plain)}"
        for key, value in record.items()
    ]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()
