"""The forward and backward pass of a hybridized net, as one program of MXNet."""

from copy import copy
from functools import lru_cache
from typing import Any, Callable, List, Sequence, Tuple

from d2l_recsys.runtime.backend import autograd, gluon, mx, nn, np
from d2l_recsys.runtime.memory import Place, finish

# Batches of other shapes than the last ones are bound again.
_SHAPES = 8


class Program:
    """``losses(F, net, loss, *inputs)`` as a graph, bound to the arrays of the net.

    MXNet's executor runs all of it, with the gradients, in two calls. Gluon's recording
    of what is to be differentiated takes as long again for small models. Later changes
    to `loss` do not affect the graph, nor do new arrays of the parameters.
    """

    def __init__(self, losses: Callable, net: gluon.Block, loss: gluon.loss.Loss):
        self._losses, self._net, self._loss = losses, net, copy(loss)
        self._bound = lru_cache(_SHAPES)(self._bind)

    @staticmethod
    def can_run(net: gluon.Block, loss: gluon.loss.Loss) -> bool:
        """Return whether `net` is hybridized, and both can be written as a graph."""
        written = [getattr(type(x), "hybrid_forward", None) for x in (net, loss)]
        abstract = (None, nn.HybridBlock.hybrid_forward, gluon.loss.Loss.hybrid_forward)
        return getattr(net, "_active", False) and all(
            f not in abstract for f in written
        )

    def __call__(
        self, devices: Sequence[mx.Context], pieces: Sequence[Sequence]
    ) -> List[Sequence[mx.nd.NDArray]]:
        """Write the gradients of a piece of inputs on each device; return its outputs.

        The inputs are arrays of MXNet or NumPy. The outputs are overwritten by the next
        call for inputs of the same shape.
        """
        finish()
        return [self._run(*each) for each in zip(devices, pieces)]

    def _run(self, device: mx.Context, inputs: Sequence) -> Sequence[mx.nd.NDArray]:
        kinds = tuple((x.shape, x.dtype) for x in inputs)
        executor, places, heads, parameters = self._bound(device, kinds)
        for place, x in zip(places, inputs):
            place.fill(x)
        executor.forward(is_train=True)
        executor.backward(heads)
        for data in parameters:
            data._fresh_grad = True  # as after Gluon's backward pass
        return executor.outputs

    def _bind(self, device: mx.Context, kinds: Sequence[Tuple]) -> Tuple:
        """Return an executor, its inputs, the gradients it starts from, parameters."""
        inputs = [np.empty(shape, dtype, ctx=device) for shape, dtype in kinds]
        parameters = self._parameters(inputs)
        names = [f"input {k}" for k in range(len(kinds))]
        with autograd.train_mode():
            graph = self._losses(
                mx.sym, self._net, self._loss, *(_symbol(name) for name in names)
            )
        if isinstance(graph, (list, tuple)):
            loss, *rest = graph
            graph = mx.sym.Group(
                [loss, *(mx.sym.BlockGrad(x.as_nd_ndarray()) for x in rest)]
            )
        arrays = dict(zip(names, inputs))
        arrays.update({name: p.data(device) for name, p in parameters.items()})
        gradients = {
            name: parameters[name].grad(device)
            for name in graph.list_arguments()
            if name in parameters and parameters[name].grad_req != "null"
        }
        executor = graph.bind(
            device,
            {name: arrays[name] for name in graph.list_arguments()},
            gradients,
            {name: "write" if name in gradients else "null" for name in arrays},
            {name: arrays[name] for name in graph.list_auxiliary_states()},
        )
        first, *rest = executor.outputs
        heads = [np.ones(first.shape, first.dtype, ctx=device)]
        heads += [np.zeros(x.shape, x.dtype, ctx=device) for x in rest]
        places = [Place(x) for x in inputs]
        return executor, places, heads, [arrays[name] for name in gradients]

    def _parameters(self, inputs: Sequence[np.ndarray]) -> dict:
        """Return the parameters by name, after a first call if they lack a shape."""
        found: dict = {}
        for block in (self._net, self._loss):
            found.update(block.collect_params())
        if any(p._data is None for p in found.values()):
            with autograd.train_mode():
                self._losses(mx.nd, self._net, self._loss, *inputs)
        return found


def _symbol(name: str) -> Any:
    return mx.sym.var(name).as_np_ndarray()
