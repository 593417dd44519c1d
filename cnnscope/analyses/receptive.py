"""``receptive_field``: how much of the input each operator's elements see.

The field of an element is the smallest box of input positions on which it depends, taken over all channels. The
arithmetic is that of Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill 2019),
made exact for phases, branches and dimensions that views split, merge and move: see ``windows``. What each operator
does to a field is in ``field_rules``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

from ..graph import ModelGraph, Op, Shape, Value
from ..table import Table, column, table
from . import of_graph
from .field_rules import RULES, Rule, constant, pointwise
from .motions import Motion, still
from .windows import Undecided, Window, Windows, size_and_start

Seen = tuple[Windows, ...] | None  # by axis; None: unknown
Number = int | float


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """What an element of an operator's (first) result sees of the input, along each spatial dimension.

    size: the widest of its windows, padding included, not clipped to the input.
    jump: how far the window moves from one index to the next; 0 where it does not, None where steps are uneven.
    start: where the window of the first element begins; negative in the padding.
    whole: the window is at least as large as the input.
    An operator that does not depend on the input has size None and whole False; an unknown field has None in both.
    """

    name: str = column("operator")
    module: str = column("module", hidden=True)
    kind: str = column("kind", default="")
    size: Shape | None = column("field", "shape", fold="last", default=None)
    jump: tuple[Number | None, ...] | None = column("jump", "shape", fold="last", default=None)
    start: tuple[int | None, ...] | None = column("start", "shape", fold="last", default=None)
    whole: bool | None = column("whole input", "flag", fold="max", default=False)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


@of_graph
def receptive_field(graph: ModelGraph, *, axes: Sequence[int] | None = None) -> Table[Field]:
    """Receptive field of every operator that computes, with respect to the first spatial input.

    Spatial are the last dimensions of the first input that has them, as many as the first convolution slides over;
    ``axes`` names them otherwise. An operator without a rule stands in ``table.missing``; its field is unknown, and so
    is that of all that follows from it. In-place writes through a view that adds to the field are unknown too. Of a
    training step these are the fields of the forward pass.
    """
    graph = graph.forward
    source, axes = spatial_input(graph, axes)
    if source is None:
        rows = [Field(op.name, op.module, op.kind) for op in graph if not op.view]
        notes: tuple[str, ...] = ("no input has spatial dimensions; axes= names them",)
    else:
        known, missing = follow(graph, source, axes)
        lengths = [source.shape[axis] for axis in axes]
        rows = []
        for op in graph:
            if not op.view or op.name in missing:
                field = known.get(op.outputs[0].name, ()) if op.outputs else ()
                rows.append(_row(op, field, lengths, (op.kind,) if op.name in missing else ()))
        notes = (f"fields in {source.name} ({'x'.join(map(str, source.shape))}), not clipped to it",)
        if any(op.attrs.get("training") and "batch_norm" in op.kind for op in graph):
            notes += (
                "batch norm in training mode takes its statistics from all positions: the field behind it is whole",
            )
    return table("receptive field", rows, Field, model=graph.name, input=graph.input_text, notes=notes)


def spatial_input(graph: ModelGraph, axes: Sequence[int] | None = None) -> tuple[Value | None, tuple[int, ...]]:
    """The input whose positions are meant, and its spatial dimensions."""
    convolutions = [op for op in graph if op.kind == "convolution"]
    rank = len(convolutions[0].inputs[1].shape) - 2 if convolutions else None
    for value in graph.inputs:
        dims = len(value.shape)
        if axes is not None:
            if all(-dims <= axis < dims for axis in axes):
                return value, tuple(axis % dims for axis in axes)
        # Without a convolution, (batch, time, features) and (batch, channels, length) look the same.
        elif value.dtype.startswith(("float", "bfloat", "complex")) and dims >= (rank + 1 if rank else 4):
            return value, tuple(range(dims - rank if rank else 2, dims))
    return None, ()


def _row(op: Op, field: Seen, lengths: Sequence[int], gaps: tuple[str, ...]) -> Field:
    if not field:
        return Field(op.name, op.module, op.kind, whole=None if field is None else False, missing=gaps)
    ends = [size_and_start(windows) if windows else (0, None) for windows in field]
    sizes = tuple(size for size, _ in ends)
    whole = all(size >= length for size, length in zip(sizes, lengths, strict=True))
    return Field(op.name, op.module, op.kind, sizes, _jumps(field), tuple(start for _, start in ends), whole, gaps)


def _jumps(field: tuple[Windows, ...]) -> tuple[Number | None, ...]:
    """The smallest step of each axis; None where a dimension steps along two axes at once, or unevenly."""
    moving = [[(d, m) for w in windows for d, m in enumerate(w.motions) if not m.still] for windows in field]
    jumps: list[Number | None] = []
    for axis, motions in enumerate(moving):
        others = {dim for other, pairs in enumerate(moving) if other != axis for dim, _ in pairs}
        if any(motion.advance is None or dim in others for dim, motion in motions):
            jumps.append(None)
            continue
        steps = [abs(Fraction(motion.advance or 0, len(motion.lows) or 1)) for _, motion in motions]
        jump = min([step for step in steps if step], default=Fraction(0))
        jumps.append(int(jump) if jump.denominator == 1 else float(jump))
    return tuple(jumps)


# -- through the graph ------------------------------------------------------------------------------------------------


def follow(graph: ModelGraph, source: Value, axes: Sequence[int]) -> tuple[dict[str, Seen], set[str]]:
    """What every value that depends on the source sees of each axis; and the operators that could not be decided."""
    evenly = [Motion(n, 1, (0,), (0,)) for n in source.shape]
    known: dict[str, Seen] = {
        source.name: tuple(
            (Window(0, 0, tuple(evenly[d] if d == axis else still(n) for d, n in enumerate(source.shape))),)
            for axis in axes
        )
    }
    places: dict[tuple[int, Shape], Seen] = {(source.storage, source.shape): known[source.name]}
    missing: set[str] = set()
    for op in graph:
        if not op.outputs:
            continue
        kind = op.kind[:-1] if op.in_place else op.kind
        inputs = op.inputs[1:] if kind == "copy" else op.inputs
        seen = [_seen(value, op, graph, known, places) for value in inputs]
        rule = pointwise if op.pointwise else RULES.get(kind)
        if rule is constant or not any(field is None or any(field) for field in seen):
            continue
        results: list[Seen] = [None] * len(op.outputs)
        if None not in seen:
            try:
                results = _through(op, rule, [field or ((),) * len(axes) for field in seen], len(axes))
            except Undecided:
                missing.add(op.name)
        elif all(known.get(value.name, ()) is not None for value in inputs):
            missing.add(op.name)  # what is unknown was written through another view
        for value, field in zip(op.outputs, results, strict=True):
            if field is None or any(field):
                known[value.name] = places[value.storage, value.shape] = field
    return known, missing


def _through(op: Op, rule: Rule | None, seen: list[tuple[Windows, ...]], axes: int) -> list[Seen]:
    if rule is None:
        raise Undecided
    by_axis = [rule(op, [field[axis] for field in seen]) for axis in range(axes)]
    results: list[Seen] = []
    for i, value in enumerate(op.outputs):
        if i < len(by_axis[0]):
            results.append(tuple(outputs[i] for outputs in by_axis))
        else:  # a further result of the same shape (indices of a pool) sees the same
            results.append(results[0] if value.shape == op.outputs[0].shape else None)
    return results


def _seen(
    value: Value, op: Op, graph: ModelGraph, known: dict[str, Seen], places: dict[tuple[int, Shape], Seen]
) -> Seen:
    """What a value sees when the operator reads it; unknown after a write through another view that may add to it."""
    if value.name.startswith("alias") and value.name not in known:
        # Made in C++ (detached): no operator returned it. It is what last stood there in this shape.
        storages = {storage for storage, _ in places}
        return places.get((value.storage, value.shape), None if value.storage in storages else ())
    for name in op.after:
        writer = graph[name]
        if any(out.storage == value.storage for out in writer.outputs) and not _adds_nothing(writer, known):
            return None
    return known.get(value.name, ())


def _adds_nothing(writer: Op, known: dict[str, Seen]) -> bool:
    """Whether an in-place write leaves what its memory sees as it was: relu_, or the write of a constant."""
    if known.get(writer.outputs[0].name, ()) is None:
        return False
    depends = [value.name in known for value in writer.inputs]
    in_place = writer.pointwise or RULES.get(writer.kind.rstrip("_")) is constant
    return not any(depends) or (in_place and not any(depends[1:]))
