"""Where everything stands: each panel is laid out on its own, from the inside out.

A panel inside another is a box with ports: panels cannot overlap, and equal blocks look equal. Lines run straight down
through the rows and bend only between them, where nothing stands: no line can touch a card that is not its own.
"""

from __future__ import annotations

from ..canvas.metrics import width
from . import faces
from .arrangement import Arrangement
from .faces import Face
from .framing import LABEL_SIZE, LABEL_ZONE, Frame
from .layered import Grid, Spot, grid
from .ordering import order_rows
from .placing import place
from .scene import Card, Node, Panel, Signal
from .turning import DOWN, Flow
from .wiring import Link, Port

PORT_STEP = 15.0


class Arranger:
    """Arranges panels. ``labels``: the words for the signals that get some; ``flow``: which way data runs."""

    def __init__(self, links: dict[Panel, list[Link]], labels: dict[Signal, str], flow: Flow = DOWN) -> None:
        self.links = links
        self.labels = labels
        self.flow = flow
        self._left: dict[Signal, float] = {}  # where each signal left the panel that it was last in

    def arrange(self, panel: Panel) -> Arrangement:
        """Lay out the panel and everything in it; what has no path gets no frame."""
        inner: dict[Node, Face | Arrangement] = {
            child: faces.face(child, self.flow.sideways) if isinstance(child, Card) else self.arrange(child)
            for child in panel.children
        }
        links = self.links.get(panel, [])
        lines = grid(list(panel.children), links)
        self._keep_sides(lines)
        self._measure(lines, inner)
        order_rows(lines)
        place(lines)
        _spread_arrivals(lines)
        made = Frame(panel, lines, inner, self.labels, self.flow).build()
        self._left |= made.bottoms
        return made

    def _keep_sides(self, lines: Grid) -> None:
        """Let lines enter in the order in which they left the panel before."""
        entries = [spot for end, spot in lines.spots.items() if isinstance(end, Port) and end.into]
        sides = [self._left.get(end.signal) for end in lines.spots if isinstance(end, Port) and end.into]
        known = [(side, spot) for side, spot in zip(sides, entries, strict=True) if side is not None]
        if len(known) == len(entries):
            for i, (_, spot) in enumerate(sorted(known, key=lambda pair: pair[0])):
                spot.order = i

    def _measure(self, lines: Grid, inner: dict[Node, Face | Arrangement]) -> None:
        """Sizes of the spots and, where they are known already, the places where lines touch them."""
        for end, spot in lines.spots.items():
            if isinstance(end, Port):
                spot.half = 4.0
                continue
            box = inner[end]
            across, along = self.flow.sizes(box) if isinstance(box, Face) else (box.width, box.height)
            spot.half, spot.height = across / 2, along
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
        words = [self.labels.get(signal, "") for signal in signals]
        room = [LABEL_ZONE * bool(each) if self.flow.sideways else width(each, LABEL_SIZE) for each in words]
        wide = 17.0 if isinstance(spot.end, Card) and spot.end.form == "circle" else 2 * spot.half - 20
        step = min(max(room) + 10, wide / (len(signals) - 1)) if len(signals) > 1 else 0.0
        for i, signal in enumerate(signals):
            off = (i - (len(signals) - 1) / 2) * step
            for segment in spot.outs:
                if segment.signal == signal:
                    segment.out = off
            spot.half = max(spot.half, abs(off) + room[i] + 8)


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
