"""Memory over the operators of a run as SVG: stacked areas by kind, the peak named, phases as bands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from zlib import crc32

from ..units import binary
from .canvas.elements import rect, text
from .canvas.markup import element, escape, num, short
from .canvas.metrics import FONT, clean, fit, width
from .canvas.shapes import Text
from .timelines import KINDS, Timeline, scale

_LEFT, _RIGHT, _MARGIN = 84.0, 936.0, 24.0
_WIDTH = 960
_PLOT = 300.0  # height of the plot
_COLORS = {
    "param": "#3f5f95", "parameter": "#3f5f95", "buffer": "#7f9cc9", "constant": "#a9bbd6", "optimizer": "#7a63b8",
    "gradient": "#c0608f", "input": "#8a97a8", "saved": "#e0893b", "activation": "#2f9486", "temporary": "#d8b93c",
}  # fmt: skip
_OTHERS = ("#5b8c3a", "#b5533c", "#4aa3c7", "#94754a")
# Attribute and colour on light, then on dark ground, by class.
_INKS = {
    "page": ("fill", "#ffffff", "#12161c"),
    "ink": ("fill", "#0f172a", "#e6ebf2"),
    "soft": ("fill", "#52606f", "#a3b0c0"),
    "band": ("fill", "#f3f6fa", "#1a2029"),
    "grid": ("stroke", "#dde3ea", "#2c3541"),
    "rule": ("stroke", "#0f172a", "#e6ebf2"),
}
_DASHES = ("6 3", "2 2.5", "9 3 2 3")


def drawing(timeline: Timeline, *, prefix: str | None = None) -> str:
    """The picture as SVG text: its light colours stand in it, dark ones for readers who prefer them.

    prefix: what every id begins with; by default it follows from the content.
    """
    prefix = prefix or f"cnnscope-{crc32(repr(timeline).encode('utf-8', 'replace')):08x}"
    return _Drawing(timeline, prefix).svg()


class _Drawing:
    def __init__(self, timeline: Timeline, prefix: str) -> None:
        self.timeline = timeline
        self.prefix = prefix
        self.ticks = scale(timeline.largest)
        self.count = min(len(timeline.labels), round(_RIGHT - _LEFT))  # one column a pixel at most
        self.ops = timeline.columns(self.count)
        self.legend, self.top = self._legend()
        self.bottom = self.top + _PLOT

    def svg(self) -> str:
        title, high = clean(self.timeline.title), int(self.bottom) + 54
        heading = Text(_MARGIN, 34, fit(title, 17, _WIDTH - 2 * _MARGIN, bold=True), 17, "", True)
        body = [
            element("title", escape(short(title)), id=f"{self.prefix}-title"),
            element("desc", escape(self._described()), id=f"{self.prefix}-desc"),
            element("style", _dark(self.prefix)),
            self._inked("page", rect(0, 0, _WIDTH, high)),
            self._inked("ink", text(heading)),
            *self.legend,
            *self._bands(),
            *self._grid(),
            *self._areas(),
            *self._lines(),
            *self._peak(),
        ]
        return element(
            "svg", "\n" + "\n".join(body) + "\n", xmlns="http://www.w3.org/2000/svg", id=self.prefix, width=_WIDTH,
            height=high, viewBox=f"0 0 {_WIDTH} {high}", role="img", font_family=FONT,
            aria_labelledby=f"{self.prefix}-title {self.prefix}-desc",
        )  # fmt: skip

    def _described(self) -> str:
        timeline = self.timeline
        parts = [f"{KINDS.get(kind, kind)} {binary(values[timeline.top])}" for kind, values in timeline.stack.items()]
        return f"The peak of {len(timeline.labels):,} operators is {timeline.summit}: {', '.join(parts) or 'nothing'}"

    def _inked(self, name: str, *drawn: str, **attributes: object) -> str:
        """Drawn in a colour that depends on the ground."""
        attribute, light, _ = _INKS[name]
        return element("g", "".join(drawn), class_=name, **{attribute: light}, **attributes)

    def _x(self, column: float) -> float:
        return round(_LEFT + column / self.count * (_RIGHT - _LEFT), 1)

    def _y(self, amount: float) -> float:
        return round(self.bottom - amount / self.ticks[-1].bytes * _PLOT, 1)

    def _bands(self) -> Iterator[str]:
        """A ground for every other phase, and the names under the axis where they have room."""
        spans = self.timeline.spans(self.count)
        for i, span in enumerate(spans):
            left, right = self._x(span.first), self._x(span.end)
            if i % 2:
                yield self._inked("band", rect(left, self.top, right - left, _PLOT))
        limit = _RIGHT
        for span in reversed(spans):
            left, right = self._x(span.first), self._x(span.end)
            words = fit(span.phase, 12, max(right - left, 80))
            # A narrow phase at the end has its name to the left of its end.
            x = min((left + right - width(words, 12)) / 2, limit - width(words, 12))
            if words and x >= _LEFT - 60:
                yield self._inked("soft", text(Text(x, self.bottom + 20, words, 12, "")))
                limit = x - 12

    def _grid(self) -> Iterator[str]:
        grid = "".join(f"M{num(_LEFT)} {num(self._y(tick.bytes))}H{num(_RIGHT)}" for tick in self.ticks)
        starts = [span.first for span in self.timeline.spans(self.count)[1:]]
        edges = "".join(f"M{num(self._x(start))} {num(self.top)}V{num(self.bottom + 8)}" for start in starts)
        yield self._inked("grid", element("path", d=grid + edges))
        for tick in self.ticks:
            words = Text(_LEFT - 8, self._y(tick.bytes) + 4, tick.text, 11.5, "", anchor="end")
            yield self._inked("soft", text(words))
        words = Text((_LEFT + _RIGHT) / 2, self.bottom + 40, self._axis(), 11.5, "", anchor="middle")
        yield self._inked("soft", text(words))

    def _axis(self) -> str:
        many = len(self.timeline.labels)
        thinned = f"; each of {self.count:,} steps shows the one with most" if many > self.count else ""
        return f"{many:,} operators in the order in which they run{thinned}"

    def _areas(self) -> Iterator[str]:
        """From the bottom of the stack; each operator is a step."""
        base = [0] * self.count
        for kind, values in self.timeline.stack.items():
            upper = [low + values[op] for low, op in zip(base, self.ops, strict=True)]
            path = self._steps(upper) + "L" + self._steps(base, back=True)[1:] + "Z"
            words = f"{KINDS.get(kind, kind)}: {binary(values[self.timeline.top])} at the peak"
            yield element("path", element("title", escape(words)), d=path, fill=self._color(kind))
            base = upper

    def _lines(self) -> Iterator[str]:
        for dash, values in zip(_DASHES * len(self.timeline.lines), self.timeline.lines.values(), strict=False):
            path = self._steps([values[op] for op in self.ops])
            line = element("path", d=path, fill="none", stroke_width=1.4, stroke_dasharray=dash)
            yield self._inked("rule", line)

    def _steps(self, amounts: Sequence[int], *, back: bool = False) -> str:
        """Along the tops of the columns, to the right or back."""
        edges = [0, *(i for i, (a, b) in enumerate(pairwise(amounts), 1) if a != b), self.count]
        flat = [(self._x(a), self._x(b), self._y(amounts[a])) for a, b in pairwise(edges)]
        if back:
            return "".join(f"L{num(b)} {num(y)}H{num(a)}" for a, b, y in reversed(flat))
        first = f"M{num(flat[0][0])} {num(flat[0][2])}H{num(flat[0][1])}"
        return first + "".join(f"V{num(y)}H{num(b)}" for _, b, y in flat[1:])

    def _peak(self) -> Iterator[str]:
        """A dot on the stack, a line up to its name above the plot."""
        timeline = self.timeline
        x = self._x(self.ops.index(timeline.top) + 0.5)
        y, above = self._y(timeline.totals[timeline.top]), self.top - 12
        yield self._inked("rule", element("path", d=f"M{num(x)} {num(y)}V{num(above)}", stroke_width=1.2))
        yield self._inked("ink", element("circle", cx=x, cy=y, r=3.2))
        bold = f"peak {binary(timeline.totals[timeline.top])}"
        plain = fit(f"at {timeline.labels[timeline.top]}", 12.5, _RIGHT - _LEFT - width(bold, 12.5, bold=True) - 10)
        wide = width(bold, 12.5, bold=True) + 5 + width(plain, 12.5)
        left = min(max(x - wide / 2, _LEFT), _RIGHT - wide)
        yield self._inked("ink", text(Text(left, above - 7, bold, 12.5, "", True)))
        yield self._inked("soft", text(Text(left + wide - width(plain, 12.5), above - 7, plain, 12.5, "")))

    def _legend(self) -> tuple[list[str], float]:
        """What each colour and line is and how much of it there is at the peak; and where the plot begins."""
        timeline, y, caption = self.timeline, 58.0, Text(_MARGIN, 58.0, "at the peak:", 12, "")
        drawn, x = [self._inked("soft", text(caption))], _MARGIN + caption.width + 12
        for i, (name, values) in enumerate([*timeline.lines.items(), *reversed(timeline.stack.items())]):
            words, amount = fit(KINDS.get(name, name), 12, 300), binary(values[timeline.top])
            wide = 18 + width(words, 12) + 5 + width(amount, 12) + 20
            if x + wide > _WIDTH - _MARGIN:
                x, y = _MARGIN, y + 20
            if i < len(timeline.lines):
                path = element(
                    "path", d=f"M{num(x)} {num(y - 4)}h13", stroke_width=1.4, stroke_dasharray=_DASHES[i % 3]
                )
                drawn.append(self._inked("rule", path))
            else:
                drawn.append(rect(x, y - 10, 12, 12, 2.5, fill=self._color(name)))
            drawn.append(self._inked("ink", text(Text(x + 18, y, words, 12, ""))))
            drawn.append(self._inked("soft", text(Text(x + 23 + width(words, 12), y, amount, 12, ""))))
            x += wide
        return drawn, y + 56

    def _color(self, kind: str) -> str:
        others = [each for each in self.timeline.stack if each not in _COLORS]
        return _COLORS.get(kind) or _OTHERS[others.index(kind) % len(_OTHERS)]


def _dark(prefix: str) -> str:
    rules = "".join(f"#{prefix} .{name}{{{attribute}:{dark}}}" for name, (attribute, _, dark) in _INKS.items())
    return f"@media (prefers-color-scheme:dark){{{rules}}}"
