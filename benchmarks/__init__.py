"""Measure times, memory and metrics, and compare with the book and with PyTorch."""

import os
import sys

from d2l_recsys.runtime import mxnet_engine

# For new processes: PyTorch would heed some variables that our scripts choose.
ENVIRONMENT = {**os.environ}

if sys.argv[:1] == ["-m"]:  # a benchmark is being run: use the engine of the scripts
    mxnet_engine.choose()
