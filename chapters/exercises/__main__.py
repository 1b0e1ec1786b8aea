"""List and run the exercises: ``python -m chapters.exercises [NAME ...]``."""

import sys

from chapters.runner.exercise_pages import (
    SECTIONS,
    all_exercises,
    list_of,
    run,
    write_report,
)
from chapters.runner.exercises import parser
from chapters.runner.experiments import ExperimentFailed
from d2l_recsys.tools.command_line import tell


def main() -> int:
    """Run the exercises that are named, or list them all; return the exit code."""
    options = parser()
    options.description = "List the book's exercises, or run some of them."
    options.add_argument("names", nargs="*", metavar="NAME", help="exercises to run")
    options.add_argument("--all", action="store_true", help="run all exercises")
    options.add_argument(
        "--report", action="store_true", help="run all, and write docs/exercises.md"
    )
    args = options.parse_args()
    exercises, out = all_exercises(), args.out / "exercises"
    unknown = [name for name in args.names if name not in exercises]
    if unknown:
        options.error(
            f"there is no exercise {unknown[0]!r}: `python -m chapters.exercises` "
            "lists them"
        )
    try:
        if args.report:
            print(f"wrote {write_report(args.seeds, out)}")
        elif args.all or args.names:
            for section in SECTIONS:
                own = [x for x in exercises.values() if x.section == section]
                names = [x.name for x in own if args.all or x.name in args.names]
                if names:
                    run(section, names, out, lambda name: f"Figure: {out}/{name}.png")
        else:
            print(list_of(exercises))
    except ExperimentFailed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        tell("\ninterrupted: the same command goes on from here")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
