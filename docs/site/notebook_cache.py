"""Execute the scripts as notebooks, if anything has changed since the last time."""

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Tuple

import jupytext
import nbformat
from links import ROOT

from chapters.runner.notebooks import execute
from d2l_recsys.data import catalog

Record = Dict[str, Any]  # the contents of a section's JSON file


def cache_key(slug: str) -> str:
    """Return a hash of all that the outputs of a script depend on.

    This covers the code of the script, its helpers and the package, the versions of
    other packages and of Python, and which of the book's data sets are here.
    """
    paths = [ROOT / f"chapters/{slug}.py", ROOT / "requirements.txt"]
    paths += (ROOT / "chapters/runner").glob("*.py")
    paths += (ROOT / "chapters/runner").glob("*.csv")
    paths += (ROOT / "d2l_recsys").rglob("*.py")
    paths += (ROOT / "d2l_recsys").rglob("*.mplstyle")
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(paths):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    for name in ("ml-100k", "ctr"):
        digest.update(f"{name} {catalog.find(name) is not None}\n".encode())
    return digest.hexdigest()[:16]


def executed(
    slug: str, folder: Path, *options: str
) -> Tuple[nbformat.NotebookNode, Record]:
    """Return the executed notebook of a section and the results that it saved.

    They are kept as ``SLUG.ipynb`` and ``SLUG.json`` in `folder`, with the hash of what
    they depend on.

    Raises nbclient's CellExecutionError if a cell fails.
    """
    path, saved = folder / f"{slug}.ipynb", folder / f"{slug}.json"
    mark = " ".join([cache_key(slug), *options])
    if saved.exists() and path.exists():
        notebook = nbformat.read(path, as_version=4)
        if notebook.metadata.get("made_from") == mark:
            return notebook, json.loads(saved.read_text(encoding="utf-8"))
    print(f"executing {slug}", flush=True)
    notebook = jupytext.read(ROOT / f"chapters/{slug}.py")
    with tempfile.TemporaryDirectory() as out:
        execute(notebook, [*options, "--out", out])
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(out) / f"{slug}.json", saved)
    for cell in notebook.cells:  # without messages about downloads
        if cell.cell_type == "code":
            cell.outputs = [x for x in cell.outputs if x.get("name") != "stderr"]
    notebook.metadata["made_from"] = mark
    nbformat.write(notebook, path)
    return notebook, json.loads(saved.read_text(encoding="utf-8"))
