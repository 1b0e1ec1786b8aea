"""The scripts as executed notebooks, and the book's namespace in a notebook."""

import base64
import json
import sys

import nbformat
import pytest
from jobs import ROOT, chapter
from nbclient import NotebookClient

from chapters.runner import notebooks


@pytest.fixture
def drawn(monkeypatch):
    """Return {cell: [type of message, ...]} of pictures, filled while cells run."""
    monkeypatch.chdir(ROOT)
    process, seen = NotebookClient.process_message, {}

    def watch(client, message, cell, index):
        kinds = seen.setdefault(index, [])
        if "display_data" in message["msg_type"]:
            assert "image/png" in message["content"]["data"]
            kinds.append(message["msg_type"])
        return process(client, message, cell, index)

    monkeypatch.setattr(NotebookClient, "process_message", watch)
    return seen


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr(notebooks.sys, "argv", ["notebooks", *map(str, arguments)])
    return notebooks.main()


def check_outputs(notebook):
    """Check that nothing failed and that figures are images, not object names."""
    for output in (o for cell in notebook.cells for o in cell.get("outputs", [])):
        assert output.output_type != "error"
        if output.output_type == "stream":
            assert output.name == "stdout"
            assert "<Figure" not in output.text
        elif "Figure" in output.data["text/plain"]:
            assert any(kind.startswith("image/") for kind in output.data)


def cell_with(notebook, text):
    (index,) = [i for i, cell in enumerate(notebook.cells) if text in cell.source]
    return index


def test_mf_with_live_curves(drawn, tmp_path, monkeypatch, capsys):
    assert run_main(monkeypatch, "mf", "--smoke", "--seed", "3", "--out", tmp_path) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'mf.ipynb'}\n"
    notebook = nbformat.read(tmp_path / "mf.ipynb", as_version=4)
    nbformat.validate(notebook)
    check_outputs(notebook)
    # Two epochs were drawn, and the final figure, each in the place of the last.
    training = cell_with(notebook, "history = train_recsys_rating(")
    final = cell_with(notebook, "curves.figure(")
    assert drawn[training] == ["display_data", "update_display_data"]
    assert drawn[final] == ["update_display_data"]
    plot, line = notebook.cells[training].outputs
    assert line.text.startswith("train loss ")
    assert notebook.cells[final].outputs == []
    saved = (tmp_path / "mf.png").read_bytes()
    assert base64.b64decode(plot.data["image/png"]) == saved
    (last,) = notebook.cells[-1].outputs
    assert base64.b64decode(last.data["image/png"]).startswith(b"\x89PNG")
    # The kernel received the options of the command line.
    record = json.loads((tmp_path / "mf.json").read_text())
    assert (record["data"], record["settings"]["seed"]) == ("smoke", 3)
    assert (tmp_path / "mf.png").is_file()


COLAB = """
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell


class Shell(ZMQInteractiveShell):
    pass


class Kernel(IPythonKernel):
    shell_class = Shell


IPKernelApp.launch_instance(kernel_class=Kernel)
"""


def test_a_kernel_whose_shell_has_another_name(drawn, tmp_path, monkeypatch):
    (tmp_path / "colab.py").write_text(COLAB)
    argv = [sys.executable, str(tmp_path / "colab.py"), "-f", "{connection_file}"]
    spec = notebooks.KernelSpec(argv=[*argv, "--log-level=ERROR"], **notebooks.KERNEL)
    monkeypatch.setattr(notebooks.ThisPython, "kernel_spec", spec)
    assert run_main(monkeypatch, "mf", "--smoke", "--out", tmp_path) == 0
    notebook = nbformat.read(tmp_path / "mf.ipynb", as_version=4)
    check_outputs(notebook)
    training = cell_with(notebook, "history = train_recsys_rating(")
    assert drawn[training] == ["display_data", "update_display_data"]


def test_figures_without_training_are_pictures_too(drawn, tmp_path, monkeypatch):
    assert run_main(monkeypatch, "ranking", "--out", tmp_path, "--smoke") == 0
    notebook = nbformat.read(tmp_path / "ranking.ipynb", as_version=4)
    check_outputs(notebook)
    (last,) = notebook.cells[-1].outputs
    assert base64.b64decode(last.data["image/png"]).startswith(b"\x89PNG")


def test_the_drop_in_draws_in_a_notebook(drawn, book_data):
    source = """
from mxnet import gluon
from d2l_recsys import d2l
num_users, num_items, train_iter, test_iter = d2l.split_and_load_ml100k()
net = d2l.MF(4, num_users, num_items)
net.initialize(ctx=d2l.try_all_gpus())
trainer = gluon.Trainer(net.collect_params(), "adam")
loss = gluon.loss.L2Loss()
d2l.train_recsys_rating(net, train_iter, test_iter, loss, trainer, 2)
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    notebooks.execute(notebook)
    check_outputs(notebook)
    assert drawn[0] == ["display_data", "update_display_data"]
    plot, line = notebook.cells[0].outputs  # the history is not displayed
    assert line.text.startswith("train loss ")
    assert base64.b64decode(plot.data["image/png"]).startswith(b"\x89PNG")


def test_a_failure_is_told_and_the_notebook_shows_it(
    drawn, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("D2L_RECSYS_DATA", str(tmp_path / "nowhere"))
    assert run_main(monkeypatch, "movielens", "--out", tmp_path) == 1
    assert "which is not a folder" in capsys.readouterr().err
    assert "which is not a folder" in (tmp_path / "movielens.ipynb").read_text()


def test_a_section_that_is_none(monkeypatch, capsys):
    with pytest.raises(SystemExit, match="2"):
        run_main(monkeypatch, "mf", "nonsense", "--smoke")
    message = "python -m chapters.runner.notebooks: error: unknown section 'nonsense'"
    assert capsys.readouterr().err.startswith(message)


def test_scripts_do_not_read_the_options_of_notebooks(tmp_path):
    arguments = "chapters.ranking", "--smoke", "--out", str(tmp_path)
    assert chapter(*arguments, D2L_RECSYS_ARGS="--nonsense").returncode == 0
