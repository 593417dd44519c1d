"""Bars beside the columns that show the resolution of the maps from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, prod

from .plan import PlacedCard, Plan

_PALE, _DEEP = (219, 234, 254), (7, 89, 133)

Size = tuple[int, ...]


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
    for i, (left, _, _) in enumerate(plan.columns):
        right = plan.columns[i + 1][0] if i + 1 < len(plan.columns) else float("inf")
        runs.append((left, _runs(_spans([each for each in plan.cards if left - 1 <= each.x < right - 1]))))
    sizes = sorted({run[2] for _, column in runs for run in column}, key=lambda size: (prod(size), size))
    if len(sizes) < 2:
        return []
    shade = {size: 1 - i / (len(sizes) - 1) for i, size in enumerate(sizes)}
    return [
        Bar(left - 20, top, bottom, "×".join(map(str, size)), _mix(shade[size]))
        for left, column in runs
        for top, bottom, size in column
    ]


def _spans(cards: list[PlacedCard]) -> list[tuple[float, float, Size]]:
    """Top, bottom and size of all maps from top to bottom, without those that stand beside larger ones."""
    spans: list[tuple[float, float, Size]] = []
    maps = [(each.body[1], each.body[3], tuple(each.card.shape[2:])) for each in cards if len(each.card.shape or ()) == 4]
    for top, bottom, size in sorted(maps):
        while spans and spans[-1][1] > top and prod(spans[-1][2]) < prod(size):
            spans.pop()
        if not spans or spans[-1][1] <= top or spans[-1][2] == size:
            spans.append((top, bottom, size))
    return spans


def _runs(spans: list[tuple[float, float, Size]]) -> list[tuple[float, float, Size]]:
    """One run for all that follow one another with the same size."""
    runs: list[tuple[float, float, Size]] = []
    for i, (top, bottom, size) in enumerate(spans):
        around = spans[i - 1][2] if 0 < i < len(spans) - 1 and spans[i - 1][2] == spans[i + 1][2] else None
        if around and prod(around) > prod(size):
            continue  # a side branch that looks out between two rows of the main way
        if runs and runs[-1][2] == size:
            runs[-1] = (runs[-1][0], max(runs[-1][1], bottom), size)
        else:
            runs.append((top, bottom, size))
    return runs


def _mix(deep: float) -> str:
    deep = log(1 + 2 * deep) / log(3)
    return "#" + "".join(f"{round(a + (b - a) * deep):02x}" for a, b in zip(_PALE, _DEEP, strict=True))
