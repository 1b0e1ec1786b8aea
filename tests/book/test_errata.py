"""Errata of all sections, E49, E50 and E52, and of docs/errata.md: nothing unproved.

The errata of the sections are in test_errata_<section>.py. Each test shows the book's
behaviour, by the installed d2l or restated in the fewest lines, and ours beside it.
"""

import ast
import re
from functools import partial
from pathlib import Path
from unittest.mock import MagicMock

import numpy
import pytest
from d2l import mxnet as d2l

from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.fm import FM, train_ch13
from d2l_recsys.mf import MF, evaluator, train_recsys_rating
from d2l_recsys.neumf import train_ranking
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import autograd, gluon, mx, nn, np
from d2l_recsys.runtime.devices import seed_everything, try_all_gpus
from d2l_recsys.tools.curves import Curves

ROOT = Path(__file__).parents[2]
IDS = numpy.zeros(4, "int32")
RATED = IDS, IDS, numpy.ones(4, "float32")
PAIRS = IDS, IDS, IDS + 1
CLICKS = numpy.zeros((4, 2), "int32"), numpy.ones((4, 1), "float32")


def trained(train, net, rows, loss, *rest, before=()):
    net.initialize(mx.init.Normal(0.1))
    loader = BatchLoader(rows, 2)
    trainer = gluon.Trainer(net.collect_params(), "sgd")
    test = {} if before else loader
    return train(net, loader, test, loss, trainer, *before, 1, *rest)


@pytest.mark.parametrize("section", ["rating", "ranking", "ctr"])
def test_e49_without_gpu_there_is_no_device_at_all(section, monkeypatch):
    monkeypatch.setattr(d2l, "Animator", MagicMock())
    monkeypatch.setattr(d2l, "num_gpus", lambda: 0)
    monkeypatch.setattr(mx.context, "num_gpus", lambda: 0)
    assert d2l.try_all_gpus() == []
    assert "[cpu(),]" in d2l.try_all_gpus.__doc__  # as is promised
    assert try_all_gpus() == [mx.cpu()]
    last = lambda *_: (0.5, 0.5)  # noqa: E731
    book, ours, run = {
        "rating": (
            d2l.train_recsys_rating,
            train_recsys_rating,
            lambda f, devices: trained(
                f, MF(2, 2, 2), RATED, gluon.loss.L2Loss(), devices, evaluator
            ),
        ),
        "ranking": (
            d2l.train_ranking,
            train_ranking,
            lambda f, devices: trained(
                f,
                MF(2, 2, 2),
                PAIRS,
                BPRLoss(),
                devices,
                last,
                {},
                before=(None, 2, 2),
            ),
        ),
        "ctr": (
            d2l.train_ch13,
            train_ch13,
            lambda f, devices: trained(
                f, FM([1, 1], 2), CLICKS, gluon.loss.SigmoidBCELoss(), devices
            ),
        ),
    }[section]
    with pytest.raises(ZeroDivisionError):
        run(book, d2l.try_all_gpus())
    assert len(run(ours, try_all_gpus())) == 1


@pytest.mark.filterwarnings("ignore:backend2gui is deprecated:DeprecationWarning")
def test_e50_the_animator_in_a_script(capsys):
    d2l.plt.switch_backend("agg")
    animator = d2l.Animator(xlabel="epoch", xlim=[1, 2], legend=["loss"])
    for epoch in (1, 2):
        animator.add(epoch, (0.5,))
    printed = capsys.readouterr().out
    assert printed.count("<Figure size 350x250 with 1 Axes>") == 2
    assert printed.count("\x1b[2K\r") == 4
    d2l.plt.close(animator.fig)
    curves = Curves(2, {"train_loss": "loss"}, (0, 1))
    history = [{"epoch": 1, "train_loss": 0.5}]
    curves(history)
    curves([*history, {"epoch": 2, "train_loss": 0.4}])
    assert capsys.readouterr() == ("", "")
    (line,) = curves.figure("a title").axes[0].get_lines()
    assert line.get_ydata().tolist() == [0.5, 0.4]


def shuffled(seed, make):
    seed()
    return [int(x) for batch in make() for x in batch]


def test_e52_three_generators():
    """Gluon's shuffle listens to NumPy's seed only, dropout to MXNet's only."""
    rows = np.arange(50)
    gluons = partial(gluon.data.DataLoader, rows, 5, shuffle=True)

    def dropped():
        with autograd.record():
            return nn.Dropout(0.5)(np.ones((50,))).asnumpy().tolist()

    seeds = {
        "mxnet": lambda: mx.random.seed(3),
        "numpy": lambda: numpy.random.seed(3),
        "ours": lambda: seed_everything(3),
    }
    fixed = {}
    for name, seed in seeds.items():
        orders = [shuffled(seed, gluons) for _ in range(2)]
        masks = []
        for _ in range(2):
            seed()
            masks.append(dropped())
        fixed[name] = orders[0] == orders[1], masks[0] == masks[1]
    assert fixed == {
        "mxnet": (False, True),
        "numpy": (True, False),
        "ours": (True, True),
    }
    # What this package draws asks for no global seed at all.
    loader = partial(BatchLoader, rows, 5, shuffle=True, seed=3)
    orders = [shuffled(lambda: None, loader) for _ in range(2)]
    assert orders[0] == orders[1] != list(range(50))


def names_of_tests():
    """Return the names of all tests of errata, and the numbers in them."""
    names = set()
    for path in (ROOT / "tests").rglob("test_errata*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_e"):
                names.add(node.name)
    return names


def test_the_list_and_the_tests_know_each_other():
    text = (ROOT / "docs" / "errata.md").read_text(encoding="utf-8")
    entries = re.split(r"^### (?=E\d\d)", text, flags=re.M)[1:]
    numbers = [entry[:3] for entry in entries]
    assert sorted(numbers) == [f"E{n:02d}" for n in range(1, len(numbers) + 1)]
    assert len(numbers) >= 56
    tests = names_of_tests()
    named = set(re.findall(r"`(test_e\d\d_\w+)`", text))
    assert named == {name for name in tests if re.match(r"test_e\d\d_", name)}
    for entry in entries:
        proofs = re.findall(r"`(test_e\w+)`", entry)
        number = entry[:3].lower()
        assert all(number in name for name in proofs), number
        assert proofs or "Nothing to run" in entry, number


def test_every_number_in_the_code_is_in_the_list():
    text = (ROOT / "docs" / "errata.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^### (E\d\d)", text, flags=re.M))
    for folder in ("d2l_recsys", "chapters", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            used = set(re.findall(r"\bE\d\d\b", path.read_text(encoding="utf-8")))
            assert used <= listed, path
