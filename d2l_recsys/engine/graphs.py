"""Replace what MXNet computes slowly in a graph, and leave out what changes nothing."""

import json
import math
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

import numpy

from d2l_recsys.runtime.backend import mx

_NUMBERS = 2**16  # of 16 bits
_RESHAPING = ("_npx_reshape", "Flatten", "expand_dims")
Node = Dict[str, Any]  # of a saved graph, with its shape and the nodes before it


class Mask(NamedTuple):
    """An input that multiplies numbers by 0 or ``1 / (1 - rate)``, for dropout."""

    shape: Tuple[int, ...]
    rate: float


Factor = Union[Mask, numpy.ndarray]


def simplified(
    graph: mx.sym.Symbol, arrays: Dict[str, Any]
) -> Tuple[mx.sym.Symbol, Dict[str, Factor]]:
    """Return an equivalent graph with faster operations, and its new inputs by name.

    `arrays` are the graph's inputs and parameters. Dropout becomes a product with a
    mask. The mean over each row, which ends Gluon's losses, becomes a product with
    1 / n: MXNet takes 10 times as long for it. Ones become an input. Operations that
    change nothing, such as the weight 1 of a loss, are left out.
    """
    saved = _with_shapes(graph, arrays)
    nodes: List[Node] = []
    places: List[int] = []  # of the former nodes among the new ones
    factors: Dict[str, Factor] = {}
    outputs = {k for k, *_ in saved["heads"]}
    for k, node in enumerate(saved["nodes"]):
        node["inputs"] = [[places[k], *rest] for k, *rest in node["inputs"]]
        node["before"] = [nodes[k] for k, *_ in node["inputs"]]
        same = _same_before(node)
        if k in outputs and same is not None:
            # A node cannot be two outputs of a graph, nor can an input be one.
            twice = same in (places[j] for j in outputs if j < k)
            same = None if twice or nodes[same]["op"] == "null" else same
        if same is not None:
            places.append(same)
            continue
        constant = _constant(node) if k not in outputs else None
        node.update(constant or _comparison(node) or {})
        if constant:
            numbers = numpy.full(node["shape"], node["number"], dtype="float32")
            factors[node["name"]] = numbers
        product = _dropout(node) or _mean_of_rows(node)
        if product:
            operator, factor = product
            name = f"factor of {node['name']}"
            factors[name] = factor
            node["inputs"].append([len(nodes), 0, 0])
            node.update(op=operator, attrs={})
            nodes.append({"op": "null", "name": name, "inputs": [], "shape": None})
        places.append(len(nodes))
        nodes.append(node)
    saved["heads"] = [[places[k], *rest] for k, *rest in saved["heads"]]
    new = _graph(saved, nodes)
    used = {*new.list_arguments()}
    return new, {name: x for name, x in factors.items() if name in used}


def _with_shapes(graph: mx.sym.Symbol, arrays: Dict[str, Any]) -> Dict[str, Any]:
    """Return a saved graph whose nodes know the shapes of their outputs, if float32."""
    saved = json.loads(graph.tojson())
    for k, node in enumerate(saved["nodes"]):
        if node["op"] != "null":
            node["name"] = f"node{k}"  # a block that is called twice repeats its name
    graph = mx.sym.load_json(json.dumps(saved))
    inside, known = graph.get_internals(), graph.list_arguments()
    _, shapes, _ = inside.infer_shape(**{name: arrays[name].shape for name in known})
    _, types, _ = inside.infer_type(**{name: arrays[name].dtype for name in known})
    found = zip(inside.list_outputs(), shapes, types)
    of_float32 = {name: shape for name, shape, dtype in found if dtype is numpy.float32}
    for node in saved["nodes"]:
        ending = "" if node["op"] == "null" else "_output"
        node["shape"] = of_float32.get(node["name"] + ending)
    return saved


def _graph(saved: dict, nodes: List[Node]) -> mx.sym.Symbol:
    """Return a saved graph with these nodes."""
    known = ("op", "name", "attrs", "inputs")
    plain = [{key: node[key] for key in known if key in node} for node in nodes]
    variables = [k for k, node in enumerate(plain) if node["op"] == "null"]
    del saved["node_row_ptr"]
    return mx.sym.load_json(
        json.dumps({**saved, "nodes": plain, "arg_nodes": variables})
    )


def _same_before(node: Node) -> Optional[int]:
    """Return the place of an earlier node that has the output of this one, or None."""
    shape = node["shape"]
    while node["shape"] and _shape_before(node) and _keeps_numbers(node):
        place, node = node["inputs"][0][0], node["before"][0]
        if node["shape"] == shape:
            return place
    return None


def _shape_before(node: Node) -> Optional[Tuple[int, ...]]:
    """Return the shape of the first input, if it is float32 and has numbers."""
    if not node["inputs"] or node["inputs"][0][1]:  # a second output of a node
        return None
    shape = node["before"][0]["shape"]
    return shape if shape and math.prod(shape) else None


def _keeps_numbers(node: Node) -> bool:
    """Whether a node gives the numbers before it, perhaps in another shape."""
    if node["op"] == "_npi_multiply_scalar":
        return float(node["attrs"]["scalar"]) == 1
    if node["op"] == "_npi_mean":
        return math.prod(_shape_before(node) or ()) == math.prod(node["shape"])
    return node["op"] in (*_RESHAPING, "reshape_like", "_np_copy")


def _constant(node: Node) -> Optional[Node]:
    """Return an input for an array in which all numbers are equal."""
    number = None
    if node["op"] == "_npi_full_like":
        number = float(node["attrs"]["fill_value"])
    elif node["op"] in (*_RESHAPING, "_np_transpose"):
        number = node["before"][0].get("number")
    if number is None or not node["shape"]:
        return None
    return {"op": "null", "attrs": {}, "inputs": [], "number": number}


def _comparison(node: Node) -> Optional[Node]:
    """Return a node for ``x != number`` that gives float32 without a conversion."""
    if node["op"] != "Cast" or node["before"][0]["op"] != "_npi_not_equal_scalar":
        return None
    compared = node["before"][0]
    if not node["shape"] or not _shape_before(compared):
        return None
    scalar = {"scalar": compared["attrs"]["scalar"]}
    return {"op": "_not_equal_scalar", "attrs": scalar, "inputs": compared["inputs"]}


def _dropout(node: Node) -> Optional[Tuple[str, Mask]]:
    settings = node.get("attrs", {})
    usual = settings.get("mode", "training") == "training"
    usual = usual and settings.get("axes", "()") == "()"
    if node["op"] != "Dropout" or not usual or not node["shape"]:
        return None
    return "elemwise_mul", Mask(node["shape"], float(settings.get("p", 0.5)))


def _mean_of_rows(node: Node) -> Optional[Tuple[str, numpy.ndarray]]:
    if node["op"] != "_npi_mean":
        return None
    settings, shape = node["attrs"], _shape_before(node)
    over_rows = settings.get("axis") in ("1", "(1,)")
    over_rows = over_rows and settings.get("keepdims") == "False"
    if not over_rows or not node["shape"] or not shape or len(shape) != 2:
        return None
    _, n = shape
    return "_np_dot", numpy.full(n, 1 / n, dtype="float32")


class Masks:
    """The source of the dropout masks of a training."""

    def __init__(self) -> None:
        self._rng = numpy.random.default_rng()

    def seed(self, seed: int) -> None:
        """Determine all masks from here on."""
        self._rng = numpy.random.default_rng(seed)

    def fill(self, mask: numpy.ndarray, rate: float) -> None:
        """Write 0 with probability `rate`, and otherwise ``1 / (1 - rate)``.

        The rate is rounded to a multiple of 2**-16, to need only 16 random bits.
        """
        dropped = min(round(rate * _NUMBERS), _NUMBERS - 1)
        kept = self._rng.integers(0, _NUMBERS, mask.shape, "uint16") >= dropped
        scale = _NUMBERS / (_NUMBERS - dropped)
        numpy.multiply(kept, numpy.float32(scale), out=mask)
