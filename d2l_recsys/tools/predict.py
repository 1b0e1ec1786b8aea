"""Predict clicks with a saved model: ``python -m d2l_recsys predict FOLDER ROWS``.

The folder is one that a script has saved, such as results/deepfm. The rows have the
format of the training file.
"""

from pathlib import Path
from typing import List

import numpy

import d2l_recsys
from d2l_recsys.data.ctr_files import read_table
from d2l_recsys.data.ctr_layouts import Layout, split
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
    layout = data.layout.without_labels(_num_columns(path, data.layout))
    table = read_table(path, layout)
    rows = d2l_recsys.CTRDataset.from_table(table, data.feat_mapper, data.defaults)
    scores, _ = predict(net, BatchLoader(rows, _BATCH))
    if data.output == "rating":
        return scores
    return numpy.exp(-numpy.logaddexp(0, -scores.astype("float64")))


def _num_columns(path: Path, layout: Layout) -> int:
    """Return the number of columns in the first line.

    Raises ValueError that names the line if it is neither that of labeled rows nor that
    of others.
    """
    with open(path, "rb") as file:
        line = file.readline().rstrip(b"\r\n").decode(errors="replace")
    number = len(split(line, layout))
    most = len(layout.columns)
    if number not in (most, most - 1):
        mark = {"\t": "tabs", ",": "commas"}.get(layout.separator, layout.separator)
        raise ValueError(
            f"{path}, line 1: {number} columns instead of {most} with the label or "
            f"{most - 1} without it, separated by {mark}, as in the training file"
        )
    return number
