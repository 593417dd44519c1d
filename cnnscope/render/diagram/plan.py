"""A laid out picture in absolute coordinates: what the drawing needs, whichever engine placed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..canvas.shapes import Point, Text
from .arrangement import Arrangement, Child, Mark
from .faces import Face
from .framing import LABEL_INK, LABEL_SIZE
from .scene import Card, Edge, Panel
from .turning import Place

MARGIN = 28.0
TOP = 116.0
RAIL = 30.0
"""Room before a column for the bars that show the resolution."""


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
    """A line with the edges that it is part of.

    tip: it ends there with an arrow, which points ``toward``. kind: ``flow`` (straight or in an S along the flow),
    ``corners`` (horizontals and verticals), ``spline`` (the points are Béziers').
    """

    edges: Sequence[Edge]
    points: list[Point]
    skip: bool = False
    tip: Point | None = None
    kind: str = "flow"
    toward: Point = (0.0, 1.0)


@dataclass
class Column:
    """Where a column stands, which cards it holds (by number), and where beside it the bars run."""

    place: Place
    cards: range
    rail: float


@dataclass
class Plan:
    """Where everything stands. columns: none where an engine knows of none."""

    width: float = 0.0
    height: float = 0.0
    cards: list[PlacedCard] = field(default_factory=list)
    panels: list[PlacedPanel] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
    labels: list[Text] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)

    @property
    def sideways(self) -> bool:
        return any(column.place.flow.sideways for column in self.columns)

    def add_column(self, made: Arrangement, place: Place, rail: float = 10.0 - RAIL) -> None:
        """Take over a whole column; ``rail``: where its bars run, seen from its left edge."""
        first = len(self.cards)
        doors = [*made.tops.values(), *made.bottoms.values(), *(c.x + c.width / 2 for c in made.children[:1])]
        for child in made.children:
            self._add_child(child, _Corner(place, 0.0, 0.0), 0, child.x <= doors[0] <= child.x + child.width)
        self._add_lines(made, _Corner(place, 0.0, 0.0))
        self.columns.append(Column(place, range(first, len(self.cards)), rail))

    def _add_lines(self, made: Arrangement, corner: _Corner) -> None:
        flow = corner.place.flow
        for wire in made.wires:
            points = [corner.point(*point) for point in wire.points]
            tip = points[-1] if isinstance(wire.link.head, Card) else None
            self.tracks.append(Track(wire.link.edges, points, wire.link.skip, tip, toward=flow.toward))
        self.labels += [corner.words(mark) for mark in made.labels]

    def _add_child(self, child: Child, corner: _Corner, depth: int, main: bool) -> None:
        if isinstance(child.node, Card):
            assert isinstance(child.inner, Face)
            x, y, _, _ = corner.box(child.x, child.y, child.width, child.height)
            self.cards.append(PlacedCard(child.node, x, y, child.inner, main))
            return
        assert isinstance(child.inner, Arrangement)
        inside = corner.moved(child.x, child.y)
        self.panels.append(PlacedPanel(child.node, *inside.box(*child.inner.frame), depth))
        for inner in child.inner.children:
            self._add_child(inner, inside, depth + 1, main)
        self._add_lines(child.inner, inside)


@dataclass(frozen=True)
class _Corner:
    """The first corner of a panel in its column."""

    place: Place
    x: float
    y: float

    def moved(self, x: float, y: float) -> _Corner:
        return _Corner(self.place, self.x + x, self.y + y)

    def point(self, x: float, y: float) -> Point:
        return self.place.point(self.x + x, self.y + y)

    def box(self, x: float, y: float, wide: float, long: float) -> tuple[float, float, float, float]:
        return self.place.box(self.x + x, self.y + y, wide, long)

    def words(self, mark: Mark) -> Text:
        """The words beside their line, behind the card that it leaves."""
        x, y = self.point(mark.x, mark.y)
        flow = self.place.flow
        if flow.sideways:
            off = -4.5 if flow.backward else 4.5
            place = x + off, y - 4.0 if mark.before else y + 10.0
            return Text(*place, mark.words, LABEL_SIZE, LABEL_INK, anchor="end" if flow.backward else "start")
        place = x - 4.5 if mark.before else x + 4.5, y - 3.5 if flow.backward else y + 9.5
        return Text(*place, mark.words, LABEL_SIZE, LABEL_INK, anchor="end" if mark.before else "start")
