"""How MXNet is made to work: what is provided, when, and what is left alone."""

import math
import os
import subprocess
import sys

import numpy
import pytest

from d2l_recsys.runtime import compat
from d2l_recsys.runtime.backend import gluon, np

needed = pytest.mark.skipif(
    not compat.is_needed(numpy.__version__), reason="MXNet imports by itself here"
)


def test_arguments_are_written_as_cpp_parses_them():
    one, half = numpy.int64(1), numpy.float32(0.1)
    for value, text in [
        ((one, 2), "(1, 2)"),
        ([one], "[1]"),
        (((one, 1), (0, one)), "((1, 1), (0, 1))"),
        ((half, None, numpy.float64("nan")), "(0.1, None, nan)"),
        ((numpy.bool_(True), "x", numpy.float64(-1e-9)), "(True, 'x', -1e-09)"),
        (one, "1"),
        (half, "0.1"),
        ("np.int64(2)", "np.int64(2)"),
        ({"a": 1}, "{'a': 1}"),
    ]:
        assert compat._text(value) == text


def test_metrics_add_up_in_float64():
    metric = gluon.metric.MAE()
    assert math.isnan(metric.get()[1])
    for reset in (metric.reset, metric.reset_local):
        reset()
        for error in (2.0**24, 1):  # whose sum float32 can't hold
            metric.update([np.array([0.0])], [np.array([error])])
        assert float(metric.get()[1]) == (2**24 + 1) / 2
    assert float(metric.get_global()[1]) == (2**24 + 1) * 2 / 4


def run(code, **environment):
    """Run Python where only `code` imports this package; return what it prints."""
    unhook = """
import sys
sys.meta_path[:] = [f for f in sys.meta_path if "compat" not in type(f).__module__]
for name in [name for name in sys.modules if name.startswith("d2l_recsys")]:
    del sys.modules[name]
"""
    result = subprocess.run(
        [sys.executable, "-c", unhook + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, **environment},
    )
    return result.stdout + result.stderr


# What made MXNet or NumPy warn, with the filters of a notebook.
QUIET = """
import d2l_recsys.runtime.compat
assert "numpy" not in sys.modules and "mxnet" not in sys.modules
import mxnet as mx
import mxnet.gluon.metric
from mxnet.gluon.metric import RMSE
from mxnet import nd, np, npx
npx.set_np()
a = np.ones((2, 2))
np.full((2,), True), a[True], a.as_in_context(mx.cpu()), np.array([True])
a[0, a[0] > 0] = 3
nd.array([1.0, 2.0]).asnumpy(), nd.moveaxis(nd.ones((2, 1)), 0, 1)
mx.io.NDArrayIter(nd.ones((2, 1)), batch_size=1).next()
from mxnet.gluon.contrib import estimator
if sys.version_info >= (3, 12):
    assert "distutils" not in sys.modules
"""


def test_it_imports_alone_and_no_warning_reaches_a_reader(tmp_path):
    fresh = str(tmp_path)  # MXNet's files are compiled anew, and warn of their escapes
    assert run(QUIET, PYTHONPYCACHEPREFIX=fresh, PYTHONWARNINGS="") == ""


@needed
def test_warnings_as_errors_do_not_keep_mxnet_from_importing():
    code = """
import warnings
import numpy, requests, scipy.stats, sklearn, d2l_recsys
warnings.simplefilter("error")
import mxnet
"""
    assert run(code) == ""


@needed
def test_after_a_failed_import_it_helps_too():
    code = """
try:
    import mxnet
except (AttributeError, ImportError):
    print("failed")
import d2l_recsys
import numpy
from mxnet import np, npx
npx.set_np()
print(np.ones((numpy.int64(2), 1)).sum(axis=(numpy.int64(0),)))
"""
    assert run(code, PYTHONWARNINGS="ignore") == "failed\n[2.]\n"


def test_what_numpy_and_mxnet_have_stays_as_it_is():
    code = """
import numpy
before = dict(vars(numpy))
import d2l_recsys, mxnet
assert all(vars(numpy)[name] is value for name, value in before.items())
missing = d2l_recsys.runtime.compat._missing_names(numpy)
print(*sorted((vars(numpy).keys() - before.keys()) & missing.keys()))
print(hasattr(sys.modules["mxnet._ctypes.ndarray"], "str"))
print(mxnet.metric.EvalMetric.reset.__module__)
"""
    added, text, reset = run(code).splitlines()
    version = tuple(map(int, numpy.__version__.split(".")[:2]))
    if version >= (2, 0):
        assert {"Inf", "int"} <= {*added.split()} <= {*compat._missing_names(numpy)}
        assert "bool" not in added.split()
        assert (text, reset) == ("True", compat.__name__)
    else:
        assert added == ("bool int" if version >= (1, 24) else "")
        assert (text, reset) == ("False", "mxnet.metric")


def test_where_mxnet_is_imported_first():
    code = "import d2l_recsys, mxnet; del sys.modules['d2l_recsys.runtime.compat'];"
    code += "del mxnet.gluon.metric; import d2l_recsys.runtime.compat;"
    assert run(code + "assert mxnet.gluon.metric is mxnet.metric") == ""


PYTHONS = "MXNet 1.9.1 works with Python 3.8 to 3.13, not with"


@pytest.mark.parametrize(
    ("pretended", "fault"),
    [
        ("sys.version_info = (3, 7, 9)", f"{PYTHONS} 3.7"),
        ("sys.version_info = (3, 14, 0)", f"{PYTHONS} 3.14"),
        (
            "numpy = sys.modules['numpy'] = type(sys)('n'); numpy.__version__ = '3.0'",
            "MXNet 1.9.1 works with NumPy 1.23 to 2.x: pip install 'numpy<3'",
        ),
    ],
)
def test_what_is_too_old_or_too_new_is_named(pretended, fault):
    last = run(f"import d2l_recsys; {pretended}; import mxnet").splitlines()[-1]
    assert last == f"ImportError: {fault}"


def test_the_books_namespace_says_what_it_needs():
    last = run("sys.modules['d2l'] = None; from d2l_recsys import d2l").splitlines()[-1]
    assert last == f"ImportError: {compat.HOW_TO_ADD_D2L}"


def test_loaded_twice_it_still_finds_mxnet():
    code = """
import importlib, sys
import d2l_recsys.runtime.compat
importlib.reload(sys.modules["d2l_recsys.runtime.compat"])
import mxnet
print(mxnet.__version__)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.stdout == "1.9.1\n", result.stderr
