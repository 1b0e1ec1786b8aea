"""Copies of parameters, to undo an epoch that diverged or to keep the best one."""

import math
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional

import numpy

from d2l_recsys.data.sizes import check_size
from d2l_recsys.engine.checkpoint import Checkpoint, History
from d2l_recsys.engine.errors import NonFiniteLoss
from d2l_recsys.runtime.backend import autograd, gluon, np


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
def undo_unfinished(
    net: gluon.Block, trainer: gluon.Trainer, epoch: int
) -> Iterator[None]:
    """If `epoch` diverges or is interrupted, restore the parameters from its start.

    Raises NonFiniteLoss that says what to do if the epoch diverged.
    """
    start = Snapshot(net)
    try:
        yield
    except KeyboardInterrupt:
        with autograd.pause():  # Ctrl-C may come while MXNet is recording
            start.restore()
        raise
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


# The metric that chooses the best epoch is the first of these that there is.
_CHOSEN_BY: Dict[str, Callable] = {
    "valid_log_loss": min,
    "valid_rmse": min,
    "valid_auc": max,
}


def kept_epoch(history: History) -> Dict[str, float]:
    """Return the epoch whose parameters the net has after training.

    This is the best one on validation data, or the last epoch without validation.
    The measure is the log loss, the RMSE or, of a ranking model, the AUC, which varies
    less than the hit rate.
    """
    for key, best in _CHOSEN_BY.items():
        if key in history[-1]:
            return best(history, key=lambda epoch: epoch[key])
    return history[-1]


def which_epoch(history: History) -> str:
    """Return a note on the epoch that validation kept, or an empty text."""
    kept = kept_epoch(history)
    if not {*_CHOSEN_BY} & {*kept}:
        return ""
    return f" (epoch {kept['epoch']} of {len(history)}, the best on validation data)"


class BestEpoch:
    """Keep the parameters of the best epoch on validation data.

    Raises ValueError if `patience` is below 1.
    """

    def __init__(self, net: gluon.Block, patience: Optional[int] = None) -> None:
        if patience is not None:
            check_size(patience, "patience")
        self.net, self.patience = net, math.inf if patience is None else patience
        self._snapshot: Optional[Snapshot] = None

    def __call__(self, history: History) -> bool:
        """Check the newest epoch; return whether the last `patience` were no better."""
        if not which_epoch(history):
            return False
        kept = kept_epoch(history)
        if kept is history[-1]:
            self._snapshot = Snapshot(self.net)
        return len(history) - kept["epoch"] >= self.patience

    def restore(self) -> None:
        """Restore the parameters of the best epoch."""
        if self._snapshot:
            self._snapshot.restore()


def check_validation(
    valid_iter: Any,
    patience: Optional[int] = None,
    checkpoint: Optional[Checkpoint] = None,
) -> None:
    """Raise ValueError if the arguments of a training function do not fit together."""
    if valid_iter is not None and checkpoint is not None:
        raise ValueError(
            "valid_iter= and checkpoint= cannot be used together: a checkpoint does "
            "not store the parameters of the best epoch"
        )
    if patience is not None and valid_iter is None:
        raise ValueError(
            "patience= needs valid_iter=: the best epoch is chosen on rows that are "
            "used neither for training nor for testing"
        )
