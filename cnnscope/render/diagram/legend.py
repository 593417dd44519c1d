"""The legend: what the colours and signs of this picture mean, no others."""

from __future__ import annotations

from collections.abc import Callable

from . import kinds
from .faces import FAINT, Text
from .markup import element, rect, text
from .plan import Plan

Sign = Callable[[float, float], str]


def legend(plan: Plan, rail: bool, left: float, top: float, limit: float) -> tuple[list[str], float]:
    """Its parts, in as many lines as it takes, and the y of its lower edge."""
    parts, x, y = [], left, top + 12
    for sign, wide, words in _entries(plan, rail):
        line = Text(0, 0, words, 9.5, FAINT)
        gap = 5 if wide else 0
        need = wide + gap + line.width
        if x + need > left + limit and x > left:
            x, y = left, y + 18
        parts.append(sign(x, y) + text(Text(x + wide + gap, y, words, 9.5, FAINT)))
        x += need + 16
    return parts, y + 4


def _entries(plan: Plan, rail: bool) -> list[tuple[Sign, float, str]]:
    cards = [placed.card for placed in plan.cards]
    families = {card.family for card in cards} | {chip.family for card in cards for chip in card.chips}
    found = [(_square(colour), 9.0, kinds.LEGEND.get(name, name)) for name, colour in kinds.COLOURS.items()
             if name in families and name != "terminal"]  # fmt: skip
    if any(placed.face.bar for placed in plan.cards):
        found.append((_heat, 30.0, "MACs relative to the costliest layer"))
    if any(track.skip for track in plan.tracks):
        found.append((_dashes, 26.0, "identity shortcut"))
    if rail:
        found.append((_rail, 5.0, "height × width of the maps"))
    if any(placed.panel.copies > 1 for placed in plan.panels) or any(card.copies > 1 for card in cards):
        found.append((_copies, 16.0, "N equal blocks in a row"))
    if any(card.params or card.macs for card in cards):
        found.append((lambda x, y: "", 0.0, "p: parameters, MAC: multiply-adds"))
    return found


def _square(colour: str) -> Sign:
    return lambda x, y: rect(x, y - 8, 9, 9, 2, fill=colour)


def _heat(x: float, y: float) -> str:
    return rect(x, y - 5, 30, 2.6, 1.3, fill="#edf1f6") + rect(x, y - 5, 20, 2.6, 1.3, fill="#ea580c")


def _dashes(x: float, y: float) -> str:
    return element("path", d=f"M{x:.1f} {y - 3.5:.1f}h26", stroke="#c2410c", stroke_width=1.5, stroke_dasharray="4 2.5")


def _rail(x: float, y: float) -> str:
    return rect(x, y - 9, 5, 11, 2.5, fill="#3b8ac4")


def _copies(x: float, y: float) -> str:
    pill = rect(x, y - 9, 18, 12, 6, fill="#1e3a66")
    return pill + text(Text(x + 9, y, "×N", 8, "#ffffff", True, "middle"))
