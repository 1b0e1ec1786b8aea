"""Measure times, memory and metrics, and compare with the book and with PyTorch."""

import sys

from d2l_recsys.runtime import mxnet_engine

if sys.argv[:1] == ["-m"]:  # run as a script, whose engine it shall have
    mxnet_engine.choose()
