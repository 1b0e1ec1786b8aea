"""Throughput of one device, two devices and two workers.

``python -m benchmarks.devices`` prints the table in docs/results.md. Each figure is the
median over epochs of the examples per second that a script reports.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy

SECTIONS = ["mf", "autorec", "neumf", "seqrec", "fm", "deepfm"]
LAUNCH = ["d2l_recsys", "launch", "-n", "2", "-s", "1", "--", sys.executable, "-m"]
WAYS = {
    "one device": ([], ["--devices", "cpu"]),
    "two devices": ([], ["--devices", "cpu:2"]),
    "two workers": (LAUNCH, ["--kvstore", "dist_sync"]),
}


def throughput(slug, launcher, options):
    """Return the examples per second of one run of a script."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", *launcher, f"chapters.{slug}", *options]
        subprocess.run([*command, "--out", out], check=True, stdout=subprocess.DEVNULL)
        record = json.loads((Path(out) / f"{slug}.json").read_text(encoding="utf-8"))
    return numpy.median([epoch["examples_per_sec"] for epoch in record["history"]])


def main():
    """Print a row for each section."""
    argparse.ArgumentParser(
        "python -m benchmarks.devices", description=__doc__
    ).parse_args()
    print(f"| examples per second | {' | '.join(WAYS)} |\n|:--|{'--:|' * len(WAYS)}")
    for slug in SECTIONS:
        cells = [f"{throughput(slug, *way):,.0f}" for way in WAYS.values()]
        print(f"| {slug} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
