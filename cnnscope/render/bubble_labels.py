"""Where the labels of bubbles stand: beside their own, on no other label, and if possible on no other bubble."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle by its corners."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlaps(self, other: Box, gap: float = 0.0) -> bool:
        across = self.x0 < other.x1 + gap and other.x0 < self.x1 + gap
        return across and self.y0 < other.y1 + gap and other.y0 < self.y1 + gap

    def inside(self, other: Box) -> bool:
        return self.x0 >= other.x0 and self.x1 <= other.x1 and self.y0 >= other.y0 and self.y1 <= other.y1


class Circle(NamedTuple):
    """A bubble by its middle and radius."""

    x: float
    y: float
    r: float

    def touches(self, box: Box) -> bool:
        dx = max(box.x0 - self.x, 0, self.x - box.x1)
        dy = max(box.y0 - self.y, 0, self.y - box.y1)
        return math.hypot(dx, dy) < self.r


Line = tuple[tuple[float, float], tuple[float, float]]


def place(
    own: Circle,
    size: tuple[float, float],
    others: Sequence[Circle],
    placed: Sequence[Box],
    leaders: Sequence[Line],
    within: Box,
) -> Box:
    """The free place with the least to cover and the shortest way; labels never overlap one another.

    size: width and height of the label; others: the other bubbles; placed, leaders: labels that are there, and the
    lines that lead to them; within: where labels may stand.
    """
    best: tuple[float, Box] | None = None
    for away in (5, 14, 26, 40, 58, 80, 110, 150, 200, 260):
        for angle in range(0, 360, 15):
            box = _beside(own, size, away, angle)
            if not box.inside(within) or any(box.overlaps(each, 2) for each in placed):
                continue
            line = leader(own, box)
            covered = sum(circle.touches(box) for circle in others) + own.touches(box)
            crossed = sum(_crosses(each, box) for each in leaders)
            crossed += sum(_crosses(line, each) for each in placed) if line else 0
            cost = away + 130 * covered + 120 * crossed + 4 * (angle % 90 != 0)
            if best is None or cost < best[0]:
                best = cost, box
    if best is None:  # more labels than room: one under the other, beyond the plot if it must be
        y = max((each.y1 for each in placed), default=within.y0) + 2
        return Box(within.x0, y, within.x0 + size[0], y + size[1])
    return best[1]


def _beside(own: Circle, size: tuple[float, float], away: float, angle: int) -> Box:
    """A label whose near edge touches the ring at this distance from the bubble."""
    dx, dy, (wide, high) = math.cos(math.radians(angle)), -math.sin(math.radians(angle)), size
    x = own.x + dx * (own.r + away) + (dx - 1) * wide / 2
    y = own.y + dy * (own.r + away) + (dy - 1) * high / 2
    return Box(x, y, x + wide, y + high)


def leader(circle: Circle, box: Box) -> Line | None:
    """From the bubble's edge to its label, unless they are close."""
    x, y = min(max(circle.x, box.x0), box.x1), min(max(circle.y, box.y0), box.y1)
    far = math.hypot(x - circle.x, y - circle.y)
    if far <= circle.r + 10:
        return None
    part = circle.r / far
    return (circle.x + (x - circle.x) * part, circle.y + (y - circle.y) * part), (x, y)


def _crosses(line: Line, box: Box) -> bool:
    """Whether a line runs through a label: looked at every few pixels, which no label is smaller than."""
    (x, y), (xx, yy) = line
    steps = max(2, int(math.dist(*line) / 5))
    points = ((x + (xx - x) * i / steps, y + (yy - y) * i / steps) for i in range(steps + 1))
    return any(box.x0 < a < box.x1 and box.y0 < b < box.y1 for a, b in points)
