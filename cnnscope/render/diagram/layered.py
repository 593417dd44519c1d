"""The layered graph of one panel: which row everything stands in, with dummies where lines pass a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from .scene import Signal
from .wiring import End, Link, Port

_APART = 4  # as many far lines of one signal run side by side; more would be a thicket


@dataclass(eq=False)
class Spot:
    """Something in a row: a child of the panel, a port, or (``end`` None) the place where a line passes by.

    x: its middle. slack: 0 on the longest way through the panel, else how many rows it is shorter.
    """

    end: End | None
    order: int
    half: float = 0.0
    height: float = 0.0
    row: int = 0
    slack: int = 0
    x: float = 0.0
    skip: bool = False
    ins: list[Segment] = field(default_factory=list)
    outs: list[Segment] = field(default_factory=list)

    @property
    def passing(self) -> bool:
        return self.end is None


@dataclass(eq=False)
class Segment:
    """A piece of a line between neighbouring rows. ``out`` and ``into``: where it touches, off the spots' middles."""

    tail: Spot
    head: Spot
    signal: Signal
    skip: bool = False
    out: float = 0.0
    into: float = 0.0
    straight: bool = False


@dataclass
class Grid:
    """Rows of spots from top to bottom, each from left to right, and the way of each link through them."""

    rows: list[list[Spot]]
    spots: dict[End, Spot]
    routes: list[tuple[Link, list[Segment]]]

    def segments(self) -> Iterator[Segment]:
        for row in self.rows:
            for spot in row:
                yield from spot.outs


def grid(children: list[End], links: list[Link]) -> Grid:
    """Rows by the longest path, ports on the first and the last."""
    ends = dict.fromkeys([*children, *(end for link in links for end in (link.tail, link.head))])
    spots = {end: Spot(end, order) for order, end in enumerate(ends)}
    _assign_rows(spots, links)
    count = max((spot.row for spot in spots.values()), default=0) + 1
    rows: list[list[Spot]] = [[] for _ in range(count)]
    for spot in spots.values():
        rows[spot.row].append(spot)
    return Grid(rows, spots, _route(rows, spots, links))


def _assign_rows(spots: dict[End, Spot], links: list[Link]) -> None:
    """As early as the inputs allow; what has slack goes to the middle of it, what nothing follows stays early."""
    before: dict[Spot, set[Spot]] = {spot: set() for spot in spots.values()}
    after: dict[Spot, set[Spot]] = {spot: set() for spot in spots.values()}
    for link in links:
        before[spots[link.head]].add(spots[link.tail])
        after[spots[link.tail]].add(spots[link.head])
    order = _topological(before, after)
    entries = any(isinstance(end, Port) and end.into for end in spots)
    exits = [spot for end, spot in spots.items() if isinstance(end, Port) and not end.into]
    for spot in order:
        spot.row = max((each.row + 1 for each in before[spot]), default=0)
        if entries and not (isinstance(spot.end, Port) and spot.end.into):
            spot.row = max(spot.row, 1)
    last = max((spot.row for spot in order), default=0)
    if exits:
        last = max([last, *(spot.row + 1 for spot in order if spot not in exits)])
    latest: dict[Spot, int] = {}
    below: dict[Spot, int] = {}
    for spot in reversed(order):
        below[spot] = max((below[each] + 1 for each in after[spot]), default=0)
        ends = last if after[spot] or spot in exits else spot.row
        latest[spot] = min((latest[each] - 1 for each in after[spot]), default=ends)
    for spot in order:
        first = max((each.row + 1 for each in before[spot]), default=spot.row)
        first = max(first, spot.row)
        spot.slack = last - first - below[spot]
        if isinstance(spot.end, Port):
            spot.row = 0 if spot.end.into else last
        elif not before[spot]:
            spot.row = latest[spot]
        else:
            spot.row = first
            if after[spot]:
                spot.row += (latest[spot] - spot.row + 1) // 2


def _topological(before: dict[Spot, set[Spot]], after: dict[Spot, set[Spot]]) -> list[Spot]:
    """Every spot behind those it follows; a circle (which no traced graph has) is opened where it began."""
    waiting = {spot: len(each) for spot, each in before.items()}
    ready = [spot for spot, count in waiting.items() if not count]
    order: list[Spot] = []
    while len(order) < len(before):
        if not ready:
            first = min(waiting, key=lambda spot: spot.order)
            for each in before[first]:
                after[each].discard(first)
            before[first].clear()
            ready.append(first)
        spot = ready.pop()
        waiting.pop(spot, None)
        order.append(spot)
        for each in after[spot]:
            if each in waiting:
                waiting[each] -= 1
                if not waiting[each]:
                    ready.append(each)
    return order


def _route(rows: list[list[Spot]], spots: dict[End, Spot], links: list[Link]) -> list[tuple[Link, list[Segment]]]:
    """The few far lines of a signal run apart; many share their way as far down as they run together."""
    passing: dict[tuple[object, ...], Spot] = {}
    far = Counter((link.tail, link.signal) for link in links if spots[link.head].row - spots[link.tail].row > 1)
    pieces: dict[tuple[Spot, Spot, Signal], Segment] = {}
    routes = []
    for link in links:
        tail, head = spots[link.tail], spots[link.head]
        way, here = [], tail
        for row in range(tail.row + 1, head.row + 1):
            if row == head.row:
                there = head
            else:
                lane = link.skip if far[link.tail, link.signal] > _APART else head
                key = (tail, link.signal, row, lane)
                if key not in passing:
                    passing[key] = Spot(None, head.order, half=4.0, row=row, skip=link.skip)
                    rows[row].append(passing[key])
                there = passing[key]
            piece = pieces.get((here, there, link.signal))
            if piece is None:
                piece = pieces[here, there, link.signal] = Segment(here, there, link.signal, link.skip)
                here.outs.append(piece)
                there.ins.append(piece)
            piece.skip = piece.skip and link.skip
            way.append(piece)
            here = there
        routes.append((link, way))
    return routes
