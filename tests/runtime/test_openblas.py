"""OpenBLAS multiplies with the fastest kernels that the processor can run."""

import os
import subprocess
import sys

import pytest

from d2l_recsys.runtime import openblas
from d2l_recsys.runtime.openblas import _flags, kernels_for

MODERN = {"sse4_2", "avx2", "fma"}
AVX512 = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}


def cores(code, **environment):
    """Run code, and return the kernels that each OpenBLAS in it chooses."""
    kept = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "OPENBLAS_VERBOSE": "2", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (run.stdout + run.stderr).splitlines()
    return [x.split(": ")[1] for x in lines if x.startswith("Core: ")]


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (set(), ""),
        ({"sse4_2", "avx"}, ""),
        ({"avx2"}, ""),
        (MODERN, "Haswell"),
        (MODERN | AVX512 - {"avx512dq"}, "Haswell"),  # Xeon Phi
        (MODERN | AVX512 | {"amx_tile"}, "SkylakeX"),
    ],
)
def test_kernels_need_their_flags(flags, name):
    assert kernels_for(flags) == name


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (b"model name\t: Intel\xae Xeon\nflags\t\t: fpu avx2 \xff\n", {"fpu", "avx2"}),
        (b"Features\t: fp asimd\n", set()),  # ARM
        (None, set()),
    ],
)
def test_flags_are_found_in_any_file(text, flags, tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    if text:
        path.write_bytes(text)
    monkeypatch.setattr(openblas, "_CPUINFO", path)
    assert _flags() - {"flags", ":", "\ufffd"} == flags


@pytest.mark.parametrize("chosen", [{}, {"OPENBLAS_CORETYPE": ""}])
@pytest.mark.skipif(
    not kernels_for(_flags()), reason="this processor is not known by its flags"
)
def test_mxnet_and_numpy_use_kernels_for_this_processor(chosen):
    found = cores("from d2l_recsys.runtime.backend import mx", **chosen)
    assert found
    assert {*found} <= {"Haswell", "SkylakeX"}


def test_the_readers_choice_counts():
    code = "from d2l_recsys.runtime.backend import mx"
    assert {*cores(code, OPENBLAS_CORETYPE="Nehalem")} <= {"Nehalem"}
