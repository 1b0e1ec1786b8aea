"""Links of Markdown pages that move from the repository to the site."""

import ast
import os
import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Dict, List, Set, Tuple

ROOT = Path(__file__).parents[2]
_CODE = r"^(?:```|~~~).*?^(?:```|~~~)|`[^`\n]+`"
_LINK = re.compile(rf"({_CODE})|\]\(([^)\s#]*)(#[^)\s]*)?\)", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(rf"({_CODE})|^(#+ )", re.DOTALL | re.MULTILINE)
_ERRATUM = re.compile(
    rf"({_CODE}|\$\$.*?\$\$|\$[^$\n]+\$|^#[^\n]*$|\[[^\]]*\]\([^)]*\))|\b(E\d\d)\b",
    re.DOTALL | re.MULTILINE,
)


def repository() -> str:
    """Return the address of the repository on GitHub, or an empty string.

    It is the ``repository-code`` of CITATION.cff, or else the repository whose workflow
    is running.
    """
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    found = re.search(r"^repository-code: *[\"']?([^\"'\s]+)", text, re.MULTILINE)
    if found:
        return found[1].rstrip("/")
    name = os.environ.get("GITHUB_REPOSITORY")
    return f"{os.environ['GITHUB_SERVER_URL']}/{name}" if name else ""


class Links:
    """Where files of the repository are found on the site.

    `pages` holds the file of the site for each file that is shown as a page or picture.
    All other files are shown in the `repository` on GitHub. Without one, the site needs
    a page with their source: their paths are collected in `sources`.
    """

    def __init__(self, pages: Dict[str, str], repository: str = "") -> None:
        self.pages, self.repository = pages, repository
        self.sources: Set[str] = set()

    def to(self, path: str, page: str) -> str:
        """Return the address of the file `path`, relative to `page`."""
        if path in self.pages:
            return relpath(self.pages[path], dirname(page) or ".")
        return self.source(path, page)

    def source(self, path: str, page: str) -> str:
        """Return the address of the source of the file `path`, relative to `page`.

        Raises ValueError if there is no such file.
        """
        if not (ROOT / path).is_file():
            raise ValueError(f"{page}: there is no file {path} to link to")
        if self.repository:
            return f"{self.repository}/blob/main/{path}"
        self.sources.add(path)
        return relpath(f"source/{path}.md", dirname(page) or ".")

    def rewrite(self, text: str, path: str, page: str) -> str:
        """Return the Markdown `text` of the file `path` with the links of `page`."""

        def new(match: "re.Match[str]") -> str:
            code, target, fragment = match[1], match[2], match[3] or ""
            if code or not target or re.match("[a-z]+:", target):
                return match[0]
            file = normpath(join(dirname(path), target))
            fragment = fragment if file in self.pages else ""
            return f"]({self.to(file, page)}{fragment})"

        return _LINK.sub(new, text)


def link_errata(text: str) -> str:
    """Make each number of an erratum in a Markdown text a link to its entry."""
    return _ERRATUM.sub(
        lambda match: match[1] or f"[{match[2]}](#{match[2].lower()})", text
    )


def with_one_title(text: str) -> str:
    """Lower all headings from the second title (``#``) of a Markdown text on."""
    titles = 0

    def new(match: "re.Match[str]") -> str:
        nonlocal titles
        titles += match[2] == "# "
        return match[1] or "#" * (titles > 1) + match[2]

    return _HEADING.sub(new, text)


def label_errata(text: str) -> str:
    """Put a label before the heading of each entry of errata.md."""
    return re.sub(
        r"^### (E\d\d)\b",
        lambda match: f"({match[1].lower()})=\n{match[0]}",
        text,
        flags=re.MULTILINE,
    )


def lines_of(path: str, name: str) -> Tuple[int, int]:
    """Return the first and the last line of a class or function of a module.

    Raises ValueError if the module has none of that name.
    """
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if getattr(node, "name", None) == name:
            return node.lineno, node.end_lineno
    raise ValueError(f"{path} defines no {name}")


def public_names(path: str) -> List[str]:
    """Return the public classes and functions of a module, in its order."""
    body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    names = [node.name for node in body if hasattr(node, "name")]
    return [name for name in names if not name.startswith("_")]


def source_of(path: str, name: str, page: str, repository: str) -> str:
    """Return a link, as HTML, to the lines that define `name` in a module."""
    first, last = lines_of(path, name)
    address = f"{repository}/blob/main/{path}#L{first}-L{last}"
    if not repository:  # a page of Sphinx's extension viewcode
        module = f"_modules/{path[:-3]}.html#{name}"
        address = relpath(module, dirname(page) or ".")
    return f'<a href="{address}">lines {first}–{last}</a>'
