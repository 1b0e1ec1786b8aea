"""Run Python code as a script of the book does, or as another program."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = "import sys; sys.argv = ['-m']; import chapters\n"  # as python -m does
CHOSEN = {  # by scripts, unless they are set
    "GOMP_SPINCOUNT",
    "MXNET_ENGINE_TYPE",
    "MXNET_OMP_MAX_THREADS",
    "MXNET_USE_OPERATOR_TUNING",
}


def run(code, **environment):
    """Run code in a new process, by default with one thread."""
    known = {k: v for k, v in os.environ.items() if k not in CHOSEN}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**known, "OMP_NUM_THREADS": "1", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
