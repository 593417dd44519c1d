"""What ``cnnscope table`` shows: the layers or operators of a graph with everything known of them, sorted and folded."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ..analyses.layering import Layer, layers
from ..graph import ModelGraph, Shape
from ..render.cells import find
from ..table import Table, column, table


@dataclasses.dataclass(frozen=True, slots=True)
class FullLayer(Layer):
    """A layer with what other analyses say of it."""

    share: float | None = column("share of MACs", "ratio", fold="sum", hidden=True, default=None)
    receptive_field: Shape | None = column("receptive field", "shape", fold="last", hidden=True, default=None)
    jump: Shape | None = column("jump", "shape", fold="last", hidden=True, default=None)
    depth: int | None = column("depth", "count", fold="max", hidden=True, default=None)


def by_layer(graph: ModelGraph) -> Table[FullLayer]:
    """The layers with their share of the MACs, their receptive field and their depth."""
    plain = layers(graph)
    whole = plain.total.macs
    names = [field.name for field in dataclasses.fields(Layer)]
    rows = [
        FullLayer(
            **{name: getattr(layer, name) for name in names},
            share=layer.macs / whole if layer.macs is not None and whole else None,
        )
        for layer in plain.values()
    ]
    return table("layers", rows, FullLayer, model=graph.name, input=graph.input_text)


def ordered(table_: Table[Any], by: str) -> Table[Any]:
    """The rows sorted by a column: numbers and shapes from the largest, text from A; ``:asc``, ``:desc`` say otherwise.

    Raises:
        LookupError: there is no such column.
    """
    wanted, colon, direction = by.rpartition(":")
    if not colon or direction not in ("asc", "desc"):
        wanted, direction = by, ""
    field = find(table_.row_type, wanted)
    known = [row for row in table_.values() if getattr(row, field.name) is not None]
    text = field.metadata["unit"] == "text"
    down = direction == "desc" if direction else not text
    known.sort(key=lambda row: _weight(getattr(row, field.name)), reverse=down)
    unknown = [row for row in table_.values() if getattr(row, field.name) is None]
    return dataclasses.replace(table_, rows={row.name: row for row in [*known, *unknown]})


def _weight(value: Any) -> Any:
    """Shapes are compared by the number of elements."""
    if isinstance(value, tuple):
        return math.prod(value) if all(isinstance(size, int) for size in value) else str(value)
    return value
