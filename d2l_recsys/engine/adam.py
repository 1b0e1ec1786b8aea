"""A trainer that takes gluon's steps at less cost."""

import math

import numpy

from d2l_recsys.runtime.backend import autograd, gluon, mx

_ALIGNED = 16  # parameters begin at multiples of so many numbers, which is 64 bytes


class FlatTrainer(gluon.Trainer):
    """gluon's trainer with one parameter, an array of which the net's become parts.

    Adam treats each number by itself, so that the steps are the same, bit for bit. What
    an operation costs MXNet, which is more than what the numbers of a small layer do,
    is spent once in place of once for each parameter. A step without a backward pass
    before it is no error here.

    Raises ValueError naming a parameter that is not initialised or not float32, or has
    multipliers or a ``grad_req`` of its own; from ``step``, one of which that was
    changed since.
    """

    def __init__(self, net: gluon.Block, optimizer_params: dict):
        self._parts = _trained(net)
        for part in self._parts:
            if not _can_be_part(part):
                raise ValueError(f"{part.name} is not initialised, float32 and plain")
        flat = gluon.Parameter("flat", shape=(sum(map(_padded, self._parts)),))
        flat.initialize(mx.init.Zero(), ctx=self._parts[0].list_ctx())
        for k, arrays in enumerate(zip(flat.list_data(), flat.list_grad())):
            arrays, start = [x.as_nd_ndarray() for x in arrays], 0
            for part in self._parts:
                stop = start + math.prod(part.shape)
                # Slices and shapes of a legacy array share its memory.
                _become(part, k, *(x[start:stop].reshape(part.shape) for x in arrays))
                start += _padded(part)
        self._begun_with = [(part._data[0], part._grad[0]) for part in self._parts]
        super().__init__([flat], "adam", optimizer_params)
        for part in self._parts:
            part._trainer = self  # so that it hears of values set between its steps

    def _update(self, ignore_stale_grad=False):
        for part, (data, slope) in zip(self._parts, self._begun_with):
            arrays = part._data[0] is data and part._grad and part._grad[0] is slope
            if not arrays or (part.lr_mult, part.wd_mult) != (1, 1):
                raise ValueError(
                    f"{part.name} was initialised again, cast, moved, frozen or given "
                    "a multiplier: make a new trainer"
                )
        for data in self._params[0].list_data():
            data._fresh_grad = True  # MXNet notes it of the parts alone
        super()._update(ignore_stale_grad)


def trained_by(trainer: gluon.Trainer) -> list:
    """Return the parameters of the net that `trainer` updates."""
    flat = isinstance(trainer, FlatTrainer)
    return list(trainer._parts if flat else trainer._params)


def make_trainer(
    net: gluon.Block, optimizer: str, optimizer_params: dict
) -> gluon.Trainer:
    """Return ``gluon.Trainer(net.collect_params(), optimizer, optimizer_params)``.

    For 'adam' it is a :class:`FlatTrainer`, which is faster, where that can be.
    """
    parts = _trained(net)
    if optimizer == "adam" and parts and all(map(_can_be_part, parts)):
        return FlatTrainer(net, optimizer_params)
    return gluon.Trainer(net.collect_params(), optimizer, optimizer_params)


def _trained(net):
    """Return the parameters in an order that is the same for each net of a kind."""
    places = net._collect_params_with_prefix().values()
    known = {id(parameter) for parameter in places}
    others = [p for p in net.collect_params().values() if id(p) not in known]
    return [p for p in (*places, *others) if p.grad_req != "null"]


def _can_be_part(parameter):
    multipliers = parameter.lr_mult, parameter.wd_mult
    numbers = parameter._data is not None and numpy.dtype(parameter.dtype) == "float32"
    return numbers and parameter.grad_req == "write" and multipliers == (1, 1)


def _padded(parameter):
    return math.ceil(math.prod(parameter.shape) / _ALIGNED) * _ALIGNED


def _become(parameter, k, data, slope):
    """Let `data` and `slope` be the parameter on its device `k`."""
    data, slope = data.as_np_ndarray(), slope.as_np_ndarray()
    data[:] = parameter.list_data()[k]
    parameter._data[k], parameter._grad[k] = data, slope
    autograd.mark_variables([data], [slope], parameter.grad_req)
