"""Compare the speed with the book's code, with PyTorch and with bounds.

`python -m benchmarks [PART ...]` prints a table. Each part is measured with 1 thread,
and most also with as many as the scripts use by default.
"""

import argparse
import subprocess
import sys
from importlib.util import find_spec

from benchmarks import table
from benchmarks.processes import ROOT, rows_of
from d2l_recsys.runtime import cores

PARTS = ["reading", "rating", "ranking", "ctr", "workers", "startup"]
ONCE = ["reading", "workers"]  # with 1 thread only: more would be of no use
HOW_TO_ADD = (
    "PyTorch was not found, so the table has no times of it. To add them, name a\n"
    "Python that has torch, pandas and numpy: make bench ARGS='--torch PYTHON'"
)


def main():
    """Run the parts named on the command line, or all parts, and print the table."""
    args = _options()
    version = _version_of_torch(args.torch) if args.torch else ""
    machine, default = table.machine(version), cores.available()
    print(f"{machine}\n\n{table.EXPLANATION}\n")
    if not version:
        print(f"{HOW_TO_ADD}\n")
    print(table.HEAD, flush=True)
    lines = []
    for part in args.parts or PARTS:
        counts = {1: 1} if part in ONCE else {1: 1, default: None}
        measured = [rows_of(part, limit, args.torch) for limit in counts.values()]
        for rows in zip(*measured):
            lines += [table.line(row, n) for row, n in zip(rows, counts)]
            print("\n".join(lines[-len(counts) :]), flush=True)
    if args.write:
        text = [f"{machine} {table.EXPLANATION}", "", table.HEAD, *lines]
        table.put("speed", "\n".join(text))
        print(f"wrote {table.PAGE.relative_to(ROOT)}")


def _options():
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    choices = ", ".join(PARTS)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{choices}; or all")
    parser.add_argument(
        "--torch",
        metavar="PYTHON",
        default=sys.executable if find_spec("torch") else None,
        help="a Python with torch, pandas and numpy (default: this one if it has them)",
    )
    parser.add_argument(
        "--write", action="store_true", help="write the table into docs/results.md"
    )
    args = parser.parse_args()
    for part in args.parts:
        if part not in PARTS:
            parser.error(f"unknown part {part!r}: choose from {choices}")
    if args.write and args.parts:
        parser.error("argument --write: the page has all parts, so name none")
    return args


def _version_of_torch(python):
    """Return the version of PyTorch in another Python; exit if there is none."""
    code = "import numpy, pandas, torch; print(torch.__version__)"
    try:
        run = subprocess.run([python, "-c", code], capture_output=True, text=True)
    except OSError as error:
        sys.exit(f"argument --torch: {python}: {error.strerror}")
    if run.returncode:
        sys.exit(
            f"argument --torch: {python}: {run.stderr.strip().splitlines()[-1]}\n"
            f"Install what it needs: {python} -m pip install torch pandas numpy"
        )
    return run.stdout.strip()


if __name__ == "__main__":
    main()
