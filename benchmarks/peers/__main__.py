"""Train a section in PyTorch: ``python -m benchmarks.peers SECTION FOLDER``.

FOLDER has the files of ml-100k, or train.csv and test.csv of the CTR data, or
clicks.npz, on whose rows FM and DeepFM train for an epoch. This prints the seconds of
training with its evaluations, and the last test metrics, as JSON.
"""

import json
import os
import sys
import time

import benchmarks

os.environ.clear()  # of what our scripts choose
os.environ.update(benchmarks.ENVIRONMENT)

import torch

from benchmarks.peers import clicks, rankings, ratings

TRAININGS = {
    "mf": ratings.mf,
    "autorec": ratings.autorec,
    "neumf": rankings.neumf,
    "seqrec": rankings.seqrec,
    "fm": clicks.fm,
    "deepfm": clicks.deepfm,
}

if __name__ == "__main__":
    section, folder = sys.argv[1:]
    torch.manual_seed(0)
    train = TRAININGS[section](folder)
    start = time.perf_counter()
    metrics = train()
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "metrics": metrics}))
