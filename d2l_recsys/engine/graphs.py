"""Replace what MXNet computes slowly in a graph: dropout, and means over rows."""

import json
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

import numpy

from d2l_recsys.runtime.backend import mx

_NUMBERS = 2**16  # of 16 bits


class Mask(NamedTuple):
    """An input that multiplies numbers by 0 or ``1 / (1 - rate)``, for dropout."""

    shape: Tuple[int, ...]
    rate: float


Factor = Union[Mask, numpy.ndarray]


def with_products(
    graph: mx.sym.Symbol, arrays: Dict[str, Any]
) -> Tuple[mx.sym.Symbol, Dict[str, Factor]]:
    """Return the graph with products instead, and the new inputs by name.

    `arrays` are the graph's inputs and parameters. Dropout becomes a product with a
    mask. The mean over each row, which ends Gluon's losses, becomes a product with
    1 / n: MXNet takes 10 times as long for it. Other kinds of dropout and means stay as
    they are.
    """
    saved = json.loads(graph.tojson())
    for k, node in enumerate(saved["nodes"]):
        if node["op"] != "null":
            node["name"] = f"node{k}"  # a block that is called twice repeats its name
    shapes = _shapes(mx.sym.load_json(json.dumps(saved)), arrays)
    nodes: List[dict] = []
    places: List[int] = []  # of the former nodes among the new ones
    factors: Dict[str, Factor] = {}
    for node in saved["nodes"]:
        node["inputs"] = [[places[k], *rest] for k, *rest in node["inputs"]]
        before = [nodes[k] for k, *_ in node["inputs"]]
        found = _dropout(node, shapes) or _mean_of_rows(node, before, shapes)
        if found:
            operator, factor = found
            name = f"factor of {node['name']}"
            factors[name] = factor
            node["inputs"].append([len(nodes), 0, 0])
            node.update(op=operator, attrs={})
            nodes.append({"op": "null", "name": name, "inputs": []})
        places.append(len(nodes))
        nodes.append(node)
    saved["heads"] = [[places[k], *rest] for k, *rest in saved["heads"]]
    saved["arg_nodes"] = [k for k, node in enumerate(nodes) if node["op"] == "null"]
    del saved["node_row_ptr"]
    return mx.sym.load_json(json.dumps({**saved, "nodes": nodes})), factors


def _shapes(graph: mx.sym.Symbol, arrays: Dict[str, Any]) -> Dict[str, tuple]:
    """Return the shapes of all float32 outputs inside of `graph`, by name."""
    inside, known = graph.get_internals(), graph.list_arguments()
    _, shapes, _ = inside.infer_shape(**{name: arrays[name].shape for name in known})
    _, types, _ = inside.infer_type(**{name: arrays[name].dtype for name in known})
    found = zip(inside.list_outputs(), shapes, types)
    return {name: shape for name, shape, dtype in found if dtype is numpy.float32}


def _dropout(node: dict, shapes: Dict[str, tuple]) -> Optional[Tuple[str, Mask]]:
    name, settings = f"{node['name']}_output", node.get("attrs", {})
    usual = settings.get("mode", "training") == "training"
    usual = usual and settings.get("axes", "()") == "()" and name in shapes
    if node["op"] != "Dropout" or not usual:
        return None
    return "elemwise_mul", Mask(shapes[name], float(settings.get("p", 0.5)))


def _mean_of_rows(
    node: dict, before: List[dict], shapes: Dict[str, tuple]
) -> Optional[Tuple[str, numpy.ndarray]]:
    if node["op"] != "_npi_mean" or before[0]["op"] != "Flatten":
        return None
    name, settings = f"{before[0]['name']}_output", node["attrs"]
    over_rows = settings.get("axis") in ("1", "(1,)")
    over_rows = over_rows and settings.get("keepdims") == "False"
    if not over_rows or name not in shapes:
        return None
    _, n = shapes[name]
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
