"""Scripts compute large arrays on all cores, and small ones on one."""

import os
import sys

import pytest
from scripts_and_programs import SCRIPT, run

from d2l_recsys.runtime import cores


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        (None, 3),
        ("max 100000\n", 3),
        ("150000 100000\n", 1),
        ("20000 100000\n", 1),
        ("200000 100000\n", 2),
        ("800000 100000\n", 3),
        ("\n", 3),
    ],
)
def test_available_cores_heed_affinity_and_quota(
    quota, expected, tmp_path, monkeypatch
):
    path = tmp_path / "cpu.max"
    if quota:
        path.write_text(quota)
    monkeypatch.setattr(cores, "_QUOTA", path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    assert cores.available() == expected


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [("1", 1), ("8", 8), (" 2,1", 2), ("", 3), ("0", 3), ("-2", 3), ("many", 3)],
)
def test_threads_are_those_chosen_or_one_per_core(chosen, expected, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    monkeypatch.setattr(cores, "available", lambda: 3)
    assert cores.threads() == expected


TRAIN = """
import ctypes, os, sys
from d2l_recsys.engine.program import Program
from d2l_recsys.runtime.backend import gluon, mx, nn, np
def losses(F, net, loss, x):
    return loss(net(x), x)
net = nn.Dense(10, in_units=10)
net.initialize()
net.hybridize()
program = Program(losses, net, gluon.loss.L2Loss())
libgomp = ctypes.CDLL("libgomp.so.1")
found = []
for rows in (13107, 13108, 13107):  # around 2^17 numbers
    program([mx.cpu()], [[np.ones((rows, 10))]])
    found.append(libgomp.omp_get_max_threads())
print(*found, os.environ.get("MXNET_OMP_MAX_THREADS"))
"""


def threads_of(code, **environment):
    """Return the numbers of threads that the code finds, and their limit in MXNet."""
    result = run(code, **environment)
    assert not result.returncode, result.stderr
    *threads, most = result.stdout.split()
    return [*map(int, threads)], most


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="loads libgomp.so.1")


@linux_only
@pytest.mark.parametrize("chosen", [1, 2, 3])
def test_a_script_trains_large_arrays_with_all_threads(chosen):
    threads, most = threads_of(SCRIPT + TRAIN, OMP_NUM_THREADS=str(chosen))
    assert threads == [1, chosen, 1]
    assert most == str(chosen)


@linux_only
def test_a_variable_that_is_set_stays():
    _, most = threads_of(SCRIPT + TRAIN, MXNET_OMP_MAX_THREADS="5")
    assert most == "5"


@linux_only
@pytest.mark.parametrize("engine", ["NaiveEngine", "ThreadedEnginePerDevice"])
def test_other_programs_keep_their_threads(engine):
    threads, most = threads_of(TRAIN, MXNET_ENGINE_TYPE=engine, OMP_NUM_THREADS="2")
    assert threads == [2, 2, 2]
    assert most == "None"
