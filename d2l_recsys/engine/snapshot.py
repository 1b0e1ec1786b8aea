"""Copies of parameters, to undo an epoch that diverged or to keep the best one."""

import math
from contextlib import contextmanager
from typing import Dict, Iterator, List, Optional

import numpy

from d2l_recsys.engine.checkpoint import History
from d2l_recsys.engine.errors import NonFiniteLoss
from d2l_recsys.runtime.backend import gluon, np


class Snapshot:
    """A copy of the parameters of `net` that have values, from all of its devices."""

    def __init__(self, net: gluon.Block):
        self._net = net
        self.values: Dict[str, List[np.ndarray]] = {
            name: [data.copy() for data in _copies(parameter)]
            for name, parameter in net.collect_params().items()
            if parameter._data is not None
        }

    def restore(self) -> None:
        """Give the net the copied parameters."""
        for name, parameter in self._net.collect_params().items():
            if name in self.values:
                parameter.set_data(self.values[name][0])
                for data, value in zip(_copies(parameter), self.values[name]):
                    data[:] = value


def _copies(parameter):
    """Return the values on all devices, or on the first if they are the same."""
    values = parameter.list_data()
    # The running statistics of batch normalization differ between devices.
    return values[:1] if parameter._differentiable else values


def check_finite(net: gluon.Block) -> None:
    """Raise NonFiniteLoss that names a parameter that is NaN or infinite."""
    for name, values in Snapshot(net).values.items():
        if not all(numpy.isfinite(value.asnumpy()).all() for value in values):
            raise NonFiniteLoss(f"{name} became NaN or infinite at the end")


@contextmanager
def undo_on_divergence(
    net: gluon.Block, trainer: gluon.Trainer, epoch: int
) -> Iterator[None]:
    """Restore the parameters from the start of `epoch` if it raises NonFiniteLoss."""
    begin = Snapshot(net)
    try:
        yield
    except NonFiniteLoss as error:
        begin.restore()
        if epoch == 1 and str(error).endswith("in batch 1"):
            raise NonFiniteLoss(
                f"{error} of epoch 1, before any step: look for NaN in the data, in "
                "the initial parameters and in the loss"
            ) from None
        raise NonFiniteLoss(
            f"{error} of epoch {epoch}, with learning rate {trainer.learning_rate:g}: "
            "lower it, with a new trainer. The net has the parameters from the end of "
            f"epoch {epoch - 1} again."
        ) from None


class BestEpoch:
    """Keep the parameters of the epoch with the lowest `key`: pass it as ``on_epoch``.

    Training ends when `key` has not improved for `patience` epochs. Raises ValueError
    if `patience` is below 1.
    """

    def __init__(self, net: gluon.Block, key: str, patience: int):
        if patience < 1:
            raise ValueError(f"patience must be at least 1, not {patience}")
        self.net, self.key, self.patience = net, key, patience
        self.epoch, self.lowest = 0, math.inf
        self._snapshot = None

    def __call__(self, history: History) -> bool:
        """Look at the newest epoch; return whether to stop."""
        epoch, value = len(history), history[-1][self.key]
        if value < self.lowest:
            self.epoch, self.lowest = epoch, value
            self._snapshot = Snapshot(self.net)
        return epoch - self.epoch >= self.patience

    def restore(self) -> None:
        """Give the net the parameters of its best epoch."""
        if self._snapshot:
            self._snapshot.restore()


def best_epoch(net, patience: Optional[int], valid_iter, checkpoint):
    """Return the :class:`BestEpoch` of a CTR model, or None without `patience`.

    Raises ValueError for arguments that cannot be combined.
    """
    if patience is not None and checkpoint is not None:
        raise ValueError("patience= and checkpoint= cannot be used together")
    if (patience is None) != (valid_iter is None):
        raise ValueError(
            "patience= and valid_iter= belong together: the best epoch is chosen on "
            "rows that are neither in the training set nor in the test set"
        )
    return BestEpoch(net, "valid_log_loss", patience) if patience is not None else None
