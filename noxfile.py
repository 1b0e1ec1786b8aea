"""The tests on several Pythons: ``make test-all``, or ``nox --session smoke``.

A Python that is not installed is left out.
"""

from pathlib import Path

import nox

PYTHONS = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]
# Imports, results of MXNet, training steps, compiled loops, the book's interface,
# notebooks.
SMOKE = [
    "tests/test_architecture.py",
    "tests/runtime/test_compat.py",
    "tests/runtime/test_compat_results.py",
    "tests/engine/test_adam.py",
    "tests/engine/test_compiled.py",
    "tests/engine/test_rated.py",
    "tests/engine/test_rated_or_graph.py",
    "tests/engine/test_program.py",
    "tests/book/test_contracts.py",
    "tests/chapters/test_notebooks.py",
]
nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False


def install(session):
    """Make the environment that make makes, from the lock."""
    session.install("--no-deps", "--require-hashes", "-r", "requirements.txt")
    session.install("--no-deps", "--no-build-isolation", "-e", ".")
    (packages,) = Path(session.virtualenv.location).glob("lib/python*/site-packages")
    (packages / "d2l-recsys.pth").write_text("import d2l_recsys\n")


@nox.session(python=PYTHONS)
def tests(session):
    """Run the whole suite."""
    install(session)
    session.run("pytest", *session.posargs)


@nox.session(python=["3.8", "3.12", "3.13"])
def smoke(session):
    """Run the chapter and the tests that tell most about a Python, in five minutes."""
    install(session)
    out = session.create_tmp()
    session.run("python", "-m", "chapters", "--smoke", "--out", out)
    session.run("pytest", *SMOKE, *session.posargs)


@nox.session(python="3.12")
def colab(session):
    """Run README's lines for Colab in a new environment that has what Colab has."""
    session.install("ipykernel", "nbclient", "matplotlib", "pandas<3", "pip")
    session.run("python", "tests/colab.py", *session.posargs)
