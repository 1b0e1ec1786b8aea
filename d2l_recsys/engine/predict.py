"""The prediction loop: run a net over batches, on all devices and workers."""

from typing import Any, Iterable, Optional, Sequence, Tuple

import numpy

from d2l_recsys.data.sizes import check_list
from d2l_recsys.engine.batching import num_rows
from d2l_recsys.engine.id_check import check_inputs
from d2l_recsys.runtime.backend import gluon, mx, np
from d2l_recsys.runtime.devices import devices_of, split_and_load
from d2l_recsys.runtime.workers import worker


def forward(
    net: gluon.Block, inputs: Sequence, devices: Sequence[mx.Context]
) -> numpy.ndarray:
    """Return the outputs of `net` for `inputs`, arrays of the same length, not 0."""
    arrays = [x if isinstance(x, np.ndarray) else np.array(x) for x in inputs]
    pieces = zip(*(split_and_load(x, devices) for x in arrays))
    outputs = [net(*piece) for piece in pieces]  # start all devices before reading one
    arrays = [output.asnumpy() for output in outputs]
    return arrays[0] if len(arrays) == 1 else numpy.concatenate(arrays)


def predict(
    net: gluon.Block,
    data_iter: Iterable,
    devices: Optional[Sequence[mx.Context]] = None,
) -> Tuple[numpy.ndarray, numpy.ndarray]:
    """Return the scores and labels, both (rows,), of all rows of `data_iter`.

    A batch is [input, ..., labels], and `net` returns (B,) or (B, 1). With several
    workers, each worker scores its share of a batch, and all return all scores. Raises
    ValueError if there is no batch, or if outputs or labels do not have one number for
    each row.
    """
    devices = devices_of(net, devices)
    check_list(data_iter, "data_iter", "a BatchLoader, or an iterable of batches")
    scores, labels = [], []
    for batch in data_iter:
        *inputs, label = _with_labels(batch)
        rows = num_rows(batch)
        label = label.asnumpy() if isinstance(label, np.ndarray) else label
        labels.append(_column(label, rows, "labels"))
        scores.append(numpy.zeros(rows, dtype="float32"))
        own = worker.rows(rows)
        if own.stop > own.start:
            share = [x[own] for x in inputs]
            check_inputs(net, share)
            outputs = forward(net, share, devices)
            scores[-1][own] = _column(outputs, own.stop - own.start, "outputs")
    if not labels:
        raise ValueError(
            "there is no batch to evaluate: pass an iterator that is not empty, or "
            "test_iter=None to train a CTR model without a test set"
        )
    return worker.merge(numpy.concatenate(scores)), numpy.concatenate(labels)


def _with_labels(batch: Any) -> Sequence:
    if not isinstance(batch, (list, tuple)) or len(batch) < 2:
        raise ValueError("a batch must be a list of the net's inputs and the labels")
    return batch


def _column(values: numpy.ndarray, rows: int, what: str) -> numpy.ndarray:
    """Return `values` (rows,) or (rows, 1) with the shape (rows,)."""
    if values.shape not in ((rows,), (rows, 1)):
        raise ValueError(
            f"the {what} of a batch of {rows} rows must have shape ({rows},) or "
            f"({rows}, 1), not {values.shape}"
        )
    return values.ravel()
