"""Pieces of SVG text: everything that comes from outside goes through here."""

from __future__ import annotations

from html import escape as _escape

from .arrangement import Point
from .faces import Text
from .metrics import clean

_LONGEST = 300


def escape(text: str) -> str:
    """Text as it may stand in XML, also inside an attribute; without characters that XML forbids."""
    return _escape(clean(text))


def tooltip(text: str) -> str:
    """A ``<title>`` element: what a pointer that rests on something shows."""
    return element("title", escape(short(text)))


def short(text: str) -> str:
    """At most a few hundred characters."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def num(value: float) -> str:
    """A coordinate with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))


def element(name: str, content: str = "", **attributes: object) -> str:
    """One element; ``stroke_width=2`` becomes ``stroke-width="2"``, None is left out."""
    parts = [name]
    for key, value in attributes.items():
        if value is not None:
            text = num(value) if isinstance(value, int | float) else escape(str(value))
            parts.append(f'{key.rstrip("_").replace("_", "-")}="{text}"')
    head = " ".join(parts)
    return f"<{head}>{content}</{name}>" if content else f"<{head}/>"


def rect(x: float, y: float, width: float, height: float, radius: float = 0, **attributes: object) -> str:
    return element("rect", "", x=x, y=y, width=width, height=height, rx=radius or None, **attributes)


def text(line: Text, dx: float = 0.0, dy: float = 0.0, **attributes: object) -> str:
    """A line of text. ``textLength`` keeps it in its place where a viewer has no font of Helvetica's widths."""
    return element(
        "text", escape(line.text), x=line.x + dx, y=line.y + dy, font_size=line.size,
        font_weight="bold" if line.bold else None, fill=line.ink or None,
        text_anchor=line.anchor if line.anchor != "start" else None,
        textLength=line.width if len(line.text) > 1 else None,
        lengthAdjust="spacingAndGlyphs" if len(line.text) > 1 else None, **attributes,
    )  # fmt: skip


def way(points: list[Point]) -> str:
    """A path down through the points: straight where the next one is below, else an S with vertical ends."""
    (x, y), *others = points
    parts = [f"M{num(x)} {num(y)}"]
    for a, b in others:
        if abs(a - x) < 0.01:
            parts.append(f"V{num(b)}")
        else:
            middle = num((y + b) / 2)
            parts.append(f"C{num(x)} {middle} {num(a)} {middle} {num(a)} {num(b)}")
        x, y = a, b
    return "".join(parts)


def corners(points: list[Point], radius: float = 9.0) -> str:
    """A path along horizontals and verticals with round corners."""
    parts = [f"M{num(points[0][0])} {num(points[0][1])}"]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        first, second = _towards(here, before, radius), _towards(here, after, radius)
        parts.append(
            f"L{num(first[0])} {num(first[1])}Q{num(here[0])} {num(here[1])} {num(second[0])} {num(second[1])}"
        )
    return "".join(parts) + f"L{num(points[-1][0])} {num(points[-1][1])}"


def _towards(start: Point, end: Point, most: float) -> Point:
    """The point ``most`` pixels from ``start`` on the way to ``end``, at most half way."""
    far = abs(end[0] - start[0]) + abs(end[1] - start[1])
    share = min(most, far / 2) / far if far else 0.0
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def spline(points: list[Point]) -> str:
    """A path of Béziers: a start, then three points each."""
    pairs = [f"{num(x)} {num(y)}" for x, y in points]
    return f"M{pairs[0]}C{' '.join(pairs[1:])}"
