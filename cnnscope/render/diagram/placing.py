"""Left and right: lines that can be straight are, everything else stands in the middle of what it is tied to."""

from __future__ import annotations

from itertools import pairwise

from .layered import Grid, Segment, Spot

_ROUNDS = 24
NEAR = 22.0
"""Space between neighbours in a row."""


def place(grid: Grid) -> None:
    """Set ``x`` of every spot; the order within the rows stays."""
    blocks = _Blocks(grid, _straight(grid))
    if not blocks.sorted:  # two straight lines around each other, which cannot be
        for segment in grid.segments():
            segment.straight = False
        blocks = _Blocks(grid, [])
    blocks.settle()


def _straight(grid: Grid) -> list[Segment]:
    """The segments to draw as verticals: long lines first, then chains, then the longest way through the panel."""
    chosen: list[Segment] = []
    above: set[Spot] = set()
    below: set[Spot] = set()
    place = {spot: i for row in grid.rows for i, spot in enumerate(row)}
    taken: dict[int, list[tuple[int, int]]] = {}
    for rank in (_is_passing, _is_spine, _is_chain):
        for segment in grid.segments():
            tail, head = segment.tail, segment.head
            if segment.straight or tail in below or head in above or not rank(segment):
                continue
            pair = place[tail], place[head]
            row = taken.setdefault(tail.row, [])
            if any((a < pair[0]) != (b < pair[1]) for a, b in row):
                continue
            row.append(pair)
            segment.straight = True
            above.add(head)
            below.add(tail)
            chosen.append(segment)
    return chosen


def _is_passing(segment: Segment) -> bool:
    return segment.tail.passing and segment.head.passing


def _is_spine(segment: Segment) -> bool:
    """The only way on the longest path, from either end, but not into or out of a fan: that stands in the middle."""
    if len(segment.tail.outs) > 2 or len(segment.head.ins) > 2:
        return False
    if segment.tail.slack or segment.head.slack or segment.tail.passing or segment.head.passing:
        return False
    on = [each for each in segment.tail.outs if not each.head.passing and not each.head.slack]
    back = [each for each in segment.head.ins if not each.tail.passing and not each.tail.slack]
    return len(on) == 1 and len(back) == 1


def _is_chain(segment: Segment) -> bool:
    return len(segment.tail.outs) == 1 and len(segment.head.ins) == 1


class _Blocks:
    """Groups of spots that stand straight above one another, which move as one."""

    def __init__(self, grid: Grid, straight: list[Segment]) -> None:
        self.grid = grid
        self.of: dict[Spot, int] = {}
        self.off: dict[Spot, float] = {}  # of a spot's middle from its block's
        down = {segment.tail: segment for segment in straight}
        starts = {segment.head for segment in straight}
        count = 0
        for row in grid.rows:
            for spot in row:
                if spot in starts:
                    continue
                self.of[spot], self.off[spot] = count, 0.0
                here = spot
                while here in down:
                    segment = down[here]
                    self.of[segment.head] = count
                    self.off[segment.head] = self.off[here] + segment.out - segment.into
                    here = segment.head
                count += 1
        self.count = count
        self.apart = self._separations()
        self.sorted = self._sort()
        self.x = [0.0] * count

    def _separations(self) -> dict[tuple[int, int], float]:
        """How far blocks that are neighbours in some row must be apart, left to right."""
        apart: dict[tuple[int, int], float] = {}
        for row in self.grid.rows:
            for left, right in pairwise(row):
                need = left.half + right.half + (NEAR * 0.6 if left.passing or right.passing else NEAR)
                need += self.off[left] - self.off[right]
                pair = self.of[left], self.of[right]
                apart[pair] = max(apart.get(pair, need), need)
        return apart

    def _sort(self) -> list[int]:
        """Blocks from left to right; empty when they run in a circle."""
        waiting = [0] * self.count
        self.rights: list[list[tuple[int, float]]] = [[] for _ in range(self.count)]
        self.lefts: list[list[tuple[int, float]]] = [[] for _ in range(self.count)]
        for (left, right), need in self.apart.items():
            if left == right:
                return []
            waiting[right] += 1
            self.rights[left].append((right, need))
            self.lefts[right].append((left, need))
        ready = [block for block in range(self.count) if not waiting[block]]
        order = []
        while ready:
            block = ready.pop()
            order.append(block)
            for right, _ in self.rights[block]:
                waiting[right] -= 1
                if not waiting[right]:
                    ready.append(right)
        return order if len(order) == self.count else []

    def settle(self) -> None:
        """Pull every block to the middle of what it is tied to, and push apart what would overlap, in turns."""
        pulls = self._pulls()
        for _ in range(_ROUNDS):
            wish = list(self.x)
            for block, ties in enumerate(pulls):
                weight = sum(tie[2] for tie in ties)
                if weight:
                    wish[block] = sum((self.x[other] + off) * by for other, off, by in ties) / weight
            self.x = self._apart(wish)
        for spot, block in self.of.items():
            spot.x = self.x[block] + self.off[spot]

    def _apart(self, wish: list[float]) -> list[float]:
        """The mean of packing to the right and packing to the left: both keep the distances, so their mean does."""
        right, left = list(wish), list(wish)
        for block in self.sorted:
            for other, need in self.lefts[block]:
                right[block] = max(right[block], right[other] + need)
        for block in reversed(self.sorted):
            for other, need in self.rights[block]:
                left[block] = min(left[block], left[other] - need)
        return [(a + b) / 2 for a, b in zip(left, right, strict=True)]

    def _pulls(self) -> list[list[tuple[int, float, float]]]:
        """For each block the others it is tied to, where it would stand for a straight line, and how strongly.

        A shortcut pulls on nothing but itself: it must not bend the way that it goes round.
        """
        pulls: list[list[tuple[int, float, float]]] = [[] for _ in range(self.count)]
        for segment in self.grid.segments():
            tail, head = self.of[segment.tail], self.of[segment.head]
            if tail == head:
                continue
            off = self.off[segment.tail] + segment.out - self.off[segment.head] - segment.into
            pulls[head].append((tail, off, self._weight(segment, segment.head)))
            pulls[tail].append((head, -off, self._weight(segment, segment.tail)))
        return pulls

    def _weight(self, segment: Segment, moved: Spot) -> float:
        other = segment.tail if moved is segment.head else segment.head
        if other.passing and not moved.passing:
            return 0.02 if segment.skip else 1.0
        return 1.0
