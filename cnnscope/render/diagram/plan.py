"""A laid out picture in absolute coordinates: what the drawing needs, whichever engine placed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .arrangement import Arrangement, Child, Point
from .faces import Face, Text
from .scene import Card, Edge, Panel


@dataclass
class PlacedCard:
    """A card's face at its place. main: the column's main way runs through what it is in."""

    card: Card
    x: float
    y: float
    face: Face
    main: bool = True

    @property
    def body(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of what is seen."""
        x, y, wide, high = self.face.body
        return self.x + x, self.y + y, self.x + x + wide, self.y + y + high


@dataclass
class PlacedPanel:
    """A panel's frame; depth is how many panels are around it."""

    panel: Panel
    x: float
    y: float
    width: float
    height: float
    depth: int


@dataclass
class Track:
    """A line with the edges that it is part of. tip: it ends there with an arrow. spline: points are Béziers'."""

    edges: Sequence[Edge]
    points: list[Point]
    skip: bool = False
    tip: Point | None = None
    spline: bool = False
    connector: bool = False


@dataclass
class Plan:
    """Everything at its place."""

    width: float = 0.0
    height: float = 0.0
    cards: list[PlacedCard] = field(default_factory=list)
    panels: list[PlacedPanel] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
    labels: list[Text] = field(default_factory=list)
    columns: list[float] = field(default_factory=list)
    """Left edges of the columns."""

    def add_column(self, made: Arrangement, x: float, y: float) -> None:
        """Take over a whole column, its upper left corner at x, y."""
        self.columns.append(x)
        doors = [*made.tops.values(), *made.bottoms.values(), *(c.x + c.inner.width / 2 for c in made.children[:1])]
        for child in made.children:
            self._add_child(child, x, y, 0, child.x <= doors[0] <= child.x + child.inner.width)
        self._add_lines(made, x, y)

    def _add_lines(self, made: Arrangement, x: float, y: float) -> None:
        for wire in made.wires:
            points = [(x + a, y + b) for a, b in wire.points]
            tip = points[-1] if isinstance(wire.link.head, Card) else None
            self.tracks.append(Track(wire.link.edges, points, wire.link.skip, tip))
        self.labels += [Text(x + t.x, y + t.y, t.text, t.size, t.ink, t.bold, t.anchor) for t in made.labels]

    def _add_child(self, child: Child, x: float, y: float, depth: int, main: bool) -> None:
        if isinstance(child.node, Card):
            assert isinstance(child.inner, Face)
            self.cards.append(PlacedCard(child.node, x + child.x, y + child.y, child.inner, main))
            return
        assert isinstance(child.inner, Arrangement)
        left, top, wide, high = child.inner.frame
        self.panels.append(PlacedPanel(child.node, x + child.x + left, y + child.y + top, wide, high, depth))
        for inner in child.inner.children:
            self._add_child(inner, x + child.x, y + child.y, depth + 1, main)
        self._add_lines(child.inner, x + child.x, y + child.y)
