"""Read the notebooks of ``chapters/exercises``, run them, and write docs/exercises.md.

In these notebooks, a heading of level two is the name of an exercise. The line below it
names the editions and the cost, and the paragraph below that is the question. The
answer is in the last cell. What a cell prints is Markdown.
"""

import io
import re
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Tuple

import jupytext

from chapters.runner import results

ROOT = Path(__file__).parents[2]
SECTIONS = ["overview", "movielens", "mf", "autorec", "ranking", "neumf", "seqrec"]
SECTIONS += ["ctr", "fm", "deepfm"]
_HEAD = re.compile(r"## ([a-z0-9-]+)\n\n\*(.+); (.+)\.\*\n\n(.+)", re.DOTALL)
INTRODUCTION = """\
# The exercises, worked

The book ends each section with exercises, but gives no answers. Here are answers, each
with the code that found it. The questions are in our words. The numbers are means ±
standard deviations over {seeds} seeds. Settings are chosen on validation data, and only
the chosen setting has test metrics.

This page was written by `python -m chapters.exercises --report --seeds {seeds}`. To run
one exercise, name it: `python -m chapters.exercises mf-factors`.
"""


class Exercise(NamedTuple):
    """An exercise, and the cells of its notebook from its heading on."""

    section: str
    name: str
    editions: str
    cost: str
    question: str
    cells: List[Any]


def read_section(section: str) -> Tuple[List[Any], List[Exercise]]:
    """Return the cells before the first exercise, and the exercises.

    Raises ValueError for a heading that is not followed by editions, cost and question.
    """
    path = ROOT / "chapters" / "exercises" / f"{section}.py"
    first: List[Any] = []
    found: List[Exercise] = []
    for cell in jupytext.read(path).cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            head = _HEAD.match(cell.source)
            if not head:
                raise ValueError(f"{path}: no exercise: {cell.source.splitlines()[0]}")
            found.append(Exercise(section, *head.groups(), []))
        (found[-1].cells if found else first).append(cell)
    return first, found


def all_exercises() -> Dict[str, Exercise]:
    """Return the exercises of all sections by name, in the book's order."""
    return {x.name: x for section in SECTIONS for x in read_section(section)[1]}


def list_of(exercises: Dict[str, Exercise]) -> str:
    """Return a Markdown table of the exercises."""
    lines = ["| name | section | editions | cost | question |", "|:--|:--|:--|:--|:--|"]
    for exercise in exercises.values():
        question = " ".join(exercise.question.split("\n\n")[0].split())
        cells = exercise.name, exercise.section, exercise.editions, exercise.cost
        lines.append(f"| {' | '.join([*cells, question])} |")
    return "\n".join(lines)


def run(
    section: str, names: Iterable[str], out: Path, picture: Callable[[str], str]
) -> None:
    """Run exercises of a section; print their texts and what their cells print.

    If there is a figure ``NAME.png`` in the folder `out`, print ``picture(name)`` after
    the cell that has drawn it.
    """
    first, exercises = read_section(section)
    variables: Dict[str, Any] = {"__name__": "__main__"}
    cells = [(cell, "") for cell in first]
    for exercise in exercises:
        if exercise.name in names:
            (out / f"{exercise.name}.png").unlink(missing_ok=True)
            cells += [(cell, exercise.name) for cell in exercise.cells]
    for cell, name in cells:
        if cell.cell_type == "markdown":
            print(f"{cell.source}\n", flush=True)
            continue
        before = (out / f"{name}.png").exists()
        exec(compile(cell.source, f"{section}.py: {name}", "exec"), variables)
        print(flush=True)
        if (out / f"{name}.png").exists() and not before:
            print(f"{picture(name)}\n", flush=True)


def write_report(seeds: int, out: Path) -> Path:
    """Run all exercises; write docs/exercises.md and its figures; return the page."""
    page, pictures = ROOT / "docs" / "exercises.md", ROOT / "docs" / "exercises"
    exercises = all_exercises()
    parts = [INTRODUCTION.format(seeds=seeds), list_of(exercises)]
    for section in SECTIONS:
        printed = io.StringIO()
        with redirect_stdout(printed):
            run(
                section, exercises, out, lambda name: f"![{name}](exercises/{name}.png)"
            )
        # On this page, a section is a heading of level two.
        parts.append(re.sub(r"^(#+ )", r"#\1", printed.getvalue(), flags=re.MULTILINE))
    pictures.mkdir(exist_ok=True)
    for name in exercises:
        if (out / f"{name}.png").exists():
            shutil.copyfile(out / f"{name}.png", pictures / f"{name}.png")
    text = "\n\n".join(parts)
    results.write(page, re.sub(r"\n{3,}", "\n\n", text).strip().encode() + b"\n")
    return page
