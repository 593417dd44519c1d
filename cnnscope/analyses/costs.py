"""``cost``: MACs, FLOPs and bytes of every operator."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..graph import ModelGraph, Op
from ..table import Table, column, table
from . import of_graph
from .op_costs import accessed, work


def intensity(row: Mapping[str, Any]) -> float | None:
    """FLOPs for each byte, of columns that are added up."""
    moved = (row["bytes_read"] or 0) + (row["bytes_written"] or 0)
    return row["flops"] / moved if moved and row["flops"] is not None else None


@dataclasses.dataclass(frozen=True, slots=True)
class OpCost:
    """Work of one operator; None where no rule knows it. phase: forward, backward or optimizer."""

    name: str = column("operator")
    module: str = column("module", hidden=True)
    kind: str = column("kind", default="")
    phase: str = column("phase", hidden=True, default="forward")
    macs: int | None = column("MACs", "MAC", fold="sum", default=None)
    flops: int | None = column("FLOPs", "FLOP", fold="sum", default=None)
    bytes_read: int | None = column("read", "byte", fold="sum", default=None)
    bytes_written: int | None = column("written", "byte", fold="sum", default=None)
    intensity: float | None = column("FLOP/byte", "ratio", fold=intensity, default=None)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


@of_graph
def cost(graph: ModelGraph) -> Table[OpCost]:
    """MACs, FLOPs, bytes read and written and arithmetic intensity (FLOPs for each byte) of every operator.

    Bytes are those of a kernel that reads each input and writes each output once, without a cache between kernels.
    An operator without a rule has None in ``macs`` and ``flops`` and stands in ``table.missing``.
    """
    rows = [_row(graph, op) for op in graph]
    return table("cost", rows, OpCost, model=graph.name, input=graph.input_text)


def _row(graph: ModelGraph, op: Op) -> OpCost:
    known = work(op, graph.storages)
    if known is None:
        moved = accessed(op.inputs, graph.storages), accessed(op.outputs, graph.storages)
        return OpCost(op.name, op.module, op.kind, op.phase, None, None, *moved, None, (op.kind,))
    macs, flops, read, written = known
    ratio = intensity({"flops": flops, "bytes_read": read, "bytes_written": written})
    return OpCost(op.name, op.module, op.kind, op.phase, macs, flops, read, written, ratio)
