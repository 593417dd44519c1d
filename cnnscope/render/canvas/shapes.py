"""The shapes of a picture, in pixels of 1/96 inch, y downwards. Every writer draws these and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .metrics import width

Point = tuple[float, float]
INK = "#0f172a"


@dataclass(frozen=True, slots=True)
class Paint:
    """Colours as ``#rrggbb``, the line's width and its dashes. What is None is as the group around has it."""

    fill: str | None = None
    stroke: str | None = None
    line: float | None = None
    dash: str | None = None


PLAIN = Paint()


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; ``x`` is its left end, or its middle or right end as ``anchor`` says.

    turned: degrees clockwise around x, y.
    """

    x: float
    y: float
    text: str
    size: float
    ink: str = INK
    bold: bool = False
    anchor: str = "start"
    turned: float = 0.0

    @property
    def width(self) -> float:
        return width(self.text, self.size, bold=self.bold)

    @property
    def left(self) -> float:
        return self.x - self.width * {"start": 0.0, "middle": 0.5, "end": 1.0}[self.anchor]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, with round corners where ``radius`` is not zero."""

    x: float
    y: float
    width: float
    height: float
    paint: Paint = PLAIN
    radius: float = 0.0


@dataclass(frozen=True, slots=True)
class Disc:
    """A circle around x, y."""

    x: float
    y: float
    radius: float
    paint: Paint = PLAIN


Step = tuple[str, Sequence[Point]]
"""``("M", [p])`` begins, ``("L", [p])`` is a straight line, ``("C", [a, b, p])`` a Bézier, ``("Z", [])`` closes."""


@dataclass(frozen=True, slots=True)
class Path:
    """Lines and curves. note: what a pointer that rests on it shows; data: attributes for programs."""

    steps: Sequence[Step]
    paint: Paint = PLAIN
    note: str = ""
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """Shapes with a common id, note, data and paint."""

    parts: Sequence[Shape]
    id: str = ""
    note: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    paint: Paint = PLAIN


Shape = Text | Box | Disc | Path | Group


@dataclass(frozen=True, slots=True)
class Picture:
    """A whole picture on a ground of one colour.

    title, description: what it is called for those who cannot see it. kept: colours that stay as they are at night.
    """

    width: float
    height: float
    parts: Sequence[Shape]
    title: str = ""
    description: str = ""
    ground: str = "#ffffff"
    kept: frozenset[str] = frozenset()


def polygon(points: Sequence[Point], paint: Paint = PLAIN, note: str = "") -> Path:
    """A closed line through the points."""
    first, *others = points
    return Path([("M", [first]), *(("L", [point]) for point in others), ("Z", [])], paint, note)


def line(points: Sequence[Point], paint: Paint = PLAIN) -> Path:
    """An open line through the points."""
    first, *others = points
    return Path([("M", [first]), *(("L", [point]) for point in others)], paint)
