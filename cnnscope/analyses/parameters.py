"""``params``: what the model has learned, by operator and by role."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ..graph import ModelGraph, Parameter
from ..table import Table, column, table
from . import of_graph


@dataclasses.dataclass(frozen=True, slots=True)
class OpParams:
    """Elements of the parameters that an operator is the first to read. ``params`` = weights + biases + norm."""

    name: str = column("operator")
    module: str = column("module", hidden=True)
    kind: str = column("kind", default="")
    params: int = column("params", "count", fold="sum", default=0)
    weights: int = column("weights", "count", fold="sum", default=0)
    biases: int = column("biases", "count", fold="sum", default=0)
    norm: int = column("norm", "count", fold="sum", default=0)
    trainable: int = column("trainable", "count", fold="sum", default=0)
    buffers: int = column("buffers", "count", fold="sum", default=0)
    bytes: int = column("memory", "byte", fold="sum", default=0)
    shared: tuple[str, ...] = column("shared with", fold="join", hidden=True, default=())
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


@of_graph
def params(graph: ModelGraph) -> Table[OpParams]:
    """Parameters by operator, each counted once: where it is read first (views do not count as reading).

    Weights, biases, parameters of normalisations and buffers are apart; buffers are no parameters. ``shared`` names
    parameters that the operator reads after another one did. Parameters that no operator reads have rows of their
    own, of kind ``unused``, so that the total is the model's.
    """
    owners = first_readers(graph)
    by_op = by_reader(graph, owners)
    rows = []
    for op in graph:
        again = () if op.view or op.phase != "forward" else dict.fromkeys(op.params)
        shared = tuple(name for name in again if owners[name] != op.name)
        rows.append(OpParams(op.name, op.module, op.kind, **tally(by_op.get(op.name, ())), shared=shared))
    rows.extend(OpParams(each.name, each.module, "unused", **tally([each])) for each in by_op.get("", ()))
    return table("params", rows, OpParams, model=graph.name, input=graph.input_text)


def by_reader(graph: ModelGraph, owners: dict[str, str]) -> dict[str, list[Parameter]]:
    """Parameters and buffers by the operator that counts them; those that none reads under ''.

    A buffer that is not read (batch norm's counter, in inference) goes with its module's first operator.
    """
    first_in: dict[str, str] = {}
    for op in graph:
        first_in.setdefault(op.module, op.name)
    found: dict[str, list[Parameter]] = {}
    for parameter in graph.parameters:
        instead = first_in.get(parameter.module, "") if parameter.role == "buffer" else ""
        found.setdefault(owners.get(parameter.name, instead), []).append(parameter)
    return found


def first_readers(graph: ModelGraph) -> dict[str, str]:
    """Name of the forward operator that reads each parameter or buffer first; of a view where nothing else reads it."""
    readers: dict[str, str] = {}
    views: dict[str, str] = {}
    for op in graph:
        for name in op.params if op.phase == "forward" else ():
            (views if op.view else readers).setdefault(name, op.name)
    return views | readers


def tally(own: Sequence[Parameter]) -> dict[str, Any]:
    """Elements of some parameters and buffers by role, as ``OpParams`` has them, and their bytes."""
    count = dict.fromkeys(("weight", "bias", "norm", "buffer"), 0)
    trainable = memory = 0
    for each in own:
        size = each.numel
        count[each.role] += size
        trainable += size if each.trainable else 0
        memory += each.bytes
    weights, biases, norm, buffers = count.values()
    return {
        "params": weights + biases + norm,
        "weights": weights,
        "biases": biases,
        "norm": norm,
        "trainable": trainable,
        "buffers": buffers,
        "bytes": memory,
    }
