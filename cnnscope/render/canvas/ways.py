"""The ways of lines from point to point, as the steps of a path."""

from __future__ import annotations

from collections.abc import Sequence

from .shapes import Point, Step


def way(points: Sequence[Point], *, across: bool = False) -> list[Step]:
    """Down through the points: straight where the next one is below, else an S with vertical ends.

    across: to the right instead, with horizontal ends.
    """
    (x, y), *others = points
    steps: list[Step] = [("M", [(x, y)])]
    for a, b in others:
        if abs(b - y if across else a - x) < 0.01:
            steps.append(("L", [(a, b)]))
        elif across:
            middle = (x + a) / 2
            steps.append(("C", [(middle, y), (middle, b), (a, b)]))
        else:
            middle = (y + b) / 2
            steps.append(("C", [(x, middle), (a, middle), (a, b)]))
        x, y = a, b
    return steps


def corners(points: Sequence[Point], radius: float = 9.0) -> list[Step]:
    """Along horizontals and verticals with round corners."""
    steps: list[Step] = [("M", [points[0]])]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        first, second = _towards(here, before, radius), _towards(here, after, radius)
        steps.append(("L", [first]))
        # The cubic Bézier that is the quadratic one with the corner as its only handle.
        steps.append(("C", [_between(first, here), _between(second, here), second]))
    return [*steps, ("L", [points[-1]])]


def spline(points: Sequence[Point]) -> list[Step]:
    """Béziers: a start, then three points each."""
    return [("M", [points[0]]), *(("C", points[i : i + 3]) for i in range(1, len(points), 3))]


def _between(end: Point, corner: Point) -> Point:
    return end[0] + (corner[0] - end[0]) * 2 / 3, end[1] + (corner[1] - end[1]) * 2 / 3


def _towards(start: Point, end: Point, most: float) -> Point:
    """The point ``most`` pixels from ``start`` on the way to ``end``, at most half way."""
    far = abs(end[0] - start[0]) + abs(end[1] - start[1])
    share = min(most, far / 2) / far if far else 0.0
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share
