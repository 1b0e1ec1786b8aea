"""The one place that imports MXNet: NumPy mode on, a plain word where that fails.

CUDA's libraries are loaded first, where the wheel mxnet-cu112 is installed. What newer
Pythons and NumPys need besides is in :mod:`d2l_recsys.runtime.compat`. Scripts choose
MXNet's engine with :mod:`d2l_recsys.runtime.mxnet_engine`.

Modules take ``autograd``, ``gluon``, ``mx``, ``nn``, ``np`` and ``npx`` from here, the
names under which the book imports them.
"""

import importlib
import os
import sys
import types

from d2l_recsys.runtime import compat, cuda, mxnet_engine


class _Later(types.ModuleType):
    """A module that is imported when something is asked of it."""

    def __getattr__(self, name):
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


# What MXNet imports for a function or two of its own, and scikit-learn, without which
# it does: a script starts half a second earlier.
stand_ins = {
    "sklearn": None,
    "scipy.sparse": _Later("scipy.sparse"),
    "scipy.stats": _Later("scipy.stats"),
    "requests": _Later("requests"),
}
stand_ins = {name: x for name, x in stand_ins.items() if name not in sys.modules}
sys.modules.update(stand_ins)
try:
    missing_libraries = cuda.load()
    import mxnet as mx
    from mxnet import autograd, gluon, np, npx
    from mxnet.gluon import nn
except ModuleNotFoundError as error:
    if error.name != "mxnet":
        raise
    raise ImportError(f"MXNet is not installed: {compat.how_to_install()}") from None
except OSError as error:  # a library is missing
    raise ImportError(
        f"MXNet does not load: {cuda.way_out(missing_libraries) or error}"
    ) from None
finally:
    for name, stand_in in stand_ins.items():
        if name in sys.modules and sys.modules[name] is stand_in:
            del sys.modules[name]

mxnet_engine.start(mx)
npx.set_np()
# Otherwise MXNet prints a line for each graph that is bound to arrays.
os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")

__all__ = ["autograd", "gluon", "mx", "nn", "np", "npx"]
