"""Check that gradients reach the parameters that a trainer updates."""

import warnings
from typing import Iterable, Sequence

from d2l_recsys.engine.adam import trained_by
from d2l_recsys.runtime.backend import gluon, mx
from d2l_recsys.runtime.devices import devices_of, elsewhere


def check_gradients(net: gluon.Block, devices: Sequence[mx.Context]) -> None:
    """Raise ValueError if a step would use gradients of other batches."""
    own = devices_of(net)
    if {*devices} != {*own}:
        raise elsewhere(own, devices)
    for name, parameter in net.collect_params().items():
        if parameter.grad_req == "add":
            raise ValueError(f"{name} adds its gradients up: set grad_req to 'write'")


def check_trainer(net: gluon.Block, trainer: gluon.Trainer) -> None:
    """Raise ValueError if `trainer` does not train `net`; warn if it does in part."""
    if not isinstance(trainer, gluon.Trainer):
        raise ValueError(
            f"trainer must be a gluon.Trainer, not of type {type(trainer).__name__}"
        )
    mine = {id(parameter) for parameter in trained_by(trainer)}
    trainable = [p for p in net.collect_params().values() if p.grad_req != "null"]
    missing = [p.name for p in trainable if id(p) not in mine]
    if len(missing) == len(trainable):
        raise ValueError(
            f"the trainer does not train any parameter of this {type(net).__name__}: "
            "make a trainer with the parameters of the net that is trained"
        )
    if missing:
        warnings.warn(
            f"the trainer does not train {', '.join(missing)}: add them to the "
            "trainer, or set their grad_req to 'null' if they should not change",
            stacklevel=4,
        )


def forget_gradients(parameters: Iterable[gluon.Parameter]) -> None:
    """Let :func:`check_reached` count only gradients written from now on."""
    for parameter in parameters:
        if parameter.grad_req != "null":
            for data in parameter._data or ():
                data._fresh_grad = False


def check_reached(parameters: Iterable[gluon.Parameter]) -> None:
    """Raise ValueError if the last backward pass did not reach all `parameters`."""
    missed = [
        p.name
        for p in parameters
        if p.grad_req != "null"
        and (p._data is None or not all(data._fresh_grad for data in p._data))
    ]
    if missed:
        raise ValueError(
            f"{', '.join(missed)} got no gradient from the first batch: the loss does "
            "not depend on them. Use them in forward, remove them, or set their "
            "grad_req to 'null' before making the trainer"
        )


def zero_gradients(net: gluon.Block, device: mx.Context) -> None:
    """Set the gradients on `device` to zero, and mark them as newly written."""
    for parameter in net.collect_params().values():
        if parameter.grad_req != "null":
            parameter.grad(device)[:] = 0
            parameter.data(device)._fresh_grad = True
