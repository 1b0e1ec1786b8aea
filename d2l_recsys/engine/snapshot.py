"""Copies of parameters, to undo an epoch that diverged or to keep the best one."""

import math
from contextlib import contextmanager
from typing import Dict, Iterable, Iterator, List, Optional

import numpy

from d2l_recsys.data.sizes import check_size
from d2l_recsys.engine.checkpoint import Checkpoint, History
from d2l_recsys.engine.errors import NonFiniteLoss
from d2l_recsys.runtime.backend import gluon, np


class Snapshot:
    """A copy of the initialized parameters of `net`, from all of its devices."""

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


def _copies(parameter: gluon.Parameter) -> List[np.ndarray]:
    """Return the values on all devices, or on the first if they are the same."""
    values = parameter.list_data()
    # The running statistics of batch normalization differ between devices.
    return values[:1] if parameter._differentiable else values


def check_finite(net: gluon.Block) -> None:
    """Raise NonFiniteLoss that names a parameter if it is NaN or infinite."""
    for name, values in Snapshot(net).values.items():
        if not all(numpy.isfinite(value.asnumpy()).all() for value in values):
            raise NonFiniteLoss(f"{name} is NaN or infinite")


@contextmanager
def undo_on_divergence(
    net: gluon.Block, trainer: gluon.Trainer, epoch: int
) -> Iterator[None]:
    """If `epoch` raises NonFiniteLoss, restore the parameters from its start."""
    start = Snapshot(net)
    try:
        yield
    except NonFiniteLoss as error:
        start.restore()
        if epoch == 1 and str(error).endswith("in batch 1"):
            raise NonFiniteLoss(
                f"{error} of epoch 1, before the first step: look for NaN in the data, "
                "the initial parameters and the loss"
            ) from None
        when = "" if "in batch" in str(error) else " at the end"
        raise NonFiniteLoss(
            f"{error}{when} of epoch {epoch}, with learning rate "
            f"{trainer.learning_rate:g}: use a new trainer with a lower one. The "
            f"parameters from the end of epoch {epoch - 1} have been restored."
        ) from None


class BestEpoch:
    """Keep the parameters of the epoch with the lowest `key`: pass it as ``on_epoch``.

    Training ends when `key` has not improved for `patience` epochs. Raises ValueError
    if `patience` is below 1.
    """

    def __init__(self, net: gluon.Block, key: str, patience: int) -> None:
        check_size(patience, "patience")
        self.net, self.key, self.patience = net, key, patience
        self.epoch, self.lowest = 0, math.inf
        self._snapshot: Optional[Snapshot] = None

    def __call__(self, history: History) -> bool:
        """Check the newest epoch, and return whether to stop."""
        epoch, value = len(history), history[-1][self.key]
        if value < self.lowest:
            self.epoch, self.lowest = epoch, value
            self._snapshot = Snapshot(self.net)
        return epoch - self.epoch >= self.patience

    def restore(self) -> None:
        """Restore the parameters of the best epoch."""
        if self._snapshot:
            self._snapshot.restore()


def best_epoch(
    net: gluon.Block,
    patience: Optional[int],
    valid_iter: Optional[Iterable],
    checkpoint: Optional[Checkpoint],
) -> Optional[BestEpoch]:
    """Return early stopping for ``train_ch13``, or None without `patience`.

    Raises ValueError if the arguments do not fit together.
    """
    if patience is not None and checkpoint is not None:
        raise ValueError("patience= and checkpoint= cannot be used together")
    if (patience is None) != (valid_iter is None):
        raise ValueError(
            "patience= and valid_iter= belong together: the best epoch is chosen on "
            "rows that are used neither for training nor for testing"
        )
    return BestEpoch(net, "valid_log_loss", patience) if patience is not None else None
