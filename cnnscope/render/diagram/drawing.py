"""From a plan to shapes: every card, panel and line as what a writer can draw."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from ..canvas.metrics import fit, width
from ..canvas.shapes import INK, Box, Disc, Group, Paint, Path, Picture, Shape, Step, Text
from ..canvas.ways import corners, spline, way
from . import faces, kinds, rails
from .faces import Badge
from .legend import legend
from .plan import PlacedCard, PlacedPanel, Plan, Track
from .scene import Card, Edge

LINE, SKIP, BORDER = "#52627a", "#c2410c", "#b4c0d0"
_WHITE = Paint("#ffffff", BORDER)
_HEAT = ((0.0, (253, 224, 113)), (0.35, (245, 158, 11)), (0.7, (234, 88, 12)), (1.0, (185, 28, 28)))
_SKIPS = Paint("none", SKIP, 1.5, "4 2.5")
_LINES = Paint("none", LINE, 1.5)


class Drawing:
    """Draws a plan. heat: in words, what the bars on the cards show."""

    def __init__(self, plan: Plan, heat: str) -> None:
        self.plan = plan
        self.heat = heat
        self.ids = {placed.card: f"c{i}" for i, placed in enumerate(plan.cards)}
        self.hottest = max((placed.card.heat or 0 for placed in plan.cards), default=0)

    def picture(self, title: str, facts: str) -> Picture:
        """The whole picture under its heading."""
        plan, bars = self.plan, rails.bars(self.plan)
        heading: list[Shape] = [Text(28, 40, fit(title, 20, 700, bold=True), 20, INK, True)]
        lines = _broken(facts, max(plan.width, 440) - 56)
        heading += [Text(28, 60 + 16 * i, line, 11.5, faces.FAINT) for i, line in enumerate(lines)]
        wide = max(plan.width, *(line.x + line.width + 28 for line in heading if isinstance(line, Text)))
        drawn, end = legend(plan, self.heat, bool(bars), 28, plan.height, wide - 56)
        parts: list[Shape] = [
            *heading,
            _layer("rail", [shape for bar in bars for shape in bar.shapes()]),
            _layer("panels", [self._panel(i, placed) for i, placed in enumerate(plan.panels)]),
            *self._lines(),
            _layer("cards", [self._card(placed) for placed in plan.cards]),
            _layer("shapes", plan.labels),
            _layer("legend", drawn),
        ]
        return Picture(wide, end + 22, parts, title, f"Diagram of {title}: {facts}")

    def _panel(self, i: int, placed: PlacedPanel) -> Group:
        panel, x, y, wide, high = placed.panel, placed.x, placed.y, placed.width, placed.height
        words = faces.heading(panel)
        parts: list[Shape] = []
        if panel.copies > 1:
            parts += [Box(x + step, y - step, wide, high, _WHITE, 7) for step in (2 * faces.STACK, faces.STACK)]
        group = any(not isinstance(child, Card) for child in panel.children)
        paint = Paint("#f6f9fd", BORDER, dash="5 3") if group else Paint("#e9f0f9", BORDER)
        parts.append(Box(x, y, wide, high, paint, 7))
        parts += _heading(words, x, y, wide)
        data = {} if panel.period > 1 else {"module": panel.path}
        return Group(parts, f"p{i}", f"{panel.path} ({panel.type}) {words.costs}", data)

    def _lines(self) -> list[Shape]:
        plain = [track for track in self.plan.tracks if not track.skip]
        skips = [track for track in self.plan.tracks if track.skip]
        return [
            _layer("lines", [self._track(track) for track in plain], _LINES),
            _layer("skips", [self._track(track) for track in skips], _SKIPS),
            *_tips(plain, LINE),
            *_tips(skips, SKIP),
        ]

    def _track(self, track: Track) -> Path:
        points = list(track.points)
        if track.tip and track.kind != "spline":
            (x, y), (dx, dy) = points[-1], track.toward
            points[-1] = (x - 4 * dx, y - 4 * dy)
        steps: list[Step]
        if track.kind == "spline":
            steps = spline(points)
        elif track.kind == "corners":
            steps = corners(points)
        else:
            steps = way(points, across=bool(track.toward[0]))
        edges = " ".join(f"{self.ids[edge.tail]}-{self.ids[edge.head]}" for edge in track.edges)
        return Path(steps, note=_tooltip(track.edges), data={"edges": edges})

    def _card(self, placed: PlacedCard) -> Group:
        card, face, x, y = placed.card, placed.face, placed.x, placed.y
        left, top, wide, high = face.body
        parts: list[Shape] = []
        if card.copies > 1:
            for step in (2 * faces.STACK, faces.STACK):
                parts.append(Box(x + left + step, y + top - step, wide, high, _WHITE, 5))
        colour = kinds.COLOURS.get(card.family, kinds.COLOURS["other"])
        parts += _body(card, x + left, y + top, wide, high)
        parts += [
            Text(x + line.x, y + line.y, line.text, line.size, line.ink or colour, line.bold, line.anchor)
            for line in face.texts
            if line.text
        ]
        for badge in face.badges:
            parts += _badge(badge, x, y)
        if face.bar:
            parts += self._heat(card, x + face.bar[0], y + face.bar[1], face.bar[2])
        return Group(parts, self.ids[card], _card_tooltip(card), {"module": card.path} if card.path else {})

    def _heat(self, card: Card, x: float, y: float, wide: float) -> list[Shape]:
        share = (card.heat or 0) / self.hottest
        bar = Box(x, y, max(wide * share, 2.6), 2.6, Paint(_colour(share)), 1.3)
        return [Box(x, y, wide, 2.6, Paint("#edf1f6"), 1.3), bar]


def _layer(name: str, parts: Iterable[Shape], paint: Paint | None = None) -> Group:
    return Group(list(parts), data={"layer": name}, paint=paint or Paint())


def _broken(facts: str, limit: float) -> list[str]:
    """The line under the title, on two lines where the picture is narrow."""
    lines = [""]
    for fact in facts.split(" · "):
        longer = f"{lines[-1]} · {fact}" if lines[-1] else fact
        if width(longer, 11.5) > limit and lines[-1] and len(lines) < 2:
            lines.append(fact)
        else:
            lines[-1] = longer
    return [fit(line, 11.5, 1100) for line in lines]


def _heading(words: faces.Heading, x: float, y: float, wide: float) -> list[Shape]:
    parts: list[Shape] = []
    left = x + 10
    if words.name:
        line = Text(left, y + 15, words.name, 10.5, "#1e3a66", True)
        parts.append(line)
        left += line.width + 6
    if words.type:
        parts.append(Text(left, y + 15, words.type, 10, faces.FAINT))
    right = x + wide - 10
    if words.times:
        each = width(words.times, 9, bold=True) + 12
        parts += _times(right - each + 2, y + 4, each, words.times)
        right -= each + 6
    if words.costs:
        parts.append(Text(right, y + 15, words.costs, 9.5, faces.FAINT, anchor="end"))
    return parts


def _times(x: float, y: float, wide: float, words: str) -> list[Shape]:
    pill = Box(x, y, wide, 15, Paint("#1e3a66"), 7.5)
    return [pill, Text(x + wide / 2, y + 10.8, words, 9, "#ffffff", True, "middle")]


def _badge(badge: Badge, x: float, y: float) -> list[Shape]:
    if badge.chip.family == "times":
        return _times(x + badge.x, y + badge.y, badge.width, badge.chip.text)
    fill, ink = kinds.CHIP_INK.get(badge.chip.family, kinds.CHIP_INK["norm"])
    left, top = x + badge.x, y + badge.y
    pill = Box(left, top, badge.width, faces.CHIP_HEIGHT, Paint(fill), faces.CHIP_HEIGHT / 2)
    return [pill, Text(left + badge.width / 2, top + 9.4, badge.chip.text, faces.CHIP_SIZE, ink, True, "middle")]


def _body(card: Card, x: float, y: float, wide: float, high: float) -> list[Shape]:
    colour = kinds.COLOURS.get(card.family, kinds.COLOURS["other"])
    ring = Paint("#ffffff", colour, 1.6)
    if card.form == "circle":
        return [Disc(x + wide / 2, y + high / 2, wide / 2, ring)]
    if card.form == "pill":
        return [Box(x, y, wide, high, ring, high / 2)]
    if card.form == "terminal":
        return [Box(x, y, wide, high, Paint(colour), high / 2)]
    paint = Paint("#e9f0f9", BORDER) if card.form == "block" else _WHITE
    return [Box(x, y, wide, high, paint, 4), Path(_stripe(x, y, high), Paint(colour))]


def _stripe(x: float, y: float, high: float) -> list[Step]:
    """The card's left edge, 5 wide, with round corners of radius 4 at the left."""
    bend = 4 * 0.448  # of a Bézier's handles from the corner, for a quarter of a circle
    return [
        ("M", [(x + 5, y)]),
        ("L", [(x + 4, y)]),
        ("C", [(x + bend, y), (x, y + bend), (x, y + 4)]),
        ("L", [(x, y + high - 4)]),
        ("C", [(x, y + high - bend), (x + bend, y + high), (x + 4, y + high)]),
        ("L", [(x + 5, y + high)]),
        ("Z", []),
    ]


def _tips(tracks: list[Track], colour: str) -> list[Shape]:
    """All arrows in one path."""
    steps: list[Step] = []
    for track in tracks:
        if track.tip:
            (x, y), (dx, dy) = track.tip, track.toward
            back = x - 6.5 * dx, y - 6.5 * dy
            steps.append(("M", [(back[0] - 3.3 * dy, back[1] - 3.3 * dx)]))
            steps.append(("L", [(back[0] + 3.3 * dy, back[1] + 3.3 * dx)]))
            steps += [("L", [(x, y)]), ("Z", [])]
    return [Path(steps, Paint(colour))] if steps else []


def _colour(share: float) -> str:
    for (low, a), (high, b) in pairwise(_HEAT):
        if share <= high:
            part = (share - low) / (high - low)
            return "#" + "".join(f"{round(p + (q - p) * part):02x}" for p, q in zip(a, b, strict=True))
    return "#b91c1c"


def _tooltip(edges: Iterable[Edge]) -> str:
    lines = []
    for edge in edges:
        shape = "×".join(map(str, edge.shape)) or "scalar"
        via = f", through {', '.join(edge.via)}" if edge.via else ""
        lines.append(f"{_who(edge.tail)} → {_who(edge.head)}: {shape} {edge.dtype}{via}")
    return "; ".join(lines[:4]) + (f"; and {len(lines) - 4} more" if len(lines) > 4 else "")


def _who(card: Card) -> str:
    return f"{card.title} {card.path}".strip()


def _card_tooltip(card: Card) -> str:
    shape = "×".join(map(str, card.shape)) if card.shape else ""
    macs = "MACs unknown" if card.macs is None else f"{card.macs:,} MACs"
    parts = [_who(card), shape, f"{card.params:,} parameters" if card.params else "", macs if card.macs != 0 else ""]
    return " · ".join(part for part in [*parts, card.heat_text, *(chip.text for chip in card.chips)] if part)
