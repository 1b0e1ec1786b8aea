"""Encode the fields of CTR data as indices. Section: ``ctr``."""

import os
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy

from d2l_recsys.data.ctr_files import Table, read_table
from d2l_recsys.data.ctr_layouts import LAYOUTS, Layout, tabbed
from d2l_recsys.data.lines import shown
from d2l_recsys.data.sizes import check_size
from d2l_recsys.runtime.backend import gluon

_PathLike = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Bins:
    """The bins of a numeric field. Bin i contains ``edges[i-1] < x <= edges[i]``."""

    edges: Tuple[float, ...]

    def __len__(self) -> int:
        """Return the number of bins, not counting the index for missing numbers."""
        return len(self.edges) + 1

    def get(self, text: str, missing: int) -> int:
        """Return the bin of the number in `text`, or `missing` if `text` is empty."""
        return bisect_left(self.edges, float(text)) if text else missing


Mapper = Dict[int, Union[Dict[str, int], Bins]]


class CTRDataset(gluon.data.Dataset):
    """A CTR data set, encoded once: ``dataset[i]`` is (indices, label).

    The indices, int32 of shape (fields,), are distinct between fields: those of field f
    start at ``offsets[f]``. The label is float32 of shape (1,). For an array of n row
    numbers, the shapes are (n, fields) and (n, 1).

    `data_path` is a file or a list of files. Each line is a label, 0 or 1, and
    `num_feat` fields, separated by tabs. For other formats, `layout` is 'criteo',
    'avazu' or a :class:`~d2l_recsys.data.ctr_layouts.Layout`; then `num_feat` is
    ignored. `numeric` lists the fields of the book's layout that hold numbers, counted
    from 1. They are divided into `num_bins` quantile bins.

    The vocabulary is built from the file. For a test file, pass `feat_mapper` and
    `defaults` of the training set instead. They may have been through JSON, which makes
    text of the fields' numbers. The attributes are

    * feat_mapper: {field, from 1: {value: index within the field}}, with the values
      sorted as text, or :class:`Bins` for a numeric field;
    * defaults: {field: index of all other values}, the last one of the field. It stands
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
        data_path: Union[_PathLike, Sequence[_PathLike]],
        feat_mapper: Optional[Mapper] = None,
        defaults: Optional[Dict[int, int]] = None,
        min_threshold: int = 4,
        num_feat: int = 34,
        layout: Union[str, Layout, None] = None,
        numeric: Sequence[int] = (),
        num_bins: int = 20,
        on_error: str = "raise",
    ) -> None:
        if isinstance(layout, str):
            if layout not in LAYOUTS:
                raise ValueError(
                    f"layout must be {', '.join(LAYOUTS)} or a Layout, not {layout!r}"
                )
            layout = LAYOUTS[layout]
        feat_mapper, defaults = _from_json(feat_mapper), _from_json(defaults)
        if layout is None:
            mapped = [f for f, m in (feat_mapper or {}).items() if isinstance(m, Bins)]
            layout = tabbed(num_feat, [*{*numeric, *mapped}])
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
        """Encode a table from :func:`~d2l_recsys.data.ctr_files.read_table`.

        Raises ValueError if the table has no rows.
        """
        feat_mapper, defaults = _from_json(feat_mapper), _from_json(defaults)
        _check_mapper(feat_mapper, defaults, len(table.fields))
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
        self.features = numpy.empty(table.codes.shape, dtype="int32")
        for column, values in enumerate(table.values):
            known, other = feat_mapper[column + 1], defaults[column + 1]
            index = numpy.array([known.get(v, other) for v in values], dtype="int32")
            index += self.offsets[column].astype("int32")
            self.features[:, column] = index[table.codes[:, column]]

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


def _from_json(of_fields: Optional[Mapping[Any, Any]]) -> Any:
    """Return {field: value} with integers as fields and :class:`Bins` as bins."""
    if of_fields is None:
        return None
    if not isinstance(of_fields, Mapping):
        raise ValueError(
            "feat_mapper and defaults must be dictionaries, not of type "
            f"{type(of_fields).__name__}"
        )
    if all(isinstance(field, int) for field in of_fields):
        return of_fields
    fields = {
        int(field) if str(field).isdecimal() else field: (
            Bins(tuple(value["edges"]))  # as json.dumps(..., default=vars) writes them
            if isinstance(value, dict) and isinstance(value.get("edges"), list)
            else value
        )
        for field, value in of_fields.items()
    }
    if len(fields) < len(of_fields):
        raise ValueError("a field of feat_mapper or defaults is there twice: 1 and '1'")
    return fields


def _check_mapper(
    feat_mapper: Optional[Mapper], defaults: Optional[Dict[int, int]], num_fields: int
) -> None:
    if (feat_mapper is None) != (defaults is None):
        raise ValueError(
            "feat_mapper and defaults belong together: pass both or neither, "
            "feat_mapper=train.feat_mapper and defaults=train.defaults"
        )
    if feat_mapper is None or defaults is None:
        return
    expected = set(range(1, num_fields + 1))
    if set(feat_mapper) != expected or set(defaults) != expected:
        raise ValueError(
            f"feat_mapper has {len(feat_mapper)} fields and defaults has "
            f"{len(defaults)}, but the file has {num_fields}: pass those of a training "
            "set with the same fields"
        )
    for field, known in feat_mapper.items():
        if not isinstance(known, (Bins, Mapping)):
            raise ValueError(
                f"field {field}: feat_mapper must hold a dictionary or Bins, not "
                f"{shown(known)}"
            )
        indices = range(len(known)) if isinstance(known, Bins) else known.values()
        other = defaults[field]
        if not all(
            isinstance(i, (int, numpy.integer)) and 0 <= i <= other
            for i in (other, *indices)
        ):
            raise ValueError(
                f"field {field}: the indices of feat_mapper must be integers from 0 to "
                f"{other}, the default: pass both from the same training set"
            )
