"""Find the rows of embedding tables that a batch looks up.

The gradients of all other rows are zero, so workers need not exchange them.
"""

from collections import defaultdict
from typing import Callable, Dict, FrozenSet, List, Sequence, Set, Tuple

import numpy

from d2l_recsys.engine.id_check import graph_nodes, origins
from d2l_recsys.runtime.memory import to_numpy

WORTHWHILE = 2**16  # numbers saved by selecting rows, which takes time, too

Tables = Dict[Tuple[FrozenSet[int], int], Dict[str, int]]  # {(inputs, rows): widths}


class TableRows:
    """Find the rows of each table that get a gradient from a batch.

    ``compute(F, *batch)`` returns the losses of a batch. A table is left out if it is
    used for anything but looking up inputs, if it is small, or if almost all of its
    rows occur.
    """

    def __init__(self, compute: Callable) -> None:
        self._compute = compute
        self._tables: Dict[int, Tables] = {}  # by number of inputs

    def __call__(self, batch: Sequence) -> Dict[str, numpy.ndarray]:
        """Return {parameter: rows (n,), int32, ascending} for a batch of valid ids."""
        if len(batch) not in self._tables:
            nodes = graph_nodes(self._compute, len(batch))
            self._tables[len(batch)] = _tables(nodes)
        found = {}
        for (inputs, size), widths in self._tables[len(batch)].items():
            width = sum(widths.values())
            if size * width < WORTHWHILE:
                continue
            occurs = numpy.zeros(size, dtype=bool)
            for k in inputs:
                occurs[to_numpy(batch[k]).astype("int64", copy=False)] = True
            rows = numpy.flatnonzero(occurs).astype("int32")
            if (size - len(rows)) * width >= WORTHWHILE:
                found.update(dict.fromkeys(widths, rows))
        return found


def _tables(nodes: List[Dict]) -> Tables:
    """Return the tables that are used only to look up inputs."""
    lookups: Dict[int, List[Dict]] = defaultdict(list)  # by number of the table
    other: Set[int] = set()  # numbers of nodes that are used in another way
    for node in nodes:
        for place, (source, *_) in enumerate(node["inputs"]):
            if node["op"] == "Embedding" and place == 1:
                lookups[source].append(node)
            else:
                other.add(source)
    tables: Tables = defaultdict(dict)
    for number, users in lookups.items():
        if nodes[number]["op"] != "null" or number in other:
            continue
        names = [x for node in users for x in origins(nodes, node["inputs"][0][0])]
        inputs = frozenset(int(name.split()[1]) for name in names if name is not None)
        if None not in names:
            size, width = (
                int(users[0]["attrs"][name]) for name in ("input_dim", "output_dim")
            )
            tables[inputs, size][nodes[number]["name"]] = width
    return tables
