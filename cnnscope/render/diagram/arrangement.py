"""A panel laid out: the form in which positions go from the layout to the page. x is across, y is along the flow."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..canvas.shapes import Point
from .faces import Face
from .scene import Node, Panel, Signal
from .wiring import Link


@dataclass
class Wire:
    """A link with its way: from point to point straight down, or in an S when the next point is not below."""

    link: Link
    points: list[Point]


@dataclass(frozen=True)
class Mark:
    """Words beside a line where it leaves a card; ``before``: at the side of it that comes first."""

    x: float
    y: float
    words: str
    before: bool = False


@dataclass
class Child:
    """Something placed in a panel; x and y are the first corner of its box, sizes those of a card's."""

    node: Node
    x: float
    y: float
    inner: Face | Arrangement
    sizes: tuple[float, float] = (0.0, 0.0)

    @property
    def width(self) -> float:
        return self.inner.width if isinstance(self.inner, Arrangement) else self.sizes[0]

    @property
    def height(self) -> float:
        return self.inner.height if isinstance(self.inner, Arrangement) else self.sizes[1]


@dataclass
class Row:
    """A row as the columns see it.

    zone: y down to which words stand below it; alone: it has one spot only; crossing: lines below it.
    """

    top: float
    bottom: float
    zone: float
    nodes: list[Node]
    alone: bool
    crossing: int


@dataclass
class Arrangement:
    """A panel laid out, in its own coordinates. natural: the width that it needs; shifted: how far to the right."""

    panel: Panel
    width: float = 0.0
    natural: float = 0.0
    shifted: float = 0.0
    height: float = 0.0
    frame: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    children: list[Child] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    labels: list[Mark] = field(default_factory=list)
    tops: dict[Signal, float] = field(default_factory=dict)
    bottoms: dict[Signal, float] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    @property
    def alone(self) -> set[Node]:
        """Children that have their row for themselves."""
        return {row.nodes[0] for row in self.rows if row.alone}

    def widen(self, shift: float, wide: float) -> None:
        """Make the frame ``wide``, with all that is in it ``shift`` further to the right."""
        self.shifted += shift
        more = wide - self.frame[2]
        self.width += more
        self.frame = (self.frame[0], self.frame[1], wide, self.frame[3])
        for child in self.children:
            if child.node in self.alone and isinstance(child.inner, Arrangement):
                child.inner.widen(shift, child.inner.frame[2] + more)
            else:
                child.x += shift
        for wire in self.wires:
            wire.points = [(x + shift, y) for x, y in wire.points]
        self.labels = [replace(label, x=label.x + shift) for label in self.labels]
        for ports in (self.tops, self.bottoms):
            for signal in ports:
                ports[signal] += shift

    def stretch(self, at: float, more: float) -> None:
        """Let everything below ``at``, a height between two rows, stand ``more`` further down."""
        self.height += more
        left, top, wide, high = self.frame
        self.frame = (left, top, wide, high + more)
        for child in self.children:
            if child.y >= at:
                child.y += more
            elif child.y + child.height > at and isinstance(child.inner, Arrangement):
                child.inner.stretch(at - child.y, more)
        for wire in self.wires:
            wire.points = [(x, y + more if y >= at else y) for x, y in wire.points]
        self.labels = [replace(label, y=label.y + more) if label.y >= at else label for label in self.labels]


def level_widths(made: Arrangement) -> None:
    """Panels that stand one below the other, each alone in its row, become equally wide."""
    column = [
        (child, child.inner)
        for child in made.children
        if child.node in made.alone and isinstance(child.inner, Arrangement)
    ]
    if len(column) < 2:
        return
    left = min(child.x for child, _ in column)
    right = max(child.x + inner.frame[2] for child, inner in column)
    for child, inner in column:
        shift = child.x - left
        child.x = left
        inner.widen(shift, right - left)
