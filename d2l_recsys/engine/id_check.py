"""Checks that a net has rows for the ids it gets: MXNet clips other ids silently."""

import json
import weakref
from functools import partial, reduce
from operator import add
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence
from weakref import WeakKeyDictionary

import numpy

from d2l_recsys.runtime.backend import gluon, mx, nn

# Operators that only move ids around, so that an id stays what it was.
_MOVES = {
    "Cast",
    "Flatten",
    "SwapAxis",
    "_copy",
    "_np_copy",
    "_np_reshape",
    "_np_squeeze",
    "_np_transpose",
    "_npi_broadcast_to",
    "_npi_concatenate",
    "_npi_stack",
    "_npx_reshape",
    "expand_dims",
    "repeat",
    "slice",
    "tile",
}
_OF_NETS: "WeakKeyDictionary[gluon.Block, IdCheck]" = WeakKeyDictionary()


class IdCheck:
    """Compare the ids in the inputs of a computation with the tables of its net.

    ``compute(F, *inputs)`` is what is computed with the net. Its graph tells which
    inputs are looked up in which embeddings. The embeddings of a net without a graph, a
    plain Block, are watched instead.
    """

    def __init__(self, net: gluon.Block, compute: Callable):
        self._net, self._compute = weakref.ref(net), compute
        self._limits: Dict[int, List[Optional[int]]] = {}

    def __call__(self, arrays: Sequence) -> None:
        """Raise ValueError naming row, id and limit of an id that the net lacks.

        `arrays` are the inputs (n, ...).
        """
        if len(arrays) not in self._limits:
            self._limits[len(arrays)] = self._find_limits(len(arrays))
        for k, (array, limit) in enumerate(zip(arrays, self._limits[len(arrays)])):
            if limit is not None:
                _check(array, limit, f"input {k}")

    def _find_limits(self, count: int) -> List[Optional[int]]:
        try:
            nodes = graph_nodes(self._compute, count)
        except Exception:  # whatever a reader's own code raises for symbols
            net = self._net()
            if isinstance(net, gluon.Block) and not getattr(net, "_active", False):
                _watch(net)
            return [None] * count
        return _limits(nodes, count)


def graph_nodes(compute: Callable, count: int) -> List[Dict]:
    """Return the nodes in the graph of the first output of ``compute(F, *inputs)``."""
    out = compute(mx.sym, *input_symbols(count))
    out = out[0] if isinstance(out, (list, tuple)) else out
    return json.loads(out.tojson())["nodes"]


def input_symbols(count: int) -> List[Any]:
    """Return symbols for the inputs of a graph, "input 0", "input 1" and so on."""
    return [mx.sym.var(f"input {k}").as_np_ndarray() for k in range(count)]


def check_inputs(net: gluon.Block, inputs: Sequence) -> None:
    """Raise ValueError naming row, id and limit of an id in the inputs of `net`."""
    if net not in _OF_NETS:
        compute = partial(_call, weakref.ref(net))
        _OF_NETS[net] = IdCheck(net, compute)
    _OF_NETS[net](inputs)


def sum_of_scores(*scores: Any) -> Any:
    """Stand in for the loss in a graph of which only the look-ups matter."""
    return reduce(add, scores)


def _call(net: Any, F: Any, *inputs: Any) -> Any:
    return net()(*inputs)


def _check(array: Any, limit: int, what: str) -> None:
    ids = array.asnumpy() if hasattr(array, "asnumpy") else numpy.asarray(array)
    whole = ids if ids.dtype.kind in "iu" else numpy.floor(ids)  # MXNet cuts 0.5 to 0
    in_range = ids.size == 0 or (ids.min() >= 0 and ids.max() < limit)
    if in_range and (whole is ids or (whole == ids).all()):
        return
    place = tuple(numpy.argwhere(~((ids >= 0) & (ids < limit) & (whole == ids)))[0])
    raise ValueError(
        f"row {place[0] if place else 0} of {what}: id {ids[place]} is not in "
        f"0..{limit - 1}, the ids that the net knows: make the net for the numbers of "
        "users, items or values in the data"
    )


def _limits(nodes: List[Dict], count: int) -> List[Optional[int]]:
    """Return for each input the rows of the smallest table it is looked up in."""
    limits: List[Optional[int]] = [None] * count
    for node in nodes:
        if node["op"] != "Embedding":
            continue
        rows = int(node["attrs"]["input_dim"])
        for name in origins(nodes, node["inputs"][0][0]):
            if name is None:
                continue
            k = int(name.split()[1])
            known = limits[k]
            limits[k] = rows if known is None else min(rows, known)
    return limits


def origins(nodes: List[Dict], number: int) -> Iterator[Optional[str]]:
    """Yield the inputs whose ids reach a node unchanged, and None for other values."""
    node = nodes[number]
    if node["op"] == "null":
        yield node["name"] if node["name"].startswith("input ") else None
    elif node["op"] in _MOVES:
        for source, *_ in node["inputs"]:
            yield from origins(nodes, source)
    elif node["op"] == "reshape_like":
        yield from origins(nodes, node["inputs"][0][0])
    else:
        yield None


def _watch(net: gluon.Block) -> None:
    """Let the embeddings of `net` check what they get, unless they do so already."""
    if isinstance(net, nn.Embedding) and _look not in net._forward_pre_hooks.values():
        net.register_forward_pre_hook(_look)
    for child in net._children.values():
        _watch(child)


def _look(embedding: gluon.Block, inputs: Sequence) -> None:
    padding = getattr(embedding, "num_paddings", 0)
    _check(inputs[0], embedding._kwargs["input_dim"] + padding, embedding.name)
