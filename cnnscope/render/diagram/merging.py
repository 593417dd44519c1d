"""Fewer cards that say the same: chips instead of cards, growth instead of repeated concatenation."""

from __future__ import annotations

from collections import Counter

from ...graph import ModelGraph, Op
from . import kinds, labels
from .flow import Source, Unit

_CHIP_ON = {
    "norm": {"convolution", "linear"},
    "activation": {"convolution", "linear", "norm", "join"},
    "dropout": {"convolution", "linear", "norm", "activation", "attention", "pooling"},
}


def unit_title(unit: Unit, graph: ModelGraph) -> str:
    """The words for the operator that the unit is about: in a whole layer, that is the layer's class."""
    type_ = graph.calls[unit.call].type if unit.whole else ""
    return labels.title(principal(unit), type_, whole=unit.whole)


def principal(unit: Unit) -> Op:
    """The operator that gives the unit its name and colour: the first that is more than bookkeeping."""
    if not unit.whole:
        return unit.ops[0]
    return next((op for op in unit.ops if kinds.family(op.kind) in _TELLING), unit.ops[0])


def unit_family(unit: Unit, graph: ModelGraph) -> str:
    if unit.role != "op":
        return "terminal"
    if unit.whole:
        type_ = graph.calls[unit.call].type
        for word, family in _TYPE_FAMILIES.items():
            if word in type_:
                return family
    return kinds.family(principal(unit).kind)


_TELLING = {"convolution", "linear", "norm", "pooling", "recurrent"}
_TYPE_FAMILIES = {
    "Attention": "attention", "LSTM": "recurrent", "GRU": "recurrent", "RNN": "recurrent", "Norm": "norm",
    "LRN": "norm", "Pad": "reshape", "Shuffle": "reshape", "Upsample": "reshape", "Softmax": "activation",
    "Pool": "pooling", "Dropout": "dropout", "GELU": "activation", "Hard": "activation", "Mish": "activation",
    "SiLU": "activation", "Soft": "activation", "Similarity": "other", "Distance": "other",
}  # fmt: skip


def attach_chips(units: list[Unit], graph: ModelGraph) -> list[Unit]:
    """Normalisation, activation and dropout go onto the unit that feeds only them."""
    readers = Counter(source.unit for unit in units for source in dict.fromkeys(unit.sources))
    moved: dict[Unit, Unit] = {}
    kept = []
    for unit in units:
        unit.sources = [source._replace(unit=moved.get(source.unit, source.unit)) for source in unit.sources]
        host = _host(unit, readers, graph)
        if host is None:
            kept.append(unit)
            continue
        host.chips.append((labels.chip(unit_title(unit, graph)), unit_family(unit, graph)))
        host.chips += unit.chips
        host.ops += unit.ops
        host.prepared += unit.prepared
        readers[host] = readers[unit]
        moved[unit] = host
    return kept


def _host(unit: Unit, readers: Counter[Unit], graph: ModelGraph) -> Unit | None:
    """The unit on whose card this one can stand as a chip."""
    if unit.role != "op" or len(unit.sources) != 1:
        return None
    source = unit.sources[0]
    family = unit_family(unit, graph)
    if readers[source.unit] != 1 or source.via or source.unit.role != "op":
        return None
    host_family = unit_family(source.unit, graph)
    if host_family not in _CHIP_ON.get(family, ()) or len(source.unit.chips) >= 4:
        return None
    if "softmax" in unit.kind and host_family != "linear":
        return None
    return None if source.unit.kind in ("cat", "stack") else source.unit


def draw_growth(units: list[Unit]) -> None:
    """A concatenation that begins with all of an earlier one takes that one's result instead of its parts."""
    earlier: dict[tuple[object, ...], Unit] = {}
    for unit in units:
        if unit.kind != "cat" or len(unit.ops) != 1:
            continue
        op, parts = unit.ops[0], unit.sources
        names = tuple(source.value.name for source in parts)
        if len(names) == len(op.inputs):  # otherwise a part is left out of the drawing or stands twice
            key = (op.attrs.get("dim"),)
            for count in range(len(names) - 1, 1, -1):
                base = earlier.get(key + names[:count])
                if base is not None:
                    result = base.ops[0].outputs[0]
                    unit.sources = [Source(base, result, result), *parts[count:]]
                    break
            earlier.setdefault(key + names, unit)
