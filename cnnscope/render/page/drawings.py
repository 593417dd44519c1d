"""The diagram as a page needs it: its parts can be found, moved and coloured, and operators lead to cards."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ...graph import ModelGraph
from ..canvas import svg_writer
from ..diagram import faces, kinds
from ..diagram.composing import compose
from ..diagram.drawing import Drawing
from ..diagram.page import lay_out
from ..diagram.plan import TOP, PlacedCard, PlacedPanel, Plan
from .theming import Palette, brief, parsed, written

_NUMBERS = frozenset(("x", "y", "width", "height", "cx", "cy", "d", "transform", "textLength"))


class Sheet(NamedTuple):
    """One drawing.

    geometry: where columns, cards and panels stand, which the page needs to close panels. cards: number of the card
    of each operator. own: the operators that their card shows itself; the others are folded into it.
    families: the colours in it, by what they stand for; shortcuts: some lines are dashed.
    """

    svg: str
    geometry: Mapping[str, Any]
    cards: Mapping[str, int]
    own: frozenset[str]
    families: Mapping[str, str]
    shortcuts: bool


def sheet(graph: ModelGraph, *, fold: bool, prefix: str, palette: Palette) -> Sheet:
    """Draw a graph for a page; ids begin with the prefix."""
    plan = lay_out(compose(graph, fold=fold))
    if any(column.place.flow.backward for column in plan.columns):  # what is closed makes room downwards alone
        plan = lay_out(compose(graph, fold=fold), columns=False)
    picture = Drawing(plan, "").picture(graph.name, "")
    root = parsed(svg_writer.svg(picture, prefix))
    _strip(root)
    _mark(root, plan, prefix)
    palette.take(root)
    cards = {op: i for i, placed in enumerate(plan.cards) for op in (*placed.card.ops, *placed.card.more_ops)}
    own = frozenset(op for placed in plan.cards for op in placed.card.ops)
    return Sheet(written(root), _geometry(plan), cards, own, _families(plan), any(track.skip for track in plan.tracks))


def _strip(root: ElementTree.Element) -> None:
    """Take away what the page says itself: heading, legend and background; what is left fits its frame."""
    for child in list(root):
        if child.tag in ("rect", "text", "title") or child.get("data-layer") == "legend":
            root.remove(child)
    for name in ("width", "height", "font-family", "aria-labelledby", "xmlns"):
        root.attrib.pop(name, None)
    for each in root.iter():
        each.attrib.pop("lengthAdjust", None)  # the letters are as wide as was reckoned, but for a rare font
        for name in _NUMBERS.intersection(each.attrib):
            each.set(name, brief(each.attrib[name]))
    root.set("class", "drawing")


def _mark(root: ElementTree.Element, plan: Plan, prefix: str) -> None:
    """Classes for the parts that the page changes: frames, bodies of cards, bars."""
    by_id = {each.get("id"): each for each in root.iter("g")}
    for i, placed in enumerate(plan.panels):
        for each in _rects(by_id[f"{prefix}-p{i}"], placed.width, placed.height):
            each.set("class", "frame")
    for i, card in enumerate(plan.cards):
        group = by_id[f"{prefix}-c{i}"]
        group.set("class", "card")
        group.attrib.pop("data-module", None)
        words = sum(1 for line in card.face.texts if line.text)
        for each in list(group.iter("text"))[:words]:
            each.set("class", "words")
        left, top, right, bottom = card.body
        for each in _rects(group, right - left, bottom - top)[-1:] or list(group.iter("circle")):
            each.set("class", "body")
        if card.face.bar:
            for each in group.iter("rect"):
                if each.get("height") == "2.6":
                    each.set("class", "bar")


def _rects(group: ElementTree.Element, wide: float, high: float) -> list[ElementTree.Element]:
    """The rectangles of that size."""
    return [
        each
        for each in group.iter("rect")
        if abs(float(each.get("width", 0)) - wide) < 0.06 and abs(float(each.get("height", 0)) - high) < 0.06
    ]


def _geometry(plan: Plan) -> dict[str, Any]:
    groups: dict[str, int] = {}
    for placed in plan.panels:
        groups.setdefault(placed.panel.path, len(groups))
    return {
        "top": TOP,
        "width": round(plan.width),
        "height": round(plan.height),
        "columns": _rounded(column.place.x for column in plan.columns),
        "cards": [_card(placed) for placed in plan.cards],
        "panels": [[*_panel(placed), groups[placed.panel.path]] for placed in plan.panels],
    }


def _card(placed: PlacedCard) -> list[float]:
    left, top, right, bottom = placed.body
    room = 2 * faces.STACK if placed.card.copies > 1 else 0.0
    beside = max((placed.x + badge.x + badge.width for badge in placed.face.badges), default=right)
    return _rounded([left, top - room, max(right + room, beside), bottom])


def _panel(placed: PlacedPanel) -> list[float]:
    """Its frame, the widths of its words at the left and at the right, and how far it is stacked.

    Behind that stands the number of its module, which the parts of one panel in several columns share.
    """
    words = faces.heading(placed.panel)
    room = 2 * faces.STACK if placed.panel.copies > 1 else 0.0
    return _rounded([placed.x, placed.y, placed.width, placed.height, words.left, words.right, room])


def _rounded(numbers: Iterable[float]) -> list[float]:
    return [round(number, 1) for number in numbers]


def _families(plan: Plan) -> dict[str, str]:
    """What the stripes of the cards mean, in the order of the legend."""
    found = {placed.card.family for placed in plan.cards}
    return {
        kinds.LEGEND.get(name, name): colour
        for name, colour in kinds.COLOURS.items()
        if name in found and name != "terminal"
    }
