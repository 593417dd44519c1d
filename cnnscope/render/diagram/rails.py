"""Bars beside the columns that show the resolution of the maps from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, prod

from .plan import PlacedCard, Plan

_PALE, _DEEP = (219, 234, 254), (7, 89, 133)

Size = tuple[int, ...]
Run = tuple[float, float, Size]


@dataclass
class Bar:
    """One resolution: its place, its words and its colour."""

    x: float
    top: float
    bottom: float
    words: str
    colour: str


def bars(plan: Plan) -> list[Bar]:
    """The bars of all columns; none when the maps never change in size."""
    runs = []
    for i, left in enumerate(plan.columns):
        right = plan.columns[i + 1] if i + 1 < len(plan.columns) else float("inf")
        runs.append((left, _runs([each for each in plan.cards if each.main and left - 1 <= each.x < right - 1])))
    sizes = sorted({run[2] for _, column in runs for run in column}, key=lambda size: (prod(size), size))
    if len(sizes) < 2:
        return []
    shade = {size: 1 - i / (len(sizes) - 1) for i, size in enumerate(sizes)}
    return [
        Bar(left - 20, top, bottom, "×".join(map(str, size)), _mix(shade[size]))
        for left, column in runs
        for top, bottom, size in column
    ]


def _runs(cards: list[PlacedCard]) -> list[Run]:
    """Top, bottom and size of what follows one another from top to bottom with the same size."""
    spans: list[Run] = []
    maps = [(each, each.card.shape) for each in cards]
    found = [(each.body[1], each.body[3], tuple(shape[2:])) for each, shape in maps if shape and len(shape) == 4]
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
