"""Saved models: what is loaded scores as what was saved, and faults are named."""

import copy
import json
from pathlib import Path

import numpy
import pytest

import d2l_recsys
from d2l_recsys import FM, MF, AutoRec, Caser, CTRDataset, DeepFM, NeuMF
from d2l_recsys.data.ctr_files import read_table
from d2l_recsys.data.ctr_layouts import tabbed
from d2l_recsys.data.interactions import Interactions
from d2l_recsys.engine.saved import Histories, Vocabulary, load, save
from d2l_recsys.runtime.backend import mx, nn, np

SEEN = Interactions([0, 0, 1, 2, 2], [3, 0, 1, 2, 3], 3, 4)
RATINGS = numpy.array([5, 4, 3, 2, 1], dtype="float32")
HISTORIES = Histories([7, 8, 9], ["a", "b", "c", "d"], SEEN, RATINGS)
BY_ITEM = HISTORIES._replace(rows="item")
LAYOUT = tabbed(2)
VOCABULARY = Vocabulary(LAYOUT, {1: {"x": 0, "y": 1}, 2: {"z": 0}}, {1: 2, 2: 1})
USERS, ITEMS = np.array([0, 2], dtype="int32"), np.array([3, 1], dtype="int32")
ROWS = np.array([[0, 3], [2, 4]], dtype="int32")
WINDOWS = np.array([[4, 3], [2, 3]], dtype="int32")
NETS = {
    "MF": (lambda: MF(2, 3, 4, biases=False), [USERS, ITEMS], HISTORIES),
    "AutoRec": (lambda: AutoRec([6, 5], 3), [np.ones((4, 3))], BY_ITEM),
    "NeuMF": (lambda: NeuMF(2, 3, 4, mlp_layers=[3, 2]), [USERS, ITEMS], HISTORIES),
    "Caser": (lambda: Caser(2, 3, 4, L=2, d=0), [USERS, WINDOWS, ITEMS], HISTORIES),
    "FM": (lambda: FM(numpy.array([3, 2]), 4), [ROWS], VOCABULARY),
    "DeepFM": (lambda: DeepFM([3, 2], 4, [5], fm=False), [ROWS], VOCABULARY),
}


def trained(name):
    make, inputs, data = NETS[name]
    net = make()
    net.initialize(mx.init.Normal(0.5))
    net.hybridize()
    return net, [x.copy() for x in inputs], data


@pytest.fixture
def folder(tmp_path):
    net, _, data = trained("MF")
    save(tmp_path / "mf", net, data, {"lr": 0.002, "epochs": 20})
    return tmp_path / "mf"


@pytest.mark.parametrize("name", NETS)
def test_the_loaded_net_scores_as_the_saved_one(name, tmp_path):
    net, inputs, data = trained(name)
    expected = net(*inputs).asnumpy()
    save(tmp_path, net, data)
    for other in (load(tmp_path), d2l_recsys.load(str(tmp_path), [mx.cpu(1)])):
        device = next(iter(other.collect_params().values())).list_ctx()[0]
        other.hybridize()
        scores = other(*(x.as_in_ctx(device) for x in inputs)).asnumpy()
        assert numpy.array_equal(scores, expected)
        assert type(other) is type(net)


@pytest.mark.parametrize("name", NETS)
def test_a_copy_and_a_subclass_are_nets_like_others(name):
    net, inputs, _ = trained(name)
    expected = net(*inputs).asnumpy()
    assert numpy.array_equal(copy.copy(net)(*inputs).asnumpy(), expected)
    twin = type("Mine", (type(net),), {})(**net.arguments)
    twin.initialize()
    assert twin(*inputs).shape == expected.shape
    assert "params" not in net.arguments


def test_constructors_say_what_is_wrong_with_arguments():
    with pytest.raises(TypeError, match="num_items"):
        MF(2, 3)
    with pytest.raises(TypeError, match="factors"):
        MF(2, 3, 4, factors=5)


def test_what_it_was_trained_on_is_there(folder):
    data = load(folder).trained_on
    assert data.user_ids == [7, 8, 9]
    assert data.item_ids == ["a", "b", "c", "d"]
    assert data.titles is data.rows is None
    assert data.seen.of_user(2).tolist() == [2, 3]
    assert data.ratings.tolist() == RATINGS.tolist()


def test_the_vocabulary_encodes_as_before(tmp_path):
    (tmp_path / "rows").write_text("1\tx\t3\n0\ty\t-2.5\n0\tx\t\n1\tx\t9\n")
    layout = tabbed(2, numeric=[2])
    table = read_table(tmp_path / "rows", layout)
    train = CTRDataset.from_table(table, min_threshold=2)
    net = FM(train.field_dims, 2)
    net.initialize()
    save(tmp_path, net, Vocabulary(layout, train.feat_mapper, train.defaults))
    known = load(tmp_path).trained_on
    assert known.layout == layout
    again = CTRDataset.from_table(table, known.feat_mapper, known.defaults)
    assert numpy.array_equal(again.features, train.features)


def test_numbers_are_numbers_and_nothing_is_pickled(folder):
    record = json.loads((folder / "model.json").read_text())
    assert record["settings"] == {"lr": 0.002, "epochs": 20}
    assert record["arguments"]["num_factors"] == 2
    assert record["version"] == d2l_recsys.__version__
    with numpy.load(folder / "model.npz", allow_pickle=False) as file:
        assert {file[name].dtype.kind for name in file.files} == {"i", "f"}


def edit(path: Path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_list(path: Path, name: str, more: str):
    histories = json.loads(path.read_text())["histories"]
    edit(path, histories={**histories, name: [*histories[name], more]})


def spoil(path: Path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


FAULTS = {
    "no folder": (
        lambda f: [x.unlink() for x in f.iterdir()],
        r"model\.json does not exist, .* python -m chapters\.neumf saves one",
    ),
    "no parameters": (
        lambda f: (f / "model.params").unlink(),
        r"model\.params: No such file or directory: train again",
    ),
    "damaged parameters": (
        lambda f: spoil(f / "model.params"),
        r"model\.params is damaged, or does not belong",
    ),
    "damaged histories": (
        lambda f: spoil(f / "model.npz"),
        r"model\.npz is damaged, or does not belong",
    ),
    "cut": (
        lambda f: (f / "model.json").write_text('{"format": 1'),
        r"model\.json is damaged or not from this package",
    ),
    "foreign": (
        lambda f: (f / "model.json").write_text("[1, 2]"),
        r"model\.json is damaged or not from this package",
    ),
    "later format": (
        lambda f: edit(f / "model.json", format=2, version="0.9.0"),
        r"written by version 0\.9\.0 of d2l-recsys, in format 2, but version",
    ),
    "unknown class": (
        lambda f: edit(f / "model.json", **{"class": "Parser"}),
        r"model\.json: unknown class 'Parser'; use one of AutoRec, ",
    ),
    "other sizes": (
        lambda f: edit(
            f / "model.json",
            arguments={"num_factors": 3, "num_users": 3, "num_items": 4},
        ),
        r"model\.json does not describe the files beside it",
    ),
    "other users": (
        lambda f: edit(f / "model.json", histories={"user_ids": [1], "item_ids": [1]}),
        r"model\.json does not describe the files beside it",
    ),
    "a user more": (
        lambda f: change_list(f / "model.json", "user_ids", "zoe"),
        r"model\.json does not describe the files beside it \(4 users are listed\)",
    ),
    "no sums": (
        lambda f: edit(f / "model.json", sha256=None),
        r"model\.json does not list its files",
    ),
    "path outside": (
        lambda f: edit(f / "model.json", sha256={"../model.params": ""}),
        r"model\.json does not list its files",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_name_the_file_and_a_way_out(fault, folder):
    spoil_it, message = FAULTS[fault]
    spoil_it(folder)
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_a_full_disk_leaves_the_earlier_model(folder):
    resource = pytest.importorskip("resource")  # not on Windows
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    net, _, data = trained("MF")
    old, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    smaller = len(before["model.npz"]) - 1
    assert len(before["model.params"]) < smaller
    resource.setrlimit(resource.RLIMIT_FSIZE, (smaller, most))
    try:
        with pytest.raises(OSError, match=r"model\.npz"):
            save(folder, net, data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (old, most))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert load(folder)


def test_the_book_can_save_and_load_the_parameters(folder):
    net = MF(2, 3, 4, biases=False)
    net.load_parameters(str(folder / "model.params"))


def test_other_nets_are_refused(tmp_path):
    class Mine(MF):
        pass

    for net in (nn.Dense(2, in_units=2), Mine(2, 3, 4)):
        net.initialize()
        with pytest.raises(ValueError, match=r"cannot be saved|can be saved, which"):
            save(tmp_path, net, HISTORIES)
    assert not list(tmp_path.iterdir())
