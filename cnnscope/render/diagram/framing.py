"""The last steps for one panel: how high its rows are, where its lines run, its frame and its heading."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import sqrt

from ..canvas.metrics import width
from ..canvas.shapes import Point
from . import faces
from .arrangement import Arrangement, Child, Mark, Row, Wire, level_widths
from .faces import Face
from .layered import Grid, Segment, Spot
from .scene import Card, Node, Panel, Signal
from .turning import Flow
from .wiring import Port

PAD = 12.0
BEND, STRAIGHT = 24.0, 15.0
LABEL_ZONE, LABEL_SIZE, LABEL_INK = 11.0, 8.5, "#7b8aa0"


class Frame:
    """The last steps for one panel: heights, lines, the frame and its heading."""

    def __init__(
        self, panel: Panel, lines: Grid, inner: dict[Node, Face | Arrangement], labels: dict[Signal, str], flow: Flow,
    ) -> None:  # fmt: skip
        self.panel, self.lines, self.inner, self.labels, self.flow = panel, lines, inner, labels, flow
        self.framed = bool(panel.path)
        self.made = Arrangement(panel)
        ports = [spot.end for spot in lines.spots.values() if isinstance(spot.end, Port)]
        self.entered, self.left = any(port.into for port in ports), any(not port.into for port in ports)
        self.heads: list[float] = []  # y of the upper edge of each row
        self.feet: list[float] = []
        self.zones: list[float] = []  # y down to which lines run straight below each row

    def build(self) -> Arrangement:
        first, last = self._headroom()
        self._stack_rows(first, last)
        left, right = self._extent()
        before, behind, above, below = self.flow.shadow(2 * faces.STACK if self.panel.copies > 1 else 0.0)
        dx, dy = before - left, above
        for spot in self._spots():
            self._put(spot, dx, dy)
        level_widths(self.made)
        long = self._length(self.feet[-1] + (0.0 if self.left else last))
        for link, way in self.lines.routes:
            points = [(x + dx, y + dy) for x, y in self._points(way)]
            if isinstance(link.tail, Port):
                points[0] = (points[0][0], 0.0)
            if isinstance(link.head, Port):
                points[-1] = (points[-1][0], long + above + below)
            self.made.wires.append(Wire(link, _without_repeats(points)))
        self.made.frame = (before, dy, right - left, long)
        self.made.width = self.made.natural = right - left + before + behind
        self.made.height = long + above + below
        return self.made

    def _headroom(self) -> tuple[float, float]:
        """Room along the flow at both ends of the frame: the heading stands at its upper edge on the page."""
        if not self.framed:
            return 0.0, 0.0
        if self.flow.sideways:
            return PAD, PAD
        return (PAD, faces.HEADER) if self.flow.backward else (faces.HEADER, PAD)

    def _spots(self) -> list[Spot]:
        return list(self.lines.spots.values())

    def _stack_rows(self, first: float, last: float) -> None:
        """From top to bottom: rows as high as their highest spot, gaps as wide as their lines need."""
        y = 0.0 if self.entered or not self.framed else first + 8
        for i, row in enumerate(self.lines.rows):
            high = max((spot.height for spot in row), default=0.0)
            if i == 0 and self.entered:
                high = first
            if i == len(self.lines.rows) - 1 and self.left:
                high = max(last - STRAIGHT + 8, 0.0) if self.flow.backward and not self.flow.sideways else 0.0
            self.heads.append(y)
            self.feet.append(y + high)
            zone = max((self._zone(spot) for spot in row), default=0.0)
            self.zones.append(y + high + zone)
            y += high + zone + self._gap(i)
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
            self.made.rows.append(Row(self.heads[i], self.feet[i], self.zones[i], nodes, alone, crossing))

    def _zone(self, spot: Spot) -> float:
        """How far the words beside the lines that leave a card reach along the flow."""
        words = [self.labels[each.signal] for each in spot.outs if each.signal in self.labels]
        if not words or not isinstance(spot.end, Card):
            return 0.0
        return max(width(each, LABEL_SIZE) for each in words) + 9 if self.flow.sideways else LABEL_ZONE

    def _extent(self) -> tuple[float, float]:
        """Left and right edge: wide enough for what is in it, and for the heading beside the lines that pass it."""
        spots = [spot for row in self.lines.rows for spot in row]
        left = min((spot.x - spot.half for spot in spots), default=0.0)
        right = max((spot.x + spot.half for spot in spots), default=0.0)
        if not self.framed:
            return left, right
        left, right = left - PAD, right + PAD
        if self.flow.sideways:
            return left + PAD - faces.HEADER - 4, right
        words = faces.heading(self.panel)
        into = not self.flow.backward
        doors = [spot.x for spot in self._spots() if isinstance(spot.end, Port) and spot.end.into == into]
        if doors:
            left = min(left, min(doors) - words.left - 20)
            right = max(right, max(doors) + words.right + 20)
        else:
            right = max(right, left + words.left + words.right + 44)
        return left, right

    def _length(self, needed: float) -> float:
        """How long the frame is along the flow, where the heading may need more."""
        if not self.framed or not self.flow.sideways:
            return needed
        words = faces.heading(self.panel)
        return max(needed, words.left + words.right + 44)

    def _put(self, spot: Spot, dx: float, dy: float) -> None:
        end, middle = spot.end, spot.x + dx
        if isinstance(end, Port):
            (self.made.tops if end.into else self.made.bottoms)[end.signal] = middle
            return
        assert end is not None
        box = self.inner[end]
        sizes = self.flow.sizes(box) if isinstance(box, Face) else (box.width, box.height)
        top = self._top(spot) + dy
        self.made.children.append(Child(end, middle - sizes[0] / 2, top, box, sizes))
        if isinstance(end, Card):
            self.made.labels += self._words(spot, middle, top + spot.height)

    def _words(self, spot: Spot, middle: float, foot: float) -> Iterator[Mark]:
        """The shapes where lines leave a card, behind their lines; the first of two stands before its line."""
        leaving = {segment.signal: segment.out for segment in spot.outs}
        ports = list(leaving.values())
        room = min((b - a for a, b in pairwise(ports)), default=0.0)
        for i, (signal, out) in enumerate(leaving.items()):
            words = self.labels.get(signal, "")
            before = i == 0 and len(ports) <= (2 if self.flow.sideways else 2 * (len(ports) > 1))
            need = LABEL_ZONE if self.flow.sideways else width(words, LABEL_SIZE) + 6
            if words and (before or i == len(ports) - 1 or need <= room):
                yield Mark(middle + out, foot, words, before)

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
        start = self.heads[first.row] if isinstance(first.end, Port) else self._foot(first, way[0].out)
        points = [(x, start)]
        for segment in way:
            points.append((segment.tail.x + segment.out, self.zones[segment.tail.row]))
            points.append((segment.head.x + segment.into, self.heads[segment.head.row]))
        x = last.x + way[-1].into
        points.append((x, self.heads[last.row] if isinstance(last.end, Port) else self._touch(last, way[-1].into)))
        return points

    def _foot(self, spot: Spot, off: float) -> float:
        """Where a line leaves the lower edge of a card; a circle curves away from it."""
        return self._seen(spot)[1] - _curve(spot, off)

    def _touch(self, spot: Spot, off: float) -> float:
        """Where a line from above meets the card."""
        return self._seen(spot)[0] + _curve(spot, off)

    def _seen(self, spot: Spot) -> tuple[float, float]:
        """Where a card begins and ends along the flow; chips under a circle may be longer than the circle."""
        top = self._top(spot)
        low = top + spot.height
        face = self.inner.get(spot.end) if isinstance(spot.end, Card) else None
        if not isinstance(face, Face) or not self.flow.sideways:
            return top, low
        left, _, wide, _ = face.body
        stacked = isinstance(spot.end, Card) and spot.end.copies > 1  # its frames look out at the right
        right = 0.0 if stacked else face.width - left - wide
        return (top + right, low - left) if self.flow.backward else (top + left, low - right)


def _curve(spot: Spot, off: float) -> float:
    """How far a circle is from its square, ``off`` its middle."""
    if not isinstance(spot.end, Card) or spot.end.form != "circle":
        return 0.0
    return faces.RADIUS - sqrt(max(faces.RADIUS**2 - off**2, 0.0))


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
