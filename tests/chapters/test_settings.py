"""The options that vary a section's settings: what they change, and wrong values."""

import json
import runpy
import sys

import numpy
import pandas as pd
import pytest

from chapters.runner.experiments import run_all
from chapters.runner.options import Options
from chapters.runner.users import check_users


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs a script here on tiny data.

    It returns the names of the script, and the record in its JSON file.
    """

    def run(slug, *words):
        words = ["--epochs", "1", "--out", str(tmp_path), *words]
        if "criteo" not in words:
            words.append("--smoke")
        monkeypatch.setattr(sys, "argv", [slug, *words])
        names = runpy.run_module(f"chapters.{slug}", run_name="__main__")
        return names, json.loads((tmp_path / f"{slug}.json").read_text())

    return run


def shapes(net):
    return {
        name: parameter.shape
        for name, parameter in net._collect_params_with_prefix().items()
    }


FM_ALONE = {"embedding.weight", "fc.weight", "linear_layer.weight", "linear_layer.bias"}


@pytest.mark.parametrize(
    ("slug", "words", "expected"),
    [
        ("mf", "--factors 7", {"P.weight": (200, 7), "user_bias.weight": (200, 1)}),
        ("mf", "--no-biases", {"Q.weight": (300, 30), "user_bias.weight": None}),
        ("mf", "--no-biases --biases", {"user_bias.weight": (200, 1)}),
        ("autorec", "--hidden 9", {"encoder.weight": (9, 200)}),
        ("autorec", "--hidden 9,4", {"decoder.0.weight": (9, 4)}),
        ("neumf", "--factors 3 --mlp 6,5", {"mlp.1.weight": (5, 6), "P.weight": None}),
        ("seqrec", "--factors 3 --without both", {"Q_prime.weight": (300, 3)}),
        ("seqrec", "--without vertical", {"conv_v.weight": None}),
        ("deepfm", "--factors 3 --mlp 6,5", {"mlp.2.weight": (5, 6)}),
        ("deepfm", "--without fm", {"fc.weight": None, "mlp.0.weight": (30, 340)}),
        ("deepfm", "--without mlp", {"mlp.0.weight": None, "fc.bias": None}),
    ],
)
def test_the_shape_of_the_net(run, slug, words, expected):
    more = ("--model", "mlp") if "P.weight" in expected and slug == "neumf" else ()
    names, _ = run(slug, *words.split(" "), *more)
    found = shapes(names["net"])
    assert {name: found.get(name) for name in expected} == expected


def test_activations_dropout_and_factors_of_fm(run):
    net = run("autorec", "--activation", "relu:tanh")[0]["net"]
    assert (net.encoder.act._act_type, net.decoder.act._act_type) == ("relu", "tanh")
    assert run("autorec", "--activation", "none:none")[0]["net"].encoder.act is None
    assert run("neumf", "--dropout", "0.3")[0]["net"].dropout._rate == 0.3
    assert run("deepfm", "--dropout", "0.3")[0]["net"].mlp[1]._rate == 0.3
    _, record = run("fm", "--factors", "0")
    metrics = record["metrics"]  # those of the second run, which has no factors
    assert metrics["auc_without_factors"] == metrics["test_auc"]


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adagrad", "rmsprop"])
@pytest.mark.parametrize("slug", ["mf", "deepfm"])
def test_the_optimizer_and_its_settings(run, slug, optimizer):
    words = ["--optimizer", optimizer, "--lr", "0.03", "--wd", "0.002"]
    names, record = run(slug, *words)
    used = names["trainer"]._optimizer
    assert type(used).__name__.lower() == optimizer
    assert (used.learning_rate, used.wd) == (0.03, 0.002)
    assert record["settings"]["optimizer"] == optimizer


@pytest.mark.parametrize("slug", ["autorec", "neumf", "seqrec", "fm"])
def test_other_scripts_train_with_the_learning_rate_and_weight_decay(run, slug):
    found = {
        str(run(slug, *words)[1]["metrics"])
        for words in ([], ["--lr", "0.2"], ["--wd", "9"], ["--optimizer", "sgd"])
    }
    assert len(found) == 4


def test_the_matrix_factorization_of_autorec_keeps_its_settings(run):
    words = ["--lr", "0.2", "--wd", "1", "--optimizer", "sgd"]
    found = {
        run("autorec", *more)[1]["metrics"]["mf_on_this_split"] for more in ([], words)
    }
    assert len(found) == 1


@pytest.mark.parametrize("slug", ["neumf", "seqrec"])
def test_loss_and_negatives(run, slug):
    names, _ = run(slug, "--loss", "hinge", "--margin", "0.5")
    assert (type(names["loss"]).__name__, names["loss"].margin) == (
        "HingeLossbRec",
        0.5,
    )
    losses = {
        run(slug, *words)[1]["history"][-1]["train_loss"]
        for words in ([], ["--negatives", "popularity"], ["--loss", "hinge"])
    }
    assert len(losses) == 3


def test_min_count(run):
    indices = [
        run(slug, "--min-count", count)[0]
        for slug in ("ctr", "fm")
        for count in ("1", "9")
    ]
    sizes = [names["num_values"] for names in indices[:2]]
    sizes += [names["parts"].train.field_dims.sum() for names in indices[2:]]
    assert sizes[0] > sizes[1]
    assert sizes[:2] == sizes[2:]


@pytest.mark.parametrize("slug", ["ctr", "fm", "deepfm"])
def test_bins(run, slug, tmp_path):
    lines = ["\t".join([str(i % 2), *[str(i)] * 13, *["a"] * 26]) for i in range(60)]
    for name in ("train.csv", "test.csv"):
        (tmp_path / "criteo").mkdir(exist_ok=True)
        (tmp_path / "criteo" / name).write_text("\n".join(lines))
    where = ["--data", "criteo", "--data-dir", str(tmp_path)]
    names, _ = run(slug, *where, "--bins", "3")
    dims = (names["train_data"] if slug == "ctr" else names["parts"].train).field_dims
    # One more index: of missing numbers, and of values that are rare.
    assert dims.tolist() == [4] * 13 + [2] * 26


def test_movielens_in_fm(run):
    names, record = run("fm", "--data", "ml-100k", "--min-count", "1")
    assert (record["data"], names["parts"].train.fields) == ("smoke", ("user", "item"))
    assert {*record["metrics"]} == {"test_rmse", "rmse_without_factors"}
    assert record["history"][-1]["test_rmse"] == record["metrics"]["test_rmse"]
    words = ["--data", "ml-100k", "--threshold", "4", "--fields", "item,gender"]
    names, record = run("fm", *words, "--patience", "1")
    assert names["parts"].train.fields == ("item", "gender")
    assert {*names["parts"].train.labels.ravel()} == {0, 1}
    assert {*record["metrics"]} >= {"test_auc", "auc_without_factors"}
    with pytest.raises(ValueError, match="with threshold 6, all ratings have the same"):
        run("fm", "--data", "ml-100k", "--threshold", "6")


@pytest.mark.parametrize(
    ("slug", "words", "message"),
    [
        ("mf", "--factors 0", "'0' is not a positive integer"),
        ("fm", "--factors -1", "'-1' is not a non-negative integer"),
        ("fm", "--lr 0", "'0' is not a positive number"),
        ("deepfm", "--lr nan", "'nan' is not a positive number"),
        ("mf", "--lr inf", "'inf' is not a positive number"),
        ("fm", "--lr x", "'x' is not a positive number"),
        ("mf", "--wd -1", "'-1' is not a non-negative number"),
        ("fm", "--wd inf", "'inf' is not a non-negative number"),
        ("mf", "--optimizer lbfgs", "invalid choice: 'lbfgs'"),
        ("autorec", "--hidden 0", "'0' is not a list of positive integers such as"),
        ("neumf", "--mlp 64,,16", "'64,,16' is not a list of positive integers such"),
        ("autorec", "--activation foo", "'foo' is not HIDDEN:OUTPUT, each one of relu"),
        ("autorec", "--activation relu:foo", "'relu:foo' is not HIDDEN:OUTPUT, each"),
        ("neumf", "--dropout 1.5", "'1.5' is not a number of at least 0 and below 1"),
        ("deepfm", "--dropout x", "'x' is not a number of at least 0 and below 1"),
        ("seqrec", "--margin -1", "'-1' is not a positive number"),
        ("seqrec", "--margin 2", "needs --loss hinge"),
        ("neumf", "--mlp=9 --model gmf", "needs --model neumf or mlp"),
        ("deepfm", "--dropout 0 --without mlp", "needs the MLP, which --without mlp"),
        ("neumf", "--negatives hard", "invalid choice: 'hard'"),
        ("ctr", "--min-count 0", "'0' is not a positive integer"),
        ("ctr", "--bins 5", "needs --data criteo"),
        ("fm", "--patience 0", "'0' is not a positive integer"),
        ("fm", "--fields user", "needs --data ml-100k"),
        ("fm", "--threshold 4", "needs --data ml-100k"),
        ("fm", "--patience 2 --data ml-100k", "needs --threshold, if the data is ml"),
        ("fm", "--fields user,user", "'user,user' is not a list of different names"),
        ("fm", "--fields user,zip", "'user,zip' is not a list of different names from"),
        ("deepfm", "--data ml-100k", "'ml-100k' is neither auto, ctr, criteo, avazu"),
    ],
)
def test_a_wrong_value_is_one_line_and_exit_code_2(run, slug, words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        run(slug, *words.split(" "))
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    option = words.replace("=", " ").split(" ")[0]
    start = f"python -m chapters.{slug}: error: argument {option}: {message}"
    assert line.startswith(start)


def test_defaults_are_shown(monkeypatch, capsys):
    options = Options("deepfm", epochs=30, batch_size=2048)
    options.add_training(factors=10, lr=0.01, wd=0.0)
    options.add_mlp("30,20,10", dropout=0.1)
    text = " ".join(options.format_help().split())
    for default in ("10", "0.01", "0.0", "adam", "30,20,10", "0.1"):
        assert f"(default: {default})" in text


def test_by_popularity_a_user_of_all_rated_items_is_named(frame):
    train = frame((1, 1, 5, 0), (1, 2, 5, 0), (2, 1, 5, 0))
    everything = pd.concat([train, frame((1, 3, 5, 0))])  # held out, rated only once
    check_users([7, 8], train, everything, 4)
    with pytest.raises(
        ValueError, match="user 7 has rated all 2 items in the training"
    ):
        check_users([7, 8], train, everything, 4, "popularity")


@pytest.mark.parametrize(
    ("slug", "words", "metric", "best"),
    [
        ("mf", "", "valid_rmse", min),
        ("mf", "--split random", "valid_rmse", min),
        ("autorec", "", "valid_rmse", min),
        ("autorec", "--by user", "valid_rmse", min),
        ("neumf", "", "valid_auc", max),
        ("seqrec", "", "valid_auc", max),
    ],
)
def test_validation(run, slug, words, metric, best):
    names, record = run(slug, "--validation", "--epochs", "2", *words.split())
    kept = best(record["history"], key=lambda epoch: epoch[metric])
    for name in {*kept} & {*record["metrics"]}:
        assert record["metrics"][name] == kept[name]
    assert not any("strict" in name for name in record["metrics"])
    if slug in ("neumf", "seqrec"):
        train, valid, test = (
            {(u, i) for u, items in inter.items() for i in items}
            for inter in (names["candidates"], names["valid_iter"], names["test_iter"])
        )
        assert train | valid == {
            (u, i) for u, items in names["known"].items() for i in items
        }
    elif slug == "mf":
        train, valid, test = (
            {*zip(*(x.tolist() for x in loader.dataset.arrays[:2]))}
            for loader in (names["train_iter"], names["valid_iter"], names["test_iter"])
        )
    else:
        train, valid, test = (
            {*zip(*(x.tolist() for x in numpy.nonzero(matrix.asnumpy())))}
            for matrix in (names[f"{x}_inter_mat"] for x in ("train", "valid", "test"))
        )
    assert not train & valid
    assert not (train | valid) & test
    rows, users = len(train | valid | test), names["num_users"]
    if slug == "autorec" or words:  # a tenth of each
        assert len(valid) == pytest.approx(len(train | valid) / 10, rel=0.2)
    else:
        assert (len(valid), len(test)) == (users, users)
    read = names["ratings"].data if slug == "mf" else names["df"]
    assert rows == len(read)


def test_frames_and_loaders_are_split_alike(run):
    """So AutoRec and MF can be compared on the same validation rows."""
    of_mf, _ = run("mf", "--validation", "--split", "random")
    users, items, stars = of_mf["valid_iter"].dataset.arrays
    of_autorec, _ = run("autorec", "--validation")
    matrix = of_autorec["valid_inter_mat"].asnumpy()
    assert (matrix[items, users] == stars).all()
    assert len(stars) == (matrix > 0).sum()


def test_validation_and_checkpoints(run, capsys, tmp_path):
    with pytest.raises(SystemExit):
        run("mf", "--validation", "--checkpoint", str(tmp_path / "state"))
    assert "--checkpoint: cannot be used with --validation" in capsys.readouterr().err


def test_an_experiment_takes_all_options_of_a_script(tmp_path):
    """Not only those that `python -m chapters` passes on: it drops this --data."""
    options = ["--data", "ml-100k", "--factors", "0", "--smoke", "--epochs", "1"]
    rows = run_all("fm", {"linear": ""}, [0], options, tmp_path)
    assert "test_rmse" in rows  # else it was trained on clicks
