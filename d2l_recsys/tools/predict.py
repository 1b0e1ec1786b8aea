"""Predict clicks with a saved model: ``python -m d2l_recsys predict FOLDER ROWS``.

The folder is one that a script has saved, such as results/deepfm. The rows have the
format of the training file.
"""

import codecs
from pathlib import Path
from typing import List

import numpy

import d2l_recsys
from d2l_recsys.data.ctr_files import read_table
from d2l_recsys.data.ctr_layouts import Layout, split
from d2l_recsys.data.frames import shown_names
from d2l_recsys.data.lines import SEPARATORS
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.predict import predict
from d2l_recsys.engine.saved import Vocabulary, load, trained_on
from d2l_recsys.runtime.backend import gluon
from d2l_recsys.tools.command_line import Parser, in_one_line

_BATCH = 8192


def main(arguments: List[str]) -> int:
    """Print a line for each row, below a header; return 0."""
    parser = Parser(
        prog="python -m d2l_recsys predict",
        description="Print the probability of a click for each row of a file, with a "
        "saved model. If the model was trained on ratings, print ratings.",
    )
    parser.add_argument(
        "folder", metavar="FOLDER", help="where the model is, such as results/deepfm"
    )
    parser.add_argument(
        "rows",
        metavar="ROWS",
        type=Path,
        help="a file in the format of the training file, with or without the labels, "
        "which are ignored",
    )
    args = parser.parse_args(arguments)
    try:
        net = load(args.folder)
        data = trained_on(net, Vocabulary)
        values = _predicted(net, data, args.rows)
    except (ValueError, OSError) as error:
        parser.error(in_one_line(error))
    print(data.output)
    for value in values.tolist():
        print(f"{value:.6f}")
    return 0


def _predicted(net: gluon.Block, data: Vocabulary, path: Path) -> numpy.ndarray:
    """Return the probabilities or ratings (rows,) of the rows in a file."""
    layout = _layout_of(path, data.layout)
    table = read_table(path, layout)
    rows = d2l_recsys.CTRDataset.from_table(table, data.feat_mapper, data.defaults)
    scores, _ = predict(net, BatchLoader(rows, _BATCH))
    if data.output == "rating":
        return scores
    return numpy.exp(-numpy.logaddexp(0, -scores.astype("float64")))


def _layout_of(path: Path, layout: Layout) -> Layout:
    """Return the layout of a file, given that of the training file.

    Raises ValueError that names the first line if it has neither the columns of labeled
    rows nor those of others.
    """
    with open(path, "rb") as file:
        line = file.readline().rstrip(b"\r\n")
    if line.startswith(codecs.BOM_UTF8):
        line = line[len(codecs.BOM_UTF8) :]
    names = [name.strip(" ") for name in split(line.decode(errors="replace"), layout)]
    found, most = layout.without_labels(len(names)), len(layout.columns)
    if len(names) not in (most, most - 1):
        mark = SEPARATORS.get(layout.separator, layout.separator)
        raise ValueError(
            f"{path}, line 1: {len(names)} columns instead of {most} with the label or "
            f"{most - 1} without it, separated by {mark}, as in the training file"
        )
    if layout.header and tuple(names) != found.columns:
        raise ValueError(
            f"{path}, line 1: {shown_names(names)} instead of "
            f"{shown_names(found.columns)}: the first line must name the columns, in "
            "the order of the training file"
        )
    return found
