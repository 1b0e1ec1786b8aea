"""Sphinx settings for the site. make_site.py writes the sources."""

import importlib.util
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from links import lines_of, repository

import d2l_recsys

project = "d2l-recsys"
version = release = d2l_recsys.__version__
author = copyright = "The d2l-recsys authors"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
# Source lines are shown on GitHub, or else on pages of the site.
extensions.append("sphinx.ext.linkcode" if repository() else "sphinx.ext.viewcode")
viewcode_follow_imported_members = False
exclude_patterns = ["notebooks"]

nb_execution_mode = "off"  # executed by notebook_cache.py
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

default_role = "literal"
autodoc_member_order = "bysource"
maximum_signature_line_length = 60
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!(d2l_recsys|chapters)\.).*")]

html_theme = "furo"
html_title = "d2l-recsys"
html_search_scorer = str(Path(__file__).with_name("search.js"))
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_extra_path = ["../../.site/extra"]
# Without a server, the search can't fetch the pages that it finds.
html_show_search_summary = False
# One file, with fonts in it: no request to another server.
mathjax = importlib.util.find_spec("sphinx-mathjax-offline")
html_static_path.append(f"{mathjax.submodule_search_locations[0]}/static/mathjax")
html_static_path[-1] += "/tex-svg-full.js"
mathjax_path = "tex-svg-full.js"


def linkcode_resolve(domain, info):
    """Return the address of a class or function on GitHub."""
    path = info["module"].replace(".", "/") + ".py"
    try:
        first, last = lines_of(path, info["fullname"].split(".")[0])
    except (ValueError, FileNotFoundError):
        return None
    return f"{repository()}/blob/main/{path}#L{first}-L{last}"


def link_errata(app, what, name, obj, options, lines):
    """Make each number of an erratum in a docstring a link to its entry."""
    lines[:] = [re.sub(r"\bE(\d\d)\b", r":ref:`E\1 <e\1>`", line) for line in lines]


def name_defaults(app, what, name, obj, options, signature, returns):
    """Write defaults that are functions as names, as Sphinx needs to break lines."""
    if not signature:
        return None
    return re.sub(r"<function ([\w.]+)[^>]*>", r"\1", signature), returns


def skip_foreign(app, what, name, obj, skip, options):
    """Leave out what wraps a function of another package and has its docstring."""
    module = getattr(obj, "__module__", None) or "d2l_recsys"
    return None if str(module).startswith("d2l_recsys") else True


def find_home(app, env, node, text):
    """Resolve a name of the package, such as d2l_recsys.MF, in its module."""
    package, _, name = node["reftarget"].rpartition(".")
    home = d2l_recsys._HOME_OF.get(name)
    if package != "d2l_recsys" or not home:
        return None
    full, python = f"d2l_recsys.{home}.{name}", env.get_domain("py")
    page = node["refdoc"]
    return python.resolve_xref(env, page, app.builder, "obj", full, node, text)


def setup(app):
    """Register what changes docstrings and signatures."""
    app.connect("autodoc-process-docstring", link_errata)
    app.connect("autodoc-process-signature", name_defaults)
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("missing-reference", find_home)
