"""MXNet 1.9.1 on Python 3.8 to 3.13 and NumPy 1.23 to 2.x.

It is enough to import this module, or the package, before ``mxnet``::

    import d2l_recsys.runtime.compat
    from mxnet import np, npx

This imports neither MXNet nor NumPy. It waits for ``import mxnet``, and then provides
what newer releases of Python and NumPy lack. MXNet's files stay as they are, and so
does everything that Python and NumPy still have.

MXNet's own operators give the results that they give with NumPy 1.23. What MXNet leaves
to NumPy follows the NumPy that is installed: NumPy 2 gives some results another dtype
(``float32 // numpy.int64`` is float64) and refuses numbers out of a dtype's range.
"""

import re
import sys
import warnings
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any, Dict, Iterator, List, Optional

_OLDEST_PYTHON, _NEWEST_PYTHON = (3, 8), (3, 13)
_UNTRIED_NUMPY = "2.6"  # may work; 3.0 is refused
# d2l's metadata ask for releases that have no wheels for Python 3.12.
HOW_TO_ADD_D2L = (
    "the book's package d2l is needed: pip install ipython, then "
    "pip install --no-deps d2l==1.0.3"
)


def fault_of_python() -> str:
    """Return why MXNet can't work with this Python, or '' where it can."""
    if _OLDEST_PYTHON <= sys.version_info[:2] <= _NEWEST_PYTHON:
        return ""
    return "MXNet 1.9.1 works with Python {}.{} to {}.{}".format(
        *_OLDEST_PYTHON, *_NEWEST_PYTHON
    )


def fault_of_numpy(version: str) -> str:
    """Return why MXNet can't work with a version of NumPy, or '' where it can."""
    if int(version.split(".")[0]) < 3:
        return ""
    return "MXNet 1.9.1 works with NumPy 1.23 to 2.x: pip install 'numpy<3'"


def is_needed(numpy_version: str) -> bool:
    """Tell whether MXNet needs this module with this Python and that NumPy."""
    numpy = tuple(int(number) for number in numpy_version.split(".")[:2])
    return sys.version_info >= (3, 12) or numpy >= (1, 24)


def how_to_install() -> str:
    """Return a line on how to install MXNet."""
    if tuple(sys.version_info) < (3, 13):
        return (
            "pip install 'd2l-recsys[cpu]', or 'd2l-recsys[cu112]' on a machine with "
            "an NVIDIA GPU"
        )
    # Its metadata ask for NumPy below 2, of which there is none for Python 3.13.
    return (
        "pip install --no-deps mxnet==1.9.1, or on a machine with an NVIDIA GPU "
        "'d2l-recsys[cuda11]' and then --no-deps mxnet-cu112==1.9.1"
    )


def _missing_names(numpy: Any) -> Dict[str, Any]:
    """Return names that older NumPys had, under the files of MXNet that use them."""

    def removed(*_: Any, **__: Any) -> None:
        raise RuntimeError("NumPy 1.20 removed this function, see numpy_financial")

    return {
        # numpy/utils.py; numpy/multiarray.py, ndarray/numpy/_op.py: at each call
        "bool": bool,
        # test_utils.py
        "int": int,
        # numpy/utils.py
        "PZERO": 0.0,
        "NZERO": -0.0,
        "PINF": numpy.inf,
        "NINF": -numpy.inf,
        "NAN": numpy.nan,
        "NaN": numpy.nan,
        # gluon/contrib/estimator/event_handler.py
        "Inf": numpy.inf,
        # numpy_dispatch_protocol.py
        "product": numpy.prod,
        "round_": numpy.round,
        "sometrue": numpy.any,
        # numpy/fallback.py
        "alltrue": numpy.all,
        "in1d": lambda a, *args, **kwargs: numpy.isin(numpy.ravel(a), *args, **kwargs),
        "msort": lambda a: numpy.sort(a, axis=0),
        "trapz": getattr(numpy, "trapezoid", None),  # NumPy 1 has trapz itself
        **dict.fromkeys(["mirr", "npv", "pmt", "ppmt", "pv", "rate"], removed),
        # ndarray/numpy/_op.py, symbol/numpy/_symbol.py: in pad
        "compat": SimpleNamespace(basestring=str),
    }


def _complete_numpy(numpy: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns of names that are to go, or went
        for name, value in _missing_names(numpy).items():
            if not hasattr(numpy, name):
                setattr(numpy, name, value)


@contextmanager
def _distutils() -> Iterator[None]:
    """Lend MXNet ``distutils.version``, which Python 3.12 removed.

    numpy_op_fallback.py and numpy_dispatch_protocol.py compare NumPy's version with
    1.6, 1.15 and 1.17.
    """

    def version(text: str) -> List[int]:
        return [int(number) for number in text.split(".")[:2]]

    lent: Dict[str, Any] = {}
    if sys.version_info >= (3, 12) and "distutils" not in sys.modules:
        lent = {name: ModuleType(name) for name in ("distutils", "distutils.version")}
        lent["distutils.version"].LooseVersion = version
        lent["distutils.version"].StrictVersion = version
    sys.modules.update(lent)
    try:
        yield
    finally:
        for name, module in lent.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


_SCALAR = re.compile(r"\bnp\.(?:(True|False)_|\w+\(([^()]*)\))")


def _text(value: Any) -> str:
    """Return ``str(value)`` as MXNet's C++ reads it: (2, 3), not (np.int64(2), 3).

    _ctypes/ndarray.py and _ctypes/symbol.py call it for each argument of an operator.
    """
    text = str(value)
    if "np." in text and isinstance(value, (tuple, list)):
        return _SCALAR.sub(r"\1\2", text)
    return text


def _complete_mxnet(mxnet: Any) -> None:
    import numpy

    if not hasattr(mxnet, "gluon"):
        return  # some other module of this name
    if str([numpy.int64(2)]) != "[2]":
        for name in ("mxnet._ctypes.ndarray", "mxnet._ctypes.symbol"):
            vars(sys.modules[name])["str"] = _text
    if (0.0 + numpy.float32(1)).dtype != numpy.float64:
        _sum_in_float64(numpy.float64(0), mxnet.metric.EvalMetric)
    if not hasattr(mxnet.gluon, "metric"):  # MXNet 2's name, in the newest edition
        mxnet.gluon.metric = sys.modules["mxnet.gluon.metric"] = mxnet.metric


def _sum_in_float64(zero: Any, metric: Any) -> None:
    """Let metric.py add float32 to a float64, which ``0.0`` is not under NumPy 2."""

    def reset_local(self: Any) -> None:
        self.num_inst, self.sum_metric = 0, zero

    def reset(self: Any) -> None:
        reset_local(self)
        self.global_num_inst, self.global_sum_metric = 0, zero

    metric.reset, metric.reset_local = reset, reset_local


class _Loader:
    """Executes ``mxnet/__init__.py`` with all that it needs in place."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: Any) -> Any:
        return self.loader.create_module(spec)

    def exec_module(self, mxnet: Any) -> None:
        mxnet.__spec__.loader = mxnet.__loader__ = self.loader
        _refuse(fault_of_python())
        import numpy

        _refuse(fault_of_numpy(numpy.__version__))
        _complete_numpy(numpy)
        try:
            with _distutils():
                self.loader.exec_module(mxnet)
        except AttributeError as error:
            raise ImportError(
                f"MXNet 1.9.1 does not import with NumPy {numpy.__version__} "
                f"({str(error).splitlines()[0]}): pip install 'numpy<{_UNTRIED_NUMPY}'"
            ) from error
        _complete_mxnet(mxnet)


def _refuse(fault: Optional[str]) -> None:
    if fault:
        raise ImportError(fault)


class _Finder:
    """Finds mxnet as the other finders do, and has it executed by `_Loader`."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "mxnet":
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)  # some of Python 3.8 have none
            spec = find and finder is not self and find(name, path, target)
            if spec and spec.loader:
                spec.loader = _Loader(spec.loader)
                return spec
        return None


if sys.modules.get("mxnet") is None:
    sys.meta_path.insert(0, _Finder())
else:  # this Python and NumPy have all that its import needs
    _complete_mxnet(sys.modules["mxnet"])
