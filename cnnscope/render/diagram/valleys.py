"""Nets whose skips run from one half to the other, as U-Net's, drawn as a U: down the left side, up the right one.

Skips that nest (the last tensor that is kept is the first that is read again) run straight across then, without a
crossing, because both halves are stretched until each reader stands beside what it reads.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..canvas.metrics import width
from ..canvas.shapes import Text
from . import labels
from .arrangement import Arrangement
from .arranging import Arranger
from .columns import Cut, parts
from .framing import LABEL_INK, LABEL_SIZE
from .plan import MARGIN, RAIL, TOP, Plan, Track
from .scene import Card, Edge, Node, Panel, Scene, Signal
from .turning import Flow, Place
from .wiring import Link, links

_SKIPS = 2  # as many at least make a valley
_GUTTER, _FLOOR = 56.0, 18.0
_BESIDE = 6.0  # how far below the words under a card its skip turns


def valley(scene: Scene, words: dict[Signal, str], whole: Arrangement, cuts: Sequence[Cut], flow: Flow) -> Plan | None:
    """The scene as a U; None when it is no such net. whole, cuts: the layout in one column, and where it can be cut."""
    most = max((cut.crossing for cut in cuts), default=0)
    if most <= _SKIPS:
        return None
    middle = whole.height / 2
    floor = min((cut for cut in cuts if cut.crossing == most), key=lambda cut: (len(cut.trail), abs(cut.y - middle)))
    halves = parts(whole, [floor.trail])
    found = _across(scene, halves)
    if found is None:
        return None
    skips, main = found
    root = Panel("", "", "", list(halves))
    wiring = links(root, [edge for edge in scene.edges if edge not in set(skips)])
    across = wiring.get(root, [])
    if len(across) != 1 or across[0].signal != main:
        return None
    down = Arranger(wiring, words, flow).arrange(halves[0])
    up = Arranger(wiring, words, Flow(flow.sideways, backward=True)).arrange(halves[1])
    if not all(_alone(down, edge.tail) and _alone(up, edge.head) for edge in skips):
        return None
    for edge in skips:
        _align(down, up, edge)
    drawn = _Valley(down, up, flow)
    drawn.floor(across[0], words.get(main) or labels.shape(main[1], scene.batch))
    for edge in skips:
        drawn.skip(edge, labels.shape(edge.shape, scene.batch))
    return drawn.plan


def _across(scene: Scene, halves: list[Panel]) -> tuple[list[Edge], Signal] | None:
    """The edges that cross the valley from the lowest to the highest, and what flows over its floor."""
    order = {card: i for i, card in enumerate(scene.root.cards())}
    left = set(halves[0].cards())
    found: dict[Signal, list[Edge]] = {}
    for edge in scene.edges:
        if edge.tail in left and edge.head not in left:
            found.setdefault(edge.signal, []).append(edge)
    signals = sorted(found, key=lambda signal: -order[signal[0]])
    main, skips = signals[0], [edge for signal in signals[1:] for edge in found[signal]]
    heads = [order[edge.head] for edge in skips]
    tails = [edge.tail for edge in skips]
    if len(skips) < _SKIPS or len(set(tails)) < len(tails) or heads != sorted(set(heads)):
        return None
    return skips, main


def _alone(made: Arrangement, card: Card) -> tuple[float, float] | None:
    """The middle of a card along the flow and the end of the words behind it, when nothing is beside it anywhere."""
    for row in made.rows:
        for node in row.nodes:
            if not _holds(node, card):
                continue
            child = next(child for child in made.children if child.node is node)
            if not row.alone:
                return None
            if not isinstance(child.inner, Arrangement):
                return child.y + child.height / 2, child.y + child.height + row.zone - row.bottom
            found = _alone(child.inner, card)
            return (child.y + found[0], child.y + found[1]) if found else None
    return None


def _align(down: Arrangement, up: Arrangement, edge: Edge) -> None:
    """Stretch one of the sides until the tensor leaves as high above the floor as it arrives."""
    tail, head = _alone(down, edge.tail), _alone(up, edge.head)
    assert tail and head
    leaves = tail[1] + _BESIDE
    lower, higher = down.height - leaves, head[0]
    if lower < higher:
        down.stretch(_behind(down, edge.tail) or leaves + 1, higher - lower)
    elif higher < lower:
        before = _before(up, edge.head)
        up.stretch(0.5 if before is None else before - 1, lower - higher)


def _behind(made: Arrangement, card: Card) -> float | None:
    """Where to stretch behind a card: behind the panels that end with it; None where none does."""
    rows = [row for row in made.rows if row.nodes]
    for i, row in enumerate(rows):
        for child in made.children:
            if (
                child.node is not row.nodes[0]
                or not isinstance(child.inner, Arrangement)
                or not _holds(child.node, card)
            ):
                continue
            inner = _behind(child.inner, card)
            if inner is not None:
                return child.y + inner
            last = [each for each in child.inner.rows if each.nodes][-1].nodes[0]
            return child.y + child.height + 1 if _holds(last, card) and i < len(rows) - 1 else None
    return None


def _before(made: Arrangement, card: Card) -> float | None:
    """Where to stretch before a card: before all that has its resolution already; None for before the whole panel."""
    rows = [row for row in made.rows if row.nodes]
    i = next(i for i, row in enumerate(rows) if any(_holds(node, card) for node in row.nodes))
    tops = {child.node: child for child in made.children}
    child = tops[rows[i].nodes[0]]
    if isinstance(child.inner, Arrangement):
        inner = _before(child.inner, card)
        if inner is not None:
            return child.y + inner
    while i and _resolution(rows[i - 1].nodes[0]) == _resolution(card):
        i -= 1
    return tops[rows[i].nodes[0]].y if i else None


def _holds(node: Node, card: Card) -> bool:
    return node is card or (isinstance(node, Panel) and card in set(node.cards()))


def _resolution(node: Node) -> tuple[int, ...]:
    """Of the maps that come out of a card, or of the last card of a panel."""
    card = node if isinstance(node, Card) else list(node.cards())[-1]
    return tuple(card.shape or ())[2:]


class _Valley:
    """The two sides on the page, with their floors at the same height, and what runs between them."""

    def __init__(self, down: Arrangement, up: Arrangement, flow: Flow) -> None:
        self.plan, self.sideways = Plan(), flow.sideways
        across, along = (TOP, MARGIN) if flow.sideways else (MARGIN, TOP)
        deep = along + max(down.height, up.height)
        first, second = across + RAIL, across + RAIL + down.width + _GUTTER
        self.left = self._place(flow, first, deep - down.height, down.height)
        self.right = self._place(Flow(flow.sideways, True), second, deep - up.height, up.height)
        self.plan.add_column(down, self.left)
        self.plan.add_column(up, self.right, up.width + RAIL / 2)
        sizes = second + up.width + RAIL + MARGIN, deep + _FLOOR + 34
        self.plan.width, self.plan.height = sizes[::-1] if flow.sideways else sizes
        self.ends = next(iter(down.bottoms.values())), next(iter(up.tops.values()))
        self.bodies = {placed.card: placed.body for placed in self.plan.cards}

    def _place(self, flow: Flow, across: float, along: float, long: float) -> Place:
        return Place(flow, along, across, long) if self.sideways else Place(flow, across, along, long)

    def floor(self, link: Link, words: str) -> None:
        """The line over the valley's floor."""
        (start, end), long = self.ends, self.left.long
        points = [self.left.point(start, long), self.left.point(start, long + _FLOOR)]
        points += [self.right.point(end, -_FLOOR), self.right.point(end, 0.0)]
        self.plan.tracks.append(Track(link.edges, points, kind="corners"))
        x, y = points[1]
        place = (x + 5, y + 14) if self.sideways else (x + 14, y - 4)
        self.plan.labels.append(Text(*place, words, LABEL_SIZE, LABEL_INK))

    def skip(self, edge: Edge, words: str) -> None:
        """The line across: out under the tail, over to the side of the head."""
        tail, head = self.bodies[edge.tail], self.bodies[edge.head]
        if self.sideways:
            start, end = (tail[2], (tail[1] + tail[3]) / 2), ((head[0] + head[2]) / 2, head[1])
            corner, toward = (end[0], start[1]), (0.0, 1.0)
        else:
            start, end = ((tail[0] + tail[2]) / 2, tail[3]), (head[0], (head[1] + head[3]) / 2)
            corner, toward = (start[0], end[1]), (1.0, 0.0)
        self.plan.tracks.append(Track([edge], [start, corner, end], edge.skip, end, "corners", toward))
        edge_ = self.right.y if self.sideways else self.right.x
        place = (corner[0] + 4, edge_ - 12) if self.sideways else (edge_ - width(words, LABEL_SIZE) - 6, corner[1] - 4)
        self.plan.labels.append(Text(*place, words, LABEL_SIZE, LABEL_INK))
