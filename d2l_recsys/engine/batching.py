"""A loader that yields the batches of Gluon's DataLoader, but much faster."""

from typing import Any, Callable, Iterable, Iterator, List, Sequence, Tuple, Union

import numpy

from d2l_recsys.data.ids import numbers
from d2l_recsys.data.lines import shown
from d2l_recsys.data.sampling import NegativeSampler
from d2l_recsys.data.sizes import check_size, generator
from d2l_recsys.runtime.backend import gluon, np

# Rows are gathered in blocks: large ones for speed, but limited to save memory.
_BLOCK_ROWS = 2**18
_BLOCK_BYTES = 2**22
# The types of MXNet's arrays.
_DTYPES = ("float16", "float32", "float64", "uint8", "int8", "int32", "int64", "bool")


Batch = Union[Any, List[Any]]  # an array, or a list of arrays of the same length


class BatchLoader:
    """Iterate over a data set in batches.

    `dataset` is an array, a tuple of arrays of the same length, or a data set that can
    be indexed by an array of row numbers. As with Gluon's DataLoader, a batch is an
    array if the data set is one, and a list of arrays otherwise. They are MXNet arrays
    of shape (B, ...). Dtypes are kept.

    `last_batch` determines what happens to rows that do not fill a batch. 'keep' yields
    them as a smaller batch, 'discard' drops them, and 'rollover' puts them at the start
    of the next epoch. If `shuffle` is true, each epoch has a new random order, from a
    generator seeded with `seed`.

    Differs from the book: its training loaders use 'rollover' (E48).

    Raises ValueError if the batch size is below 1, `last_batch` is unknown, the lengths
    of the arrays differ, or there are no rows.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        shuffle: bool = False,
        last_batch: str = "keep",
        seed: int = 0,
    ) -> None:
        check_size(batch_size, "batch_size")
        if last_batch not in ("keep", "discard", "rollover"):
            raise ValueError(
                "last_batch must be 'keep', 'discard' or 'rollover', not "
                f"{last_batch!r}"
            )
        if isinstance(dataset, (tuple, list)):
            dataset = Arrays(dataset)
        elif isinstance(dataset, np.ndarray) or hasattr(dataset, "to_numpy"):
            dataset = _array(dataset)
        if not hasattr(dataset, "__len__") or getattr(dataset, "ndim", 1) < 1:
            raise ValueError(
                "dataset must be an array, a tuple of arrays or a data set, not "
                f"{shown(dataset)}"
            )
        if len(dataset) == 0:
            raise ValueError("there are no rows to make batches of")
        self.dataset, self.batch_size = dataset, batch_size
        self.shuffle, self.last_batch = shuffle, last_batch
        self.rng = generator(seed)
        self._left_over = numpy.empty(0, dtype="int64")

    def __len__(self) -> int:
        """Return the number of batches in the next epoch."""
        rows = len(self.dataset) + len(self._left_over)
        full, rest = divmod(rows, self.batch_size)
        return full + (rest > 0 and self.last_batch == "keep")

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one epoch."""
        return self._batches(np.array)

    def in_numpy(self) -> Iterator[Batch]:
        """Yield the batches of one epoch as arrays of NumPy."""
        return self._batches(numpy.asarray)

    def _batches(self, array: Callable) -> Iterator[Batch]:
        for index in self._blocks():
            rows = self.dataset[index]
            single = not isinstance(rows, (tuple, list))
            arrays = [array(_array(a)) for a in ([rows] if single else rows)]
            for first in range(0, len(arrays[0]), self.batch_size):
                batch = [a[first : first + self.batch_size] for a in arrays]
                yield batch[0] if single else batch

    @property
    def can_share(self) -> bool:
        """Whether single rows of a batch can be read, so that :meth:`shares` works."""
        kind, rule = type(self.dataset), type(self._sampler)
        if issubclass(kind, WithNegatives):
            same_rows = kind.__getitem__ is WithNegatives.__getitem__
            return same_rows and rule.sample is NegativeSampler.sample
        return kind in (numpy.ndarray, Arrays)

    def shares(self, share: Callable[[int], slice]) -> Iterator[List[numpy.ndarray]]:
        """Yield the rows ``batch[share(size)]`` of each batch of any size.

        The others are not read.
        """
        for index in self._blocks():
            chosen, sizes = numpy.zeros(len(index), dtype=bool), []
            for first in range(0, len(index), self.batch_size):
                part = chosen[first : first + self.batch_size]
                part = part[share(len(part))]
                part[:] = True
                sizes.append(len(part))
            dataset = self.dataset
            if isinstance(dataset, WithNegatives):
                rows: Any = dataset.some(index, chosen)
            else:
                rows = dataset[index[chosen]]
            single = isinstance(rows, numpy.ndarray)
            columns = [_array(x) for x in ([rows] if single else rows)]
            stop = 0
            for size in sizes:
                first, stop = stop, stop + size
                yield [column[first:stop] for column in columns]

    def _blocks(self) -> Iterator[numpy.ndarray]:
        """Yield the row numbers of several batches at a time."""
        order = self._order()
        # The rows of a matrix may be long.
        width = getattr(self.dataset, "nbytes", 0) // len(self.dataset)
        most = min(_BLOCK_ROWS, _BLOCK_BYTES // max(1, width))
        block = self.batch_size * max(1, most // self.batch_size)
        for start in range(0, len(order), block):
            yield order[start : start + block]

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
    def _sampler(self) -> Any:
        return getattr(self.dataset, "sampler", None)

    def _order(self) -> numpy.ndarray:
        """Return the row numbers of one epoch, in its order."""
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
    """Arrays of the same length as a data set: indexing returns a tuple of rows."""

    def __init__(self, arrays: Sequence) -> None:
        self.arrays = [_array(a) for a in arrays]
        lengths = [len(a) for a in self.arrays]
        if len(set(lengths)) != 1:
            raise ValueError(f"the arrays differ in length: {lengths}")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.arrays[0])

    def __getitem__(self, index: Any) -> Tuple:
        """Return the row at `index`, or the rows at an array of indices, as a tuple."""
        return tuple(a[index] for a in self.arrays)

    def id_columns(self) -> Sequence:
        """Return for each column of a batch the ids that occur in it."""
        return self.arrays


class WithNegatives(gluon.data.Dataset):
    """Columns of ids, users first, with a new negative item at each access to a row.

    A subclass sets `columns`, arrays (n, ...), `sampler` and `num_neg`. Each row of the
    columns appears `num_neg` times in succession, each time with its own negative.

    Raises ValueError if `num_neg` is below 1.
    """

    columns: Sequence[numpy.ndarray]
    sampler: NegativeSampler

    def __init__(self, num_neg: int) -> None:
        if num_neg < 1:
            raise ValueError(f"num_neg must be at least 1, not {num_neg}")
        self.num_neg = num_neg

    def __len__(self) -> int:
        """Return the number of rows, with their repetitions."""
        return len(self.columns[0]) * self.num_neg

    def __getitem__(self, index: Any) -> Tuple:
        """Return the rows at `index`, an int or an array of ints, with negatives."""
        index = self._in_columns(index)
        rows = [column[index] for column in self.columns]
        return (*rows, self.sampler.sample(rows[0]))

    def some(self, index: numpy.ndarray, chosen: numpy.ndarray) -> Tuple:
        """Return those of the rows ``self[index]`` that are chosen, (n,) of bool."""
        index = self._in_columns(index)
        drawn = self.sampler.draw(self.columns[0][index])[chosen]
        rows = [column[index[chosen]] for column in self.columns]
        return (*rows, self.sampler.sample(rows[0], drawn))

    def _in_columns(self, index: Any) -> Any:
        if self.num_neg == 1:
            return index
        index = range(len(self))[index] if isinstance(index, slice) else index
        return numpy.asarray(index) // self.num_neg

    def id_columns(self) -> Sequence:
        """Return for each column of a batch the ids that occur in it."""
        return (*self.columns, self.sampler.largest_id())


def num_rows(batch: Sequence) -> int:
    """Return the number of rows; raise ValueError if the arrays differ in length."""
    kinds = [type(x).__name__ for x in batch if not hasattr(x, "shape")]
    if kinds:
        raise ValueError(f"a batch must be a list of arrays, but has a {kinds[0]}")
    lengths = [x.shape[:1] for x in batch]
    if {*lengths} != {lengths[0]} or not lengths[0]:
        shapes = " and ".join(str(x.shape) for x in batch)
        raise ValueError(f"the arrays of a batch differ in length: they are {shapes}")
    return lengths[0][0]


def in_numpy(loader: Iterable) -> Iterable:
    """Return the batches of a loader, as arrays of NumPy if it can make these."""
    return loader.in_numpy() if hasattr(loader, "in_numpy") else loader


def in_order(loader: Any) -> bool:
    """Return whether a loader yields the rows of its data set in their order.

    Iterables other than :class:`BatchLoader` and Gluon's DataLoader are assumed to.
    """
    if isinstance(loader, gluon.data.DataLoader):
        batches = loader._batch_sampler
        return (
            type(batches) is gluon.data.BatchSampler
            and type(batches._sampler) is gluon.data.SequentialSampler
        )
    return not getattr(loader, "shuffle", False)


def side_by_side(*ids: np.ndarray) -> Sequence[np.ndarray]:
    """Repeat ids of shape (1, ...) to the length of the others.

    Raises ValueError if other lengths differ. Symbols of a graph are returned as is.
    """
    if not isinstance(ids[0], np.ndarray):
        return ids
    rows = max(map(len, ids))
    if {*map(len, ids)} - {1, rows}:
        shapes = " and ".join(str(x.shape) for x in ids)
        raise ValueError(
            f"the ids must have the same length or length 1: their shapes are {shapes}"
        )
    return [x if len(x) == rows else np.repeat(x, rows, axis=0) for x in ids]


def _array(values: Any) -> numpy.ndarray:
    """Return values of MXNet, pandas or plain Python as a NumPy array, by position.

    Raises ValueError if MXNet has no arrays of such values. Whole numbers of other
    types, such as uint64 and pandas' Int64, become int64.
    """
    array = values.asnumpy() if hasattr(values, "asnumpy") else numpy.asarray(values)
    if array.dtype.name not in _DTYPES:
        return numbers(values, "value").reshape(array.shape)
    return array
