"""From units to cards: words, shape, parameters and MACs of each."""

from __future__ import annotations

from ...analyses.costs import cost
from ...analyses.parameters import params
from ...graph import ModelGraph, Op
from . import kinds, labels
from .flow import Unit
from .heat import Heat
from .merging import unit_family, unit_title
from .scene import Card, Chip
from .selecting import is_flatten


class Costs:
    """Parameters, MACs and heat of groups of operators."""

    def __init__(self, graph: ModelGraph, heat: Heat) -> None:
        self.costs = cost(graph)
        self.params = params(graph)
        self.heat = heat

    def of(self, ops: list[Op]) -> tuple[int, int | None, tuple[str, ...]]:
        """Parameters, MACs (None when nothing is known of them) and the kinds that are not known."""
        rows = [self.costs[op.name] for op in ops]
        missing = tuple(row.kind for row in rows if row.macs is None)
        known = [row.macs for row in rows if row.macs is not None]
        own = sum(self.params[op.name].params for op in ops)
        return own, None if missing and not sum(known) else sum(known), missing


def batch_size(graph: ModelGraph) -> int | None:
    """The first size of the first input that looks like a batch of something."""
    return next((value.shape[0] for value in graph.inputs if len(value.shape) > 1), None)


def card(unit: Unit, graph: ModelGraph, costs: Costs, batch: int | None) -> Card:
    """The card of a unit."""
    if unit.role != "op":
        return _terminal(unit, graph, batch)
    main, call = unit.ops[0], graph.calls[unit.call]
    own, macs, missing = costs.of([*unit.prepared, *unit.ops])
    family = unit_family(unit, graph)
    words = "Flatten" if is_flatten(main, graph) else unit_title(unit, graph)
    last = [op for op in unit.ops if op.outputs][-1]
    names = tuple(op.name for op in (*unit.prepared, *unit.ops))
    leaf = call.leaf and unit.call > 0
    result = Card(
        form=_form(unit, family, own, macs),
        family=family,
        title=words,
        path=call.module if leaf else "",
        shape=last.outputs[0].shape,
        shape_text=labels.shape(last.outputs[0].shape, batch),
        params=own,
        macs=macs,
        heat=costs.heat.of(names),
        chips=[Chip(text, name) for text, name in unit.chips],
        ops=names,
        signature=_signature(unit),
        missing=missing,
        again=call.repeat > 0 and leaf,
    )
    result.heat_text = costs.heat.text(result.heat)
    if result.form == "circle":
        result.title = kinds.SIGNS[unit.kind]
    return result


def _form(unit: Unit, family: str, own: int, macs: int | None) -> str:
    if unit.kind in kinds.SIGNS and not unit.whole and len(unit.sources) > 1:
        return "circle"
    if unit.kind in ("cat", "stack"):
        return "pill"
    return "card" if own or macs or family in ("convolution", "linear", "recurrent") else "line"


def _signature(unit: Unit) -> str:
    """Operators, attributes and shapes: everything of a unit that two equal blocks share."""
    parts = [
        (op.kind, [value.shape for value in op.inputs], [value.shape for value in op.outputs], sorted(op.attrs.items()))
        for op in unit.ops
    ]
    return repr((parts, [op.kind for op in unit.prepared], unit.chips))


def _terminal(unit: Unit, graph: ModelGraph, batch: int | None) -> Card:
    values, word = (graph.inputs, "Input") if unit.role == "input" else (graph.outputs, "Output")
    assert unit.value is not None
    several = len({value.name for value in values}) > 1
    shape = unit.value.shape
    # An input's own name says more than its number, but "x" says nothing.
    name = unit.value.name if unit.role == "input" and several else ""
    return Card(
        "terminal", "terminal", f"{word} {unit.number + 1}" if several else word, name=name, shape=shape,
        shape_text=labels.shape(shape, batch), signature=f"{word}{shape}",
    )  # fmt: skip
