"""Run the forward and backward pass of a hybridized net as one program of MXNet."""

import math
from copy import copy
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy

from d2l_recsys.engine.dropout import Mask, Masks
from d2l_recsys.engine.graphs import NoProgram
from d2l_recsys.engine.id_check import input_symbols
from d2l_recsys.engine.simplify import simplified
from d2l_recsys.runtime import cores
from d2l_recsys.runtime.backend import autograd, gluon, mx, nn, np
from d2l_recsys.runtime.memory import Place, finish, in_memory

_MOST_SHAPES = 8  # kept ready, of batches on all devices together


class Program:
    """Run ``losses(F, net, loss, *inputs)`` as a graph, bound to the net's parameters.

    MXNet's executor computes the losses and all gradients in two calls. For small
    models, Gluon takes twice as long, mostly to record what it will differentiate.
    Later changes to `loss` do not affect the graph.
    """

    def __init__(self, losses: Callable, net: gluon.Block, loss: gluon.loss.Loss):
        self._losses, self._net, self._loss = losses, net, copy(loss)
        self._bound: Dict[Any, _Bound] = {}
        self.masks = Masks()

    @staticmethod
    def can_run(net: gluon.Block, loss: gluon.loss.Loss) -> bool:
        """Return whether `net` is hybridized, and both define ``hybrid_forward``."""
        written = [getattr(type(x), "hybrid_forward", None) for x in (net, loss)]
        abstract = (None, nn.HybridBlock.hybrid_forward, gluon.loss.Loss.hybrid_forward)
        active = getattr(net, "_active", False)
        return active and all(f not in abstract for f in written)

    def __call__(
        self, devices: Sequence[mx.Context], pieces: Sequence[Sequence]
    ) -> List[Sequence[numpy.ndarray]]:
        """Write the gradients of one piece per device; return the outputs of each.

        A piece is a sequence of inputs, arrays of MXNet or NumPy. The next call for
        inputs of the same shapes overwrites the outputs.
        """
        finish()
        graphs = [self._on(*each) for each in zip(devices, pieces)]
        for graph, inputs in zip(graphs, pieces):
            graph.run(inputs, self.masks)
        finish()
        return [[place.values() for place in graph.outputs] for graph in graphs]

    def _on(self, device: mx.Context, inputs: Sequence) -> "_Bound":
        """Return the graph bound for inputs of these shapes and types."""
        kind = device, *((x.shape, x.dtype) for x in inputs)
        bound = self._bound.get(kind)
        if bound is None or not bound.is_current():
            if bound is not None or len(self._bound) == _MOST_SHAPES:
                self._bound.clear()
            bound = self._bound[kind] = self._bind(device, inputs)
        return bound

    def _bind(self, device: mx.Context, inputs: Sequence) -> "_Bound":
        arrays = [np.empty(x.shape, x.dtype, ctx=device) for x in inputs]
        parameters: dict = {}
        for block in (self._net, self._loss):
            parameters.update(block.collect_params())
        with autograd.train_mode():
            if any(p._data is None for p in parameters.values()):
                # The first call finds the shapes.
                self._losses(mx.nd, self._net, self._loss, *arrays)
            symbols = input_symbols(len(inputs))
            try:
                graph = self._losses(mx.sym, self._net, self._loss, *symbols)
            except Exception:  # whatever a reader's own code raises for symbols
                raise NoProgram from None
        if isinstance(graph, (list, tuple)):
            loss, *rest = (x.as_nd_ndarray() for x in graph)
            graph = mx.sym.Group([loss, *map(mx.sym.BlockGrad, rest)])
        return _Bound(graph, device, arrays, parameters)


class _Bound:
    """A graph, bound to arrays for its inputs and to the parameters on a device."""

    def __init__(self, graph: Any, device: mx.Context, inputs: list, parameters: dict):
        self._places = [Place(x) for x in inputs]
        arrays = {f"input {k}": x for k, x in enumerate(inputs)}
        self._masks: List[Tuple[numpy.ndarray, float]] = []
        names = [*graph.list_arguments(), *graph.list_auxiliary_states()]
        if device.device_type == "cpu":
            graph, factors = simplified(graph, {**parameters, **arrays})
            for name, factor in factors.items():
                if isinstance(factor, Mask):
                    arrays[name] = np.empty(factor.shape, ctx=device)
                    self._masks.append((in_memory(arrays[name]), factor.rate))
                else:
                    arrays[name] = np.array(factor, ctx=device)
        self._parameters, gradients = [], {}
        left = {*graph.list_arguments()}
        for name in names:
            if name in arrays:
                continue
            parameter = parameters[name]
            k = parameter.list_ctx().index(device)
            arrays[name] = parameter._data[k]
            if parameter._grad:
                gradients[name] = parameter._grad[k]
                if name not in left:  # only its shape mattered
                    gradients[name][:] = 0
            self._parameters.append((parameter, k, arrays[name], gradients.get(name)))
        self._threads = cores.threads_for(_largest(graph, arrays))
        self._executor = graph.bind(
            device,
            {name: arrays[name] for name in graph.list_arguments()},
            gradients,
            {name: "write" if name in gradients else "null" for name in arrays},
            {name: arrays[name] for name in graph.list_auxiliary_states()},
        )
        losses, *rest = self._executor.outputs
        # What the gradients of the outputs are multiplied by.
        self._heads = [mx.nd.ones_like(losses), *map(mx.nd.zeros_like, rest)]
        self._head_handles = mx.base.c_handle_array(self._heads)
        self.outputs = [Place(x) for x in (losses, *rest)]

    def is_current(self) -> bool:
        """Return whether the parameters still have the arrays bound here."""
        return all(
            (p._data and p._data[k]) is data and (p._grad and p._grad[k]) is grad
            for p, k, data, grad in self._parameters
        )

    def run(self, inputs: Sequence, masks: Masks) -> None:
        """Write the outputs and gradients."""
        for place, x in zip(self._places, inputs):
            place.fill(x)
        for mask, rate in self._masks:
            masks.fill(mask, rate)
        # The methods of Executor also make new arrays: twice the time.
        run, handle, heads = mx.base._LIB, self._executor.handle, self._head_handles
        if self._threads:
            mx.base.check_call(run.MXSetNumOMPThreads(self._threads))
        mx.base.check_call(run.MXExecutorForward(handle, 1))
        mx.base.check_call(run.MXExecutorBackwardEx(handle, len(heads), heads, 1))
        for _, _, data, grad in self._parameters:
            if grad is not None:
                data._fresh_grad = True  # as after Gluon's backward pass


def _largest(graph: Any, arrays: dict) -> int:
    """Return the size of the largest array of a graph whose inputs are `arrays`."""
    inputs = {name: arrays[name].shape for name in graph.list_arguments()}
    _, shapes, _ = graph.get_internals().infer_shape_partial(**inputs)
    return max(math.prod(shape) for shape in shapes or [()] if shape is not None)
