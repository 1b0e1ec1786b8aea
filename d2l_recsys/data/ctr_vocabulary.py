"""The vocabulary of a CTR data set: an index for each value. Section: ``ctr``."""

import json
import os
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy

from d2l_recsys.data.lines import shown
from d2l_recsys.data.plain import plain
from d2l_recsys.data.replacing import replacing
from d2l_recsys.data.sizes import check_path

_FORMAT = "d2l-recsys vocabulary, version 1"
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


def from_json(of_fields: Optional[Mapping[Any, Any]]) -> Any:
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
        raise ValueError("feat_mapper or defaults has a field twice: 1 and '1'")
    return fields


def check_mapper(
    feat_mapper: Optional[Mapper], defaults: Optional[Dict[int, int]], num_fields: int
) -> None:
    """Raise ValueError if the vocabulary is incomplete or does not fit the fields."""
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


class Vocabulary(NamedTuple):
    """The contents of a file that CTRDataset.save_vocabulary has written."""

    fields: Tuple[str, ...]
    feat_mapper: Mapper
    defaults: Dict[int, int]


def save_vocabulary(path: _PathLike, vocabulary: Vocabulary) -> None:
    """Write a vocabulary as JSON: completely, or not at all.

    Raises an OSError that names the file, and a ValueError that names a field whose
    indices could not be loaded again.
    """
    fields, mapper, defaults = vocabulary
    check_mapper(mapper, defaults, len(fields))
    record = {"format": _FORMAT, **vocabulary._asdict()}
    with replacing(path) as file:
        file.write(json.dumps(record, default=plain, indent=1).encode())


def load_vocabulary(path: _PathLike) -> Vocabulary:
    """Read a vocabulary.

    Raises a ValueError that names the file if it is damaged or not a vocabulary.
    """
    check_path(path, "vocabulary")
    with open(path, "rb") as file:
        content = file.read()
    try:
        record = json.loads(content.decode())
        if not isinstance(record, dict) or record.get("format") != _FORMAT:
            raise ValueError("it does not begin as one")
        fields, mapper, defaults = (record[name] for name in Vocabulary._fields)
        if not isinstance(fields, list) or {*map(type, fields)} - {str}:
            raise ValueError("fields must be a list of names")
        known = Vocabulary(tuple(fields), from_json(mapper), from_json(defaults))
        check_mapper(known.feat_mapper, known.defaults, len(fields))
        for field, values in known.feat_mapper.items():
            if isinstance(values, Bins):
                _check_edges(field, values.edges)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(
            f"{path}: this is not a complete file from save_vocabulary ({reason})"
        ) from None
    return known


def _check_edges(field: int, edges: Sequence[Any]) -> None:
    numbers = all(type(edge) in (int, float) for edge in edges)
    if not numbers or not all(a < b for a, b in zip(edges, [*edges[1:], numpy.inf])):
        raise ValueError(f"field {field}: the edges of the bins must be ascending")
