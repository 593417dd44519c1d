"""Which operators get a card, which become part of a line, and which are only preparation.

Preparation is what does not depend on the model's input (transposed weights, position tables, masks); it is counted on
the card that uses it. What costs multiply-adds is drawn in any case.
"""

from __future__ import annotations

from ...graph import ModelGraph, Op
from . import kinds


def forward_ops(graph: ModelGraph) -> list[Op]:
    """The operators of the forward pass that return something."""
    return [op for op in graph if op.phase == "forward" and op.outputs]


def drawn_ops(graph: ModelGraph) -> set[str]:
    """Names of those that depend on the input, that are costly, or that an output comes from."""
    ops = forward_ops(graph)
    live = {value.name for value in graph.inputs}
    stores = {value.storage for value in graph.inputs}
    found: set[str] = set()
    for op in ops:
        reads = op.kind.rstrip("_") not in kinds.CREATION
        depends = reads and any(value.name in live or value.storage in stores for value in op.inputs)
        if depends or kinds.family(op.kind) in kinds.COSTLY:
            found.add(op.name)
            live.update(value.name for value in op.outputs)
            stores.update(value.storage for value in op.outputs)
    needed = {value.name for value in graph.outputs} if graph.outputs else {v.name for op in ops for v in op.outputs}
    for op in reversed(ops):
        if op.name not in found and any(value.name in needed for value in op.outputs):
            found.add(op.name)
            needed.update(value.name for value in op.inputs)
    return found


def is_plumbing(op: Op, graph: ModelGraph) -> bool:
    """It hands on what it gets, in another shape or place at most."""
    if op.kind == "copy_":
        # What ``x[:, 0] += 1`` ends with: a part of x copied onto itself.
        return len({(value.storage, value.shape) for value in op.inputs}) == 1
    if not (op.view or op.kind.rstrip("_") in kinds.PLUMBING):
        return False
    return not is_flatten(op, graph)


def is_flatten(op: Op, graph: ModelGraph) -> bool:
    """A view that lays a map out as a vector: all but the batch becomes one dimension."""
    call = graph.calls[op.call] if 0 <= op.call < len(graph.calls) else None
    if not op.inputs or not op.outputs or (call and call.type in kinds.WHOLE):
        return False
    old, new = op.inputs[0].shape, op.outputs[0].shape
    shaped = op.kind in ("view", "_unsafe_view", "reshape", "_reshape_alias")
    return shaped and len(old) > 2 and len(new) == 2 and old[0] == new[0]
