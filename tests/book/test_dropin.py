"""The namespace of the book; its cells are in the files `test_dropin_…`."""

import subprocess
import sys
import zipfile

import pytest
from d2l import mxnet as book

import d2l_recsys
from d2l_recsys import d2l
from d2l_recsys.data import catalog
from d2l_recsys.runtime.backend import gluon, mx, np


def test_all_of_the_books_names_with_ours_over_them():
    own = {"download_extract", "train_ch13", "train_ranking", "train_recsys_rating"}
    for name in (name for name in vars(book) if not name.startswith("__")):
        if name in {*own, *d2l_recsys.__all__}:
            assert getattr(d2l, name) is not getattr(book, name)
        else:
            assert getattr(d2l, name) is getattr(book, name)
        assert name in dir(d2l)
    for name in {*d2l_recsys.__all__} - own:
        assert getattr(d2l, name) is getattr(d2l_recsys, name)
        assert name in dir(d2l)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = d2l.nothing


@pytest.mark.usefixtures("book_data")
def test_the_installed_package_is_left_as_it_is():
    code = """
import d2l_recsys.runtime.backend
from d2l import mxnet as book
import sys
assert "d2l_recsys.d2l" not in sys.modules
names, hub = dict(vars(book)), dict(book.DATA_HUB)
from d2l_recsys import d2l
num_users, num_items, train_iter, test_iter = d2l.split_and_load_ml100k()
net = d2l.MF(4, num_users, num_items)
net.initialize()
trainer = d2l.gluon.Trainer(net.collect_params(), "adam")
d2l.train_recsys_rating(net, train_iter, test_iter, d2l.gluon.loss.L2Loss(), trainer, 1)
d2l.train_ch13, d2l.download_extract("ctr"), dir(d2l)
assert {*names} == {*vars(book)}
assert all(value is vars(book)[name] for name, value in names.items())
assert hub == book.DATA_HUB
"""
    run = [sys.executable, "-c", code]
    result = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_devices_are_never_an_empty_list():
    assert d2l.try_all_gpus() == [mx.cpu()] == [d2l.try_gpu()]


def no_download(*_):
    pytest.fail("the network was asked")


def test_the_books_data_come_through_fetch(book_data, monkeypatch):
    monkeypatch.setattr(book, "download", no_download)
    for name in ("ml-100k", "ctr"):
        assert d2l.download_extract(name) == f"{book_data}/{name}/"
        assert d2l.download_extract(name, name) == f"{book_data}/{name}/"
        assert d2l.download_extract(name, "inner") == f"{book_data}/inner/"


def test_data_that_is_not_there_says_what_to_do(empty_cache, monkeypatch):
    def refuse(name, source):
        raise catalog.DatasetUnavailable(f"{name}: the way out")

    monkeypatch.setattr(catalog, "_download", refuse)
    with pytest.raises(catalog.DatasetUnavailable, match="ctr: the way out"):
        d2l.download_extract("ctr")


@pytest.mark.parametrize("name", ["mine", "ml-100k"])
@pytest.mark.parametrize("folder", [None, "inner"])
def test_other_entries_of_the_hub_are_d2ls_affair(
    name, folder, tmp_path, monkeypatch, book_data
):
    """A data set of the reader's own, perhaps under a name that we know."""
    monkeypatch.chdir(tmp_path / "ctr")
    monkeypatch.setattr(book, "download", lambda name: str(archive))
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/u.data", "1")
        file.writestr("inner/u.data", "2")
    monkeypatch.setitem(d2l.DATA_HUB, name, ("http://127.0.0.1/archive.zip", "0" * 40))
    data_dir = d2l.download_extract(name, folder)
    with open(data_dir + "u.data") as file:
        assert file.read() == ("2" if folder else "1")


def test_the_first_editions_name_of_the_devices(book_data, capsys):
    num_users, num_items, train_iter, test_iter = d2l.split_and_load_ml100k()
    devices = [mx.cpu(0), mx.cpu(1)]
    net = d2l.MF(4, num_users, num_items)
    net.initialize(ctx=devices)
    trainer = gluon.Trainer(net.collect_params(), "adam")
    loss = gluon.loss.L2Loss()
    history = d2l.train_recsys_rating(
        net, train_iter, test_iter, loss, trainer, 1, ctx_list=devices
    )
    assert "examples/sec on [cpu(0), cpu(1)]" in capsys.readouterr().out
    assert [epoch["epoch"] for epoch in history] == [1]
    features = np.zeros((4, 2), dtype="int32"), np.array([[0.0], [1], [0], [1]])
    rows = gluon.data.DataLoader(gluon.data.ArrayDataset(*features), 4)
    net = d2l.FM([1, 1], 2)
    net.initialize(mx.init.Normal(1), ctx=devices)
    trainer = gluon.Trainer(net.collect_params(), "adam")
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    net.linear_layer.bias.set_data(np.array([5.0]))
    d2l.train_ch13(net, rows, rows, loss, trainer, 1, ctx_list=devices[::-1])
    assert "examples/sec on [cpu(1), cpu(0)]" in capsys.readouterr().out


def test_other_sets_of_the_package_come_through_fetch(book_data):
    for name in ("criteo", "avazu"):
        (book_data / name).mkdir(exist_ok=True)
        for member in ("train.csv", "test.csv"):
            (book_data / name / member).touch()
        assert d2l.download_extract(name) == f"{book_data}/{name}/"
    assert d2l.download_extract("ctr-smoke") == f"{catalog.fetch('ctr-smoke')}/"
