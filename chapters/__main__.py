"""Run every section in the book's order, then print one table of what came out."""

import json
import runpy
import sys
import time

from chapters.runner.data import arguments_for
from chapters.runner.options import Options
from chapters.runner.printed import in_brief
from d2l_recsys.tools.command_line import positive

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
    args = _options()
    arguments = sys.argv[1:]
    if args.report:
        from chapters.runner.report import write_report

        write_report(args)
        return
    rows = []
    for slug in SECTIONS:
        print(f"\n=== {slug} ===", flush=True)
        given = [*arguments]
        if args.resume and not any((args.checkpoint / slug).rglob("*.npz")):
            given.remove("--resume")  # it was not begun
        record, seconds = run_section(slug, given, args.out)
        rows.append((slug, record, seconds))
    _print_summary(rows)
    print(f"\nMetrics and pictures are in {args.out}/")


def _options():
    """Check the options of ``python -m chapters``, which hands them to every script."""
    options = Options("__main__")
    options.prog = "python -m chapters"
    options.description = "All sections of the chapter, in the book's order."
    options.add_argument(
        "--report",
        action="store_true",
        help="run all with several seeds; write docs/results.md and README.md's table",
    )
    options.add_argument(
        "--seeds", type=positive, metavar="N", help="0 to N - 1, with --report: 5"
    )
    args = options.parse_args(sys.argv[1:])
    if args.seeds and not args.report:
        options.error("argument --seeds: goes with --report")
    for name in vars(args) if args.report else ():
        mine = name in ("report", "seeds", "data_dir")
        if not mine and getattr(args, name) != options.get_default(name):
            options.error(f"argument --report: goes without --{name.replace('_', '-')}")
    if args.resume and args.checkpoint and not any(args.checkpoint.rglob("*.npz")):
        options.error(f"argument --resume: {args.checkpoint} holds no checkpoint")
    args.seeds = args.seeds or 5
    return args


def run_section(slug, given, out):
    """Run a section with those of the arguments that it knows; return its results."""
    sys.argv = [slug, *arguments_for(slug, given)]
    start = time.perf_counter()
    runpy.run_module(f"chapters.{slug}", run_name="__main__")
    seconds = time.perf_counter() - start
    return json.loads((out / f"{slug}.json").read_text(encoding="utf-8")), seconds


def _print_summary(rows):
    data = sorted({record["data"] for _, record, _ in rows})
    print(f"\n=== summary (data: {', '.join(data)}) ===")
    if not {*data} <= {"ml-100k", "ctr"}:
        print(
            "NOT the book's data everywhere (MovieLens 100K, ctr): the other figures "
            "are not comparable with the book's."
        )
    table = [("section", "seconds", "here", "the book prints")]
    for slug, record, seconds in rows:
        here = ", ".join(
            f"{name.replace('_', ' ')} {value:.3f}"
            if isinstance(value, float)
            else f"{name.replace('_', ' ')} {value}"
            for name, value in record["metrics"].items()
        )
        table.append((slug, f"{seconds:.1f}", here, in_brief(slug)))
    widths = [max(len(row[i]) for row in table) for i in range(3)]
    for row in table:
        cells = [cell.ljust(w) for cell, w in zip(row, widths)] + [row[3]]
        print("  ".join(cells).rstrip())


if __name__ == "__main__":
    main()
