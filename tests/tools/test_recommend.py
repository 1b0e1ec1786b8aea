"""``python -m d2l_recsys recommend`` and ``... predict``, as users run them."""

import csv
import io
import os
import subprocess
import sys

import numpy
import pytest

from d2l_recsys import FM, MF, CTRDataset, recommend
from d2l_recsys.data.ctr_files import read_table
from d2l_recsys.data.ctr_layouts import LAYOUTS, Layout, tabbed
from d2l_recsys.data.interactions import Interactions
from d2l_recsys.data.own_clicks import layout_of_header
from d2l_recsys.engine.full_ranking import top_unseen
from d2l_recsys.engine.saved import Histories, Vocabulary, load, save
from d2l_recsys.runtime.backend import mx, np
from d2l_recsys.tools import predict as predict_tool
from d2l_recsys.tools import recommend as recommend_tool

SEEN = Interactions([0, 0, 1], [0, 1, 3], 2, 5)
ITEMS = [50, 181, 172, "a:b", 7]
TITLES = ["Star Wars", "Jedi", None, "Léon, or: the Professional", "Twelve"]


@pytest.fixture
def folder(tmp_path):
    """Save an MF whose scores of user 0 are 0, 1, 2, 3, 4, and of user 1 minus them."""
    net = MF(1, 2, 5, biases=False)
    net.initialize()
    net.P.weight.set_data(np.array([[1.0], [-1.0]]))
    net.Q.weight.set_data(np.arange(5).reshape(5, 1))
    ratings = numpy.array([5, 1, 3], dtype="float32")
    save(tmp_path / "mf", net, Histories(["anna", 42], ITEMS, SEEN, ratings, TITLES))
    return tmp_path / "mf"


def call(tool, capsys, *arguments):
    """Run a command in this process; return its output."""
    assert tool.main([str(a) for a in arguments]) == 0
    out, err = capsys.readouterr()
    assert not err
    return out


def fails(tool, capsys, *arguments):
    """Run a command that must fail; return its line."""
    with pytest.raises(SystemExit) as stop:
        tool.main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert (stop.value.code, out, err.count("\n")) == (2, "", 1)
    return err


class TestRecommend:
    def test_a_table(self, folder, capsys):
        out = call(recommend_tool, capsys, folder, "--user", "anna", "-n", 2)
        assert out.splitlines() == [
            "rank  item   score  title",
            "   1     7  4.0000  Twelve",
            "   2   a:b  3.0000  Léon, or: the Professional",
        ]

    def test_csv(self, folder, capsys):
        out = call(recommend_tool, capsys, folder, "--user", 42, "--csv")
        assert [list(row.values()) for row in csv.DictReader(io.StringIO(out))] == [
            ["1", "50", "0.0000", "Star Wars"],
            ["2", "181", "-1.0000", "Jedi"],
            ["3", "172", "-2.0000", ""],
            ["4", "7", "-4.0000", "Twelve"],
        ]

    def test_all_users(self, folder, tmp_path, capsys):
        path = tmp_path / "all.csv"
        assert not call(recommend_tool, capsys, folder, "--all-users", path, "-n", 1)
        assert path.read_text(encoding="utf-8").splitlines() == [
            "user,rank,item,score,title",
            "anna,1,7,4.0000,Twelve",
            "42,1,50,0.0000,Star Wars",
        ]

    def test_an_interrupted_file_stays_as_it_was(self, folder, tmp_path, monkeypatch):
        path = tmp_path / "all.csv"
        path.write_text("before")

        def stopped(*arguments):
            yield next(top_unseen(*arguments))
            raise KeyboardInterrupt

        monkeypatch.setattr(recommend_tool, "top_unseen", stopped)
        with pytest.raises(KeyboardInterrupt):
            recommend_tool.main([str(folder), "--all-users", str(path)])
        assert path.read_text() == "before"
        assert {x.name for x in tmp_path.iterdir()} == {"all.csv", "mf"}

    def test_new_users(self, folder, capsys):
        for text, history in (
            ("50,181", [0, 1]),
            ("50:4.5,181:1", {0: 4.5, 1: 1}),
            ("a:b", [3]),
            ("a:b:2", {3: 2}),
            ("50:4.5, 181:1", {0: 4.5, 1: 1}),
        ):
            out = call(recommend_tool, capsys, folder, "--history", text, "--csv")
            best = recommend(load(folder), None, 10, history=history)
            rows = list(csv.DictReader(io.StringIO(out)))
            assert [row["item"] for row in rows] == [str(ITEMS[i]) for i, _ in best]
            assert [row["score"] for row in rows] == [f"{s:.4f}" for _, s in best]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--user", "9"], "user '9' is not among the 2 users of the training data"),
            (["--user", "9"], "; anna is, for example"),
            (["--history", "50,9"], "item '9' is not among the 5 items"),
            (["--history", "50:x"], "'50:x' is not ITEM:RATING"),
            (["--history", "50:5,181"], "give a rating for each item, or for none"),
            (["--history", "50:5,50:4"], "an item appears twice in '50:5,50:4'"),
            (["--history", "50:9"], "rating 9.0 of item 50 is not in 1..5"),
            (["--history", "172"], "nobody has item 172 in the training data"),
            (["--history", ""], "the history is empty"),
            (["--history", '"50, 9"'], "item '50, 9' is not among the 5 items"),
            (["--all-users", "/no/such/file"], "/no/such/file: No such file or"),
            ([], "one of the arguments --user --history --all-users is required"),
        ],
    )
    def test_errors(self, arguments, message, folder, capsys):
        assert message in fails(recommend_tool, capsys, folder, *arguments)

    def test_folders_without_such_a_model(self, tmp_path, capsys):
        nothing = fails(recommend_tool, capsys, tmp_path, "--user", 1)
        assert f"{tmp_path / 'model.json'} does not exist" in nothing
        net = FM([2, 2], 2)
        net.initialize()
        save(tmp_path, net, Vocabulary(tabbed(1), {1: {}}, {1: 0}))
        other = fails(recommend_tool, capsys, tmp_path, "--user", 1)
        assert "use python -m d2l_recsys predict" in other

    def test_as_a_command(self, folder):
        """The reader's terminal knows ASCII only, and ``head`` closes the pipe."""
        command = f"{sys.executable} -m d2l_recsys recommend {folder} --user anna"
        result = subprocess.run(
            f"{command}; {command} --csv | head -0",
            shell=True,
            capture_output=True,
            check=False,
            timeout=600,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )
        assert (result.returncode, result.stderr) == (0, b"")
        assert b"   2   a:b  3.0000  L?on, or: the Professional\n" in result.stdout


@pytest.mark.parametrize(
    ("output", "code", "error"),
    [
        (">&-", 0, b""),
        (
            "> /dev/full",
            1,
            b"python -m d2l_recsys: error: [Errno 28] No space left on device\n",
        ),
    ],
)
def test_an_output_that_cannot_be_written(folder, output, code, error):
    result = subprocess.run(
        f"{sys.executable} -m d2l_recsys recommend {folder} --user anna {output}",
        shell=True,
        capture_output=True,
        check=False,
        timeout=600,
    )
    assert (result.returncode, result.stderr) == (code, error)


def test_an_interrupt_is_one_line():
    """The interrupt comes while MXNet is being imported."""
    code = (
        "import sys, d2l_recsys.__main__ as m\n"
        "def stop(name): raise KeyboardInterrupt\n"
        "m.import_module, sys.argv = stop, ['', 'recommend', 'x']\n"
        "m.main_for_a_pipe()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, timeout=600
    )
    assert (result.returncode, result.stderr) == (130, b"\ninterrupted\n")


def saved_fm(folder, layout, train, output="probability"):
    """Save an FM for the rows of `train`, a file; return it and its data set."""
    dataset = CTRDataset.from_table(read_table(train, layout), min_threshold=1)
    net = FM(dataset.field_dims, 2)
    net.initialize(mx.init.Normal(0.5))
    save(folder, net, Vocabulary(layout, dataset.feat_mapper, dataset.defaults, output))
    return net, dataset


class TestPredict:
    @pytest.fixture
    def train(self, tmp_path):
        path = tmp_path / "train.tsv"
        path.write_text("1\tx\t3\n0\ty\t2.5\n0\tx\t\n1\tz\t9\n")
        return path

    def test_rows_with_and_without_labels(self, train, tmp_path, capsys):
        layout = tabbed(2, numeric=[2])
        net, dataset = saved_fm(tmp_path / "fm", layout, train)
        scores = net(np.array(dataset.features)).asnumpy()[:, 0]
        expected = 1 / (1 + numpy.exp(-scores))
        without = tmp_path / "rows.tsv"
        without.write_text("x\t3\ny\t2.5\nx\t\nz\t9\n")
        for rows in (train, without):
            name, *lines = call(predict_tool, capsys, tmp_path / "fm", rows).split()
            assert name == "probability"
            # Six digits are printed.
            assert [*map(float, lines)] == pytest.approx(expected, abs=6e-7)

    def test_ratings_are_no_probabilities(self, tmp_path, capsys):
        train, layout = tmp_path / "train", Layout("\t", ("label", "user"), "label")
        train.write_text("1\tu\n0\tv\n")
        net, dataset = saved_fm(tmp_path / "fm", layout, train, "rating")
        train.write_text("4.5\tu\n3\tv\n")  # labels are ignored
        name, *lines = call(predict_tool, capsys, tmp_path / "fm", train).split()
        scores = net(np.array(dataset.features)).asnumpy()[:, 0]
        assert name == "rating"
        assert [*map(float, lines)] == pytest.approx(scores, abs=6e-7)

    def test_a_header_and_dropped_columns(self, tmp_path, capsys):
        layout = LAYOUTS["avazu"]
        values = ["9", "1", "14102100", *"abcdefghijklmnopqrstu"]
        train, rows = tmp_path / "train", tmp_path / "rows"
        train.write_text(",".join(layout.columns) + "\n" + ",".join(values) + "\n")
        saved_fm(tmp_path / "fm", layout, train)
        labeled = call(predict_tool, capsys, tmp_path / "fm", train)
        names, values = (",".join([x[0], *x[2:]]) for x in (layout.columns, values))
        rows.write_text(f"{names}\n{values}\n")
        assert call(predict_tool, capsys, tmp_path / "fm", rows) == labeled
        assert labeled.count("\n") == 2

    @pytest.mark.parametrize(
        "content", ["ad,page\n", "click,ad,page\n", "a,b\n", "page,add\n"]
    )
    def test_the_header_must_be_that_of_training(self, content, tmp_path, capsys):
        train, rows = tmp_path / "train", tmp_path / "rows"
        train.write_text("page,ad,click\nnews,shoes,1\nsport,hats,0\n")
        saved_fm(tmp_path / "fm", layout_of_header(train), train)
        rows.write_text("\ufeffpage,ad\nnews,shoes\n")
        assert call(predict_tool, capsys, tmp_path / "fm", rows).count("\n") == 2
        rows.write_text(f"{content}news,shoes,1\n")
        line = fails(predict_tool, capsys, tmp_path / "fm", rows)
        found = content.strip().replace(",", ", ")
        assert f"rows, line 1: {found} instead of " in line
        assert "in the order of the training file" in line

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("x\n", "rows, line 1: 1 columns instead of 3 with the label or 2 without"),
            ("x\t1\nx\n", "rows, line 2: 1 fields instead of 2 (separated by tabs)"),
            ("x\tone\n", "rows, line 1: field 2 'one' is not a number"),
            ("", "rows, line 1: 1 columns instead of 3"),
        ],
    )
    def test_errors(self, content, message, train, tmp_path, capsys):
        saved_fm(tmp_path / "fm", tabbed(2, numeric=[2]), train)
        (tmp_path / "rows").write_text(content)
        line = fails(predict_tool, capsys, tmp_path / "fm", tmp_path / "rows")
        assert message in line

    def test_files_and_models_of_another_kind(self, folder, tmp_path, capsys):
        line = fails(predict_tool, capsys, folder, tmp_path / "rows")
        assert "MF scores items for users" in line
        assert "use python -m d2l_recsys recommend" in line
