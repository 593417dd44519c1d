"""The layers or operators of a graph with everything that is known of them."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from . import table as tables
from .analyses.assumptions import assumptions
from .analyses.costs import cost, intensity
from .analyses.depths import depth
from .analyses.layering import Layer, TrainedLayer, allocated, layers
from .analyses.parameters import params
from .analyses.receptive import receptive_field
from .analyses.rooflines import KernelTime
from .analyses.shape import shapes
from .graph import ModelGraph, Op, Shape
from .render.cells import find
from .table import Table, column, table
from .units import si


@dataclasses.dataclass(frozen=True, slots=True)
class FullLayer(Layer):
    """A layer with what other analyses say of it. jump: how far the receptive field moves from place to place."""

    share: float | None = column("share of MACs", "ratio", fold="sum", hidden=True, default=None)
    depth: int | None = column("depth", "count", fold="max", hidden=True, default=None)
    receptive_field: Shape | None = column("receptive field", "shape", fold="last", hidden=True, default=None)
    jump: Shape | None = column("jump", "shape", fold="last", hidden=True, default=None)


@dataclasses.dataclass(frozen=True, slots=True)
class FullOp:
    """An operator with what all analyses say of it. allocated: bytes that did not exist before it."""

    name: str = column("operator")
    module: str = column("module", hidden=True)
    type: str = column("kind", default="")
    output: Shape | None = column("output", "shape", fold="last", default=None)
    params: int = column("params", "count", fold="sum", default=0)
    macs: int | None = column("MACs", "MAC", fold="sum", default=None)
    flops: int | None = column("FLOPs", "FLOP", fold="sum", default=None)
    allocated: int = column("allocated", "byte", fold="sum", default=0)
    inputs: tuple[Shape, ...] = column("inputs", "shape", hidden=True, default=())
    dtype: str | None = column("dtype", hidden=True, default=None)
    weights: int = column("weights", "count", fold="sum", hidden=True, default=0)
    biases: int = column("biases", "count", fold="sum", hidden=True, default=0)
    norm: int = column("norm", "count", fold="sum", hidden=True, default=0)
    trainable: int = column("trainable", "count", fold="sum", hidden=True, default=0)
    buffers: int = column("buffers", "count", fold="sum", hidden=True, default=0)
    bytes_read: int | None = column("read", "byte", fold="sum", hidden=True, default=None)
    bytes_written: int | None = column("written", "byte", fold="sum", hidden=True, default=None)
    intensity: float | None = column("FLOP/byte", "ratio", fold=intensity, hidden=True, default=None)
    share: float | None = column("share of MACs", "ratio", fold="sum", hidden=True, default=None)
    depth: int | None = column("depth", "count", fold="max", hidden=True, default=None)
    receptive_field: Shape | None = column("receptive field", "shape", fold="last", hidden=True, default=None)
    jump: Shape | None = column("jump", "shape", fold="last", hidden=True, default=None)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


@dataclasses.dataclass(frozen=True)
class FullTrainedLayer(TrainedLayer, FullLayer):
    """A layer of a training step with the same."""


@dataclasses.dataclass(frozen=True, slots=True)
class FullTrainedOp(FullOp):
    """An operator of a training step with its phase."""

    phase: str = column("phase", behind="type", default="forward")


@dataclasses.dataclass(frozen=True, slots=True)
class Phase:
    """What one phase of a training step costs. ratio: its MACs as a multiple of the forward's."""

    name: str = column("phase")
    module: str = column("module", hidden=True, default="")
    operators: int = column("operators", "count", fold="sum", default=0)
    macs: int | None = column("MACs", "MAC", fold="sum", default=None)
    ratio: float | None = column("MACs x forward", "ratio", default=None)
    flops: int | None = column("FLOPs", "FLOP", fold="sum", default=None)
    bytes_read: int | None = column("read", "byte", fold="sum", default=None)
    bytes_written: int | None = column("written", "byte", fold="sum", default=None)
    intensity: float | None = column("FLOP/byte", "ratio", fold=intensity, default=None)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


@dataclasses.dataclass(frozen=True)
class TimedLayer(FullLayer):
    """A layer with the seconds that its kernels are predicted to take."""

    seconds: float | None = column("time", "second", fold="sum", rank=0, default=None)


def by_layer(graph: ModelGraph, *, fields: bool = True, eager: ModelGraph | None = None) -> Table[FullLayer]:
    """The layers with their share of the MACs, their depth and, unless it is not wanted, their receptive field.

    eager: what a fused ``graph`` was made of; depth and field are those of its operators.
    """
    plain = layers(graph)
    joined = _Joined(graph, plain.total.macs, fields, eager)
    names = [field.name for field in dataclasses.fields(plain.row_type)]
    row_type = FullTrainedLayer if graph.train else FullLayer
    rows = [
        row_type(**{name: getattr(layer, name) for name in names}, **joined.of(layer.ops, layer.macs))
        for layer in plain.values()
    ]
    return joined.table("layers", rows, row_type, graph)


def timed(found: Table[FullLayer], times: Table[KernelTime]) -> Table[TimedLayer]:
    """The layers with the seconds of their kernels, which ``times`` has by operator; unknown where one of these is."""
    rows = [TimedLayer(**_values(row), seconds=_seconds(row, times)) for row in found.values()]
    total = TimedLayer(**_values(found.total), seconds=times.total.seconds)
    return Table(found.title, TimedLayer, {row.name: row for row in rows}, total, found.model, found.input, found.notes)


def _values(row: FullLayer) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(FullLayer)}


def _seconds(row: FullLayer, times: Table[KernelTime]) -> float | None:
    found = [times[op].seconds for op in row.ops if op in times]
    known = [seconds for seconds in found if seconds is not None]
    return sum(known) if len(known) == len(found) else None


def by_op(graph: ModelGraph, *, fields: bool = True, eager: ModelGraph | None = None) -> Table[FullOp]:
    """The operators with the same; parameters that none of them reads have rows of their own, of kind ``unused``."""
    costs, shapes_ = cost(graph), shapes(graph)
    joined = _Joined(graph, costs.total.macs, fields, eager)
    row_type = FullTrainedOp if graph.train else FullOp
    rows = []
    for name, counted in params(graph).items():
        row: dict[str, Any] = {"macs": 0, "flops": 0, "bytes_read": 0, "bytes_written": 0}
        if name in costs:
            row = {key: getattr(costs[name], key) for key in (*row, "intensity", "missing")}
            row |= {key: getattr(shapes_[name], key) for key in ("inputs", "output", "dtype")}
            row |= joined.of((name,), costs[name].macs)
            row["allocated"] = allocated(graph, (graph[name],), graph[name].outputs)
            if graph.train:
                row["phase"] = costs[name].phase
        row |= {key: getattr(counted, key) for key in ("params", "weights", "biases", "norm", "trainable", "buffers")}
        rows.append(row_type(name, counted.module, counted.kind, **row))
    return joined.table("operators", rows, row_type, graph)


def by_phase(graph: ModelGraph) -> Table[Phase]:
    """What the forward pass, the backward pass and the optimizer cost; of an inference the forward pass alone."""
    costs = cost(graph)
    found = tables.by_phase(costs)
    counts = Counter(op.phase for op in graph)
    first = found["forward"].macs if "forward" in found else None
    copied = ("macs", "flops", "bytes_read", "bytes_written", "intensity", "missing")
    rows = [
        Phase(
            name,
            operators=counts[name],
            ratio=row.macs / first if row.macs is not None and first else None,
            **{each: getattr(row, each) for each in copied},
        )
        for name, row in found.items()
    ]
    return table("cost by phase", rows, Phase, model=graph.name, input=graph.input_text, notes=assumptions(graph.run))


def ordered(found: Table[Any], by: str) -> Table[Any]:
    """The rows sorted by a column: numbers and shapes from the largest, text from A; ``:asc``, ``:desc`` say otherwise.

    Raises:
        UnknownColumn: there is no such column.
    """
    wanted, colon, direction = by.rpartition(":")
    if not colon or direction not in ("asc", "desc"):
        wanted, direction = by, ""
    field = find(found.row_type, wanted)
    known = [row for row in found.values() if getattr(row, field.name) is not None]
    down = direction == "desc" if direction else field.metadata["unit"] != "text"
    known.sort(key=lambda row: _weight(getattr(row, field.name)), reverse=down)
    unknown = [row for row in found.values() if getattr(row, field.name) is None]
    return dataclasses.replace(found, rows={row.name: row for row in [*known, *unknown]})


def typed(found: Table[Any], graph: ModelGraph) -> Table[Any]:
    """A table folded by module, with the class of the module as type of each folded row."""
    rows = {
        name: row if row.type else dataclasses.replace(row, type=graph.types.get(row.module, ""))
        for name, row in found.items()
    }
    return dataclasses.replace(found, rows=rows)


class _Joined:
    """What depth and receptive field say, by operator."""

    def __init__(self, graph: ModelGraph, macs: int | None, fields: bool, eager: ModelGraph | None) -> None:
        self.macs = macs
        self._taken_in = {op.name: op.attrs["fused"] for op in graph if "fused" in op.attrs}
        graph = eager or graph
        self.depths = depth(graph)
        self.fields: Mapping[str, Any] = {}
        self.notes = [f"depth       {note}" for note in self.depths.notes]
        if fields:
            found = receptive_field(graph)
            self.fields = found
            if found.missing:
                kinds = ", ".join(f"{kind} x{count}" for kind, count in found.missing.items())
                self.notes.append(f"receptive   field is unknown behind {kinds}")
            self.notes += [f"receptive   {note}" for note in found.notes[1:]]

    def table(self, title: str, rows: list[Any], row_type: type, graph: ModelGraph) -> Table[Any]:
        """The rows with their total, whose depth and receptive field are those of the network's first output."""
        notes = [*self.notes, *_run_notes(graph)]
        found = table(title, rows, row_type, model=graph.name, input=graph.input_text, notes=tuple(notes))
        end = _last_op(graph)
        field = self.fields[end.name] if end and end.name in self.fields else None
        total = dataclasses.replace(
            found.total,
            depth=self.depths.total.depth,
            receptive_field=field and field.size,
            jump=field and field.jump,
        )
        return dataclasses.replace(found, total=total)

    def of(self, ops: Collection[str], macs: int | None) -> dict[str, Any]:
        """The further columns of a row that consists of these operators."""
        ops = [each for op in ops for each in (op, *self._taken_in.get(op, ()))]
        known = [self.fields[op] for op in ops if op in self.fields]
        depths = [self.depths[op].depth for op in ops if op in self.depths]
        return {
            "share": macs / self.macs if macs is not None and self.macs else None,
            "depth": max((depth for depth in depths if depth is not None), default=None),
            "receptive_field": known[-1].size if known else None,
            "jump": known[-1].jump if known else None,
        }


def _run_notes(graph: ModelGraph) -> list[str]:
    """What was run, where it is no plain inference; of a training step also what each phase costs."""
    if not graph.train:
        return [f"run         {note}" for note in assumptions(graph.run)[1:]]
    phases = by_phase(graph)
    parts = [
        f"{row.name} {si(row.macs)} MACs" + ("" if row.name == "forward" or not row.ratio else f" ({row.ratio:.2f}x)")
        if row.macs
        else f"{row.name} {si(row.flops)} FLOPs"
        for row in phases.values()
        if row.macs is not None and row.flops is not None
    ]
    return [f"phases      {', '.join(parts)}", *(f"step        {note}" for note in assumptions(graph.run))]


def _last_op(graph: ModelGraph) -> Op | None:
    """The operator that computes the first output, behind the views of it."""
    value = graph.outputs[0] if graph.outputs else None
    while value is not None and value.name in graph.producers:
        op = graph[graph.producers[value.name]]
        if not op.view:
            return op
        value = op.inputs[0]
    return None


def _weight(value: Any) -> Any:
    """Shapes are compared by the number of their elements."""
    if not isinstance(value, tuple):
        return value
    return math.prod(size for size in value if isinstance(size, int | float)) if value else 0
