"""Measure times, memory and metrics, and compare with the book and with PyTorch."""

import sys

from d2l_recsys.runtime import mxnet_engine

if sys.argv[:1] == ["-m"]:  # a benchmark is being run: use the engine of the scripts
    mxnet_engine.choose()
