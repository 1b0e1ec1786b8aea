"""The data of the scripts `ctr`, `fm` and `deepfm`: reading and cutting into parts."""

from typing import NamedTuple, Optional

import numpy

from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data.ctr_files import read_table
from d2l_recsys.data.ctr_layouts import LAYOUTS, tabbed
from d2l_recsys.engine.batching import BatchLoader


class CTRParts(NamedTuple):
    """The parts, encoded with the vocabulary of the training part."""

    train: CTRDataset
    test: CTRDataset
    valid: Optional[CTRDataset] = None

    def loaders(self, batch_size: int, seed: int):
        """Return iterators over train, test and validation rows (or None)."""
        return (
            BatchLoader(self.train, batch_size, shuffle=True, seed=seed),
            BatchLoader(self.test, batch_size),
            BatchLoader(self.valid, batch_size) if self.valid else None,
        )


def load_ctr(folder, data_name: str, seed: int = 0, valid_share: float = 0) -> CTRParts:
    """Read the data set called `data_name` in `folder`, which may be a file.

    A file of one's own has a label and fields with tabs between; a sixth of its rows,
    drawn at random, becomes the test part. `valid_share` of the training rows become
    the validation part.
    """
    rng = numpy.random.default_rng(seed)
    if folder.is_file():
        with open(folder, "rb") as file:
            num_feat = file.readline().count(b"\t")
        if not num_feat:
            raise ValueError(f"{folder}, line 1: no tab; tabs separate the fields")
        train, test = _cut(read_table(folder, tabbed(num_feat)), 1 / 6, rng)
    else:
        layout = LAYOUTS.get(data_name, tabbed(34))
        more = [folder / "dev.csv"] if (folder / "dev.csv").is_file() else []
        train = read_table([folder / "train.csv", *more], layout)
        test = read_table(folder / "test.csv", layout)
    train, valid = _cut(train, valid_share, rng) if valid_share else (train, None)
    fitted = CTRDataset.from_table(train)
    known = fitted.feat_mapper, fitted.defaults
    return CTRParts(
        fitted,
        CTRDataset.from_table(test, *known),
        None if valid is None else CTRDataset.from_table(valid, *known),
    )


def _cut(table, share, rng):
    """Return the other rows, and `share` of the rows (at least one) drawn at random."""
    order = rng.permutation(len(table.labels))
    if len(order) < 2:
        raise ValueError("one row of data is too few to train and test with")
    size = max(1, round(share * len(order)))
    return table.rows(numpy.sort(order[size:])), table.rows(numpy.sort(order[:size]))
