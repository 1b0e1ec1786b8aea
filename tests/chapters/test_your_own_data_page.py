"""The examples of docs/your-own-data.md run as they are printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "your-own-data.md").read_text(encoding="utf-8")


def blocks(section, language):
    """Return the blocks of a section, which starts with this word."""
    (text,) = re.findall(rf"\n## {section}.*?(?=\n## |\Z)", PAGE, re.DOTALL)
    return "".join(re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL))


def run(command, folder):
    python = folder / "python"
    if not python.exists():
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize(
    ("section", "lines"),
    [
        (
            "Ratings",
            [
                "10 ratings on a scale from 2 to 10, at least 5, 4 users, 4 items",
                "last items of user ann:",
                "rank ",
                "12 ratings on a scale from 1 to 10, 4 users, 5 items",
                "predicted rating of user dan for item 978-4: ",
            ],
        ),
        (
            "Clicks",
            ["10 training rows, 2 test rows: a random sixth", "probability"],
        ),
    ],
)
def test_commands(section, lines, tmp_path):
    printed = run(["bash", "-ec", blocks(section, "bash")], tmp_path)
    for line in lines:
        assert f"\n{line}" in printed


def test_code(tmp_path):
    code = blocks("In code", "python")
    told = [line[2:] for line in code.splitlines() if line.startswith("# ")]
    assert run([sys.executable, "-c", code], tmp_path).splitlines() == told
