"""Execute scripts as notebooks: ``python -m chapters.runner.notebooks mf --smoke``.

The sections come first (by default all), then options that all scripts have. Notebooks,
metrics and figures are written to the folder ``notebooks``, or to the folder of --out.
"""

import os
import shlex
import sys
from itertools import takewhile
from pathlib import Path
from typing import Sequence

import jupytext
import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from chapters.__main__ import SECTIONS
from chapters.runner import results
from chapters.runner.data import arguments_for
from chapters.runner.options import Options

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


class ThisPython(AsyncKernelManager):
    """Start kernels in the running interpreter, whatever kernels are installed."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """The kernel specification of the running interpreter."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f"]
        command += ["{connection_file}", "--log-level=ERROR"]
        return KernelSpec(argv=command, **KERNEL)


def execute(notebook: nbformat.NotebookNode, options: Sequence[str] = ()) -> None:
    """Execute `notebook` in place, in a new kernel, with the options of a script.

    Raises nbclient's CellExecutionError; the notebook then shows the error, too.
    """
    notebook.metadata["kernelspec"] = KERNEL
    client = NotebookClient(notebook, kernel_manager_class=ThisPython, timeout=None)
    environment = {
        **os.environ,
        "D2L_RECSYS_ARGS": " ".join(map(shlex.quote, options)),
        # The kernel's default; a backend set for scripts may draw nothing.
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    client.execute(env=environment)


def main() -> int:
    """Execute the notebooks named on the command line; return the exit code."""
    slugs = list(takewhile(lambda word: not word.startswith("-"), sys.argv[1:]))
    given = sys.argv[1 + len(slugs) :]
    options = Options("__main__")
    options.prog = "python -m chapters.runner.notebooks"
    options.usage = "%(prog)s [SECTION ...] [OPTION ...]"
    options.description = "Execute sections of the chapter as notebooks."
    options.set_defaults(out=Path("notebooks"))
    out = options.parse_args(given).out
    unknown = [slug for slug in slugs if slug not in SECTIONS]
    if unknown:
        options.error(
            f"unknown section {unknown[0]!r}: choose from {', '.join(SECTIONS)}"
        )
    options.make_folder(out)
    for slug in slugs or SECTIONS:
        path = out / f"{slug}.ipynb"
        notebook = jupytext.read(Path(__file__).parents[1] / f"{slug}.py")
        try:
            execute(notebook, [*arguments_for(slug, given), "--out", str(out)])
        except CellExecutionError as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 1
        finally:
            results.write(path, nbformat.writes(notebook).encode())
        print(path, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
