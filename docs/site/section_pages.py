"""The pages of the sections: executed scripts with formulas, code and boxes."""

import re
from copy import deepcopy
from typing import Dict, List

import nbformat
from boxes import data_box, edition_box, figures_box
from links import ROOT, Links, link_errata, public_names, source_of
from notebook_cache import Record
from section_facts import FACTS

from chapters.__main__ import SECTIONS
from chapters.runner.exercise_pages import read_section

COLAB = "https://colab.research.google.com/github"
SETUP = """\
%pip install -q git+{repository}
%pip install -q --no-deps mxnet==1.9.1 d2l==1.0.3"""


def formulas() -> Dict[str, str]:
    """Return the text of formulas.md by section."""
    text = (ROOT / "docs/site/formulas.md").read_text(encoding="utf-8")
    _, *parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return {slug: part.strip() for slug, part in zip(parts[::2], parts[1::2])}


def title_of(slug: str) -> str:
    """Return the heading of a script."""
    text = (ROOT / f"chapters/{slug}.py").read_text(encoding="utf-8")
    found = re.search(r"^# # (.+)$", text, re.MULTILINE)
    if not found:
        raise ValueError(f"chapters/{slug}.py has no heading")
    return found[1]


def section_page(
    slug: str, notebook: nbformat.NotebookNode, record: Record, links: Links
) -> nbformat.NotebookNode:
    """Return the page of a section, a notebook whose text is MyST Markdown."""
    page = deepcopy(notebook)
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.source = link_errata(cell.source)
    number = SECTIONS.index(slug) + 2
    before = [data_box(record), links_line(slug, links), edition_box(slug, number)]
    page.cells[1:1] = _cells("before", [*before, model(slug, links)])
    after = [figures_box(slug, record, notebook), exercises(slug, links)]
    page.cells += _cells("after", after)
    return page


def links_line(slug: str, links: Links) -> str:
    """Return the line with links to module, script, tests, reference and notebook."""
    page = f"sections/{slug}"
    tests = f"tests/sections/test_{slug}.py"
    parts = [
        f"[module]({links.source(f'd2l_recsys/{slug}.py', page)})",
        f"[script]({links.source(f'chapters/{slug}.py', page)})",
        f"[tests]({links.source(tests, page)})",
        f"[reference](../api/{slug}.md)",
        f'<a href="../notebooks/{slug}.ipynb" download>executed notebook</a>',
    ]
    if links.repository:
        name = links.repository.split("/", 3)[3]
        parts.append(f"[Open in Colab]({COLAB}/{name}/blob/notebooks/{slug}.ipynb)")
    return " · ".join(parts)


def model(slug: str, links: Links) -> str:
    """Return formula, code and public names of a section."""
    path, facts = f"d2l_recsys/{slug}.py", FACTS[slug]
    title = "Formula and Code" if facts.shown else "Formula"
    formula = links.rewrite(
        formulas()[slug], "docs/site/formulas.md", f"sections/{slug}"
    )
    lines = [f"## {title}", "", link_errata(formula), ""]
    for name in facts.shown:
        lines += [f"```{{literalinclude}} ../../../{path}", f":pyobject: {name}"]
        lines += [":language: python", "```", ""]
    lines += ["| name | source |", "|:--|:--|"]
    for name in public_names(path):
        source = source_of(path, name, f"sections/{slug}", links.repository)
        lines.append(f"| {{py:obj}}`{name} <d2l_recsys.{slug}.{name}>` | {source} |")
    return "\n".join(lines)


def exercises(slug: str, links: Links) -> str:
    """Return the list of the section's worked exercises, or nothing."""
    path = f"chapters/exercises/{slug}.py"
    names = [x.name for x in read_section(slug)[1]] if (ROOT / path).exists() else []
    if not names:
        return ""
    page = links.to(path, f"sections/{slug}") if path in links.pages else ""
    items = [f"- [{name}]({page}#{name})" if page else f"- {name}" for name in names]
    source = links.source(path, f"sections/{slug}")
    lines = ["## Worked Exercises", "", f"[This notebook]({source}) answers:", ""]
    return "\n".join([*lines, *items])


def published(slug: str, notebook: nbformat.NotebookNode, repository: str) -> str:
    """Return the executed notebook as text; on GitHub, with an install cell."""
    page = deepcopy(notebook)
    page.metadata.pop("made_from", None)
    if repository:
        code = nbformat.v4.new_code_cell(SETUP.format(repository=repository))
        code.id = "setup"
        page.cells.insert(0, code)
    return nbformat.writes(page)


def front_table(links: Links) -> str:
    """Return the table of the front page: book section, module, script, test."""
    lines = ["| book section | here |", "|:--|:--|"]
    lines.append("| [.1 Overview](sections/overview.md) | concepts and sections |")
    for number, slug in enumerate(SECTIONS, 2):
        files = [
            ("module", f"d2l_recsys/{slug}.py"),
            ("script", f"chapters/{slug}.py"),
            ("test", f"tests/sections/test_{slug}.py"),
        ]
        here: List[str] = [f"[{n}]({links.source(f, 'index')})" for n, f in files]
        page = f"[.{number} {title_of(slug)}](sections/{slug}.ipynb)"
        lines.append(f"| {page} | `{slug}`: {' · '.join(here)} |")
    return "\n".join(lines)


def _cells(name: str, texts: List[str]) -> List[nbformat.NotebookNode]:
    """Return cells of Markdown, without the empty ones, with ids that do not change."""
    return [
        nbformat.v4.new_markdown_cell(text, id=f"{name}-{i}")
        for i, text in enumerate(texts)
        if text
    ]
