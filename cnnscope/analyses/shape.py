"""``shapes``: what goes into and comes out of every operator."""

from __future__ import annotations

import dataclasses

from ..graph import ModelGraph, Shape
from ..table import Table, column, table
from . import of_graph


@dataclasses.dataclass(frozen=True, slots=True)
class OpShapes:
    """Shapes of one operator: of every input that is no parameter (of parameters, where it has no other), and of its
    first output."""

    name: str = column("operator")
    module: str = column("module", hidden=True)
    kind: str = column("kind", default="")
    inputs: tuple[Shape, ...] | None = column("inputs", "shape", default=None)
    output: Shape | None = column("output", "shape", fold="last", default=None)
    dtype: str | None = column("dtype", fold="last", default=None)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


@of_graph
def shapes(graph: ModelGraph) -> Table[OpShapes]:
    """Input and output shapes of every operator, in execution order."""
    weights = {storage.id for storage in graph.storages if storage.kind in ("param", "buffer")}
    rows = []
    for op in graph:
        data = [value.shape for value in op.inputs if value.storage not in weights]
        inputs = tuple(data or [value.shape for value in op.inputs]) or None
        out = op.outputs[0] if op.outputs else None
        rows.append(OpShapes(op.name, op.module, op.kind, inputs, out and out.shape, out and out.dtype))
    return table("shapes", rows, OpShapes, model=graph.name, input=graph.input_text)
