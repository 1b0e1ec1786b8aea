"""Load the data of the scripts `ctr`, `fm` and `deepfm`, and split it into parts."""

from pathlib import Path
from typing import NamedTuple, Optional, Tuple

import numpy

from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data.ctr_files import Table, read_table
from d2l_recsys.data.ctr_layouts import LAYOUTS, tabbed
from d2l_recsys.engine.batching import BatchLoader


class CTRParts(NamedTuple):
    """The parts of a data set, encoded with the vocabulary of the training part."""

    train: CTRDataset
    test: CTRDataset
    valid: Optional[CTRDataset] = None

    def loaders(
        self, batch_size: int, seed: int
    ) -> Tuple[BatchLoader, BatchLoader, Optional[BatchLoader]]:
        """Return loaders of the training, test and validation rows (or None)."""
        return (
            BatchLoader(self.train, batch_size, shuffle=True, seed=seed),
            BatchLoader(self.test, batch_size),
            BatchLoader(self.valid, batch_size) if self.valid else None,
        )


def load_ctr(
    folder: Path, data_name: str, seed: int = 0, valid_share: float = 0
) -> CTRParts:
    """Read the data set `data_name` from `folder`, or read the user's own file.

    If `folder` is a file, each line is a label and fields, separated by tabs; a random
    sixth of its rows becomes the test part. A random share `valid_share` of the
    training rows becomes the validation part.

    Raises ValueError if a file has no tabs or too few rows, or a line is invalid.
    """
    rng = numpy.random.default_rng(seed)
    if folder.is_file():
        with open(folder, "rb") as file:
            num_feat = file.readline().count(b"\t")
        if not num_feat:
            raise ValueError(
                f"{folder}, line 1: there are no tabs; separate the fields by tabs"
            )
        train, test = _split(read_table(folder, tabbed(num_feat)), 1 / 6, rng)
    else:
        layout = LAYOUTS.get(data_name, tabbed(34))
        more = [folder / "dev.csv"] if (folder / "dev.csv").is_file() else []
        train = read_table([folder / "train.csv", *more], layout)
        test = read_table(folder / "test.csv", layout)
    valid = None
    if valid_share:
        train, valid = _split(train, valid_share, rng)
    fitted = CTRDataset.from_table(train)
    known = fitted.feat_mapper, fitted.defaults
    return CTRParts(
        fitted,
        CTRDataset.from_table(test, *known),
        None if valid is None else CTRDataset.from_table(valid, *known),
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
