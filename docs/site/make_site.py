"""Build the site: ``make site``. It is written to ``site/`` and needs no server.

The scripts are executed as notebooks, which are kept in ``.site/notebooks``. The
sources of the pages are written to ``.site/src``. Sphinx builds the pages from them.
"""

import re
import shutil
import sys
from pathlib import Path
from typing import Dict, List

import nbformat
from check_links import faults
from links import ROOT, Links, label_errata, link_errata, repository, with_one_title
from notebook_cache import executed
from section_pages import front_table, published, section_page, title_of

from chapters.__main__ import SECTIONS

WORK, SITE = ROOT / ".site", ROOT / "site"
FOLDERS = ["data", "engine", "runtime", "tools"]  # of the package
SOURCE = """\
---
orphan: true
nosearch: true
---

# {path}

```{{literalinclude}} {up}{path}
:linenos:
```
"""


def pages() -> Dict[str, str]:
    """Return the files that are pages or pictures, and their names on the site."""
    found = {
        "README.md": "index.md",
        "CHANGELOG.md": "changelog.md",
        "CONTRIBUTING.md": "contributing.md",
        "docs/site/overview.md": "sections/overview.md",
    }
    docs = ROOT / "docs"
    for path in sorted([*docs.glob("*.md"), *docs.glob("*.png")]):
        found[f"docs/{path.name}"] = path.name
    for path in sorted(docs.glob("exercises/*.png")):
        found[f"docs/exercises/{path.name}"] = f"exercises/{path.name}"
    found.update({f"chapters/{s}.py": f"sections/{s}.ipynb" for s in SECTIONS})
    if "docs/exercises.md" in found:
        programs = (ROOT / "chapters/exercises").glob("[!_]*.py")
        found.update({f"chapters/exercises/{p.name}": "exercises.md" for p in programs})
    return found


def text_page(path: str, links: Links) -> str:
    """Return a page of the repository with the links of the site."""
    text = (ROOT / path).read_text(encoding="utf-8")
    text = links.rewrite(text, path, links.pages[path].rpartition(".")[0])
    if path == "README.md":
        text = front_page(text, links)
    if path == "docs/errata.md":
        text = label_errata(text)
    return link_errata(with_one_title(text))


def front_page(readme: str, links: Links) -> str:
    """Return the README up to its first section, the table, and the contents."""
    first = readme.split("\n## ")[0].strip()
    # Links to later sections of the README lead nowhere here.
    first = re.sub(r" · \[[^\]]*\]\(#[^)]*\)", "", first)
    docs = [links.pages[p][:-3] for p in links.pages if re.match(r"docs/\w.*\.md", p)]
    docs = [d for d in docs if "/" not in d]
    order = ["exercises", "errata", "results", "your-own-data", "data"]
    docs.sort(key=lambda d: (order.index(d) if d in order else len(order), d))
    sections = [".1 Overview <sections/overview>"]
    for number, slug in enumerate(SECTIONS, 2):
        sections.append(f".{number} {title_of(slug)} <sections/{slug}>")
    parts = [first, "## The sections", front_table(links)]
    for caption, names in (
        ("Sections", sections),
        ("Pages", docs),
        ("Reference", ["api/index", "changelog", "contributing"]),
    ):
        lines = ["```{toctree}", ":hidden:", f":caption: {caption}", "", *names, "```"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def api_pages() -> Dict[str, str]:
    """Return the pages of the reference: one per section, one per folder."""
    found, names = {}, [*SECTIONS, "d2l", *FOLDERS]
    for name in names:
        folder = ROOT / "d2l_recsys" / name
        modules = [f"{name}.{p.stem}" for p in sorted(folder.glob("[!_]*.py"))]
        lines = [f"# d2l_recsys.{name}", ""]
        for module in [name, *modules]:
            if module != name:
                lines += [f"## {module}", ""]
            lines += ["```{eval-rst}", f".. automodule:: d2l_recsys.{module}"]
            lines += ["   :members:", "```", ""]
        found[f"api/{name}.md"] = "\n".join(lines)
    toctree = "\n".join(["```{toctree}", "", *names, "```"])
    start = (
        "# Reference\n\nA module per section of the book, the book's namespace `d2l`, "
        "and four folders\nwith the machinery.\n\n"
    )
    return {**found, "api/index.md": f"{start}{toctree}\n"}


def write_sources(options: List[str]) -> None:
    """Execute the scripts; write the notebooks and the sources of all pages."""
    links = Links(pages(), repository())
    texts = api_pages()
    notebooks = WORK / "extra" / "notebooks"
    notebooks.mkdir(parents=True, exist_ok=True)
    for slug in SECTIONS:
        notebook, record = executed(slug, WORK / "notebooks", *options)
        page = section_page(slug, notebook, record, links)
        texts[f"sections/{slug}.ipynb"] = nbformat.writes(page)
        text = published(slug, notebook, links.repository)
        (notebooks / f"{slug}.ipynb").write_text(text, encoding="utf-8")
    for path, name in links.pages.items():
        if path.endswith(".md"):
            texts[name] = text_page(path, links)
    for path in links.sources:
        up = "../" * (path.count("/") + 3)
        texts[f"source/{path}.md"] = SOURCE.format(path=path, up=up)
    source = WORK / "src"
    shutil.rmtree(source, ignore_errors=True)
    for name, text in texts.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text, encoding="utf-8")
    for path, name in links.pages.items():
        if path.endswith(".png"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, source / name)


def main() -> int:
    """Build the site; return the exit code. The arguments are those of the scripts."""
    from sphinx.cmd.build import main as sphinx  # the tests do without

    write_sources(sys.argv[1:])
    html, doctrees = WORK / "html", WORK / "doctrees"
    for folder in (html, doctrees):
        shutil.rmtree(folder, ignore_errors=True)
    options = ["-W", "--keep-going", "-q", "-c", str(Path(__file__).parent)]
    if sphinx([*options, "-d", str(doctrees), str(WORK / "src"), str(html)]):
        return 1
    found = faults(html)
    if found:
        print(*found, sep="\n", file=sys.stderr)
        return 1
    shutil.rmtree(SITE, ignore_errors=True)
    html.rename(SITE)
    print("The site is in site/. Open site/index.html.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
