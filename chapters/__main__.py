"""Run every section in the book's order, then print one table of what came out."""

import json
import runpy
import sys
import time

from chapters.data import arguments_for
from chapters.options import main_options

SECTIONS = [
    "movielens",
    "mf",
    "autorec",
    "ranking",
    "neumf",
    "seqrec",
    "ctr",
    "fm",
    "deepfm",
]


def main() -> None:
    """Run all sections with the options given, and print the summary."""
    args = main_options()
    given, rows = sys.argv[1:], []
    for slug in SECTIONS:
        print(f"\n=== {slug} ===", flush=True)
        sys.argv = [slug, *arguments_for(slug, given)]
        start = time.perf_counter()
        runpy.run_module(f"chapters.{slug}", run_name="__main__")
        seconds = time.perf_counter() - start
        record = json.loads((args.out / f"{slug}.json").read_text(encoding="utf-8"))
        rows.append((slug, record, seconds))
    _print_summary(rows)
    print(f"\nMetrics and pictures are in {args.out}/")


def _print_summary(rows):
    data = sorted({record["data"] for _, record, _ in rows})
    print(f"\n=== summary (data: {', '.join(data)}) ===")
    if not {*data} <= {"ml-100k", "ctr"}:
        print(
            "NOT the book's data everywhere (MovieLens 100K, ctr): the other figures "
            "are not comparable with the book's."
        )
    table = [("section", "here", "the book prints", "seconds")]
    for slug, record, seconds in rows:
        here = ", ".join(
            f"{name.replace('_', ' ')} {value:.3f}"
            if isinstance(value, float)
            else f"{name.replace('_', ' ')} {value}"
            for name, value in record["metrics"].items()
        )
        table.append((slug, here, record["printed in the book"], f"{seconds:.1f}"))
    widths = [max(len(row[i]) for row in table) for i in range(4)]
    for row in table:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip())


if __name__ == "__main__":
    main()
