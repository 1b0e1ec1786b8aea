"""The house plan, read off the syntax trees: who may import whom, and nothing else."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from d2l_recsys.runtime import compat

ROOT = Path(__file__).parent.parent
SECTIONS = ["movielens", "mf", "autorec", "ranking", "neumf", "seqrec"]
SECTIONS += ["ctr", "fm", "deepfm"]
# What a module in each place may import from the package, besides its own folder.
FLAT = {"__init__", "__main__", "d2l", *SECTIONS}
BELOW = {
    "data": (),
    "runtime": (),
    "engine": ("data", "runtime"),
    "sections": ("data", "runtime", "engine"),
    "tools": ("data", "runtime", "engine"),
}
# The imports between sections that the plan allows.
BACKWARDS = {("autorec", "mf"), ("seqrec", "neumf"), ("deepfm", "fm")}
# What works without MXNet: to tell why MXNet doesn't, or to start what will import it.
WITHOUT_MXNET = {
    "runtime.compat",
    "runtime.cuda",
    "tools.command_line",
    "tools.doctor",
    "tools.launch",
}


def dotted(path, folder):
    """Return the name of a module, from its folder on: ``engine.loop``."""
    parts = path.relative_to(folder).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)


PACKAGE = ROOT / "d2l_recsys"
MODULES = {dotted(p, PACKAGE): ast.parse(p.read_text()) for p in PACKAGE.rglob("*.py")}
FILES = [
    path
    for folder in ("d2l_recsys", "chapters", "tests", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def imports(tree):
    """Return the dotted names that a module imports, inside functions too."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_imports(tree):
    """Return the modules of the package that a module imports, without folders."""
    names = {n.partition(".")[2] for n in imports(tree) if n.startswith("d2l_recsys.")}
    return {name for name in names if name in MODULES and name not in BELOW}


def place(module):
    """Return the folder of a module; ``sections`` for those that lie flat."""
    return module.split(".")[0] if "." in module else "sections"


def test_every_module_has_a_place_in_the_plan():
    places = {place(module) for module in MODULES if module not in BELOW}
    assert places == {*BELOW}
    flat = {m for m in MODULES if "." not in m and m not in BELOW}
    assert flat == FLAT


def strays(module):
    """Return what `module` imports that the plan does not allow."""
    found, floor = own_imports(MODULES[module]), place(module)
    allowed = {n for n in found if place(n) in BELOW[floor]}
    if floor == "sections":
        allowed |= {into for who, into in BACKWARDS if who == module}
    else:
        allowed |= {n for n in found if place(n) == floor}
    return found - allowed


@pytest.mark.parametrize("module", sorted({*MODULES} - {"__init__", "__main__", "d2l"}))
def test_imports_point_down(module):
    assert strays(module) == set()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_what_needs_no_mxnet_does_not_import_it(module):
    if place(module) != "data" and module not in WITHOUT_MXNET:
        return
    reached, due = set(), [module]
    while due:
        name = due.pop()
        if name not in reached:
            reached.add(name)
            due += own_imports(MODULES[name])
    roots = {n.split(".")[0] for name in reached for n in imports(MODULES[name])}
    assert not roots & {"mxnet", "d2l"}


def test_pictures_and_command_lines_are_in_tools():
    for module, tree in MODULES.items():
        if place(module) == "tools" or module in ("d2l", "__main__"):
            continue
        assert not any(n.startswith("tools.") for n in own_imports(tree)), module
        assert not any(n.split(".")[0] == "matplotlib" for n in imports(tree)), module
        assert "argparse" not in imports(tree), module


@pytest.mark.parametrize("module", sorted({*MODULES} - {"runtime.backend"}))
def test_mxnet_comes_through_the_backend(module):
    assert not any(n.split(".")[0] == "mxnet" for n in imports(MODULES[module]))


def attribute(node):
    """Return the parts of ``a.b.c``; [] where it is an attribute of no name."""
    if isinstance(node, ast.Name):
        return [node.id]
    if not isinstance(node, ast.Attribute):
        return []
    before = attribute(node.value)
    return before and [*before, node.attr]


def global_draws(tree):
    """Return the uses of the global random state of Python and NumPy."""
    own = {"default_rng", "Generator", "PCG64", "SFC64", "SeedSequence"}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            parts = attribute(node)
            numpys = parts[:2] in (["numpy", "random"], ["np", "random"])
            if (numpys and len(parts) == 3 and parts[2] not in own) or (
                parts[:1] == ["random"] and len(parts) == 2
            ):
                found.append(".".join(parts))
    return found


@pytest.mark.parametrize("module", sorted({*MODULES} - {"runtime.devices"}))
def test_no_global_random_state(module):
    assert global_draws(MODULES[module]) == []


def test_only_seed_everything_touches_it():
    assert global_draws(MODULES["runtime.devices"]) == [
        "numpy.random.seed",
        "random.seed",
    ]


def test_global_draws_are_seen():
    code = "import random, numpy\nrandom.random()\nnumpy.random.rand(3)\n"
    assert global_draws(ast.parse(code)) == ["random.random", "numpy.random.rand"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    if "tests" not in path.parts:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                size = node.end_lineno - node.lineno + 1
                docstring = ast.get_docstring(node) or ""
                assert size - len(docstring.splitlines()) <= 50, node.name


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=environment or None,
    )


def test_importing_the_package_loads_next_to_nothing():
    code = (
        "import sys; import d2l_recsys;"
        "print([m for m in ('mxnet', 'pandas', 'numpy') if m in sys.modules])"
    )
    assert run(code).stdout.strip() == "[]"


def test_importing_touches_no_seed_logging_or_file():
    code = """
import logging, os, random, sys
from d2l_recsys.runtime import cuda
cuda.load()
import mxnet, numpy
mxnet.npx.set_np()  # logs, and by that gives the root logger a handler
before = random.getstate(), numpy.random.get_state()[1].tolist()
handlers = list(logging.root.handlers), logging.root.level
os.environ["XDG_CACHE_HOME"] = "/nonexistent"
for name in %r:
    __import__(f"d2l_recsys.{name}")
assert before == (random.getstate(), numpy.random.get_state()[1].tolist())
assert handlers == (list(logging.root.handlers), logging.root.level)
assert "matplotlib.pyplot" not in sys.modules, "pyplot"
assert "requests" not in sys.modules or "pooch" not in sys.modules, "pooch"
"""
    # The drop-in loads d2l itself, whose imports are d2l's own.
    result = run(code % sorted({*MODULES} - {"d2l", "__main__"}))
    assert (result.stdout, result.stderr) == ("", "")


def test_what_mxnet_need_not_import_is_there_when_it_is_used():
    code = """
import sys
from d2l_recsys.runtime.backend import mx
names = "sklearn", "scipy.sparse", "scipy.stats", "requests"
late = [name for name in names if name in sys.modules]
assert not late, late
assert mx.nd.sparse.zeros("csr", (2, 3)).asscipy().shape == (2, 3)
assert abs(mx.test_utils.ss.norm.cdf(0) - 0.5) < 1e-9
assert mx.contrib.quantization.stats.norm
assert mx.gluon.utils.requests.get
import requests, scipy.sparse, scipy.stats, sklearn.base
assert mx.gluon.utils.requests.get is requests.get
"""
    assert run(code).stderr == ""


def test_the_names_of_the_book_can_be_imported_from_the_package():
    import d2l_recsys

    for name in d2l_recsys.__all__:
        assert getattr(d2l_recsys, name).__name__ == name
        assert name in dir(d2l_recsys)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = d2l_recsys.Nothing


def test_without_mxnet_one_line_says_which_extra_to_install():
    code = "import sys; sys.modules['mxnet'] = None; import d2l_recsys.mf"
    last = run(code).stderr.strip().splitlines()[-1]
    assert last == f"ImportError: MXNet is not installed: {compat.how_to_install()}"
    if sys.version_info < (3, 13):
        assert "pip install 'd2l-recsys[cpu]', or 'd2l-recsys[cu112]' on " in last
    else:  # pip refuses MXNet with the NumPys that there are
        assert "pip install --no-deps mxnet==1.9.1, or " in last


def test_the_stand_ins_harm_nobody_who_meets_them():
    code = """
import sys, threading, time
def other():
    while 'requests' not in sys.modules:
        time.sleep(0.001)
    [getattr(module, '__file__', None) for module in list(sys.modules.values())]
    from requests.adapters import HTTPAdapter
thread = threading.Thread(target=other)
thread.start()
import d2l_recsys.runtime.backend
thread.join()
"""
    assert run(code).stderr == ""
