"""MXNet computes in the thread that calls it, unless another engine is chosen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
THREADS = """
import os
from d2l_recsys.runtime.backend import mx
(mx.np.ones(3) + 1).asnumpy()
threads = len(os.listdir("/proc/self/task"))
print(threads, "MXNET_ENGINE_TYPE" in os.environ, flush=True)
"""


def run(code, **environment):
    known = {k: v for k, v in os.environ.items() if k != "MXNET_ENGINE_TYPE"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**known, "OMP_NUM_THREADS": "1", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads as Linux does")
@pytest.mark.parametrize("chosen", ["", "NaiveEngine", "ThreadedEnginePerDevice"])
def test_only_a_chosen_engine_has_threads(chosen):
    result = run(THREADS, **({"MXNET_ENGINE_TYPE": chosen} if chosen else {}))
    threads, in_environment = result.stdout.split()
    assert (int(threads) > 1) == chosen.startswith("Threaded")
    assert in_environment == str(bool(chosen))
    # MXNet says which engine was chosen, and nothing if none was.
    assert result.stderr.endswith(
        f"MXNet start using engine: {chosen}\n" * bool(chosen)
    )
    assert bool(result.stderr) == bool(chosen)


def test_mxnet_that_has_computed_before_keeps_its_engine():
    result = run("import mxnet\nmxnet.nd.ones(3).asnumpy()\n" + THREADS)
    threads, in_environment = result.stdout.split()
    assert int(threads) > 1
    assert in_environment == "False"
    assert result.stderr == ""


def test_a_closed_stderr():
    result = run("import os\nos.close(2)\n" + THREADS)
    assert result.stdout == "1 False\n"
