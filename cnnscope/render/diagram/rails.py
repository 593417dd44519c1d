"""Bars beside the columns that show the resolution of the maps from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, prod

from ..canvas.shapes import Box, Paint, Shape, Text
from .faces import FAINT
from .plan import Column, PlacedCard, Plan

_PALE, _DEEP = (219, 234, 254), (7, 89, 133)
_THICK = 5.0

Size = tuple[int, ...]
Run = tuple[float, float, Size]


@dataclass
class Bar:
    """One resolution: where it begins and ends along its column, its words and its colour."""

    column: Column
    start: float
    end: float
    words: str
    colour: str

    def shapes(self) -> list[Shape]:
        """The bar beside its column, with its words where they have room."""
        place, long = self.column.place, self.end - self.start
        words = Text(0, 0, self.words, 8.5, FAINT, anchor="middle")
        middle, paint = (self.start + self.end) / 2, Paint(self.colour)
        if place.flow.sideways:
            y = place.y + self.column.rail
            drawn: list[Shape] = [Box(self.start, y, long, _THICK, paint, _THICK / 2)]
            y += -4 if self.column.rail < 0 else _THICK + 10
            return [*drawn, Text(middle, y, self.words, 8.5, FAINT, anchor="middle")] if words.width < long else drawn
        x = place.x + self.column.rail
        drawn = [Box(x, self.start, _THICK, long, paint, _THICK / 2)]
        if words.width > long + 14:
            return drawn
        x += -4 if self.column.rail < 0 else _THICK + 10
        return [*drawn, Text(x, middle, self.words, 8.5, FAINT, anchor="middle", turned=-90)]


def bars(plan: Plan) -> list[Bar]:
    """The bars of all columns; none when the maps never change in size."""
    runs = [
        (column, _runs([plan.cards[i] for i in column.cards], column.place.flow.sideways)) for column in plan.columns
    ]
    sizes = sorted({run[2] for _, column in runs for run in column}, key=lambda size: (prod(size), size))
    if len(sizes) < 2:
        return []
    shade = {size: 1 - i / (len(sizes) - 1) for i, size in enumerate(sizes)}
    return [
        Bar(column, start, end, "×".join(map(str, size)), _mix(shade[size]))
        for column, found in runs
        for start, end, size in found
    ]


def _runs(cards: list[PlacedCard], sideways: bool) -> list[Run]:
    """Top, bottom and size of what follows one another from top to bottom with the same size; or left and right."""
    spans: list[Run] = []
    first = 0 if sideways else 1
    maps = [(each, each.card.shape) for each in cards if each.main]
    found = [
        (each.body[first], each.body[first + 2], tuple(shape[2:])) for each, shape in maps if shape and len(shape) == 4
    ]
    for top, bottom, size in sorted(found):
        # What stands beside larger maps is a side branch.
        while spans and spans[-1][1] > top and prod(spans[-1][2]) < prod(size):
            spans.pop()
        if not spans or spans[-1][1] <= top or spans[-1][2] == size:
            spans.append((top, bottom, size))
    runs: list[Run] = []
    for top, bottom, size in spans:
        if len(runs) > 1 and prod(runs[-1][2]) == 1 and runs[-2][2] == size:
            runs.pop()  # maps that were squeezed to one number each, only to scale the others
        if runs and runs[-1][2] == size:
            runs[-1] = (runs[-1][0], max(runs[-1][1], bottom), size)
        else:
            runs.append((top, bottom, size))
    return runs


def _mix(deep: float) -> str:
    deep = log(1 + 2 * deep) / log(3)
    return "#" + "".join(f"{round(a + (b - a) * deep):02x}" for a, b in zip(_PALE, _DEEP, strict=True))
