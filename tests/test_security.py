"""Nothing that is read can run code: told from the syntax trees."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = [ROOT / "d2l_recsys", ROOT / "chapters"]
FILES = [path for folder in FOLDERS for path in sorted(folder.rglob("*.py"))]
UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve"}
UNPICKLERS |= {"marshal"}
# MXNet's trainers unpickle the states of their optimizer.
CALLS = {"eval", "exec", "compile", "__import__", "system", "popen", "read_pickle"}
CALLS |= {"load_states", "load_optimizer_states", "set_states"}
NUMPYS = {"np", "numpy", "onp"}


def dangers(code):
    """Return what is forbidden in `code`, with line numbers."""
    found = []
    for node in ast.walk(ast.parse(code)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            # from os import system: the name has to be caught where it comes in.
            found += [(node.lineno, a.name) for a in node.names if a.name in CALLS]
        found += [(node.lineno, n) for n in names if n.split(".")[0] in UNPICKLERS]
        # A name is enough, for it could be called by another.
        if isinstance(node, ast.Name) and node.id in CALLS:
            found.append((node.lineno, node.id))
        elif isinstance(node, ast.Attribute) and node.attr in CALLS:
            of_re = isinstance(node.value, ast.Name) and node.value.id == "re"
            if not (of_re and node.attr == "compile"):
                found.append((node.lineno, node.attr))
        elif isinstance(node, ast.keyword) and node.arg in ("shell", "allow_pickle"):
            if not (isinstance(node.value, ast.Constant) and node.value.value is False):
                found.append((node.value.lineno, node.arg))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            # np.load(file, mode, allow_pickle): by place it goes without its name.
            numpys = isinstance(node.func.value, ast.Name)
            numpys = numpys and node.func.value.id in NUMPYS
            if node.func.attr == "load" and numpys and len(node.args) > 2:
                found.append((node.lineno, "allow_pickle"))
    return found


# What runs code of this repository: the cells of chapters/exercises.
RUNS_OUR_CODE = {"exercise_pages.py": ["exec", "compile"]}


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_nothing_runs_what_it_reads(path):
    found = [name for _, name in dangers(path.read_text(encoding="utf-8"))]
    assert found == RUNS_OUR_CODE.get(path.name, [])


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "import os, pickle as p",
        "from _pickle import loads",
        "def f():\n    import dill",
        "import joblib.numpy_pickle",
        "eval('1')",
        "e = exec",
        "compile('1', '', 'eval')",
        "import builtins; builtins.exec('1')",
        "__import__('pickle')",
        "os.system('ls')",
        "from os import system as s",
        "os.popen('ls')",
        "subprocess.run('ls', shell=True)",
        "subprocess.Popen('ls', shell=yes)",
        "np.load(file, allow_pickle=True)",
        "numpy.load(file, None, True)",
        "pd.read_pickle(file)",
        "trainer.load_states(path)",
        "store.load_optimizer_states(path)",
        "updater.set_states(states)",
    ],
)
def test_dangers_are_seen(code):
    assert len(dangers(code)) == 1


@pytest.mark.parametrize(
    "code",
    [
        "import runpy; runpy.run_module('chapters.mf')",
        "numpy.load(file, allow_pickle=False)",
        "numpy.load(file)",
        "re.compile('a')",
        "subprocess.run(['ls'], shell=False)",
        "net.load_parameters(path)",
    ],
)
def test_the_harmless_is_not(code):
    assert dangers(code) == []
