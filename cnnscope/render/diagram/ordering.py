"""The order within rows: barycentre sweeps, keeping the order with the fewest crossings."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable

from .layered import Grid, Segment, Spot

_SWEEPS = 6


def order_rows(grid: Grid) -> None:
    """Sort every row so that few lines cross; ties keep the order of execution, shortcuts at the right."""
    rows = grid.rows
    for row in rows:
        row.sort(key=lambda spot: (spot.skip, spot.order))
    best, fewest = [list(row) for row in rows], crossings(rows)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        for i in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            _sort(rows[i], rows[i - 1] if down else rows[i + 1], down)
        count = crossings(rows)
        if count < fewest:
            best, fewest = [list(row) for row in rows], count
    if fewest:
        rows[:] = [list(row) for row in best]
        _swap_neighbours(rows)
        best = [list(row) for row in rows]
    rows[:] = best


def crossings(rows: list[list[Spot]]) -> int:
    """How many pairs of segments cross."""
    return sum(_between(rows[i], rows[i + 1]) for i in range(len(rows) - 1))


def _between(upper: list[Spot], lower: list[Spot]) -> int:
    place = {spot: i for i, spot in enumerate(lower)}
    heads: list[tuple[float, float]] = []
    for i, spot in enumerate(upper):
        heads += [(i + _shift(each.out, spot), place[each.head] + _shift(each.into, each.head)) for each in spot.outs]
    heads.sort()
    seen: list[float] = []
    count = 0
    for _, head in heads:
        count += len(seen) - bisect_left(seen, head + 1e-9)
        insort(seen, head)
    return count


def _shift(offset: float, spot: Spot) -> float:
    """A port's place on its spot as a fraction of a step in the row."""
    return 0.45 * offset / spot.half if spot.half else 0.0


def _sort(row: list[Spot], fixed: list[Spot], down: bool) -> None:
    place = {spot: i for i, spot in enumerate(fixed)}

    def wish(spot: Spot) -> float | None:
        pieces = spot.ins if down else spot.outs
        near: Callable[[Segment], float] = (
            (lambda each: place[each.tail] + _shift(each.out, each.tail))
            if down
            else (lambda each: place[each.head] + _shift(each.into, each.head))
        )
        return sum(map(near, pieces)) / len(pieces) if pieces else None

    wishes = [wish(spot) for spot in row]
    known = 0.0
    keys = []
    for i, value in enumerate(wishes):
        known = known if value is None else value  # what has no wish stays with its left neighbour
        keys.append((known, row[i].skip, i))
    row[:] = [row[i] for _, _, i in sorted(keys)]


def _swap_neighbours(rows: list[list[Spot]]) -> None:
    """Swap neighbours while that takes crossings away."""
    for _ in range(4):
        improved = False
        for i, row in enumerate(rows):
            if len(row) > 40:
                continue
            for j in range(len(row) - 1):
                old = _around(rows, i)
                row[j], row[j + 1] = row[j + 1], row[j]
                if _around(rows, i) < old:
                    improved = True
                else:
                    row[j], row[j + 1] = row[j + 1], row[j]
        if not improved:
            return


def _around(rows: list[list[Spot]], i: int) -> int:
    above = _between(rows[i - 1], rows[i]) if i else 0
    return above + (_between(rows[i], rows[i + 1]) if i + 1 < len(rows) else 0)
