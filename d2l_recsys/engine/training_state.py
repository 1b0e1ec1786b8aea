"""The state of a net, its trainer and its batches, as arrays and plain numbers."""

from typing import Any, Dict, List

import numpy

from d2l_recsys.engine.batching import in_order
from d2l_recsys.engine.errors import CheckpointError
from d2l_recsys.runtime.backend import gluon, np
from d2l_recsys.runtime.workers import worker

# Numbers of an optimizer that change from step to step; the others are settings.
_COUNTERS = {"num_update", "begin_num_update", "rescale_grad", "m_schedule"}
_SPELLED_OUT = {"lr": "learning_rate"}


def check_can_be_saved(net: gluon.Block, train_iter: Any) -> None:
    """Raise CheckpointError where a resumed training would go on differently."""
    if isinstance(train_iter, gluon.data.DataLoader) and not _repeats(train_iter):
        raise CheckpointError(
            "this Gluon DataLoader cannot be resumed: the state of its random order, "
            "its negatives or its left-over rows cannot be saved. Use "
            "d2l_recsys.engine.batching.BatchLoader"
        )
    for name, parameter in net.collect_params().items():
        if parameter._data is None:
            raise CheckpointError(
                f"{name} has no values yet: give the layer its in_units, or call the "
                "net once before training with checkpoints"
            )
        copies = len(parameter.list_ctx()) * worker.num_workers
        if copies > 1 and not parameter._differentiable:
            raise CheckpointError(
                f"{name} differs between devices and workers, but checkpoints hold one "
                "value: train on one device, or without checkpoints"
            )


def _repeats(loader: Any) -> bool:
    """Return whether a Gluon DataLoader yields the same batches in every epoch."""
    return (
        in_order(loader)
        and loader._batch_sampler._last_batch != "rollover"
        and not hasattr(loader._dataset, "sampler")
    )


def get_parameters(net: gluon.Block) -> Dict[str, numpy.ndarray]:
    """Return the parameters of `net` by name."""
    parameters = net._collect_params_with_prefix().items()
    return {f"net/{name}": p.list_data()[0].asnumpy() for name, p in parameters}


def put_parameters(net: gluon.Block, arrays: Dict[str, numpy.ndarray]) -> None:
    """Set the parameters of `net`.

    Raises :class:`CheckpointError` that names a parameter with another shape.
    """
    for name, parameter in net._collect_params_with_prefix().items():
        saved = arrays.get(f"net/{name}")
        if saved is None or saved.shape != parameter.shape:
            raise CheckpointError(
                f"the checkpoint is of another model: its parameter {name} has shape "
                f"{getattr(saved, 'shape', None)}, this model's {parameter.shape}"
            )
        parameter.set_data(np.array(saved))


def put_batches(train_iter: Any, state: Any) -> None:
    """Set the state of `train_iter`, if it has one.

    Raises :class:`CheckpointError` for the state of another kind of iterator.
    """
    try:
        if (state is None) == hasattr(train_iter, "state"):
            raise TypeError
        if state is not None:
            train_iter.state = state
    except (TypeError, ValueError, KeyError):
        raise CheckpointError(
            "the checkpoint's batches came from another kind of loader or data set: "
            "resume with the same"
        ) from None


def get_settings(trainer: gluon.Trainer) -> Dict[str, float]:
    """Return learning rate, weight decay and the other settings of the optimizer."""
    scalars = _scalars(trainer._optimizer)
    return {
        _SPELLED_OUT.get(name, name): value
        for name, value in scalars.items()
        if name not in _COUNTERS
    }


def _updaters(trainer: gluon.Trainer) -> list:
    """Return the updaters that hold the optimizer's state, one per device or one."""
    if not trainer._kv_initialized:
        trainer._init_kvstore()
    if trainer._params_to_init:
        trainer._init_params()
    if trainer._kvstore is not None and trainer._update_on_kvstore:
        return [trainer._kvstore._updater]
    return trainer._updaters


def _names(net: gluon.Block, trainer: gluon.Trainer) -> List[str]:
    """Return the trainer's parameters, in its order, by their place in the net.

    The trainer orders them by names with a number that counts up in a process, so
    that their indices differ from one net to the next.
    """
    places = {id(p): name for name, p in net._collect_params_with_prefix().items()}
    return [places.get(id(p), p.name) for p in trainer._params]


def get_optimizer(net: gluon.Block, trainer: gluon.Trainer, arrays: dict) -> dict:
    """Add the optimizer's arrays to `arrays`; return its counters and settings."""
    names, optimizer = _names(net, trainer), trainer._optimizer
    for k, updater in enumerate(_updaters(trainer)):
        for index, state in updater.states.items():
            for part, array in enumerate(_flat(state)):
                arrays[f"optimizer/{k}/{names[index]}/{part}"] = array.asnumpy()
    counts = optimizer._all_index_update_counts.items()
    return {
        "class": type(optimizer).__name__,
        "scalars": _scalars(optimizer),
        "counts": {k: {names[i]: n for i, n in count.items()} for k, count in counts},
    }


def put_optimizer(
    net: gluon.Block, trainer: gluon.Trainer, arrays: dict, saved: dict
) -> None:
    """Set the state of the optimizer to what :func:`get_optimizer` returned.

    Raises :class:`CheckpointError` for another kind of trainer.
    """
    names, optimizer = _names(net, trainer), trainer._optimizer
    if not {*names}.issuperset(*saved["counts"].values()):
        raise CheckpointError(
            "the checkpoint's trainer has other parameters than this run's: resume "
            "with the kind of trainer that saved it"
        )
    vars(optimizer).update(saved["scalars"])
    for device, counts in saved["counts"].items():
        mine = optimizer._all_index_update_counts.setdefault(int(device), {})
        mine.update({names.index(name): n for name, n in counts.items()})
    for k, updater in enumerate(_updaters(trainer)):
        for index, name in enumerate(names):
            if f"optimizer/{k}/{name}/0" not in arrays:
                continue  # the optimizer has no state, or took no step yet
            weight = trainer._params[index].list_data()[k]
            state = updater.optimizer.create_state_multi_precision(index, weight)
            for part, array in enumerate(_flat(state)):
                array[:] = arrays[f"optimizer/{k}/{name}/{part}"]
            updater.states[index] = state
            updater.states_synced[index] = True


def _scalars(optimizer: Any) -> Dict[str, Any]:
    """Return its settings, its counters, and numbers that some keep (Nadam)."""
    return {
        name: value
        for name, value in vars(optimizer).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _flat(state: Any) -> list:
    """Return the arrays of an optimizer's state: None, an array, or nested tuples."""
    if state is None:
        return []
    if isinstance(state, (tuple, list)):
        return [array for part in state for array in _flat(part)]
    return [state]
