"""Format the table of the benchmarks, and write tables into docs/results.md.

A row is a dict with "work" and "ours", in seconds. It may also have "book", "peer" and
"bound", in seconds, and "remark".
"""

import importlib.metadata
import platform
from pathlib import Path

from benchmarks.processes import ROOT
from chapters.runner.results import write
from d2l_recsys.runtime import cores
from d2l_recsys.runtime.backend import mx

PAGE = ROOT / "docs" / "results.md"
COLUMNS = {"book": "the book", "peer": "peer", "bound": "bound"}
HEAD = "| | threads | here | " + " | ".join(COLUMNS.values()) + " | remark |"
HEAD += "\n|:--|--:|--:|--:|--:|--:|:--|"
EXPLANATION = (
    "A figure in parentheses is the time divided by ours: above 1, this package is "
    "faster. The peer is a plain loop in PyTorch, unless the remark says otherwise. "
    "The bound is measured alone: all products of AutoRec's matrices, which this "
    "package avoids where few cells are rated, or the import of MXNet."
)


def line(row, threads):
    """Return a row as a line of a Markdown table."""
    ours = row["ours"]
    cells = [row["work"], str(threads), _seconds(ours)]
    for column in COLUMNS:
        theirs = row.get(column)
        cells.append(
            "" if theirs is None else f"{_seconds(theirs)} ({_ratio(theirs / ours)})"
        )
    return f"| {' | '.join(cells)} | {row.get('remark') or ''} |"


def _seconds(seconds):
    return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.3g} s"


def _ratio(ratio):
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2g}"


def machine(torch):
    """Describe the machine in a sentence: processor, cores, libraries and Python."""
    blas = [
        name
        for feature, name in (
            ("MKLDNN", "oneDNN"),
            ("BLAS_OPEN", "OpenBLAS"),
            ("BLAS_MKL", "MKL"),
            ("BLAS_ATLAS", "ATLAS"),
            ("BLAS_APPLE", "Accelerate"),
        )
        if mx.runtime.Features().is_enabled(feature)
    ]
    peer = f", PyTorch {torch}" if torch else ""
    return (
        f"{_processor()}, {cores.available()} cores; MXNet {mx.__version__} with "
        f"{' and '.join(blas)}, NumPy {importlib.metadata.version('numpy')}, Python "
        f"{platform.python_version()}{peer}."
    )


def _processor():
    """Return the name of the processor's model, where the system tells it."""
    info = Path("/proc/cpuinfo")
    for text in info.read_text().splitlines() if info.exists() else []:
        name, _, value = text.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def put(name, text):
    """Replace the text between the markers called `name` in docs/results.md."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(end)[2]
    write(PAGE, f"{before}{begin}\n{text}\n{end}{after}".encode())
