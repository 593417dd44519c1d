"""The legend: what the colours and signs of this picture mean, no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..canvas.shapes import Box, Paint, Shape, Text, line
from . import kinds
from .faces import FAINT
from .plan import Plan

Sign = Callable[[float, float], list[Shape]]


def legend(plan: Plan, heat: str, rail: bool, left: float, top: float, limit: float) -> tuple[list[Shape], float]:
    """Its parts, in as many lines as it takes, and the y of its lower edge."""
    parts: list[Shape] = []
    x, y = left, top + 12
    for sign, wide, words in _entries(plan, heat, rail):
        gap = 5 if wide else 0
        need = wide + gap + Text(0, 0, words, 9.5).width
        if x + need > left + limit and x > left:
            x, y = left, y + 18
        parts += [*sign(x, y), Text(x + wide + gap, y, words, 9.5, FAINT)]
        x += need + 16
    return parts, y + 4


def _entries(plan: Plan, heat: str, rail: bool) -> Iterator[tuple[Sign, float, str]]:
    cards = [placed.card for placed in plan.cards]
    families = {card.family for card in cards} | {chip.family for card in cards for chip in card.chips}
    for name, colour in kinds.COLOURS.items():
        if name in families and name != "terminal":
            yield _square(colour), 9.0, kinds.LEGEND.get(name, name)
    if any(placed.face.bar for placed in plan.cards):
        yield _heat, 30.0, heat
    if any(track.skip for track in plan.tracks):
        yield _dashes, 26.0, "identity shortcut"
    if rail:
        yield _rail, 5.0, "height × width of the maps"
    if any(placed.panel.copies > 1 for placed in plan.panels) or any(card.copies > 1 for card in cards):
        yield _copies, 18.0, "N equal blocks in a row"
    if any(card.params or card.macs for card in cards):
        yield (lambda x, y: []), 0.0, "p: parameters, MAC: multiply-adds"


def _square(colour: str) -> Sign:
    return lambda x, y: [Box(x, y - 8, 9, 9, Paint(colour), 2)]


def _heat(x: float, y: float) -> list[Shape]:
    return [
        Box(x, y - 5, 30, 2.6, Paint("#edf1f6"), 1.3),
        Box(x, y - 5, 20, 2.6, Paint("#ea580c"), 1.3),
    ]


def _dashes(x: float, y: float) -> list[Shape]:
    return [line([(x, y - 3.5), (x + 26, y - 3.5)], Paint("none", "#c2410c", 1.5, "4 2.5"))]


def _rail(x: float, y: float) -> list[Shape]:
    return [Box(x, y - 9, 5, 11, Paint("#3b8ac4"), 2.5)]


def _copies(x: float, y: float) -> list[Shape]:
    return [Box(x, y - 9, 18, 12, Paint("#1e3a66"), 6), Text(x + 9, y, "×N", 8, "#ffffff", True, "middle")]
