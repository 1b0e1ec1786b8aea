"""The nodes of a graph of MXNet, to change them."""

import json
from typing import (
    Any,
    Dict,
    Iterable,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import numpy

from d2l_recsys.runtime.backend import mx

Shape = Optional[Tuple[int, ...]]  # None if unknown, or if the numbers are not float32


class NoProgram(Exception):
    """A net and its loss cannot run as one program of MXNet."""


class Node:
    """An operation on outputs of other nodes, or an input, whose `op` is "null".

    An input of the original graph has a name, and a new one has a `factor`: its values,
    or what determines them. `shapes` has an entry for each output.
    """

    def __init__(
        self,
        op: str,
        inputs: Iterable[Union["Output", "Node"]] = (),
        shapes: Sequence[Shape] = (None,),
        name: Optional[str] = None,
        factor: Any = None,
        attrs: Optional[Dict[str, Any]] = None,
    ) -> None:
        self.op, self.shapes = op, [*shapes]
        self.inputs = [x if isinstance(x, Output) else Output(x) for x in inputs]
        self.name, self.factor = name, factor
        self.attrs = {key: str(value) for key, value in (attrs or {}).items()}

    @property
    def shape(self) -> Shape:
        """The shape of the output, if there is only one."""
        return self.shapes[0] if len(self.shapes) == 1 else None


class Output(NamedTuple):
    """An output of a node."""

    node: Node
    number: int = 0
    version: int = 0  # of an array that is written to, such as a running mean

    @property
    def shape(self) -> Shape:
        """The shape, if it is known."""
        known = self.number < len(self.node.shapes)
        return self.node.shapes[self.number] if known else None


def read(
    graph: mx.sym.Symbol, arrays: Dict[str, Any]
) -> Optional[Tuple[List[Output], dict]]:
    """Return the outputs of a graph whose inputs are `arrays`, and its attributes.

    Return None if it contains other graphs, such as that of a loop. Raises NoProgram if
    MXNet cannot tell a shape, for example because it depends on values.
    """
    saved = json.loads(graph.tojson())
    names = [node["name"] for node in saved["nodes"]]
    if any("subgraphs" in node for node in saved["nodes"]):
        return None
    for k, node in enumerate(saved["nodes"]):
        node["name"] = f"node {k}"  # a block that is called twice repeats its name
    inputs = {f"node {k}": arrays[x] for k, x in enumerate(names) if x in arrays}
    shapes = _shapes(mx.sym.load_json(json.dumps(saved, ensure_ascii=False)), inputs)
    nodes: List[Node] = []
    for name, node in zip(names, saved["nodes"]):
        before = (Output(nodes[k], *rest) for k, *rest in node["inputs"])
        known = name if node["op"] == "null" else None
        attrs = node.get("attrs")
        nodes.append(Node(node["op"], before, shapes[node["name"]], known, attrs=attrs))
    return [Output(nodes[k], *rest) for k, *rest in saved["heads"]], saved["attrs"]


def _shapes(graph: mx.sym.Symbol, arrays: Dict[str, Any]) -> Dict[str, List[Shape]]:
    """Return the shapes of the outputs of each node."""
    inside, known = graph.get_internals(), graph.list_arguments()
    given = {name: arrays[name].shape for name in known}
    _, shapes, _ = inside.infer_shape_partial(**given)
    _, types, _ = inside.infer_type(**{name: arrays[name].dtype for name in known})
    if any(shape is None or -1 in shape for shape in shapes):
        raise NoProgram
    found: Dict[str, List[Shape]] = {}
    for name, shape, dtype in zip(inside.list_outputs(), shapes, types):
        # An output of "node 1" is called "node 1_output", "node 1_output0" or similar.
        of_float32 = dtype is numpy.float32
        outputs = found.setdefault(name.partition("_")[0], [])
        outputs.append(shape if of_float32 else None)
    return found


def ordered(outputs: Iterable[Output]) -> List[Node]:
    """Return all nodes that the outputs need, each after its inputs."""
    done: Dict[Node, None] = {}
    stack = [output.node for output in outputs][::-1]
    while stack:
        before = [x.node for x in stack[-1].inputs if x.node not in done]
        if before:
            stack += before[::-1]
        else:
            done[stack.pop()] = None
    return [*done]


def write(
    outputs: Sequence[Output], settings: dict
) -> Tuple[mx.sym.Symbol, Dict[str, Any]]:
    """Return the graph with these outputs, and its factors by their names."""
    nodes = ordered(outputs)
    places = {node: k for k, node in enumerate(nodes)}
    prefix = max((node.name for node in nodes if node.name), key=len, default="")
    factors, saved = {}, []
    for k, node in enumerate(nodes):
        # Longer than the name of each input, and so none of them.
        name = f"{prefix} {k}" if node.name is None else node.name
        if node.factor is not None:
            factors[name] = node.factor
        inputs = [[places[x.node], x.number, x.version] for x in node.inputs]
        saved.append(
            {"op": node.op, "name": name, "attrs": node.attrs, "inputs": inputs}
        )
    graph = {
        "nodes": saved,
        "arg_nodes": [k for k, node in enumerate(nodes) if node.op == "null"],
        "heads": [[places[x.node], x.number, x.version] for x in outputs],
        "attrs": settings,
    }
    return mx.sym.load_json(json.dumps(graph, ensure_ascii=False)), factors
