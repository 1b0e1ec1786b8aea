"""Run all sections in the book's order, and print a table of the results."""

import json
import runpy
import sys
import time
from argparse import Namespace
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, List, Tuple

from chapters.runner.data import CTR, MOVIELENS, arguments_for
from chapters.runner.options import Options
from chapters.runner.printed import EDITIONS, printed_figures, words
from chapters.runner.side_by_side import Sections
from d2l_recsys.runtime import cores, cuda
from d2l_recsys.tools.command_line import positive

Record = Dict[str, Any]  # the contents of a section's JSON file
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
    if args.report:
        from chapters.runner.report import write_report

        write_report(args)
        return
    rows: List[Tuple[str, Record, float]] = []
    with _start(args) as show:
        for slug in SECTIONS:
            try:
                print(f"\n=== {slug} ===", flush=True)
                record, seconds = show(slug)
            except KeyboardInterrupt:
                print(f"\ninterrupted in {slug}", flush=True)
                _print_summary(rows)
                raise
            rows.append((slug, record, seconds))
    _print_summary(rows)
    print(f"\nMetrics, figures and models are in {args.out}/")


def _options() -> Namespace:
    """Parse the options of ``python -m chapters``, which are passed to every script."""
    options = Options("__main__")
    options.prog = "python -m chapters"
    options.description = "Run all sections of the chapter in the book's order."
    options.add_argument(
        "--report",
        action="store_true",
        help="run with several seeds; write docs/results.md and the table in README.md",
    )
    options.add_argument(
        "--seeds",
        type=positive,
        metavar="N",
        help="number of seeds for --report (default: 5)",
    )
    options.epilog = (
        "A section has more options, which `python -m chapters.SECTION --help` lists."
    )
    args, unknown = options.parse_known_args(sys.argv[1:])
    if unknown:
        options.error(
            f"unrecognized arguments: {' '.join(unknown)}; options of a single section "
            "need its name, as in python -m chapters.mf"
        )
    if args.seeds and not args.report:
        options.error("argument --seeds: needs --report")
    for name in vars(args) if args.report else ():
        allowed = name in ("report", "seeds", "data_dir")
        if not allowed and getattr(args, name) != options.get_default(name):
            option = "--" + name.replace("_", "-")
            options.error(f"argument --report: cannot be used with {option}")
    if args.resume and not args.checkpoint:
        options.error("argument --resume: needs --checkpoint DIR")
    if args.resume and not _holds_checkpoint(args.checkpoint):
        options.error(f"argument --resume: {args.checkpoint} holds no checkpoint")
    args.seeds = args.seeds or 5
    return args


def _holds_checkpoint(folder: Path) -> bool:
    # From Python 3.13 on, rglob silently skips folders that cannot be read.
    return folder.exists() and any(folder.iterdir()) and any(folder.rglob("*.npz"))


def _start(args: Namespace) -> ContextManager[Callable[[str], Any]]:
    """Return a function that shows a section, which it runs or which already runs.

    On one core, sections run one after another. So do those that are over soon, share a
    GPU, draw in a notebook, or read a larger data set, which may fill the memory.
    """
    arguments = {}
    for slug in SECTIONS:
        fresh = args.resume and not _holds_checkpoint(args.checkpoint / slug)
        given = [word for word in sys.argv[1:] if not (fresh and word == "--resume")]
        arguments[slug] = arguments_for(slug, given)
    alone = cores.available() == 1 or args.smoke or "IPython" in sys.modules
    larger = args.data in (*MOVIELENS.others, *CTR.others)
    if alone or larger or _use_gpu(args.devices):
        return nullcontext(lambda slug: run_section(slug, arguments[slug], args.out))
    return Sections(arguments, args.out)


def _use_gpu(devices: Any) -> bool:
    with suppress(OSError):  # no driver, so no GPU
        if not devices and cuda.gpus():
            from d2l_recsys.runtime.devices import try_all_gpus

            devices = try_all_gpus()
    return any(device.device_type == "gpu" for device in devices or ())


def run_section(slug: str, arguments: List[str], out: Path) -> Tuple[Record, float]:
    """Run a section with these arguments; return its results and seconds."""
    import chapters.runner.run  # noqa: F401  # with MXNet, which is in no one's time

    sys.argv = [slug, *arguments]
    start = time.perf_counter()
    runpy.run_module(f"chapters.{slug}", run_name="__main__")
    seconds = time.perf_counter() - start
    return json.loads((out / f"{slug}.json").read_text(encoding="utf-8")), seconds


def _print_summary(rows: List[Tuple[str, Record, float]]) -> None:
    """Print a row for each metric: here, and in the book's MXNet editions.

    An erratum in parentheses distorts the book's figure before it.
    """
    if not rows:
        return
    data = sorted({record["data"] for _, record, _ in rows})
    print(f"\n=== summary (data: {', '.join(data)}) ===")
    if not {*data} <= {"ml-100k", "ctr"}:
        print(
            "Some sections did NOT use the book's data (ml-100k, ctr). Their results "
            "are not\ncomparable with the book's."
        )
    table = [("section", "seconds", "data", "metric", "here", *EDITIONS.values())]
    for slug, record, seconds in rows:
        start = (slug, f"{seconds:.1f}")
        made_up = record["data"] in ("synthetic", "smoke")
        source = "made up" if made_up else record["data"]
        for metric, value in record["metrics"].items():
            book = [_of_edition(slug, metric, edition) for edition in EDITIONS]
            table.append((*start, source, words(metric), _shown(value), *book))
            start = ("", "")
    widths = [max(map(len, column)) for column in zip(*table)]
    for row in table:
        print("  ".join(map(str.ljust, row, widths)).rstrip())
    print(
        "The last columns are the book's editions. (E11), ...: a mistake in the book "
        "distorts the\nfigure, see docs/errata.md."
    )


def _shown(value: Any) -> str:
    if value is None:
        return "undefined"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _of_edition(slug: str, metric: str, edition: str) -> str:
    """Return the figure of an edition with the errata that distort it, or ""."""
    table = printed_figures(slug)
    table = table[(table["edition"] == edition) & (table["framework"] == "MXNet")]
    for row in table[table["metric"] == metric].itertuples():
        causes = row.because.replace(" ", ", ")
        return f"{row.value} ({causes})" if causes else row.value
    return ""


if __name__ == "__main__":
    main()
