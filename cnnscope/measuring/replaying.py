"""From allocations and frees in order to the peak: how many bytes were alive, and whose they were. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Event(NamedTuple):
    """An allocation (bytes above 0) or a free, at an address, during operator number ``operator`` (-1: outside)."""

    bytes: int
    address: int
    operator: int


class Alive(NamedTuple):
    """What one operator had allocated and was alive at the peak; workspace: the part that it freed itself again."""

    operator: int
    bytes: int
    workspace: int


class Peak(NamedTuple):
    """bytes: above what was alive before the first event; operator: during which it was reached, -1 for outside;
    before: bytes alive then that were there before the first event, less 0 what of them was freed."""

    bytes: int
    operator: int
    freed_before: int
    alive: tuple[Alive, ...]


def of_tensors(events: Sequence[Event]) -> list[Event]:
    """The events without what an operator allocated and freed itself: buffers of its kernel, no tensors."""
    allocated: dict[int, int] = {}
    own: set[int] = set()
    for place, event in enumerate(events):
        if event.bytes > 0:
            allocated[event.address] = place
        else:
            begun = allocated.pop(event.address, -1)
            if begun >= 0 and event.operator >= 0 and events[begun].operator == event.operator:
                own |= {begun, place}
    return [event for place, event in enumerate(events) if place not in own]


def replayed(events: Iterable[Event]) -> Peak:
    """The highest sum of allocations less frees, and what is alive at it.

    A free of an address that no event allocated is one of memory that was there before, and counts too.
    """
    events = list(events)
    place, operator, highest = _highest(events)
    alive: dict[int, Event] = {}
    freed = 0
    for event in events[: place + 1]:
        if event.bytes > 0:
            alive[event.address] = event
        elif alive.pop(event.address, None) is None:
            freed -= event.bytes
    freed_by: dict[int, int] = {}
    for event in events[place + 1 :]:
        if event.bytes < 0:
            freed_by.setdefault(event.address, event.operator)
    sums: dict[int, list[int]] = {}
    for address, event in alive.items():
        held = sums.setdefault(event.operator, [0, 0])
        held[0] += event.bytes
        # Outside of operators a free says nothing about who needed the memory.
        held[1] += event.bytes if event.operator >= 0 and freed_by.get(address) == event.operator else 0
    return Peak(highest, operator, freed, tuple(Alive(number, *held) for number, held in sums.items()))


def _highest(events: list[Event]) -> tuple[int, int, int]:
    """Place, operator and height of the first highest point; (-1, -1, 0) when it is before the first event."""
    place, operator, highest, now = -1, -1, 0, 0
    for i, event in enumerate(events):
        now += event.bytes
        if now > highest:
            place, operator, highest = i, event.operator, now
    return place, operator, highest
