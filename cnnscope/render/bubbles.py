"""The lecture's Comparison slide: accuracy against operations, a bubble's area by parameters; one SVG, real text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..units import si
from .bubble_labels import Box, Circle, Line, leader, place
from .canvas.markup import element, escape
from .canvas.metrics import width

FONT = "Arial, Helvetica, sans-serif"
_ID = "cnnscope-comparison"
_WIDTH = 960
_LEFT, _TOP, _RIGHT, _BOTTOM = 76.0, 64.0, 936.0, 500.0
_LARGEST = 46.0  # radius of the largest bubble, pixels
_INK, _GRAY, _LINE = "#1f2933", "#5f6b7a", "#dfe3e8"
_COLORS = ("#3b6fb6", "#c8553d", "#3d8b5a", "#8a5fa8", "#c08a1e", "#2f8f9d", "#a14a76", "#6b7280")
_TEXT = 12.5
_SMALL = 11.0


class Bubble(NamedTuple):
    """One network. accuracy: top-1 in percent; operations: 2 x MACs; source: where the accuracy is from."""

    label: str
    accuracy: float
    operations: int
    params: int
    source: str = ""


def comparison(
    bubbles: Sequence[Bubble], title: str = "Top-1 accuracy against operations", notes: Sequence[str] = ()
) -> str:
    """The picture as SVG text; ``notes`` stand under it, beside the sources.

    Raises:
        ValueError: there is nothing to draw.
    """
    if not bubbles:
        raise ValueError("no network to draw")
    xs = ticks(0, max(each.operations for each in bubbles) / 1e9 * 1.1)
    worst, best = (f(each.accuracy for each in bubbles) for f in (min, max))
    ys = ticks(worst - 3, best + 4)
    scale = _LARGEST / math.sqrt(max(each.params for each in bubbles))
    circles = []
    for each in bubbles:
        x = _LEFT + (each.operations / 1e9 - xs[0]) / (xs[-1] - xs[0]) * (_RIGHT - _LEFT)
        y = _BOTTOM - (each.accuracy - ys[0]) / (ys[-1] - ys[0]) * (_BOTTOM - _TOP)
        circles.append(Circle(x, y, max(scale * math.sqrt(each.params), 2.5)))
    sources = [f"Accuracy: {text}" for text in dict.fromkeys(each.source for each in bubbles) if text]
    footer = [line for text in (*sources, *notes) for line in _wrapped(text, _RIGHT - 24, _SMALL)]
    body = [
        *_axes(xs, ys, title),
        *_drawn(bubbles, circles),
        *_labelled(bubbles, circles),
        *_legend(scale, max(each.params for each in bubbles)),
        *[_text(24, 618 + 15 * i, line, _SMALL, _GRAY) for i, line in enumerate(footer)],
    ]
    return _page(body, title, bubbles, 618 + 15 * len(footer))


def ticks(low: float, high: float, about: int = 7) -> list[float]:
    """Round numbers from at most ``low`` to at least ``high``."""
    rough = max(high - low, 1e-9) / about
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(index * step, 10) for index in range(first, last + 1)]


def _page(body: Sequence[str], title: str, bubbles: Sequence[Bubble], height: float) -> str:
    described = "; ".join(
        f"{each.label}: {each.accuracy:g} %, {si(each.operations)} operations, {si(each.params)} parameters"
        for each in bubbles
    )
    names = f"{_ID}-title {_ID}-desc"
    head = [
        element("title", escape(title), id=f"{_ID}-title"),
        element("desc", escape(described), id=f"{_ID}-desc"),
        element("rect", width=_WIDTH, height=height, fill="#ffffff"),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height:g}" '
        f'viewBox="0 0 {_WIDTH} {height:g}" font-family="{FONT}" role="img" aria-labelledby="{names}">\n'
        + "\n".join([*head, *body])
        + "\n</svg>\n"
    )


def _axes(xs: Sequence[float], ys: Sequence[float], title: str) -> Iterator[str]:
    yield _text(24, 32, title, 18, _INK, bold=True)
    for value in xs:
        x = _LEFT + (value - xs[0]) / (xs[-1] - xs[0]) * (_RIGHT - _LEFT)
        yield element("path", d=f"M{x:.1f} {_TOP}V{_BOTTOM}", stroke=_LINE, stroke_width=1)
        yield _text(x, _BOTTOM + 18, f"{value:g}", 12, _GRAY, text_anchor="middle")
    for value in ys:
        y = _BOTTOM - (value - ys[0]) / (ys[-1] - ys[0]) * (_BOTTOM - _TOP)
        yield element("path", d=f"M{_LEFT} {y:.1f}H{_RIGHT}", stroke=_LINE, stroke_width=1)
        yield _text(_LEFT - 8, y + 4, f"{value:g}", 12, _GRAY, text_anchor="end")
    yield _text((_LEFT + _RIGHT) / 2, _BOTTOM + 40, "operations (G): 2 × multiply-adds", 13, _INK, text_anchor="middle")
    middle = (_TOP + _BOTTOM) / 2
    yield _text(
        26, middle, "top-1 accuracy (%)", 13, _INK, text_anchor="middle", transform=f"rotate(-90 26 {middle:g})"
    )


def _drawn(bubbles: Sequence[Bubble], circles: Sequence[Circle]) -> Iterator[str]:
    """Large ones first, so that small ones lie upon them; a family of nets has one colour."""
    families = list(dict.fromkeys(_family(each.label) for each in bubbles))
    for i in sorted(range(len(bubbles)), key=lambda i: -circles[i].r):
        each, circle = bubbles[i], circles[i]
        color = _COLORS[families.index(_family(each.label)) % len(_COLORS)]
        words = f"{each.label}: top-1 {each.accuracy:g} %, {si(each.operations)} operations, {each.params:,} parameters"
        yield element(
            "circle", element("title", escape(words)), cx=round(circle.x, 2), cy=round(circle.y, 2),
            r=round(circle.r, 2), fill=color, fill_opacity=0.55, stroke=color, stroke_width=1.2,
        )  # fmt: skip
        yield element("circle", cx=round(circle.x, 2), cy=round(circle.y, 2), r=1.6, fill=_INK)


def _family(label: str) -> str:
    return label.partition("-")[0].partition(" ")[0]


# -- labels -----------------------------------------------------------------------------------------------------------


def _labelled(bubbles: Sequence[Bubble], circles: Sequence[Circle]) -> Iterator[str]:
    """Two lines beside each bubble, where nothing else is; a thin line leads there if it is not close."""
    placed: list[Box] = []
    leaders: list[Line] = []
    within = Box(_LEFT + 2, _TOP + 2, _RIGHT - 2, _BOTTOM - 2)
    # The crowded ones choose first: those with most bubbles near.
    order = sorted(range(len(bubbles)), key=lambda i: -sum(math.dist(circles[i][:2], c[:2]) < 120 for c in circles))
    for i in order:
        lines = (bubbles[i].label, f"{bubbles[i].accuracy:.4g} %, {si(bubbles[i].params, 3)} params")
        wide = max(width(lines[0], _TEXT, bold=True), width(lines[1], _SMALL)) + 4
        others = [c for k, c in enumerate(circles) if k != i]
        box = place(circles[i], (wide, 28.0), others, placed, leaders, within)
        placed.append(box)
        line = leader(circles[i], box)
        if line:
            leaders.append(line)
            (x, y), (xx, yy) = line
            yield element("path", d=f"M{x:.1f} {y:.1f}L{xx:.1f} {yy:.1f}", stroke=_GRAY, stroke_width=0.8)
        yield _text(box.x0 + 2, box.y0 + 11, lines[0], _TEXT, _INK, bold=True)
        yield _text(box.x0 + 2, box.y0 + 24, lines[1], _SMALL, _GRAY)


# -- legend and text --------------------------------------------------------------------------------------------------


def _legend(scale: float, largest: int) -> Iterator[str]:
    """Bubbles of round sizes below the axis, as on the slide; of each the upper half, which takes less room."""
    sizes: list[float] = [size for size in (5, 35, 65, 95, 125, 155) if size * 1e6 <= 1.15 * largest]
    x = _RIGHT
    for size in reversed(sizes or ticks(0, largest / 1e6, 2)[1:]):
        r = scale * math.sqrt(size * 1e6)
        half = max(r, 16) + 3
        arc = f"M{x - half - r:.1f} 580A{r:.1f} {r:.1f} 0 0 1 {x - half + r:.1f} 580Z"
        yield element("path", d=arc, fill="#cbd2d9", stroke=_GRAY, stroke_width=0.8)
        yield _text(x - half, 594, f"{size:g}", _SMALL, _GRAY, text_anchor="middle")
        x -= 2 * half
    yield _text(x - 8, 580, "area: parameters (M)", 12, _INK, text_anchor="end")


def _text(
    x: float, y: float, words: str, size: float, ink: str, *, bold: bool = False, **attributes: str | None
) -> str:
    weight = "bold" if bold else None
    place: dict[str, float] = {"x": round(x, 2), "y": round(y, 2), "font_size": size}
    return element("text", escape(words), **place, fill=ink, font_weight=weight, **attributes)


def _wrapped(words: str, limit: float, size: float) -> list[str]:
    lines: list[str] = []
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width(longer, size) <= limit:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
