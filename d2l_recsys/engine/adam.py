"""A faster Adam trainer with the same results as Gluon's."""

import math
from contextlib import contextmanager
from functools import partial, reduce
from typing import Any, Iterator, List, Optional, Sequence, Tuple

import numpy

from d2l_recsys.data.sizes import MAX_NUMBERS
from d2l_recsys.engine.compiled_loops import compiled_loops
from d2l_recsys.runtime.backend import autograd, gluon, mx
from d2l_recsys.runtime.devices import devices_of
from d2l_recsys.runtime.memory import finish, in_memory
from d2l_recsys.runtime.shared_memory import SharedMemory
from d2l_recsys.runtime.workers import worker

_BLOCK = 2**15  # numbers updated at a time: they fit into the cache of a CPU
Views = List[Tuple[Any, Any]]  # data and gradient of each parameter
_ALIGNED = 16  # each parameter starts at a multiple of 16 numbers, that is, 64 bytes


class FlatTrainer(gluon.Trainer):
    """Adam on one flat array; the net's parameters become views of it.

    Adam updates each number independently, so the steps are bit for bit those of
    Gluon's trainer. All parameters are updated together: on CPUs by NumPy, or by a
    compiled loop if there are many; on GPUs, or with ``clip_gradient``, by one call of
    MXNet. Gluon's trainer makes a call for each parameter, which costs more than the
    arithmetic if the layers are small. Unlike Gluon's trainer, this one does not
    complain about a step without a backward pass.

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
            views = self._views(*pair)
            for parameter, (data, _) in zip(self._parts, views):
                data[:] = parameter.list_data()[k]
            self._use(k, views)
        super().__init__([flat], "adam", optimizer_params)
        self._known: dict = {}
        loops = compiled_loops(flat.shape[0]) if self._works_in_memory() else None
        self._rule = partial(adam, loops=loops)
        self._shared: Optional[SharedMemory] = None
        for parameter in self._parts:
            parameter._trainer = self  # set_data tells the trainer about new values

    def _views(self, data: Any, grad: Any) -> Views:
        """Return data and gradient of each parameter, as views of flat arrays."""
        # Slices of a legacy array share its memory, also when reshaped.
        arrays, start, views = [x.as_nd_ndarray() for x in (data, grad)], 0, []
        for parameter in self._parts:
            stop = start + math.prod(parameter.shape)
            parts = (x[start:stop].reshape(parameter.shape) for x in arrays)
            data, grad = (x.as_np_ndarray() for x in parts)
            autograd.mark_variables([data], [grad], parameter.grad_req)
            views.append((data, grad))
            start += _padded(parameter)
        return views

    def _use(self, k: int, views: Views) -> None:
        """Let the parameters have these arrays on device number `k`."""
        for parameter, (data, grad) in zip(self._parts, views):
            parameter._data[k], parameter._grad[k] = data, grad
        if k == 0:
            self._arrays = views

    def sharable_size(self) -> int:
        """Return the size of the flat array, or 0 if workers cannot share it."""
        flat = self._params[0]
        one = flat.list_ctx() == [mx.cpu()]  # where views of shared memory are
        return math.prod(flat.shape) if one and self._works_in_memory() else 0

    def views_of(self, shared: SharedMemory) -> Views:
        """Return the arrays that the parameters have while sharing memory."""
        both = shared.weight, shared.grads[worker.rank]
        return self._views(*(mx.nd.from_numpy(x[:]) for x in both))

    @contextmanager
    def sharing(self, shared: SharedMemory, views: Views) -> Iterator[None]:
        """Train in memory that all workers share. Each updates a part of it."""
        self._check_arrays()
        weight, _, *state = self._in_memory(0, self._updaters[0])
        pairs = [*zip((weight, *state), (shared.weight, shared.mean, shared.var))]
        own_views = self._arrays
        finish()
        for own, common in pairs:
            common[:] = own
        self._use(0, views)
        self._shared = shared
        try:
            yield
        finally:
            self._use(0, own_views)
            self._shared = None
            finish()
            for own, common in pairs:
                own[:] = common
        shared.meet()  # before others start the next epoch

    def _check_arrays(self) -> None:
        """Raise ValueError that names a parameter with other arrays or settings."""
        for parameter, (data, grad) in zip(self._parts, self._arrays):
            same_data = parameter._data[0] is data
            same_grad = parameter._grad and parameter._grad[0] is grad
            multipliers = parameter.lr_mult, parameter.wd_mult
            if not same_data or not same_grad or multipliers != (1, 1):
                raise ValueError(
                    f"{parameter.name} was initialized again, cast, moved, frozen or "
                    "given a multiplier: create a new trainer"
                )

    def _update(self, ignore_stale_grad: bool = False) -> None:
        self._check_arrays()
        if self._works_in_memory():
            for k, updater in enumerate(self._updaters):
                self._update_in_memory(k, updater)
            return
        for data in self._params[0].list_data():
            data._fresh_grad = True  # backward sets this flag for the views only
        super()._update(ignore_stale_grad)

    def _works_in_memory(self) -> bool:
        on_cpu = all(d.device_type == "cpu" for d in self._params[0].list_ctx())
        clips = self._optimizer.clip_gradient
        return on_cpu and not self._update_on_kvstore and not clips

    def _update_in_memory(self, k: int, updater: Any) -> None:
        """Update the parameters on device `k`, a CPU, with NumPy or a compiled loop.

        Both use the vector units of the CPU, and MXNet does not.
        """
        optimizer, context = self._optimizer, self._params[0].list_ctx()[k]
        weight, grad, mean, var = self._in_memory(k, updater)
        optimizer._set_current_context(context.device_id)
        optimizer._update_count(0)
        lr, t = optimizer._get_lr(0), optimizer._index_update_count[0]
        lr *= math.sqrt(1 - optimizer.beta2**t) / (1 - optimizer.beta1**t)
        settings = [lr, optimizer._get_wd(0), optimizer.rescale_grad]
        settings += [optimizer.beta1, optimizer.beta2, optimizer.epsilon]
        finish()
        if self._shared:
            self._shared.update(self._rule, *settings)
        else:
            self._rule(weight, [grad], mean, var, *settings)

    def _in_memory(self, k: int, updater: Any) -> List[numpy.ndarray]:
        """Return parameters, gradients and state of Adam on device `k`."""
        flat = self._params[0]
        weight, grad = flat.list_data()[k], flat.list_grad()[k]
        if 0 not in updater.states:
            state = self._optimizer.create_state_multi_precision(0, weight)
            updater.states[0], updater.states_synced[0] = state, True
        state = updater.states[0]
        if k not in self._known or self._known[k][0] is not state:
            arrays = [in_memory(array) for array in (weight, grad, *state)]
            self._known[k] = state, arrays
        return self._known[k][1]


def adam(
    weight: numpy.ndarray,
    grads: Sequence[numpy.ndarray],
    mean: numpy.ndarray,
    var: numpy.ndarray,
    *settings: float,
    loops: Any = None,
) -> None:
    """Update float32 arrays (n,) as MXNet's ``adam_update`` does, in the same order.

    The gradient is the sum of `grads`. The settings are the learning rate, the weight
    decay, a factor by which the gradient is multiplied, beta1, beta2 and epsilon. With
    the compiled `loops`, the results are the same bit for bit.
    """
    lr, wd, scale, beta1, beta2, epsilon = numbers = [*map(numpy.float32, settings)]
    if loops:
        loops.adam(weight, reduce(numpy.add, grads), mean, var, *numbers)
        return
    size = min(_BLOCK, len(weight))
    buffers = numpy.empty((2, size), dtype="float32")
    for start in range(0, len(weight), size):
        block = slice(start, start + size)
        w, m, v = weight[block], mean[block], var[block]
        g, step = buffers[:, : len(w)]
        grad = grads[0][block]
        for more in grads[1:]:
            grad = numpy.add(grad, more[block], out=g)
        numpy.multiply(grad, scale, out=g)
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
