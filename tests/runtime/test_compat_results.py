"""MXNet's results on this Python and NumPy: those of older ones, and NumPy's own."""

import mxnet_alone as alone
import numpy
import pytest
from jobs import run_job

from d2l_recsys.runtime.backend import gluon, mx, np

SCALARS = {"one": numpy.int64(1), "two": numpy.int64(2), "half": numpy.float64(0.5)}
A = numpy.random.RandomState(1).standard_normal((4, 3)).astype("float32")


def known(name):
    """Return what MXNet gave by itself, see mxnet_alone.py."""
    with numpy.load(alone.FOLDER / f"{name}.npz") as arrays:
        return dict(arrays)


def close(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        numpy.testing.assert_allclose(
            found[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name
        )


def test_random_numbers_are_the_same_to_the_last_bit():
    found, expected = alone.draws(), known("draws")
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].dtype == expected[name].dtype
        assert found[name].tolist() == expected[name].tolist(), name


@pytest.mark.parametrize("hybrid", [False, True])
def test_layers_and_losses_forward_and_backward(hybrid):
    close(alone.passes(hybrid), known("passes"))


@pytest.mark.parametrize("hybrid", [False, True])
def test_training_with_adam_and_sgd(hybrid):
    close(alone.trainings(hybrid), known("trainings"))


def test_files_of_older_versions_are_read_and_written(tmp_path):
    """Both ways: what is written here are the bytes that older versions write."""
    params, states = alone.FOLDER / "net.params", alone.FOLDER / "adam.states"
    training = alone.Training("adam", False).step(1)
    training.net.load_parameters(str(params))
    training.trainer.load_states(str(states))
    found, expected = training.parameters(), known("saved")
    assert all((found[name] == x).all() for name, x in expected.items())
    training.net.save_parameters(str(tmp_path / "net.params"))
    assert (tmp_path / "net.params").read_bytes() == params.read_bytes()
    training.trainer.save_states(str(tmp_path / "adam.states"))
    assert (tmp_path / "adam.states").read_bytes() == states.read_bytes()
    alone.seed()
    close(training.step(2).parameters(), known("continued"))


# `m` is mx.np or NumPy, `a` an array of it.
OPERATIONS = [
    "m.zeros((two, 3))", "m.full((two,), True)", "m.arange(0, 2, half)", "m.eye(two)",
    "a.reshape((two, -1))", "m.reshape(a, (-1, two))", "m.tile(a, (two, 1))",
    "m.broadcast_to(a[0], (two, 3))", "m.expand_dims(a, one)",
    "m.repeat(a, two, axis=0)",
    "m.pad(a, ((one, 0), (0, two)))", "m.pad(a, ((1, 1), (0, one)), 'reflect')",
    "m.roll(a, (one, 1), (0, 1))",
    "m.split(a, two)", "m.split(a, [two])", "m.concatenate([a, a], axis=one)",
    "m.transpose(a, (one, 0))", "m.swapaxes(a, one, 0)", "m.flip(a, one)",
    "a.sum(axis=one)", "a.sum(axis=(0, one))", "a.mean(axis=(one,), keepdims=True)",
    "m.clip(a, -half, half)", "a * half", "half * a", "a[::two, one:]",
    "a[one, two]", "a[True]", "a[a > 0]", "m.where(a > 0, half, a)",
    "m.tensordot(a, a.T, axes=([one], [0]))", "m.einsum('ij,kj->ik', a, a)",
    "m.histogram(a, bins=two, range=(-half, half))[0]", "m.std(a, axis=(0,))",
    "m.bincount(m.array([1, 2, 2], dtype='int32'))", "m.argsort(a, axis=one)",
    # These are NumPy's, on copies.
    "m.resize(a, (two, 2))", "m.nanmedian(a)", "m.nanmax(a)", "m.percentile(a, 50)",
    "m.cov(a)", "m.digitize(a[0], m.array([-1.0, 0, 1]))", "m.partition(a[0], one)",
    "m.isin(a, a[0])", "m.intersect1d(a[0], a)", "m.searchsorted(m.sort(a[0]), half)",
    "m.apply_along_axis(lambda x: x.sum(), 0, a)", "m.empty_like(a).shape",
    "m.unravel_index(m.array([5, 7], dtype='int64'), (4, 3))",
]  # fmt: skip
# What NumPy 2 dropped, and what is meant.
DROPPED = {
    "m.alltrue(a > -9)": "m.all(a > -9)",
    "m.sometrue(a > 9, axis=0)": "m.any(a > 9, axis=0)",
    "m.product(a)": "m.prod(a)",
    "m.round_(a, 1)": "m.round(a, 1)",
    "m.in1d(a, a[1], invert=True)": "m.isin(a.ravel(), a[1], invert=True)",
    "m.msort(a)": "m.sort(a, axis=0)",
    "m.trapz(a)": "(a[:, 1:] + a[:, :-1]).sum(axis=1) / 2",
    "m.trapz(a, dx=half, axis=0)": "(a[1:] + a[:-1]).sum(axis=0) / 4",
    "[m.NAN, m.NaN, m.PINF, m.NINF]": "[m.nan, m.nan, m.inf, -m.inf]",
    "m.array([m.PZERO, m.NZERO])": "m.array([0.0, -0.0])",
    "m.array([1], dtype=m.bool)": "m.array([True])",
}


def evaluate(text, module, **names):
    def plain(value):
        if isinstance(value, (tuple, list)):
            return [plain(x) for x in value]
        return value.asnumpy() if isinstance(value, np.ndarray) else value

    return plain(eval(text, {"m": module, **SCALARS, **names}))


@pytest.mark.parametrize(
    ("text", "expected"), [*zip(OPERATIONS, OPERATIONS), *DROPPED.items()]
)
def test_functions_agree_with_numpy(text, expected):
    found = evaluate(text, np, a=np.array(A))
    expected = evaluate(expected, numpy, a=A)
    assert numpy.shape(found) == numpy.shape(expected)
    for x, y in (
        zip(found, expected) if isinstance(expected, list) else [(found, expected)]
    ):
        numpy.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_functions_that_numpy_removed_long_ago_say_so():
    for name in ("mirr", "npv", "pmt", "ppmt", "pv", "rate"):
        with pytest.raises(RuntimeError, match="numpy_financial"):
            getattr(mx.np, name, getattr(mx.numpy.fallback, name))(0.1, [1, 2])


def test_two_devices_get_equal_halves():
    devices = [mx.cpu(0), mx.cpu(1)]
    halves = gluon.utils.split_and_load(np.array(A), devices)
    assert [half.ctx for half in halves] == devices
    assert numpy.concatenate([half.asnumpy() for half in halves]).tolist() == A.tolist()


@pytest.mark.parametrize(("workers", "threads"), [(0, False), (2, False), (2, True)])
def test_data_loaders_with_workers(workers, threads):
    numpy.random.seed(3)
    order = numpy.random.permutation(len(A))
    data = gluon.data.ArrayDataset(A, numpy.arange(4, dtype="int32"), A[:, 0] * 0.5)
    numpy.random.seed(3)
    loader = gluon.data.DataLoader(
        data, 3, shuffle=True, num_workers=workers, thread_pool=threads
    )
    columns = zip(*([x.asnumpy() for x in batch] for batch in loader))
    for column, expected in zip(columns, (A, numpy.arange(4), A[:, 0] * 0.5)):
        assert numpy.concatenate(column).tolist() == expected[order].tolist()


def test_a_kvstore_adds_up():
    store, out = mx.kv.create("local"), np.zeros((2, 2))
    store.init(3, np.zeros((2, 2)))
    store.push(3, [np.ones((2, 2)), 2 * np.ones((2, 2))])
    store.pull(3, out=out)
    assert out.asnumpy().tolist() == [[3, 3], [3, 3]]


# The server updates the weight.
SERVED = """
import d2l_recsys.runtime.compat, mxnet as mx
from mxnet import autograd, gluon, np, npx
npx.set_np()
store = mx.kv.create("dist_sync")
net = gluon.nn.Dense(1, in_units=2, use_bias=False)
net.initialize(mx.init.One())
options = {"learning_rate": 0.5, "momentum": 0.5}
trainer = gluon.Trainer(net.collect_params(), "sgd", options, kvstore=store)
for _ in range(2):
    with autograd.record():
        y = net(np.ones((1, 2)) * (1 + store.rank)).sum()
    y.backward()
    trainer.step(1)
print(net.weight.data().tolist())
"""


def test_a_parameter_server_with_two_workers():
    code, out, err = run_job("-n", 2, "-s", 1, "--", "python", "-c", SERVED)
    assert (code, err) == (0, "")
    # Gradients 1 and 2 add up to 3: 1 - 1.5, and then a step of 0.5 * 1.5 + 1.5 more.
    assert sorted(out.splitlines()) == [f"[{k}] [[-2.75, -2.75]]" for k in range(2)]
