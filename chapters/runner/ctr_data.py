"""Load the data of the scripts `ctr`, `fm` and `deepfm`, and split it into parts."""

from pathlib import Path
from typing import NamedTuple, Optional, Sequence, Tuple

import numpy

from chapters.runner.run import Run
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data.ctr_files import Table, read_table
from d2l_recsys.data.ctr_layouts import LAYOUTS, Layout, split, tabbed
from d2l_recsys.data.frames import shown_names
from d2l_recsys.data.lines import SEPARATORS
from d2l_recsys.data.own_clicks import layout_of_header, separator_of_row
from d2l_recsys.data.rating_fields import rating_fields
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.movielens import read_data_ml100k, split_data_ml100k


class CTRParts(NamedTuple):
    """The parts of a data set, encoded with the vocabulary of the training part."""

    train: CTRDataset
    test: CTRDataset
    valid: Optional[CTRDataset]
    layout: Layout  # of a line of the files

    def loaders(
        self, batch_size: int, seed: int
    ) -> Tuple[BatchLoader, BatchLoader, Optional[BatchLoader]]:
        """Return loaders of the training, test and validation rows (or None)."""
        return (
            BatchLoader(self.train, batch_size, shuffle=True, seed=seed),
            BatchLoader(self.test, batch_size),
            BatchLoader(self.valid, batch_size) if self.valid else None,
        )


def load_for(run: Run) -> CTRParts:
    """Load the data of a script with its options. With --patience, hold out a tenth."""
    args = vars(run.args)
    settings = {
        "seed": run.seed,
        "valid_share": 0.1 if args.get("patience") else 0,
        "min_count": args["min_count"],
    }
    if args["data"] == "ml-100k":
        return load_movielens(run.folder, args["fields"], args["threshold"], **settings)
    return load_ctr(
        run.folder,
        run.data_name,
        **settings,
        num_bins=args["bins"],
        test_file=args["test"],
        label=dict(args["columns"] or ()).get("label"),
    )


def load_ctr(
    folder: Path,
    data_name: str,
    seed: int = 0,
    valid_share: float = 0,
    min_count: int = 4,
    num_bins: int = 20,
    test_file: Optional[Path] = None,
    label: Optional[str] = None,
) -> CTRParts:
    """Read the data set `data_name` from `folder`, or read the user's own file.

    If `folder` is a file, its header names the fields. `label` is the name of its label
    column, if that is not a usual one. Without a header, each line is a label and
    fields. The rows of `test_file`, or else a random sixth of the rows, become the test
    part, and the sizes are printed. A random share `valid_share` of the training rows
    becomes the validation part. In each field, values that occur fewer than `min_count`
    times in the training part share an index; numbers are divided into `num_bins`
    quantile bins.

    Raises ValueError if a file has too few rows, or a line is invalid.
    """
    rng = numpy.random.default_rng(seed)
    if folder.is_file():
        layout = _own_layout(folder, label)
        train = read_table(folder, layout)
        if test_file:
            test, source = _read_test(test_file, label, layout, folder), test_file
        else:
            (train, test), source = _split(train, 1 / 6, rng), "a random sixth"
        print(
            f"{len(train.labels)} training rows, {len(test.labels)} test rows: {source}"
        )
    else:
        layout = LAYOUTS.get(data_name, tabbed(34))
        more = [folder / "dev.csv"] if (folder / "dev.csv").is_file() else []
        train = read_table([folder / "train.csv", *more], layout)
        test = read_table(folder / "test.csv", layout)
    return _encoded(train, test, layout, valid_share, rng, min_count, num_bins)


def _own_layout(path: Path, label: Optional[str]) -> Layout:
    """Return the layout of a user's own file, whether it has a header or not."""
    layout = layout_of_header(path, label)
    if layout is not None:
        return layout
    with open(path, "rb") as file:
        line = file.readline().decode(errors="replace")
    if not line:
        raise ValueError(f"{path}, line 1: the file is empty")
    if not {*SEPARATORS} & {*line}:
        raise ValueError(
            f"{path}, line 1: there are no tabs, commas or semicolons; separate the "
            "fields by one of them"
        )
    separator = separator_of_row(line)
    if separator is None:
        raise ValueError(
            f"{path}, line 1: it neither names a column of labels by a usual name nor "
            "begins with a label, 0 or 1: name the column with --columns label=NAME"
        )
    quoted = separator != "\t"  # in the book's format, quotes are plain text
    layout = Layout(separator, (), "", quoted=quoted)
    num_feat = len(split(line.rstrip("\r\n"), layout)) - 1
    return tabbed(num_feat)._replace(separator=separator, quoted=quoted)


def _read_test(
    path: Path, label: Optional[str], layout: Layout, train_path: Path
) -> Table:
    """Read the test rows, whose columns must be those of the training rows."""
    own = _own_layout(path, label)
    if (own.columns, own.label) != (layout.columns, layout.label):
        raise ValueError(
            f"{path}, line 1: the columns are {shown_names(own.columns)}, but those of "
            f"{train_path} are {shown_names(layout.columns)}: both files need the same"
        )
    return read_table(path, own)


def load_movielens(
    folder: Path,
    fields: Sequence[str],
    threshold: Optional[float] = None,
    seed: int = 0,
    valid_share: float = 0,
    min_count: int = 4,
) -> CTRParts:
    """Read MovieLens 100K from `folder`, with a row of `fields` for each rating.

    A random tenth of the rows becomes the test part. The labels are the ratings. With
    `threshold`, they say whether a rating is at least that high.

    Raises ValueError if with `threshold` all labels are equal, or a line is invalid.
    """
    data, num_users, num_items = read_data_ml100k(folder)
    if threshold is not None and (data["rating"] >= threshold).nunique() < 2:
        lowest, highest = data["rating"].min(), data["rating"].max()
        raise ValueError(
            f"with threshold {threshold:g}, all ratings have the same label: choose a "
            f"threshold above {lowest:g} and at most {highest:g}"
        )
    train, test = (
        rating_fields(part, folder, fields, threshold)
        for part in split_data_ml100k(data, num_users, num_items, "random", seed=seed)
    )
    rng = numpy.random.default_rng(seed)
    layout = Layout("\t", ("label", *train.fields), "label")
    return _encoded(train, test, layout, valid_share, rng, min_count)


def _encoded(
    train: Table,
    test: Table,
    layout: Layout,
    valid_share: float,
    rng: numpy.random.Generator,
    min_count: int,
    num_bins: int = 20,
) -> CTRParts:
    """Encode the parts with the vocabulary of the training part."""
    valid = None
    if valid_share:
        train, valid = _split(train, valid_share, rng)
    fitted = CTRDataset.from_table(train, min_threshold=min_count, num_bins=num_bins)
    known = fitted.feat_mapper, fitted.defaults
    return CTRParts(
        fitted,
        CTRDataset.from_table(test, *known),
        None if valid is None else CTRDataset.from_table(valid, *known),
        layout,
    )


def _split(
    table: Table, share: float, rng: numpy.random.Generator
) -> Tuple[Table, Table]:
    """Draw `share` of the rows, at least one; return the other rows and these."""
    order = rng.permutation(len(table.labels))
    if len(order) < 2:
        raise ValueError(
            "one row is not enough: training and test need at least one row each"
        )
    size = max(1, round(share * len(order)))
    return table.rows(numpy.sort(order[size:])), table.rows(numpy.sort(order[:size]))
