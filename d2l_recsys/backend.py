"""The one place that imports MXNet: NumPy mode on, a plain word where that fails.

CUDA's libraries are loaded first, where the wheel mxnet-cu112 is installed.

Modules take ``autograd``, ``gluon``, ``mx``, ``nn``, ``np`` and ``npx`` from here, the
names under which the book imports them.
"""

import sys

from d2l_recsys import cuda

# MXNet imports scikit-learn for a base class of something that it gave up in 2016. It
# does without where there is none, and a script starts a quarter of a second earlier.
sklearn_hidden = "sklearn" not in sys.modules
if sklearn_hidden:
    sys.modules["sklearn"] = None
try:
    missing_libraries = cuda.load()
    import mxnet as mx
    from mxnet import autograd, gluon, np, npx
    from mxnet.gluon import nn
except ModuleNotFoundError as error:
    if error.name != "mxnet":
        raise
    raise ImportError(
        "MXNet is not installed: pip install 'd2l-recsys[cpu]', or "
        "'d2l-recsys[cu112]' on a machine with an NVIDIA GPU"
    ) from None
except OSError as error:  # a library is missing
    raise ImportError(
        f"MXNet does not load: {cuda.way_out(missing_libraries) or error}"
    ) from None
except AttributeError as error:  # NumPy 1.24 dropped names that MXNet 1.9.1 uses
    raise ImportError(
        "MXNet 1.9.1 does not import with this NumPy "
        f"({str(error).splitlines()[0]}): pip install 'numpy==1.23.5'"
    ) from error
finally:
    if sklearn_hidden:
        del sys.modules["sklearn"]

npx.set_np()

__all__ = ["autograd", "gluon", "mx", "nn", "np", "npx"]
