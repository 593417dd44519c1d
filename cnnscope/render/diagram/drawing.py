"""From a plan to SVG."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import ceil

from . import faces, kinds, rails
from .faces import Badge, Text
from .legend import legend
from .markup import corners, element, escape, rect, short, spline, text, tooltip, way
from .metrics import FONT, fit, width
from .plan import PlacedCard, PlacedPanel, Plan, Track
from .scene import Card, Edge

LINE, SKIP, BORDER = "#52627a", "#c2410c", "#b4c0d0"
_HEAT = ((0.0, (253, 224, 113)), (0.35, (245, 158, 11)), (0.7, (234, 88, 12)), (1.0, (185, 28, 28)))


class Drawing:
    """Writes a plan as SVG. Every id begins with the prefix, so that pictures on one page do not clash."""

    def __init__(self, plan: Plan, prefix: str) -> None:
        self.plan = plan
        self.prefix = prefix
        self.ids = {placed.card: f"{prefix}-c{i}" for i, placed in enumerate(plan.cards)}
        self.hottest = max((placed.card.macs or 0 for placed in plan.cards), default=0)

    def svg(self, title: str, facts: str, description: str) -> str:
        """The whole file."""
        plan, bars = self.plan, rails.bars(self.plan)
        heading = [Text(28, 40, fit(title, 20, 700, bold=True), 20, faces.INK, True)]
        heading.append(Text(28, 60, fit(facts, 11.5, 1100), 11.5, faces.FAINT))
        # Whole numbers, so that a picture in pixels has no half-transparent edge.
        wide = ceil(max(plan.width, *(line.x + line.width + 28 for line in heading)))
        drawn, end = legend(plan, bool(bars), 28, plan.height, wide - 56)
        high = ceil(end + 22)
        parts = [
            element("title", escape(short(title)), id=f"{self.prefix}-title"),
            element("desc", escape(short(description)), id=f"{self.prefix}-desc"),
            rect(0, 0, wide, high, fill="#ffffff"),
            *(text(line) for line in heading),
            _group("rail", map(_bar, bars)),
            _group("panels", (self._panel(i, placed) for i, placed in enumerate(plan.panels))),
            self._lines(),
            _group("cards", map(self._card, plan.cards)),
            _group("shapes", map(text, plan.labels)),
            _group("legend", drawn),
        ]
        return element(
            "svg", "\n" + "\n".join(parts) + "\n", xmlns="http://www.w3.org/2000/svg", width=wide, height=high,
            viewBox=f"0 0 {wide} {high}", role="img", font_family=FONT,
            aria_labelledby=f"{self.prefix}-title {self.prefix}-desc",
        )  # fmt: skip

    def _panel(self, i: int, placed: PlacedPanel) -> str:
        panel, x, y, wide, high = placed.panel, placed.x, placed.y, placed.width, placed.height
        words = faces.heading(panel)
        group = any(not isinstance(child, Card) for child in panel.children)
        parts = [tooltip(f"{panel.path} ({panel.type}) {words.costs}")]
        if panel.copies > 1:
            for step in (2 * faces.STACK, faces.STACK):
                parts.append(rect(x + step, y - step, wide, high, 7, fill="#ffffff", stroke=BORDER))
        fill = "#f6f9fd" if group else "#e9f0f9"
        dash = "5 3" if group else None
        parts.append(rect(x, y, wide, high, 7, fill=fill, stroke=BORDER, stroke_dasharray=dash))
        parts += _heading(words, x, y, wide)
        return element("g", "".join(parts), id=f"{self.prefix}-p{i}", data_module=panel.path)

    def _lines(self) -> str:
        plain = [track for track in self.plan.tracks if not track.skip]
        skips = [track for track in self.plan.tracks if track.skip]
        drawn = _group("lines", map(self._track, plain), fill="none", stroke=LINE, stroke_width=1.5)
        drawn += _group(
            "skips", map(self._track, skips), fill="none", stroke=SKIP, stroke_width=1.5, stroke_dasharray="4 2.5"
        )
        drawn += _tips([track.tip for track in plain if track.tip], LINE)
        return drawn + _tips([track.tip for track in skips if track.tip], SKIP)

    def _track(self, track: Track) -> str:
        points = list(track.points)
        if track.tip and not track.spline:
            points[-1] = (points[-1][0], points[-1][1] - 4)
        path = spline(points) if track.spline else corners(points) if track.connector else way(points)
        edges = " ".join(f"{self._short(edge.tail)}-{self._short(edge.head)}" for edge in track.edges)
        return element("path", tooltip(_tooltip(track.edges)), d=path, data_edges=edges)

    def _short(self, card: Card) -> str:
        return self.ids[card].rpartition("-")[2]

    def _card(self, placed: PlacedCard) -> str:
        card, face, x, y = placed.card, placed.face, placed.x, placed.y
        left, top, wide, high = face.body
        parts = [tooltip(_card_tooltip(card))]
        if card.copies > 1:
            for step in (2 * faces.STACK, faces.STACK):
                parts.append(rect(x + left + step, y + top - step, wide, high, 5, fill="#fff", stroke=BORDER))
        parts.append(_body(card, x + left, y + top, wide, high))
        colour = kinds.COLOURS.get(card.family, kinds.COLOURS["other"])
        parts += [text(line if line.ink else _inked(line, colour), x, y) for line in face.texts if line.text]
        parts += [_badge(badge, x, y) for badge in face.badges]
        if face.bar:
            parts.append(self._heat(card, x + face.bar[0], y + face.bar[1], face.bar[2]))
        return element("g", "".join(parts), id=self.ids[card], data_module=card.path or None)

    def _heat(self, card: Card, x: float, y: float, wide: float) -> str:
        share = (card.macs or 0) / self.hottest
        behind = rect(x, y, wide, 2.6, 1.3, fill="#edf1f6")
        return behind + rect(x, y, max(wide * share, 2.6), 2.6, 1.3, fill=_heat(share))


def _group(name: str, parts: Iterable[str], **attributes: object) -> str:
    content = "\n".join(parts)
    return element("g", "\n" + content + "\n", data_layer=name, **attributes) if content else ""


def _heading(words: faces.Heading, x: float, y: float, wide: float) -> list[str]:
    parts, left = [], x + 10
    if words.name:
        line = Text(left, y + 15, words.name, 10.5, "#1e3a66", True)
        parts.append(text(line))
        left += line.width + 6
    if words.type:
        parts.append(text(Text(left, y + 15, words.type, 10, faces.FAINT)))
    right = x + wide - 10
    if words.times:
        each = width(words.times, 9, bold=True) + 12
        parts.append(_times(right - each + 2, y + 4, each, words.times))
        right -= each + 6
    if words.costs:
        parts.append(text(Text(right, y + 15, words.costs, 9.5, faces.FAINT, anchor="end")))
    return parts


def _times(x: float, y: float, wide: float, words: str) -> str:
    pill = rect(x, y, wide, 15, 7.5, fill="#1e3a66")
    return pill + text(Text(x + wide / 2, y + 10.8, words, 9, "#ffffff", True, "middle"))


def _badge(badge: Badge, x: float, y: float) -> str:
    if badge.chip.family == "times":
        return _times(x + badge.x, y + badge.y, badge.width, badge.chip.text)
    fill, ink = kinds.CHIP_INK.get(badge.chip.family, kinds.CHIP_INK["norm"])
    left, top = x + badge.x, y + badge.y
    pill = rect(left, top, badge.width, faces.CHIP_HEIGHT, faces.CHIP_HEIGHT / 2, fill=fill)
    return pill + text(Text(left + badge.width / 2, top + 9.4, badge.chip.text, faces.CHIP_SIZE, ink, True, "middle"))


def _body(card: Card, x: float, y: float, wide: float, high: float) -> str:
    colour = kinds.COLOURS.get(card.family, kinds.COLOURS["other"])
    if card.form == "circle":
        return element(
            "circle", cx=x + wide / 2, cy=y + high / 2, r=wide / 2, fill="#ffffff", stroke=colour, stroke_width=1.6
        )
    if card.form == "pill":
        return rect(x, y, wide, high, high / 2, fill="#ffffff", stroke=colour, stroke_width=1.6)
    if card.form == "terminal":
        return rect(x, y, wide, high, high / 2, fill=colour)
    stripe = f"M{x + 5:.2f} {y:.2f}h-1a4 4 0 0 0-4 4v{high - 8:.2f}a4 4 0 0 0 4 4h1z"
    fill = "#e9f0f9" if card.form == "block" else "#ffffff"
    return rect(x, y, wide, high, 4, fill=fill, stroke=BORDER) + element("path", d=stripe, fill=colour)


def _inked(line: Text, colour: str) -> Text:
    return Text(line.x, line.y, line.text, line.size, colour, line.bold, line.anchor)


def _tips(points: list[tuple[float, float]], colour: str) -> str:
    """All arrows in one path: every line arrives from above."""
    if not points:
        return ""
    return element(
        "path", d="".join(f"M{x - 3.3:.2f} {y - 6.5:.2f}h6.6L{x:.2f} {y:.2f}z" for x, y in points), fill=colour
    )


def _heat(share: float) -> str:
    for (low, a), (high, b) in pairwise(_HEAT):
        if share <= high:
            part = (share - low) / (high - low)
            return "#" + "".join(f"{round(p + (q - p) * part):02x}" for p, q in zip(a, b, strict=True))
    return "#b91c1c"


def _bar(bar: rails.Bar) -> str:
    drawn = rect(bar.x, bar.top, 5, bar.bottom - bar.top, 2.5, fill=bar.colour)
    words = Text(0, 0, bar.words, 8.5, faces.FAINT, anchor="middle")
    if words.width > bar.bottom - bar.top + 14:
        return drawn
    x, y = bar.x - 4, (bar.top + bar.bottom) / 2
    return drawn + text(words, transform=f"translate({x:.2f} {y:.2f}) rotate(-90)")


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
    return " · ".join(part for part in [*parts, *(chip.text for chip in card.chips)] if part)
