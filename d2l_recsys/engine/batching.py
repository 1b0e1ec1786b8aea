"""Batches at the cost of a slice: what gluon's DataLoader yields, much faster."""

from typing import Iterator, List, Union

import numpy

from d2l_recsys.runtime.backend import gluon, np

_BLOCK_BYTES = 2**26
_BLOCK_ROWS = 2**18  # rows gathered at a time: memory stays small, Python seldom runs


class BatchLoader:
    """Iterate over a data set in batches.

    `dataset` is an array, a tuple of arrays of one length, or a data set whose
    ``dataset[indices]`` gives the rows for an array of indices. As with gluon's
    DataLoader a batch is one array if the data set is one, else a list of arrays, all
    in MXNet and of shape (B, ...); dtypes are kept.

    `last_batch` tells what becomes of the rows that don't fill a batch: 'keep' yields
    them as a short batch, 'discard' drops them, 'rollover' puts them at the start of
    the next epoch. Each epoch is shuffled afresh by a generator seeded with `seed`.

    Raises ValueError for a batch size below 1, an unknown `last_batch`, arrays of
    different lengths, or no rows.
    """

    def __init__(
        self, dataset, batch_size: int, shuffle=False, last_batch="keep", seed: int = 0
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        if last_batch not in ("keep", "discard", "rollover"):
            raise ValueError(
                f"last_batch is 'keep', 'discard' or 'rollover', not {last_batch!r}"
            )
        if isinstance(dataset, (tuple, list)):
            dataset = Arrays(dataset)
        elif isinstance(dataset, np.ndarray) or hasattr(dataset, "to_numpy"):
            dataset = _array(dataset)
        if len(dataset) == 0:
            raise ValueError("there are no rows to make batches of")
        self.dataset, self.batch_size = dataset, batch_size
        self.shuffle, self.last_batch = shuffle, last_batch
        self.rng = numpy.random.default_rng(seed)
        self._left_over = numpy.empty(0, dtype="int64")

    def __len__(self) -> int:
        """Return the number of batches of the next epoch."""
        rows = len(self.dataset) + len(self._left_over)
        full, rest = divmod(rows, self.batch_size)
        return full + (rest > 0 and self.last_batch == "keep")

    def __iter__(self) -> Iterator[Union[np.ndarray, List[np.ndarray]]]:
        """Yield the batches of one epoch."""
        order = self._order()
        # A matrix's rows may be long: of an array, no more at a time than _BLOCK_BYTES.
        width = getattr(self.dataset, "nbytes", 0) // len(self.dataset)
        most = min(_BLOCK_ROWS, _BLOCK_BYTES // max(1, width))
        block = self.batch_size * max(1, most // self.batch_size)
        for start in range(0, len(order), block):
            rows = self.dataset[order[start : start + block]]
            single = not isinstance(rows, (tuple, list))
            arrays = [np.array(a) for a in ([rows] if single else rows)]
            for at in range(0, len(arrays[0]), self.batch_size):
                batch = [a[at : at + self.batch_size] for a in arrays]
                yield batch[0] if single else batch

    @property
    def state(self) -> dict:
        """The random states and rows that later epochs depend on, as plain numbers."""
        return {
            "order": self.rng.bit_generator.state,
            "left_over": self._left_over.tolist(),
            "negatives": self._sampler and self._sampler.rng.bit_generator.state,
        }

    @state.setter
    def state(self, state: dict) -> None:
        self.rng.bit_generator.state = state["order"]
        self._left_over = numpy.array(state["left_over"], dtype="int64")
        if self._sampler:
            self._sampler.rng.bit_generator.state = state["negatives"]

    @property
    def _sampler(self):
        return getattr(self.dataset, "sampler", None)

    def _order(self):
        """Return the indices of one epoch's rows."""
        order = numpy.arange(len(self.dataset))
        if self.shuffle:
            self.rng.shuffle(order)
        if self.last_batch == "rollover":
            order = numpy.concatenate([self._left_over, order])
        if self.last_batch != "keep":
            full = len(order) - len(order) % self.batch_size
            order, rest = order[:full], order[full:]
            if self.last_batch == "rollover":
                self._left_over = rest
        return order


class Arrays:
    """Arrays of one length as a data set: one index gives a row, an array rows."""

    def __init__(self, arrays):
        self.arrays = [_array(a) for a in arrays]
        lengths = [len(a) for a in self.arrays]
        if len(set(lengths)) != 1:
            raise ValueError(f"the arrays differ in length: {lengths}")

    def __len__(self):
        """Return the number of rows."""
        return len(self.arrays[0])

    def __getitem__(self, index):
        """Return the rows at `index`, an int or an array of ints, as a tuple."""
        return tuple(a[index] for a in self.arrays)

    def id_columns(self):
        """Return for each column of a batch the ids that occur in it."""
        return self.arrays


class WithNegatives(gluon.data.Dataset):
    """Columns of ids, users first, and a negative item for each access to a row.

    A subclass sets `columns`, arrays (n, ...), and `sampler`.
    """

    def __len__(self):
        """Return the number of rows."""
        return len(self.columns[0])

    def __getitem__(self, index):
        """Return the rows at `index`, an int or an array of ints, with negatives."""
        rows = [column[index] for column in self.columns]
        return (*rows, self.sampler.sample(rows[0]))

    def id_columns(self):
        """Return for each column of a batch the ids that occur in it."""
        return (*self.columns, self.sampler.largest_id())


def side_by_side(*ids):
    """Repeat ids that stand alone, of shape (1, ...), as often as the others are many.

    Raises ValueError for other numbers. In a graph ids are left alone.
    """
    if not isinstance(ids[0], np.ndarray):
        return ids
    rows = max(map(len, ids))
    if {*map(len, ids)} - {1, rows}:
        shapes = " and ".join(str(x.shape) for x in ids)
        raise ValueError(f"ids of shapes {shapes} do not go together")
    return [x if len(x) == rows else np.repeat(x, rows, axis=0) for x in ids]


def _array(values):
    """Return values of MXNet, pandas or plain Python as NumPy's, by position."""
    return values.asnumpy() if hasattr(values, "asnumpy") else numpy.asarray(values)
