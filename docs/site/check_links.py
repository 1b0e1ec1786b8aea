"""Check that links of the site lead somewhere, and that it loads nothing else."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Dict, List, Set, Tuple
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page and what it links to or loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: Set[str] = set()
        self.links: List[Tuple[str, bool]] = []  # address, whether it is loaded
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        """Note anchors and addresses."""
        found = dict(attrs)
        self.anchors.update({found.get("id") or "", found.get("name") or ""})
        if found.get("src"):
            self.links.append((found["src"], True))
        if found.get("href"):
            self.links.append((found["href"], tag == "link"))


def faults(site: Path) -> List[str]:
    """Return a line for each broken link, and for each file loaded from elsewhere."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    return [
        f"{path.relative_to(site)}: {fault} {address}"
        for path, page in pages.items()
        for address, loaded in page.links
        for fault in [_fault(path, address, loaded, pages)]
        if fault
    ]


def _fault(path: Path, address: str, loaded: bool, pages: Dict[Path, Page]) -> str:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return "loads" if loaded and parts.scheme != "data" else ""
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file():
        return "no such file:"
    if parts.fragment and target in pages:
        known = pages[target].anchors
        return "" if unquote(parts.fragment) in known else "no such anchor:"
    return ""
