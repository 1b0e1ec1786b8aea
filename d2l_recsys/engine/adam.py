"""A faster Adam trainer with the same results as Gluon's."""

import math
from typing import Any, List

import numpy

from d2l_recsys.data.sizes import MAX_NUMBERS
from d2l_recsys.runtime.backend import autograd, gluon, mx
from d2l_recsys.runtime.devices import devices_of
from d2l_recsys.runtime.memory import finish, in_memory

_BLOCK = 2**15  # numbers updated at a time: they fit into the cache of a CPU
_ALIGNED = 16  # each parameter starts at a multiple of 16 numbers, that is, 64 bytes


class FlatTrainer(gluon.Trainer):
    """Adam on one flat array; the net's parameters become views of it.

    Adam updates each number independently, so the steps are bit for bit those of
    Gluon's trainer. All parameters are updated together: with NumPy on CPUs, and
    otherwise, or with ``clip_gradient``, by one call of MXNet. Gluon's trainer makes a
    call for each parameter, which costs more than the arithmetic if the layers are
    small. Unlike Gluon's trainer, this one does not complain about a step without a
    backward pass.

    Raises ValueError that names a parameter if it is not initialized, is not float32,
    or has its own multiplier or ``grad_req``. ``step`` raises it if that has changed.
    """

    def __init__(self, net: gluon.Block, optimizer_params: dict) -> None:
        self._parts = _trained(net)
        for parameter in self._parts:
            if not _can_be_view(parameter):
                raise ValueError(
                    f"{parameter.name} must be initialized and float32, with grad_req "
                    "'write' and without multipliers"
                )
        flat = gluon.Parameter("flat", shape=(sum(map(_padded, self._parts)),))
        flat.initialize(mx.init.Zero(), ctx=self._parts[0].list_ctx())
        for k, pair in enumerate(zip(flat.list_data(), flat.list_grad())):
            # Slices of a legacy array share its memory, also when reshaped.
            arrays, start = [x.as_nd_ndarray() for x in pair], 0
            for parameter in self._parts:
                stop = start + math.prod(parameter.shape)
                views = (x[start:stop].reshape(parameter.shape) for x in arrays)
                _make_view(parameter, k, *views)
                start += _padded(parameter)
        self._arrays = [(p._data[0], p._grad[0]) for p in self._parts]
        super().__init__([flat], "adam", optimizer_params)
        self._known: dict = {}
        for parameter in self._parts:
            parameter._trainer = self  # set_data tells the trainer about new values

    def _update(self, ignore_stale_grad: bool = False) -> None:
        for parameter, (data, grad) in zip(self._parts, self._arrays):
            same_data = parameter._data[0] is data
            same_grad = parameter._grad and parameter._grad[0] is grad
            multipliers = parameter.lr_mult, parameter.wd_mult
            if not same_data or not same_grad or multipliers != (1, 1):
                raise ValueError(
                    f"{parameter.name} was initialized again, cast, moved, frozen or "
                    "given a multiplier: create a new trainer"
                )
        optimizer, flat = self._optimizer, self._params[0]
        on_cpu = all(device.device_type == "cpu" for device in flat.list_ctx())
        if on_cpu and not self._update_on_kvstore and not optimizer.clip_gradient:
            for k, updater in enumerate(self._updaters):
                self._update_in_memory(k, updater)
            return
        for data in flat.list_data():
            data._fresh_grad = True  # backward sets this flag for the views only
        super()._update(ignore_stale_grad)

    def _update_in_memory(self, k: int, updater: Any) -> None:
        """Update the parameters on device `k`, a CPU, with NumPy.

        NumPy uses the vector units of the CPU, and MXNet does not.
        """
        optimizer, flat = self._optimizer, self._params[0]
        weight, grad = flat.list_data()[k], flat.list_grad()[k]
        if 0 not in updater.states:
            updater.states[0] = optimizer.create_state_multi_precision(0, weight)
            updater.states_synced[0] = True
        state = updater.states[0]
        if k not in self._known or self._known[k][0] is not state:
            arrays = [in_memory(array) for array in (weight, grad, *state)]
            self._known[k] = state, arrays
        optimizer._set_current_context(weight.ctx.device_id)
        optimizer._update_count(0)
        lr, t = optimizer._get_lr(0), optimizer._index_update_count[0]
        lr *= math.sqrt(1 - optimizer.beta2**t) / (1 - optimizer.beta1**t)
        betas = optimizer.beta1, optimizer.beta2
        settings = lr, optimizer._get_wd(0), optimizer.rescale_grad
        finish()
        adam(*self._known[k][1], *settings, *betas, optimizer.epsilon)


def adam(
    weight: numpy.ndarray,
    grad: numpy.ndarray,
    mean: numpy.ndarray,
    var: numpy.ndarray,
    *settings: float,
) -> None:
    """Update float32 arrays (n,) as MXNet's ``adam_update`` does, in the same order.

    The settings are the learning rate, the weight decay, a factor by which the gradient
    is multiplied, beta1, beta2 and epsilon.
    """
    lr, wd, scale, beta1, beta2, epsilon = map(numpy.float32, settings)
    size = min(_BLOCK, len(weight))
    buffers = numpy.empty((2, size), dtype="float32")
    for start in range(0, len(weight), size):
        block = slice(start, start + size)
        w, m, v = weight[block], mean[block], var[block]
        g, step = buffers[:, : len(w)]
        numpy.multiply(grad[block], scale, out=g)
        g += numpy.multiply(w, wd, out=step)
        m *= beta1
        m += numpy.multiply(g, 1 - beta1, out=step)
        v *= beta2
        numpy.multiply(g, 1 - beta2, out=step)
        g *= step
        v += g
        numpy.sqrt(v, out=g)
        g += epsilon
        numpy.multiply(m, lr, out=step)
        step /= g
        w -= step


def trained_by(trainer: gluon.Trainer) -> list:
    """Return the parameters of the net that `trainer` updates."""
    flat = isinstance(trainer, FlatTrainer)
    return list(trainer._parts if flat else trainer._params)


def make_trainer(
    net: gluon.Block, optimizer: str, optimizer_params: dict
) -> gluon.Trainer:
    """Return ``gluon.Trainer(net.collect_params(), optimizer, optimizer_params)``.

    For 'adam', return the faster :class:`FlatTrainer` if the parameters allow it and
    fit into one array. Raises ValueError if the net is not initialized.
    """
    devices_of(net)  # raises an error if the net is not initialized
    parameters = _trained(net)
    flat = optimizer == "adam" and parameters and all(map(_can_be_view, parameters))
    if flat and sum(map(_padded, parameters)) <= MAX_NUMBERS:
        return FlatTrainer(net, optimizer_params)
    return gluon.Trainer(net.collect_params(), optimizer, optimizer_params)


def _trained(net: gluon.Block) -> List[gluon.Parameter]:
    """Return the trainable parameters, in the same order for nets of the same kind."""
    places = net._collect_params_with_prefix().values()
    known = {id(parameter) for parameter in places}
    others = [p for p in net.collect_params().values() if id(p) not in known]
    return [p for p in (*places, *others) if p.grad_req != "null"]


def _can_be_view(parameter: gluon.Parameter) -> bool:
    multipliers = parameter.lr_mult, parameter.wd_mult
    float32 = parameter._data is not None and numpy.dtype(parameter.dtype) == "float32"
    return float32 and parameter.grad_req == "write" and multipliers == (1, 1)


def _padded(parameter: gluon.Parameter) -> int:
    return math.ceil(math.prod(parameter.shape) / _ALIGNED) * _ALIGNED


def _make_view(parameter: gluon.Parameter, k: int, data: Any, grad: Any) -> None:
    """Make `data` and `grad` the arrays of the parameter on its device number `k`."""
    data, grad = data.as_np_ndarray(), grad.as_np_ndarray()
    data[:] = parameter.list_data()[k]
    parameter._data[k], parameter._grad[k] = data, grad
    autograd.mark_variables([data], [grad], parameter.grad_req)
