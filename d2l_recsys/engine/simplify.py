"""Replace what MXNet computes slowly in a graph, and leave out what changes nothing."""

import math
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

import numpy

from d2l_recsys.engine.dropout import Mask
from d2l_recsys.engine.graphs import Node, Output, Shape, ordered, read, write
from d2l_recsys.runtime.backend import mx

_RESHAPING = ("_npx_reshape", "Flatten", "expand_dims")
_WITHOUT_BROADCASTING = {
    "_npi_add": "elemwise_add",
    "_npi_subtract": "elemwise_sub",
    "_npi_multiply": "elemwise_mul",
    "broadcast_maximum": "_maximum",
}
_FEW = 2  # vectors, such as those of a positive and a negative item
_NARROW = 16  # numbers per vector


def simplified(
    graph: mx.sym.Symbol, arrays: Dict[str, Any]
) -> Tuple[mx.sym.Symbol, Dict[str, Union[Mask, numpy.ndarray]]]:
    """Return an equivalent graph with faster operations, and its new inputs by name.

    `arrays` are the graph's inputs and parameters. Operations that change nothing are
    left out, such as a product with a loss's weight of 1, and each rule replaces an
    operation. The results are the same, except for rounding, if all numbers are finite;
    but dropout draws other masks. A graph that contains other graphs is returned as it
    is.

    Raises NoProgram if MXNet cannot tell all shapes.
    """
    known = read(graph, arrays)
    if known is None:
        return graph, {}
    outputs, settings = known
    new: Dict[Node, Output] = {}  # what replaces each old node
    ends, taken = {x.node for x in outputs}, set()
    for node in ordered(outputs):
        node.inputs = [new.get(x.node, x) for x in node.inputs]
        found = _same_before(node) or _replacement(node)
        if node in ends:
            # A node cannot be two outputs of a graph, nor can an input be one.
            if found and (found in taken or found.node.op == "null"):
                found = None
            taken.add(found or Output(node))
        if found:
            new[node] = found
    return write([new.get(x.node, x) for x in outputs], settings)


def _replacement(node: Node) -> Optional[Output]:
    found = (rule(node) for rule in _RULES if node.shape)
    return next((Output(x) for x in found if x), None)


def _same_before(node: Node) -> Optional[Output]:
    """Return an earlier output with the same numbers in the same shape, or None."""
    shape = node.shape
    while node.shape and _keeps_numbers(node):
        before = node.inputs[0]
        if before.shape == shape:
            return before
        node = before.node
    return None


def _keeps_numbers(node: Node) -> bool:
    """Whether a node gives the numbers of its first input, perhaps in another shape."""
    if not node.inputs or not node.inputs[0].shape or not _size(node.inputs[0].shape):
        return False
    if node.op == "_npi_multiply_scalar":
        return float(node.attrs["scalar"]) == 1
    if node.op == "_npi_mean":
        return _size(node.inputs[0].shape) == _size(node.shape)
    return node.op in (*_RESHAPING, "reshape_like", "_np_copy")


def _size(shape: Shape) -> int:
    return 0 if shape is None else math.prod(shape)


def _full(shape: Tuple[int, ...], number: float) -> Node:
    numbers = numpy.full(shape, number, dtype="float32")
    return Node("null", shapes=[shape], factor=numbers)


def _number(x: Output) -> Optional[float]:
    """Return the number that all entries of a factor equal, or None."""
    numbers = x.node.factor
    if not isinstance(numbers, numpy.ndarray) or not numbers.size:
        return None
    first = numbers.flat[0]
    return float(first) if (numbers == first).all() else None


def _is_column_of_ones(x: Output) -> bool:
    return _number(x) == 1 and (x.shape or ())[-1:] == (1,)


def _constant(node: Node) -> Optional[Node]:
    """An array of equal numbers becomes an input."""
    number = None
    if node.op == "_npi_full_like":
        number = float(node.attrs["fill_value"])
    elif node.op in (*_RESHAPING, "_np_transpose"):
        number = _number(node.inputs[0])
    return None if number is None else _full(node.shape or (), number)


def _comparison(node: Node) -> Optional[Node]:
    """``x != number``, converted to float32, becomes one operation."""
    compared = _before(node, "Cast", "_npi_not_equal_scalar")
    if not compared or not compared.inputs[0].shape:
        return None
    scalar = {"scalar": compared.attrs["scalar"]}
    return Node("_not_equal_scalar", compared.inputs, node.shapes, attrs=scalar)


def _dropout(node: Node) -> Optional[Node]:
    """Dropout becomes a product with a mask."""
    usual = node.attrs.get("mode", "training") == "training"
    usual = usual and node.attrs.get("axes", "()") == "()"
    if node.op != "Dropout" or not usual:
        return None
    mask = Mask(node.shape or (), float(node.attrs.get("p", 0.5)))
    factor = Node("null", shapes=node.shapes, factor=mask)
    return Node("elemwise_mul", [*node.inputs, factor], node.shapes)


def _mean_of_rows(node: Node) -> Optional[Node]:
    """The mean of each row, which ends Gluon's losses, becomes a product with 1 / n.

    MXNet's mean takes 10 times as long.
    """
    shape = node.inputs[0].shape if node.op == "_npi_mean" else None
    of_rows = node.attrs.get("axis") in ("1", "(1,)")
    of_rows = of_rows and node.attrs.get("keepdims") == "False"
    if not of_rows or not shape or len(shape) != 2 or not shape[1]:
        return None
    return Node("_np_dot", [*node.inputs, _full(shape[1:], 1 / shape[1])], node.shapes)


def _sum_of_squares(node: Node) -> Optional[Node]:
    """Square and sum the vectors of a table, if there are fewer than are looked up."""
    lookup = _before(node, "_np_dot", "Flatten", "_npi_square", "Embedding")
    if not lookup or not _is_column_of_ones(node.inputs[1]):
        return None
    if not _has_small_table(lookup):
        return None
    ids, table = lookup.inputs
    _, *fields, k = lookup.shape or ()
    if math.prod(fields) == 1:
        return None  # it may be subtracted from an equal square, and must cancel it
    squares = Node("_npi_square", [table])
    sums = Node("_np_dot", [squares, _full((k, 1), 1)])
    found = Node("Embedding", [ids, sums], attrs={**lookup.attrs, "output_dim": 1})
    factors = Node("Flatten", [found]), _full((math.prod(fields), 1), 1)
    return Node("_np_dot", factors, node.shapes)


def _has_small_table(lookup: Node) -> bool:
    """Tell whether the table is smaller than the result, with a dense gradient."""
    dense = lookup.attrs.get("sparse_grad", "False") == "False"
    return dense and 0 < _size(lookup.inputs[1].shape) < _size(lookup.shape)


def _dense_of_lookup(node: Node) -> Optional[Node]:
    """A dense layer of looked-up vectors is applied to a small table instead."""
    lookup = _before(node, "FullyConnected", "Embedding")
    if not lookup or not _has_small_table(lookup):
        return None
    if node.attrs.get("flatten", "True") != "False":
        return None
    (ids, table), (_, *parameters) = lookup.inputs, node.inputs
    units = int(node.attrs["num_hidden"])
    shape = (table.shape or ())[:1] + (units,)
    dense = Node("FullyConnected", [table, *parameters], [shape], attrs=node.attrs)
    settings = {**lookup.attrs, "output_dim": units}
    return Node("Embedding", [ids, dense], node.shapes, attrs=settings)


def _before(node: Node, *operators: str) -> Optional[Node]:
    """Go back along first inputs, from `node`, if the operators are these.

    Return the node of the last operator, or None if an operator differs.
    """
    for operator in operators[:-1]:
        if node.op != operator:
            return None
        node = node.inputs[0].node
    return node if node.op == operators[-1] else None


def _is_batch_dot(node: Node, *transposed: str) -> bool:
    """Tell whether a node multiplies matrices of which these are transposed."""
    settings = tuple(node.attrs.get(f"transpose_{x}", "False") for x in "ab")
    return node.op == "batch_dot" and settings == transposed


def _sum_over_fields(node: Node) -> Optional[Node]:
    """The sums of short vectors become one large product instead of many small ones."""
    if not _is_batch_dot(node, "True", "False"):
        return None
    ones, vectors = node.inputs
    _, n, k = vectors.shape or (0, 0, 0)
    if not _is_column_of_ones(ones) or not 0 < k <= _NARROW:
        return None
    identities = numpy.tile(numpy.eye(k, dtype="float32"), n)
    inputs = Node("Flatten", [vectors]), Node("null", factor=identities)
    settings = {"no_bias": True, "num_hidden": k}
    sums = Node("FullyConnected", inputs, attrs=settings)
    return Node("expand_dims", [sums], node.shapes, attrs={"axis": 1})


def _products_with_few(node: Node) -> Optional[Node]:
    """Products of x (B, k, 1) with one or two looked-up vectors become elementwise.

    MXNet computes B small products instead. The table must be smaller than what is
    looked up, because each look-up computes a gradient of the whole table.
    """
    if not _is_batch_dot(node, "False", "False"):
        return None
    lookup, x = node.inputs[0].node, node.inputs[1]
    if lookup.op != "Embedding" or not _has_small_table(lookup):
        return None
    shape = lookup.shape or ()
    if len(shape) != 3 or shape[1] > _FEW or x.shape != (shape[0], shape[2], 1):
        return None
    (batch, n, k), (ids, table) = shape, lookup.inputs
    factor = Node("Flatten", [x], [(batch, k)])
    sums = []
    for i in range(n):
        place = {"begin": (None, i), "end": (None, i + 1)}
        of_place = Node("slice", [ids], attrs=place)
        of_place = Node("_npx_reshape", [of_place], attrs={"newshape": (-1,)})
        vectors = Node("Embedding", [of_place, table], attrs=lookup.attrs)
        product = Node("elemwise_mul", [vectors, factor], [(batch, k)])
        sums.append(Node("_np_dot", [product, _full((k,), 1)], [(batch,)]))
    stack = {"axis": 1, "num_args": n}
    scores = Node("_npi_stack", sums, [(batch, n)], attrs=stack)
    return Node("expand_dims", [scores], node.shapes, attrs={"axis": 2})


def _elementwise(node: Node) -> Optional[Node]:
    """Arrays of the same shape need no broadcasting."""
    operator = _WITHOUT_BROADCASTING.get(node.op)
    shapes = [x.shape for x in node.inputs]
    if not operator or shapes != [node.shape] * 2 or not _size(node.shape):
        return None
    return Node(operator, node.inputs, node.shapes)


_RULES: List[Callable[[Node], Optional[Node]]] = [
    _constant,
    _comparison,
    _dropout,
    _mean_of_rows,
    _sum_of_squares,
    _sum_over_fields,
    _dense_of_lookup,
    _products_with_few,
    _elementwise,
]
