"""The prediction loop: run a net over batches, on all devices and workers."""

from typing import Iterable, Iterator, Optional, Sequence, Tuple

import numpy

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


def predictions(
    net: gluon.Block, batches: Iterable[Sequence], devices: Sequence[mx.Context]
) -> Iterator[Tuple[numpy.ndarray, numpy.ndarray]]:
    """Yield outputs and labels of this worker's share of each batch.

    A batch is [input, ..., labels]. Empty shares are skipped.
    """
    for batch in batches:
        *inputs, labels = worker.share(batch)
        if len(labels):
            check_inputs(net, inputs)
            labels = labels.asnumpy() if isinstance(labels, np.ndarray) else labels
            yield forward(net, inputs, devices), labels


def predict(
    net: gluon.Block,
    data_iter: Iterable,
    devices: Optional[Sequence[mx.Context]] = None,
) -> Tuple[numpy.ndarray, numpy.ndarray]:
    """Return the scores and labels, both (rows,), of all rows of `data_iter`.

    A batch is [input, ..., labels], and `net` returns (B,) or (B, 1). With several
    workers, each worker scores its share of a batch, and all return all scores. Raises
    ValueError if there is no batch.
    """
    devices = devices_of(net, devices)
    scores, labels = [], []
    for *inputs, label in data_iter:
        labels.append(label.asnumpy().ravel())
        scores.append(numpy.zeros(len(label), dtype="float32"))
        own = worker.rows(len(label))
        if own.stop > own.start:
            share = [x[own] for x in inputs]
            check_inputs(net, share)
            scores[-1][own] = forward(net, share, devices).ravel()
    if not labels:
        raise ValueError(
            "there is no batch to evaluate: pass an iterator that is not empty, or "
            "test_iter=None to train a CTR model without a test set"
        )
    return worker.merge(numpy.concatenate(scores)), numpy.concatenate(labels)
