"""Volumes: every result is a box in oblique projection, as high and deep as its maps and as wide as it has channels.

Sides grow with the root of the resolution and widths with the root of the channels: a box of twice the side has half
as many map points on either, and both ends of a network stay visible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import atan2, degrees, sqrt

from ..canvas.shapes import INK, Disc, Paint, Picture, Point, Shape, Text, line, polygon
from ..canvas.shapes import Box as Rect
from .captions import SOFT, Caption, heading, legend, of_group
from .stages import Stage

_TALLEST = 214.0
_DEPTH = (0.46, -0.40)  # of a side as long as 1, on the page
_EDGE = "#3d4653"
_GAP, _NEXT, _MOST = 3.5, 26.0, 4
_BAR, _LONGEST = 12.0, 138.0
_POOL = 6.0
_COLOURS = {  # front, top and right side
    "input": ("#7a9cc0", "#a9c1da", "#6286ad"),
    "convolution": ("#f7c66a", "#fbdf9f", "#dfab4c"),
    "activation": ("#ea9040", "#f3b783", "#c8762f"),
    "pooling": ("#c94f4f", "#dd8c8c", "#a94242"),
    "block": ("#7eb0de", "#aacbea", "#6497c6"),
    "vector": ("#9d7fd1", "#bda8e2", "#8164b8"),
    "output": ("#5aa469", "#93c49f", "#478a56"),
    "other": ("#9aa5b1", "#c3cad2", "#828e9b"),
}
_WORDS = {
    "convolution": "convolution", "activation": "activation", "pooling": "pooling", "block": "block of layers",
    "vector": "fully connected", "output": "last layer", "other": "other",
}  # fmt: skip


@dataclass
class _Group:
    """Results of one kind and resolution that stand close together; pool: what shrinks them, at their right side."""

    stages: list[Stage]
    pool: Stage | None = None
    last: bool = False

    def takes(self, stage: Stage) -> bool:
        head = self.stages[0]
        same = stage.kind == head.kind and stage.size == head.size
        return same and not self.pool and not stage.flat and (stage.kind == "convolution" or stage.type == head.type)

    @property
    def shown(self) -> list[Stage | None]:
        """The boxes to draw: of many the first two, None for dots, and the last."""
        if len(self.stages) <= _MOST:
            return list(self.stages)
        return [*self.stages[:2], None, self.stages[-1]]


def volumes(stages: Sequence[Stage], title: str, facts: str) -> Picture:
    """The figure of a chain of stages."""
    return _Figure(_grouped(stages)).picture(title, facts)


def _grouped(stages: Sequence[Stage]) -> list[_Group]:
    groups: list[_Group] = []
    for stage in stages:
        last = groups[-1] if groups else None
        if (
            stage.kind == "pooling"
            and last
            and not last.pool
            and not last.stages[0].flat
            and last.stages[0].kind != "input"
        ):
            last.pool = stage
        elif last and last.takes(stage):
            last.stages.append(stage)
        else:
            groups.append(_Group([stage]))
    groups[-1].last = groups[-1].stages[0].kind in ("vector", "other") and groups[-1].stages[0].flat
    return groups


class _Figure:
    """Draws groups from left to right, their middles on one axis."""

    def __init__(self, groups: list[_Group]) -> None:
        self.groups = groups
        maps = [stage for group in groups for stage in group.stages if not stage.flat]
        self.unit = _TALLEST / sqrt(max(max(stage.size) for stage in maps))
        boxes = [stage for group in groups for stage in group.shown if stage and not stage.flat]
        self.wide = min(max(420 / sum(sqrt(stage.channels) for stage in boxes), 1.0), 1.9)
        vectors = [stage.channels for group in groups for stage in group.stages if stage.flat]
        self.long = _LONGEST / sqrt(max([*vectors, 2048]))
        high = max(self._depth(stage)[1] for stage in maps)
        self.axis = 96 + high / 2 + max(self._side(stage.size[0]) for stage in maps) / 2
        self.foot = 2 * self.axis - 96 + 18
        self.parts: list[Shape] = []
        self.used: dict[str, None] = {}

    def picture(self, title: str, facts: str) -> Picture:
        x, free, end = 44.0, 12.0, 0.0
        arrows: list[Shape] = []
        leave: Point | None = None
        for group in self.groups:
            others = [stage for each in self.groups for stage in each.stages if each is not group]
            caption = of_group(group.stages, others)
            wide, deep = self._extent(group)
            middle = (wide + deep / 2) / 2
            x = max(x, free + caption.width / 2 - middle)
            if leave:
                arrows += _arrow(leave, (self._entry(group, x), self.axis))
            leave = self._draw(group, x)
            self._caption(caption, x + middle)
            free, end = x + middle + caption.width / 2 + 14, x + wide + deep
            x = end + _NEXT
        entries = [(_COLOURS[kind][0], words) for kind, words in _WORDS.items() if kind in self.used]
        bottom = self.foot + 96
        key = legend(entries, 44, bottom)
        heads = heading(title, facts)
        right = max(end, free - 14, *(text.left + text.width for text in [*heads, *key] if isinstance(text, Text))) + 36
        kept = frozenset(colour for colours in _COLOURS.values() for colour in colours) | {_EDGE}
        parts: list[Shape] = [*heads, *self.parts, *arrows, *key]
        return Picture(right, bottom + 28, parts, title, f"Volumes of {title}: {facts}", kept=kept)

    def _side(self, size: int) -> float:
        return max(self.unit * sqrt(size), 8.0)

    def _depth(self, stage: Stage) -> Point:
        """How far the box reaches to the right and upwards, away from the viewer."""
        long = self.long * sqrt(stage.channels) / _DEPTH[0] if stage.flat else self._side(stage.size[1])
        return max(long * _DEPTH[0], 8.0), max(long * -_DEPTH[1], 7.0)

    def _breadth(self, stage: Stage) -> float:
        return _BAR if stage.flat else max(self.wide * sqrt(stage.channels), 3.5)

    def _extent(self, group: _Group) -> tuple[float, float]:
        """Width of the fronts side by side, and how far the last box reaches behind them."""
        wide = sum(self._breadth(each) if each else 18.0 for each in group.shown) + _GAP * (len(group.shown) - 1)
        return wide, self._depth(group.stages[-1])[0]

    def _entry(self, group: _Group, x: float) -> float:
        """Where the axis meets the left side of a group: of a bar, the edge of its top."""
        if not group.stages[0].flat:
            return x - 2
        dx, up = self._depth(group.stages[0])
        return x - 2 + dx * (up - _BAR) / (2 * up)

    def _draw(self, group: _Group, x: float) -> Point:
        """The boxes of a group with their numbers; the point in which the arrow to the next one begins."""
        stage = group.stages[0]
        dx, up = self._depth(stage)
        high = _BAR if stage.flat else self._side(stage.size[0])
        centre = self.axis + up / 2
        spots: list[tuple[float, float, int]] = []
        for each in group.shown:
            if each is None:
                self.parts += [Disc(x + 4 + 5 * i, centre, 1.4, Paint(SOFT)) for i in range(3)]
                x += 18.0 + _GAP
                continue
            wide = self._breadth(each)
            self._box(each, group.last, x, centre, high)
            spots.append((x, wide, each.channels))
            x += wide + _GAP
        x -= _GAP
        self._numbers(spots, centre + high / 2 + 14)
        if not stage.flat:
            self._resolution(stage, x, centre + high / 2, dx, up)
        if group.pool:
            self._pool(group.pool, x, dx, up)
        # From the middle of the right side; of a bar, from the lower edge of it.
        return (x + 3 + dx * (up + _BAR) / (2 * up) if stage.flat else x + dx / 2), self.axis

    def _box(self, stage: Stage, last: bool, x: float, centre: float, high: float) -> None:
        kind = "output" if last else "vector" if stage.flat and stage.kind == "convolution" else stage.kind
        wide, (dx, up) = self._breadth(stage), self._depth(stage)
        active = wide * 0.32 if stage.activation and kind == "convolution" else 0.0
        self.parts += _prism(x, centre, wide - active, high, dx, up, kind)
        self.used[kind] = None
        if active:
            self.used["activation"] = None
            self.parts += _prism(x + wide - active, centre, active, high, dx, up, "activation")

    def _pool(self, pool: Stage, x: float, dx: float, up: float) -> None:
        """On the right side of the last box, in its middle."""
        inner, height = self._depth(pool), self._side(pool.size[0])
        inner, thick = (min(inner[0], 0.8 * dx), min(inner[1], 0.8 * up)), min(_POOL, dx / 6)
        self.parts += _prism(x + (dx - inner[0]) / 2, self.axis + inner[1] / 2, thick, height, *inner, "pooling")
        self.used["pooling"] = None

    def _numbers(self, spots: list[tuple[float, float, int]], y: float) -> None:
        """Channels under each box; once where all have the same and there is no room for each."""
        texts = [Text(x + wide / 2, y, str(channels), 10.5, INK, anchor="middle") for x, wide, channels in spots]
        room = all(a.left + a.width + 3 <= b.left for a, b in pairwise(texts))
        if not room:
            middle = (spots[0][0] + spots[-1][0] + spots[-1][1]) / 2
            first, last = spots[0][2], spots[-1][2]
            words = str(first) if len({spot[2] for spot in spots}) == 1 else f"{first} – {last}"
            texts = [Text(middle, y, words, 10.5, INK, anchor="middle")]
        self.parts += texts

    def _resolution(self, stage: Stage, x: float, y: float, dx: float, up: float) -> None:
        """Along the lower edge that leads away from the viewer."""
        angle = -degrees(atan2(up, dx))
        tall, broad = stage.size
        words = str(tall) if tall == broad else f"{tall}×{broad}"
        self.parts.append(Text(x + dx / 2 + 9, y - up / 2 + 9, words, 10.5, SOFT, anchor="middle", turned=angle))

    def _caption(self, caption: Caption, x: float) -> None:
        self.parts += caption.shapes(x, self.foot + 26)


def _prism(x: float, centre: float, wide: float, high: float, dx: float, up: float, kind: str) -> list[Shape]:
    """Front, top and right side of a box whose front's left edge has its middle at x, centre."""
    front, top, side = (Paint(colour, _EDGE, 0.8) for colour in _COLOURS[kind])
    y, low, far = centre - high / 2, centre + high / 2, x + wide
    return [
        polygon([(x, y), (x + dx, y - up), (far + dx, y - up), (far, y)], top),
        polygon([(far, y), (far + dx, y - up), (far + dx, low - up), (far, low)], side),
        Rect(x, y, wide, high, front),
    ]


def _arrow(start: Point, end: Point) -> list[Shape]:
    (x, y), (a, _) = start, end
    dark = "#222b36"
    return [
        line([(x, y), (a - 5, y)], Paint("none", dark, 1.3)),
        polygon([(a - 7, y - 3.2), (a, y), (a - 7, y + 3.2)], Paint(dark)),
        Disc(x, y, 2.0, Paint(dark)),
    ]
