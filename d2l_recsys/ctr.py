"""Click-through rates: fields of an advertisement as indices. Section: ``ctr``."""

import os
from bisect import bisect_left
from dataclasses import dataclass
from typing import Dict, Optional, Sequence, Tuple, Union

import numpy

from d2l_recsys.data.ctr_files import Table, read_table
from d2l_recsys.data.ctr_layouts import LAYOUTS, Layout, tabbed

_PathLike = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Bins:
    """The bins of a field of numbers: bin i holds ``edges[i-1] < x <= edges[i]``."""

    edges: Tuple[float, ...]

    def __len__(self) -> int:
        """Return the number of bins, without the one for missing numbers."""
        return len(self.edges) + 1

    def get(self, text: str, missing: int) -> int:
        """Return the bin of the number that `text` writes, `missing` for no text."""
        return bisect_left(self.edges, float(text)) if text else missing


Mapper = Dict[int, Union[Dict[str, int], Bins]]


class CTRDataset:
    """Advertisements, encoded once: ``dataset[i]`` is (indices, label).

    The indices, int32 of shape (fields,), count through all fields: those of field f
    are ``offsets[f]`` and up. The label is float32 of shape (1,). For an array of n
    row numbers the shapes are (n, fields) and (n, 1).

    A line of `data_path`, one file or a list of files, is a label 0 or 1 and `num_feat`
    fields, with tabs between. `layout` is 'criteo', 'avazu' or a
    :class:`~d2l_recsys.data.ctr_layouts.Layout`, which then tells the number of fields.
    `numeric` are the numbers, from 1, of those fields in the book's layout that hold
    numbers: these are binned at `num_bins` quantiles.

    The vocabulary is that of the file, unless `feat_mapper` and `defaults` of a
    training set are given, as they should be for a test file:

    * feat_mapper: {field, from 1: {value: its index within the field}}, values in the
      order of their text, or :class:`Bins` for a field of numbers;
    * defaults: {field: the index for all other values}, the field's last one: values
      seen fewer than `min_threshold` times, or never; for numbers: missing ones;
    * field_dims, offsets: int64 of shape (fields,).

    With ``on_error='skip'`` faulty lines are left out, with a warning, and counted in
    `skipped`. Raises ValueError naming file and line otherwise, and for a mapper that
    doesn't fit the fields or comes without its `defaults`.

    Differs from the book: the same file gives the same indices whatever PYTHONHASHSEED
    (E41), faulty lines are errors (E42), rows are encoded once (E43).
    Section: ``ctr``.
    """

    def __init__(
        self,
        data_path: Union[_PathLike, Sequence[_PathLike]],
        feat_mapper: Optional[Mapper] = None,
        defaults: Optional[Dict[int, int]] = None,
        min_threshold: int = 4,
        num_feat: int = 34,
        layout: Union[str, Layout, None] = None,
        numeric: Sequence[int] = (),
        num_bins: int = 20,
        on_error: str = "raise",
    ):
        if isinstance(layout, str):
            if layout not in LAYOUTS:
                raise ValueError(
                    f"layout is {', '.join(LAYOUTS)} or a Layout, not {layout!r}"
                )
            layout = LAYOUTS[layout]
        if layout is None:
            mapped = [f for f, m in (feat_mapper or {}).items() if isinstance(m, Bins)]
            layout = tabbed(num_feat, {*numeric, *mapped})
        _check_mapper(feat_mapper, defaults, len(layout.fields))
        table = read_table(data_path, layout, on_error)
        self._encode(table, feat_mapper, defaults, min_threshold, num_bins)

    @classmethod
    def from_table(
        cls,
        table: Table,
        feat_mapper: Optional[Mapper] = None,
        defaults: Optional[Dict[int, int]] = None,
        min_threshold: int = 4,
        num_bins: int = 20,
    ) -> "CTRDataset":
        """Return the data set of a table that was read already, or of a part of it."""
        _check_mapper(feat_mapper, defaults, len(table.fields))
        dataset = cls.__new__(cls)
        dataset._encode(table, feat_mapper, defaults, min_threshold, num_bins)
        return dataset

    def _encode(self, table, feat_mapper, defaults, min_threshold, num_bins):
        if feat_mapper is None:
            feat_mapper = _fit(table, min_threshold, num_bins)
            defaults = {field: len(known) for field, known in feat_mapper.items()}
        self.feat_mapper, self.defaults = feat_mapper, defaults
        self.fields, self.skipped = table.fields, table.skipped
        sizes = [defaults[field] + 1 for field in sorted(feat_mapper)]
        self.field_dims = numpy.array(sizes, dtype="int64")
        self.offsets = numpy.cumsum(self.field_dims) - self.field_dims
        self.labels = table.labels[:, None]
        self.features = numpy.empty(table.codes.shape, dtype="int32")
        for column, values in enumerate(table.values):
            known, other = feat_mapper[column + 1], defaults[column + 1]
            index = numpy.array([known.get(v, other) for v in values], dtype="int32")
            index += self.offsets[column].astype("int32")
            self.features[:, column] = index[table.codes[:, column]]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.features)

    def __getitem__(self, index) -> Tuple[numpy.ndarray, numpy.ndarray]:
        """Return indices and label of row `index`, or of an array of rows."""
        return self.features[index], self.labels[index]


def _fit(table, min_threshold, num_bins):
    """Return the feat_mapper of a training table."""
    if num_bins < 1:
        raise ValueError(f"num_bins must be at least 1, not {num_bins}")
    mapper = {}
    for column, (name, values) in enumerate(zip(table.fields, table.values)):
        counts = numpy.bincount(table.codes[:, column], minlength=len(values))
        if name in table.numeric:
            mapper[column + 1] = _quantile_bins(values, counts, num_bins)
        else:
            frequent = counts >= max(min_threshold, 1)
            kept = sorted(v for v, often in zip(values, frequent) if often)
            mapper[column + 1] = {value: index for index, value in enumerate(kept)}
    return mapper


def _quantile_bins(values, counts, num_bins):
    """Return bins that hold about as many rows each; equal numbers share one."""
    there = numpy.array([value != "" for value in values])
    numbers = numpy.array([float(value) for value in values if value])
    rows = numpy.repeat(numbers, counts[there])
    if not len(rows):
        return Bins(())
    inner = numpy.arange(1, num_bins) / num_bins
    edges = numpy.unique(numpy.quantile(rows, inner, method="lower"))
    return Bins(tuple(edges[edges < rows.max()].tolist()))


def _check_mapper(feat_mapper, defaults, num_fields):
    if (feat_mapper is None) != (defaults is None):
        raise ValueError(
            "feat_mapper and defaults belong together: pass both of the training set, "
            "feat_mapper=train.feat_mapper, defaults=train.defaults, or neither"
        )
    if feat_mapper is None:
        return
    expected = set(range(1, num_fields + 1))
    if set(feat_mapper) != expected or set(defaults) != expected:
        raise ValueError(
            f"feat_mapper has {len(feat_mapper)} fields and defaults {len(defaults)}, "
            f"the file has {num_fields}: they are of another format"
        )
