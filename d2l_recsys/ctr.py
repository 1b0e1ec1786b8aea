"""Encode the fields of CTR data as indices. Section: ``ctr``."""

import os
from typing import Dict, Hashable, List, Optional, Sequence, Tuple, Union

import numpy
import pandas as pd

from d2l_recsys.data.ctr_files import Table, paths_of, read_table
from d2l_recsys.data.ctr_layouts import Layout
from d2l_recsys.data.ctr_vocabulary import (
    Bins,
    Mapper,
    Vocabulary,
    check_mapper,
    from_json,
    load_vocabulary,
    save_vocabulary,
)
from d2l_recsys.data.own_clicks import layout_for, table_of
from d2l_recsys.data.sizes import check_list, check_size
from d2l_recsys.runtime.backend import gluon

_ROWS = 2**12  # rows encoded at a time: they fit into the processor's cache
_PathLike = Union[str, "os.PathLike[str]"]


class CTRDataset(gluon.data.Dataset):
    """A CTR data set, encoded once: ``dataset[i]`` is (indices, label).

    The indices, int32 of shape (fields,), are distinct between fields: those of field f
    start at ``offsets[f]``. The label is float32 of shape (1,). For an array of n row
    numbers, the shapes are (n, fields) and (n, 1).

    `data_path` is a file or a list of files. Each line is a label, 0 or 1, and
    `num_feat` fields, separated by tabs. A header in the first line gives the number of
    fields and their separator, comma or tab. Fields may then be in quotes. The label is
    the column `label`, or one with a usual name such as click or target, or the first
    column. `data_path` may also be a DataFrame, whose label is found in the same way.
    For other formats, `layout` is 'criteo', 'avazu' or a
    :class:`~d2l_recsys.data.ctr_layouts.Layout`. `numeric` lists the fields that hold
    numbers, by name or counted from 1. They are divided into `num_bins` quantile bins.

    The vocabulary is built from the data. For a test set, pass `feat_mapper` and
    `defaults` of the training set, also after a round trip through JSON. Or pass
    `vocabulary`, a file from the training set's :meth:`save_vocabulary`. The attributes
    are

    * feat_mapper: {field, from 1: {value: index within the field}}, with the values
      sorted as text, or :class:`Bins` for a numeric field;
    * defaults: {field: index of all other values}, the last index of the field. It is
      for values that occur fewer than `min_threshold` times in the training set, or not
      at all; in a numeric field, for missing numbers;
    * field_dims, offsets: int64 of shape (fields,);
    * skipped: the number of invalid lines that were left out.

    Raises a ValueError that names file and line if a line is invalid; with
    ``on_error='skip'``, there is a warning instead, and the line is left out. Raises
    ValueError if `feat_mapper` does not fit the fields or only one of `feat_mapper` and
    `defaults` is given.

    Differs from the book: the indices do not depend on PYTHONHASHSEED (E41), invalid
    lines are errors (E42), and rows are encoded only once (E43). Section: ``ctr``.
    """

    def __init__(
        self,
        data_path: Union[_PathLike, Sequence[_PathLike], pd.DataFrame],
        feat_mapper: Optional[Mapper] = None,
        defaults: Optional[Dict[int, int]] = None,
        min_threshold: int = 4,
        num_feat: int = 34,
        layout: Union[str, Layout, None] = None,
        numeric: Sequence[Union[int, str]] = (),
        num_bins: int = 20,
        on_error: str = "raise",
        label: Optional[Hashable] = None,
        vocabulary: Optional[_PathLike] = None,
    ) -> None:
        feat_mapper, defaults = from_json(feat_mapper), from_json(defaults)
        known = None if vocabulary is None else load_vocabulary(vocabulary)
        if known is not None:
            if feat_mapper is not None or defaults is not None:
                raise ValueError(
                    "vocabulary replaces feat_mapper and defaults: pass either it or "
                    "both of them"
                )
            _, feat_mapper, defaults = known
        check_list(numeric, "numeric", "a list of fields")
        mapped = [f for f, m in (feat_mapper or {}).items() if isinstance(m, Bins)]
        numeric = [*numeric, *(known.fields[f - 1] if known else f for f in mapped)]
        if isinstance(data_path, pd.DataFrame):
            table = table_of(data_path, label, numeric)
        else:
            paths = paths_of(data_path, "data_path")
            layout = layout_for(paths, layout, num_feat, numeric, label)
            check_mapper(feat_mapper, defaults, len(layout.fields))
            table = read_table(paths, layout, on_error)
        check_mapper(feat_mapper, defaults, len(table.fields))
        if known is not None and known.fields != table.fields:
            raise ValueError(
                f"{vocabulary} has the fields {', '.join(known.fields)}, but the data "
                f"has {', '.join(table.fields)}: pass the same fields in this order"
            )
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
        """Encode a table from :func:`~d2l_recsys.data.ctr_files.read_table`.

        Raises ValueError if the table has no rows.
        """
        feat_mapper, defaults = from_json(feat_mapper), from_json(defaults)
        check_mapper(feat_mapper, defaults, len(table.fields))
        if not len(table.labels):
            raise ValueError("the table has no rows")
        dataset = cls.__new__(cls)
        dataset._encode(table, feat_mapper, defaults, min_threshold, num_bins)
        return dataset

    def _encode(
        self,
        table: Table,
        feat_mapper: Optional[Mapper],
        defaults: Optional[Dict[int, int]],
        min_threshold: int,
        num_bins: int,
    ) -> None:
        if feat_mapper is None or defaults is None:
            feat_mapper = _fit(table, min_threshold, num_bins)
            defaults = {field: len(known) for field, known in feat_mapper.items()}
        self.feat_mapper, self.defaults = feat_mapper, defaults
        self.fields, self.skipped = table.fields, table.skipped
        sizes = [defaults[field] + 1 for field in sorted(feat_mapper)]
        self.field_dims = numpy.array(sizes, dtype="int64")
        self.offsets = numpy.cumsum(self.field_dims) - self.field_dims
        self.labels = table.labels[:, None]
        index: List[int] = []  # of each distinct value, field after field
        starts = numpy.empty(len(table.values), dtype="int64")  # of the fields in it
        for column, values in enumerate(table.values):
            known, other = feat_mapper[column + 1], defaults[column + 1]
            starts[column], offset = len(index), int(self.offsets[column])
            index += [offset + known.get(v, other) for v in values]
        indices = numpy.array(index, dtype="int32")
        self.features = numpy.empty(table.codes.shape, dtype="int32")
        for row in range(0, len(self.features), _ROWS):
            rows = slice(row, row + _ROWS)
            self.features[rows] = indices[table.codes[rows] + starts]

    def save_vocabulary(self, path: _PathLike) -> None:
        """Write `feat_mapper`, `defaults` and the names of the fields as JSON.

        ``CTRDataset(data, vocabulary=path)`` encodes other data in the same way. An
        existing file is replaced only when the new one is complete.
        """
        save_vocabulary(path, Vocabulary(self.fields, self.feat_mapper, self.defaults))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.features)

    def __getitem__(
        self, index: Union[int, slice, numpy.ndarray]
    ) -> Tuple[numpy.ndarray, numpy.ndarray]:
        """Return the indices and the label of one row, or of an array of rows."""
        return self.features[index], self.labels[index]

    def id_columns(self) -> Tuple[numpy.ndarray, numpy.ndarray]:
        """Return for each column of a batch the indices that occur in it."""
        return self.features, self.labels


def _fit(table: Table, min_threshold: int, num_bins: int) -> Mapper:
    """Return the feat_mapper of a training table."""
    check_size(num_bins, "num_bins")
    check_size(min_threshold, "min_threshold", 0)
    mapper: Mapper = {}
    for column, (name, values) in enumerate(zip(table.fields, table.values)):
        counts = numpy.bincount(table.codes[:, column], minlength=len(values))
        if name in table.numeric:
            mapper[column + 1] = _quantile_bins(values, counts, num_bins)
        else:
            frequent = counts >= max(min_threshold, 1)
            kept = sorted(value for value, keep in zip(values, frequent) if keep)
            mapper[column + 1] = {value: index for index, value in enumerate(kept)}
    return mapper


def _quantile_bins(values: List[str], counts: numpy.ndarray, num_bins: int) -> Bins:
    """Return bins with about the same number of rows each."""
    present = numpy.array([value != "" for value in values])
    numbers = numpy.array([float(value) for value in values if value])
    rows = numpy.repeat(numbers, counts[present])
    if not len(rows):
        return Bins(())
    inner = numpy.arange(1, num_bins) / num_bins
    edges = numpy.unique(numpy.quantile(rows, inner, method="lower"))
    return Bins(tuple(edges[edges < rows.max()].tolist()))
