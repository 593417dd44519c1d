"""Where everything stands: each panel is laid out on its own, from the inside out.

A panel inside another is a box with ports: panels cannot overlap, and equal blocks look equal. Lines run straight down
through the rows and bend only between them, where nothing stands: no line can touch a card that is not its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import sqrt

from . import faces
from .faces import Face, Text
from .layered import Grid, Segment, Spot, grid
from .metrics import width
from .ordering import order_rows
from .placing import place
from .scene import Card, Node, Panel, Signal
from .wiring import Link, Port

PAD = 12.0
BEND, STRAIGHT = 24.0, 15.0
LABEL_ZONE, LABEL_SIZE, LABEL_INK = 11.0, 8.5, "#7b8aa0"
PORT_STEP = 15.0

Point = tuple[float, float]


@dataclass
class Wire:
    """A link with its way: from point to point straight down, or in an S when the next point is not below."""

    link: Link
    points: list[Point]


@dataclass
class Child:
    """Something placed in a panel; x and y are the upper left corner of its box."""

    node: Node
    x: float
    y: float
    inner: Face | Arrangement


@dataclass
class Row:
    """A row as the columns see it; ``alone``: its only spot, when there is one; ``crossing``: lines below it."""

    top: float
    bottom: float
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
    labels: list[Text] = field(default_factory=list)
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


class Arranger:
    """Arranges panels. ``labels``: the words for the signals that get some."""

    def __init__(self, links: dict[Panel, list[Link]], labels: dict[Signal, str]) -> None:
        self.links = links
        self.labels = labels

    def arrange(self, panel: Panel, *, framed: bool = True) -> Arrangement:
        """Lay out the panel and everything in it."""
        inner: dict[Node, Face | Arrangement] = {
            child: faces.face(child) if isinstance(child, Card) else self.arrange(child) for child in panel.children
        }
        links = self.links.get(panel, [])
        lines = grid(list(panel.children), links)
        self._measure(lines, inner)
        order_rows(lines)
        place(lines)
        _spread_arrivals(lines)
        return _Frame(self, panel, lines, inner, framed).build()

    def _measure(self, lines: Grid, inner: dict[Node, Face | Arrangement]) -> None:
        """Sizes of the spots and, where they are known already, the places where lines touch them."""
        for end, spot in lines.spots.items():
            if isinstance(end, Port):
                spot.half = 4.0
                continue
            box = inner[end]
            spot.half, spot.height = box.width / 2, box.height
            if isinstance(box, Arrangement):
                for segment in spot.ins:
                    segment.into = box.tops[segment.signal] - spot.half
                for segment in spot.outs:
                    segment.out = box.bottoms[segment.signal] - spot.half
            else:
                self._leave(spot)

    def _leave(self, spot: Spot) -> None:
        """Spread the different tensors that leave a card, and keep room for their labels."""
        signals = list(dict.fromkeys(segment.signal for segment in spot.outs))
        room = [width(self.labels.get(signal, ""), LABEL_SIZE) for signal in signals]
        step = max([PORT_STEP, *(each + 10 for each in room)]) if len(signals) > 1 else 0.0
        for i, signal in enumerate(signals):
            off = (i - (len(signals) - 1) / 2) * step
            for segment in spot.outs:
                if segment.signal == signal:
                    segment.out = off
            spot.half = max(spot.half, abs(off) + room[i] + 8 if room[i] else abs(off) + 4)


def _spread_arrivals(lines: Grid) -> None:
    """Lines into one card arrive side by side, in the order in which they come; a straight one in the middle."""
    for end, spot in lines.spots.items():
        if not isinstance(end, Card) or len(spot.ins) < 2:
            continue
        pieces = sorted(spot.ins, key=lambda each: each.tail.x + each.out)
        limit = 8.5 if end.form == "circle" else max(spot.half * 0.7 - 6, 8.5)
        middle = next((i for i, each in enumerate(pieces) if each.straight), (len(pieces) - 1) / 2)
        reach = max(middle, len(pieces) - 1 - middle)
        step = min(PORT_STEP, limit / reach)
        for i, piece in enumerate(pieces):
            piece.into = (i - middle) * step


class _Frame:
    """The last steps for one panel: heights, lines, the frame and its heading."""

    def __init__(self, owner: Arranger, panel: Panel, lines: Grid, inner: dict[Node, Face | Arrangement], framed: bool) -> None:  # fmt: skip
        self.owner, self.panel, self.lines, self.inner, self.framed = owner, panel, lines, inner, framed
        self.made = Arrangement(panel)
        self.heads: list[float] = []  # y of the upper edge of each row
        self.feet: list[float] = []
        self.zones: list[float] = []  # y down to which lines run straight below each row

    def build(self) -> Arrangement:
        self._stack_rows()
        left, right = self._extent()
        shadow = 2 * faces.STACK if self.panel.copies > 1 else 0.0
        dx, dy = -left, shadow
        for spot in self._spots():
            self._put(spot, dx, dy)
        _level_widths(self.made)
        for link, way in self.lines.routes:
            points = [(x + dx, y + dy) for x, y in self._points(way)]
            if shadow and isinstance(link.tail, Port):
                points[0] = (points[0][0], 0.0)
            self.made.wires.append(Wire(link, points))
        self.made.frame = (0.0, dy, right - left, self.heads[-1] + self.bottom)
        self.made.width = self.made.natural = right - left + shadow
        self.made.height = self.made.frame[3] + dy
        return self.made

    def _spots(self) -> list[Spot]:
        return list(self.lines.spots.values())

    def _stack_rows(self) -> None:
        """From top to bottom: rows as high as their highest spot, gaps as wide as their lines need."""
        entered = any(isinstance(spot.end, Port) and spot.end.into for spot in self._spots())
        y = 0.0 if entered or not self.framed else faces.HEADER + 8
        for i, row in enumerate(self.lines.rows):
            high = max((spot.height for spot in row), default=0.0)
            if i == 0 and entered and self.framed:
                high = faces.HEADER
            self.heads.append(y)
            self.feet.append(y + high)
            zone = LABEL_ZONE if any(self._label(spot) for spot in row) else 0.0
            self.zones.append(y + high + zone)
            y += high + zone + self._gap(i)
        exits = any(isinstance(spot.end, Port) and not spot.end.into for spot in self._spots())
        self.bottom = (0.0 if exits else PAD + (self.feet[-1] - self.heads[-1] if self.feet else 0)) if self.framed else (
            self.feet[-1] - self.heads[-1] if self.feet else 0.0
        )
        if not self.heads:
            self.heads, self.feet, self.zones = [y], [y], [y]
        self._note_rows()

    def _gap(self, i: int) -> float:
        pieces = [segment for spot in self.lines.rows[i] for segment in spot.outs]
        far = max((abs(s.tail.x + s.out - s.head.x - s.into) for s in pieces), default=0.0)
        return STRAIGHT if far < 0.5 else BEND + min(22.0, far * 0.055)

    def _note_rows(self) -> None:
        for i, row in enumerate(self.lines.rows):
            nodes = [spot.end for spot in row if spot.end is not None and not isinstance(spot.end, Port)]
            crossing = len({(segment.tail, segment.signal) for spot in row for segment in spot.outs})
            alone = len(row) == 1 and len(nodes) == 1
            self.made.rows.append(Row(self.heads[i], self.feet[i], nodes, alone, crossing))

    def _label(self, spot: Spot) -> bool:
        return isinstance(spot.end, Card) and any(segment.signal in self.owner.labels for segment in spot.outs)

    def _extent(self) -> tuple[float, float]:
        """Left and right edge: wide enough for what is in it, and for the heading beside the lines that enter."""
        spots = [spot for row in self.lines.rows for spot in row]
        left = min((spot.x - spot.half for spot in spots), default=0.0)
        right = max((spot.x + spot.half for spot in spots), default=0.0)
        if not self.framed:
            return left, right
        left, right = left - PAD, right + PAD
        words = faces.heading(self.panel)
        doors = [spot.x for spot in self._spots() if isinstance(spot.end, Port) and spot.end.into]
        if doors:
            left = min(left, min(doors) - words.left - 20)
            right = max(right, max(doors) + words.right + 20)
        else:
            right = max(right, left + words.left + words.right + 44)
        return left, right

    def _put(self, spot: Spot, dx: float, dy: float) -> None:
        end, middle = spot.end, spot.x + dx
        if isinstance(end, Port):
            (self.made.tops if end.into else self.made.bottoms)[end.signal] = middle
            return
        assert end is not None
        box = self.inner[end]
        top = self._top(spot) + dy
        self.made.children.append(Child(end, middle - box.width / 2, top, box))
        for segment in {s.signal: s for s in spot.outs}.values() if isinstance(end, Card) else ():
            if words := self.owner.labels.get(segment.signal):
                foot = top + spot.height + 9.5
                self.made.labels.append(Text(middle + segment.out + 4.5, foot, words, LABEL_SIZE, LABEL_INK))

    def _top(self, spot: Spot) -> float:
        """In the middle of its row; what begins or ends there stands near what it is tied to."""
        if not spot.outs:
            return self.heads[spot.row]
        low = self.feet[spot.row] - spot.height
        return low if not spot.ins else (self.heads[spot.row] + low) / 2

    def _points(self, way: list[Segment]) -> list[Point]:
        """Down to the end of the row's straight zone, over to the next row's upper edge, and so on."""
        first, last = way[0].tail, way[-1].head
        x = first.x + way[0].out
        start = self.heads[first.row] if isinstance(first.end, Port) else self._top(first) + first.height
        points = [(x, start)]
        for segment in way:
            points.append((segment.tail.x + segment.out, self.zones[segment.tail.row]))
            points.append((segment.head.x + segment.into, self.heads[segment.head.row]))
        x = last.x + way[-1].into
        points.append((x, self.heads[last.row] if isinstance(last.end, Port) else self._touch(last, way[-1].into)))
        return _without_repeats(points)

    def _touch(self, spot: Spot, off: float) -> float:
        """Where a line from above meets the card; a circle curves away from it."""
        top = self._top(spot)
        if isinstance(spot.end, Card) and spot.end.form == "circle":
            return top + faces.RADIUS - sqrt(max(faces.RADIUS**2 - off**2, 0.0))
        return top


def _level_widths(made: Arrangement) -> None:
    """Panels that stand one below the other, each alone in its row, become equally wide."""
    column = [
        (child, child.inner) for child in made.children if child.node in made.alone and isinstance(child.inner, Arrangement)
    ]
    if len(column) < 2:
        return
    left = min(child.x for child, _ in column)
    right = max(child.x + inner.frame[2] for child, inner in column)
    for child, inner in column:
        shift = child.x - left
        child.x = left
        inner.widen(shift, right - left)


def _without_repeats(points: list[Point]) -> list[Point]:
    """Without points that stand on a straight way."""
    kept = points[:1]
    for i, point in enumerate(points[1:], 1):
        following = points[i + 1] if i + 1 < len(points) else None
        if following and abs(kept[-1][0] - point[0]) < 0.01 and abs(following[0] - point[0]) < 0.01:
            continue
        if abs(kept[-1][0] - point[0]) < 0.01 and abs(kept[-1][1] - point[1]) < 0.01:
            continue
        kept.append(point)
    return kept
