"""Run commands in turn, in new processes, so that a busy machine slows all of them.

``python -m benchmarks.processes PART`` prints the rows of a part as JSON.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

from benchmarks import ENVIRONMENT

ROOT = Path(__file__).parent.parent
TORCH = "D2L_RECSYS_TORCH"  # the Python with PyTorch, set by --torch


def rows_of(part, threads, torch):
    """Run a part with a number of threads (None: the default); return its rows."""
    environment = {
        k: v for k, v in ENVIRONMENT.items() if not k.endswith("_NUM_THREADS")
    }
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    if torch:
        environment[TORCH] = torch
    command = [sys.executable, "-m", "benchmarks.processes", part]
    run = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if run.returncode:
        sys.exit(f"{part} failed: its error is above")
    return [json.loads(line) for line in run.stdout.splitlines()]


def alternately(commands, repeat=3):
    """Run commands in turn, `repeat` times; return the fastest result of each.

    `commands` is {name: words}. A result is the JSON in the last line that the command
    prints. Without "seconds" in it, the time from start to exit counts.
    """
    results = {name: [] for name in commands}
    for _ in range(repeat):
        for name, words in commands.items():
            results[name].append(_run(words))
    return {name: min(r, key=lambda x: x["seconds"]) for name, r in results.items()}


def _run(words):
    start = time.perf_counter()
    run = subprocess.run(
        words, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT, env=ENVIRONMENT
    )
    seconds = time.perf_counter() - start
    last = (run.stdout.strip().splitlines() or [""])[-1]
    return {"seconds": seconds, **(json.loads(last) if last[:1] == "{" else {})}


@contextlib.contextmanager
def one_core():
    """Keep new processes on one core if they are to have one thread.

    Most engines of MXNet have threads besides Python's, whatever OMP_NUM_THREADS says.
    """
    if os.environ.get("OMP_NUM_THREADS") != "1" or sys.platform != "linux":
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


if __name__ == "__main__":
    for row in import_module(f"benchmarks.{sys.argv[1]}").rows():
        print(json.dumps(row), flush=True)
