"""Compiled loops, compared with NumPy and with MXNet."""

import os
import subprocess
import sys

import numpy
import pytest

from d2l_recsys.engine import compiled, compiled_loops
from d2l_recsys.engine.adam import FlatTrainer, adam
from d2l_recsys.runtime.backend import gluon, mx, nn
from d2l_recsys.tools import doctor

RNG = numpy.random.default_rng(0)


def some(*shape):
    return RNG.normal(size=shape).astype("float32")


@pytest.mark.parametrize("num_grads", [1, 3])
@pytest.mark.parametrize("size", [1, 37, 1000])
def test_adam_is_that_of_numpy_bit_for_bit(size, num_grads):
    arrays = [some(size), some(size), some(size) ** 2]
    copies = [x.copy() for x in arrays]
    for t in range(20):
        grads = [some(size) for _ in range(num_grads)]
        settings = 0.01 * (t + 1), 1e-3, 1 / 7, 0.9, 0.999, 1e-8
        for loops, (weight, mean, var) in ((None, arrays), (compiled, copies)):
            adam(weight, grads, mean, var, *settings, loops=loops)
    for x, y in zip(arrays, copies):
        assert numpy.array_equal(x, y)


def test_a_trainer_of_many_parameters_is_compiled_and_steps_as_gluons(monkeypatch):
    monkeypatch.setattr(compiled_loops, "WORTHWHILE", 100)
    calls = []
    rule = compiled.adam
    monkeypatch.setattr(compiled, "adam", lambda *args: calls.append(rule(*args)))
    nets = []
    for make in (FlatTrainer, lambda net, s: gluon.Trainer(net.collect_params(), *s)):
        mx.random.seed(0)
        net = nn.Dense(40, in_units=30)
        net.initialize(mx.init.Normal(1))
        settings = {"learning_rate": 0.1, "wd": 0.01}
        flat = make is FlatTrainer
        trainer = make(net, settings if flat else ("adam", settings))
        x = mx.np.array(numpy.linspace(-1, 1, 60, dtype="float32").reshape(2, 30))
        for _ in range(20):
            with mx.autograd.record():
                loss = (net(x) ** 2).sum()
            loss.backward()
            trainer.step(2)
        nets.append([p.data().asnumpy() for p in net.collect_params().values()])
    assert len(calls) == 20
    for x, y in zip(*nets):
        assert numpy.array_equal(x, y)


def test_adam_keeps_nan_and_infinity():
    weight, grad, mean, var = some(4), some(4), some(4), some(4) ** 2
    grad[:2] = numpy.nan, numpy.inf
    settings = 0.1, 0, 1, 0.9, 0.999, 1e-8
    adam(weight, [grad], mean, var, *settings, loops=compiled)
    assert numpy.isfinite(weight).tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    "mask",
    [[], [False], [True], [True] * 9, RNG.random(1000) < 0.1, [False] * 9 + [True]],
)
def test_flatnonzero_is_that_of_numpy(mask):
    mask = numpy.array(mask, bool)
    places = compiled.flatnonzero(mask)
    assert places.dtype == "int64"
    assert places.tolist() == numpy.flatnonzero(mask).tolist()


@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize("cells", [0, 1, 2, 50])
def test_add_rows_is_a_product_of_a_sparse_matrix(cells, sort):
    rows, columns = RNG.integers(0, 6, cells), RNG.integers(0, 9, cells)
    rows = numpy.sort(rows) if sort else rows
    values, table, out = some(cells), some(9, 13), some(6, 13)
    matrix = numpy.zeros((6, 9))
    numpy.add.at(matrix, (rows, columns), values)
    expected = out + matrix @ table
    compiled.add_rows(rows, columns, values, table, out)
    assert out == pytest.approx(expected, abs=1e-5)  # float32: 50 terms of size 1


def test_dot_rows_are_products_of_pairs():
    rows, columns = RNG.integers(0, 6, 20), RNG.integers(0, 9, 20)
    left, right, out = some(6, 13), some(9, 13), some(20)
    compiled.dot_rows(rows, columns, left, right, out)
    expected = (left[rows].astype("float64") * right[columns]).sum(axis=1)
    assert out == pytest.approx(expected, abs=1e-5)


def test_without_a_place_for_the_file_it_is_compiled_each_time():
    def made(source):
        names = {}
        exec(source, names)  # which is in no file that a cache could lie beside
        return names["double"]

    double = made("def double(x):\n    return 2 * x")
    with pytest.raises(RuntimeError, match="no locator"):
        compiled.numba.njit("i8(i8)", cache=True)(double)
    assert compiled._compiled("i8(i8)")(double)(21) == 42


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_damaged_files_of_numba_are_compiled_again(suffix, content, tmp_path):
    code = "from d2l_recsys.engine import compiled"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    for _ in range(2):
        run = [sys.executable, "-c", code]
        subprocess.run(run, check=True, env=environment)
        files = [*tmp_path.rglob(f"*.{suffix}")]
        assert len(files) == 4
        for file in files:
            file.write_bytes(content)


def test_without_jit_there_are_no_compiled_loops():
    code = "from d2l_recsys.engine.compiled_loops import compiled_loops as loops;"
    code += "print(loops(10**6))"
    output = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert output.stdout == "None\n"


TRAINING = """
import sys
import numpy
{before}
from d2l_recsys.autorec import AutoRec, evaluator
from d2l_recsys.engine import compiled_loops
from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.mf import train_recsys_rating
from d2l_recsys.runtime.backend import gluon, mx
compiled_loops.WORTHWHILE = {large}
rng = numpy.random.default_rng(0)
ratings = rng.integers(1, 6, (40, 50)) * (rng.random((40, 50)) < 0.08)
ratings = ratings.astype("float32")
mx.random.seed(0)
net = AutoRec(8, 50)
net.initialize()
net.hybridize()
trainer = make_trainer(net, "adam", {{"learning_rate": 0.01}})
train = BatchLoader(ratings, 16, shuffle=True, seed=0)
test = BatchLoader(ratings, 16)
train_recsys_rating(
    net, train, test, gluon.loss.L2Loss(), trainer, 3, None, evaluator, ratings
)
print("numba" in sys.modules and bool(sys.modules["numba"]))
"""


def test_without_numba_the_figures_are_the_same_and_small_nets_do_not_load_it(tmp_path):
    (tmp_path / "numba.py").write_text("raise OSError('a library is missing')")
    printed = {}
    for what, before, large in (
        ("with", "", 1),
        ("without", "sys.modules['numba'] = None", 1),
        ("broken", "sys.path.insert(0, sys.argv[1])", 1),
        ("small", "", 10**9),
    ):
        code = TRAINING.format(before=before, large=large)
        run = [sys.executable, "-c", code, tmp_path]
        output = subprocess.run(run, capture_output=True, text=True, check=False)
        assert output.returncode == 0, output.stderr
        figures, _, loaded = output.stdout.splitlines()
        printed[what] = figures
        assert loaded == str(what == "with")
    assert len({*printed.values()}) == 1


def test_the_doctor_tells_why_numba_does_not_load(monkeypatch):
    found = (doctor.OK, f"Numba {compiled.numba.__version__}")
    assert [*doctor._look_at_numba()] == [found]
    monkeypatch.setitem(sys.modules, "numba", None)
    ((mark, text),) = doctor._look_at_numba()
    assert mark == doctor.NOTE
    assert text.startswith("without Numba, large nets take longer to train: import of")
