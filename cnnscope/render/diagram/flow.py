"""From operators to units: what gets a card, and which tensors run between the units.

Views and copies are plumbing: they become part of an edge.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ...graph import ModelGraph, Op, Value
from . import kinds
from .selecting import drawn_ops, forward_ops, is_plumbing


class Source(NamedTuple):
    """Where a tensor comes from: a unit's result, seen through views."""

    unit: Unit
    origin: Value
    value: Value
    via: tuple[str, ...] = ()


@dataclass(eq=False)
class Unit:
    """One card to be: an operator, a whole layer, an input or an output of the model.

    ops: in order, those that became chips included; prepared: operators that only it needs and that depend on no
    input; chips: (operator or layer name, its family).
    """

    role: str = "op"
    ops: list[Op] = field(default_factory=list)
    prepared: list[Op] = field(default_factory=list)
    call: int = 0
    whole: bool = False
    value: Value | None = None
    number: int = 0
    sources: list[Source] = field(default_factory=list)
    chips: list[tuple[str, str]] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return self.ops[0].kind.rstrip("_") if self.ops else ""


def units(graph: ModelGraph) -> list[Unit]:
    """All units in execution order, inputs first, outputs last."""
    flow, drawn = _Flow(graph), drawn_ops(graph)
    for op in forward_ops(graph):
        if op.name in drawn:
            flow.add(op)
        else:
            flow.prepare(op)
    return flow.finish()


class _Flow:
    """Follows tensors from operator to operator."""

    def __init__(self, graph: ModelGraph) -> None:
        self.graph = graph
        self.units: list[Unit] = []
        self.made: dict[str, Source] = {}  # by value
        self.stored: dict[int, Source] = {}  # the last writer of each storage
        self.written: dict[int, list[Source]] = {}  # in-place writers of parts of a storage
        self.by_op: dict[str, Source] = {}
        self.by_call: dict[int, Unit] = {}
        self.taken: set[str] = set()
        self.waiting: dict[str, list[Op]] = {}  # preparation behind each value that nothing drawn has used yet
        for number, value in enumerate(graph.inputs):
            self._result(Unit("input", value=value, number=number), value)

    def prepare(self, op: Op) -> None:
        """An operator without a card: the first unit that uses its result takes it over."""
        chain = [*self._preparation(op), op]
        for value in op.outputs:
            self.waiting[value.name] = chain

    def _preparation(self, op: Op) -> list[Op]:
        found = {each.name: each for value in op.inputs for each in self.waiting.get(value.name, ())}
        return list(found.values())

    def add(self, op: Op) -> None:
        """An operator that depends on the input."""
        sources = list(dict.fromkeys(self._sources(op)))
        if sources and is_plumbing(op, self.graph):
            first = sources[0]
            for value in op.outputs:
                self.made[value.name] = first._replace(value=value, via=(*first.via, op.kind))
            return
        unit = self._unit(op)
        for each in self._preparation(op):
            if each.name not in self.taken:
                self.taken.add(each.name)
                unit.prepared.append(each)
        known = set(unit.sources)
        unit.sources += [source for source in sources if source.unit is not unit and source not in known]
        for value in op.outputs:
            self._result(unit, value)
            if op.in_place:
                self._note_write(op, value)
        if op.outputs:
            self.by_op[op.name] = self.made[op.outputs[0].name]

    def finish(self) -> list[Unit]:
        self._name_dropouts()
        outputs = list({value.name: value for value in self.graph.outputs}.values())
        for number, value in enumerate(outputs):
            source = self.made.get(value.name) or self.stored.get(value.storage)
            # An output may have been written into, through a view, after it was made.
            sources = [each for each in (source, *self.written.get(value.storage, ())) if each]
            once = list({each.unit: each for each in reversed(sources)}.values())
            self.units.append(Unit("output", value=value, number=number, sources=once[::-1]))
        return self.units

    def _unit(self, op: Op) -> Unit:
        call = self.graph.calls[op.call] if 0 <= op.call < len(self.graph.calls) else self.graph.calls[0]
        whole = op.call > 0 and call.leaf and call.type in kinds.WHOLE
        if whole and op.call in self.by_call:
            unit = self.by_call[op.call]
        else:
            unit = Unit(call=op.call, whole=whole)
            self.units.append(unit)
            if whole:
                self.by_call[op.call] = unit
        unit.ops.append(op)
        return unit

    def _result(self, unit: Unit, value: Value) -> None:
        if unit.role == "input":
            self.units.append(unit)
        source = Source(unit, value, value)
        self.made[value.name] = self.stored[value.storage] = source

    def _note_write(self, op: Op, value: Value) -> None:
        """Writes into a part of a storage are kept beside one another; a write of all of it replaces them."""
        whole = value.bytes >= self.graph.storages[value.storage].bytes
        parts = [] if whole else self.written.get(value.storage, [])
        self.written[value.storage] = [*parts, self.made[value.name]]

    def _sources(self, op: Op) -> Iterable[Source]:
        for value in op.inputs:
            source = self.made.get(value.name)
            if source is None and value.name not in self.graph.producers:
                source = self.stored.get(value.storage)  # an alias that no operator returned
            if source is not None:
                yield source
        for name in op.after:
            if name in self.by_op:
                yield self.by_op[name]

    def _name_dropouts(self) -> None:
        """Dropout runs no operator in inference; its call still says what it would act on."""
        busy = {op.call for op in self.graph}
        for index, call in enumerate(self.graph.calls):
            if call.type in kinds.DROPOUTS and index not in busy and call.inputs:
                source = self.made.get(call.inputs[0].name)
                if source and source.unit.role == "op":
                    source.unit.chips.append(("Dropout", "dropout"))
