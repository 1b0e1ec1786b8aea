"""Scripts let MXNet compute in the calling thread; other programs do not."""

import os
import sys

import pytest
from scripts_and_programs import SCRIPT, run

THREADS = """
import os
from d2l_recsys.runtime.backend import mx
(mx.np.ones(3) + 1).asnumpy()
threads = len(os.listdir("/proc/self/task"))
print(threads, os.environ.get("MXNET_ENGINE_TYPE"), flush=True)
"""
linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="counts threads in /proc"
)


@linux_only
@pytest.mark.parametrize("chosen", ["", "NaiveEngine", "ThreadedEnginePerDevice"])
def test_scripts_use_naive_engine_unless_another_is_chosen(chosen):
    result = run(SCRIPT + THREADS, MXNET_ENGINE_TYPE=chosen)
    threads, engine = result.stdout.split()
    assert engine == (chosen or "NaiveEngine")
    assert (int(threads) > 1) == chosen.startswith("Threaded")
    # MXNet names its engine if the variable is set. For NaiveEngine, this is hidden.
    named = "MXNet start using engine: Threaded" in result.stderr
    assert named == bool(result.stderr) == chosen.startswith("Threaded")


@linux_only
@pytest.mark.parametrize("before", ["", "import chapters", "import mxnet\n" + SCRIPT])
def test_other_programs_keep_the_usual_engine(before):
    result = run(f"{before}\n{THREADS}")
    threads, engine = result.stdout.split()
    assert int(threads) > 1
    assert engine == "None"
    assert result.stderr == ""


def test_a_closed_stderr():
    result = run(f"import os\nos.close(2)\n{SCRIPT}{THREADS}")
    assert result.stdout.split()[1:] == ["NaiveEngine"]


FAILING = """
import os
from d2l_recsys.runtime.backend import autograd, mx
class Failing(autograd.Function):
    def forward(self, x):
        return x * 1
    def backward(self, dy):
        raise ValueError("an error in the reader's code")
def fails():
    x = mx.np.ones(3)
    x.attach_grad()
    with autograd.record():
        y = Failing()(x)
    try:
        y.backward()
        x.grad.asnumpy()
    except mx.MXNetError:
        return True
    return False
"""
FORK = """
child = os.fork()
if not child:
    os._exit(7 if fails() else 1)
print(os.waitpid(child, 0)[1] >> 8, flush=True)
"""
RUN = """
import subprocess, sys
print(subprocess.run([sys.executable, "-c", "exit(7)"]).returncode, flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("between", ["print(7)", FORK, RUN])
def test_errors_in_custom_operations_are_raised_also_after_a_fork(between):
    result = run(f"{SCRIPT}{FAILING}\nprint(fails())\n{between}\nprint(fails())")
    lines = [x for x in result.stdout.splitlines() if x in ("7", "True", "False")]
    assert lines == ["True", "7", "True"], result.stderr
