"""Compare the speed with the book's: ``python -m benchmarks [PART ...]``."""

import argparse
from importlib import import_module

PARTS = ["rating", "ranking", "ctr"]


def main() -> None:
    """Run the parts named on the command line, or all parts, and print a table."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    choices = ", ".join(PARTS)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{choices}; or all")
    parts = parser.parse_args().parts or PARTS
    for part in parts:
        if part not in PARTS:
            parser.error(f"unknown part {part!r}: choose from {choices}")
    print(f"{'':48} {'here':>9} {'the book':>9} {'ratio':>6}")
    for part in parts:
        for what, ours, theirs, remark in import_module(f"benchmarks.{part}").rows():
            books = ratio = ""
            if theirs is not None:
                books = f"{theirs:.2f}s"
                ratio = f"{theirs / ours:.{0 if theirs >= 10 * ours else 1}f}"
            line = f"{what:48} {ours:8.3f}s {books:>9} {ratio:>6}  {remark}"
            print(line.rstrip(), flush=True)


if __name__ == "__main__":
    main()
