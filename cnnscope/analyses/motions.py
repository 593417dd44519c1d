"""How a window moves along one dimension of a tensor: evenly, with a period, or index by index.

A convolution moves evenly; phases that differ (transposed convolution, upsampling, uneven bins, dimensions made one)
repeat with a period. Exact arithmetic on whole numbers; ``windows`` puts the dimensions together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

NOWHERE = math.inf  # low of an index that sees nothing; its high is -NOWHERE

Place = float  # whole numbers, and the two infinities


class Motion(NamedTuple):
    """How a window moves along a dimension of ``size`` indices.

    low(i) = lows[i % p] + advance * (i // p) with the period p = len(lows); high(i) likewise. It goes on beyond both
    ends, as padding needs it. advance None: irregular, one entry for each index and nothing beyond the ends.
    In normal form the period is the shortest, and the first index that sees something has low = high = 0.
    """

    size: int
    advance: int | None
    lows: tuple[Place, ...]
    highs: tuple[Place, ...]

    @property
    def still(self) -> bool:
        return self.advance == 0 and len(self.lows) == 1

    def at(self, index: int) -> tuple[Place, Place]:
        """low and high at an index, which may lie beyond the ends; of nothing everything lies beyond them."""
        if self.advance is None or not self.lows:
            return (self.lows[index], self.highs[index]) if 0 <= index < self.size else (NOWHERE, -NOWHERE)
        turn, rest = divmod(index, len(self.lows))
        return self.lows[rest] + self.advance * turn, self.highs[rest] + self.advance * turn

    def entries(self, count: int) -> Sequence[tuple[Place, Place]]:
        """low and high at the first indices."""
        if count == len(self.lows):
            return list(zip(self.lows, self.highs, strict=True))
        return [self.at(i) for i in range(count)]

    def span(self) -> tuple[Place, Place]:
        """The lowest low and the highest high of all indices."""
        if not self.size:
            return NOWHERE, -NOWHERE
        if self.advance is None:
            return min(self.lows), max(self.highs)
        period = len(self.lows)
        ends = [i for r in range(min(period, self.size)) for i in (r, r + (self.size - 1 - r) // period * period)]
        return min(self.at(i)[0] for i in ends), max(self.at(i)[1] for i in ends)


Placed = tuple[Motion, Place, Place]  # a Motion in normal form, and what it took away from low and high


class Reads(NamedTuple):
    """Which indices of its input an operator reads along one dimension, for ``size`` outputs.

    Output o reads ``sources[o % q]``, moved by ``advance`` for each q = len(sources) outputs before it. advance None:
    sources are given for each output.
    """

    size: int
    advance: int | None
    sources: tuple[Sequence[int], ...]


@lru_cache(maxsize=1024)
def still(size: int) -> Motion:
    """No motion: every index sees the same."""
    return Motion(size, 0, (0,), (0,))


def normal(size: int, advance: int | None, lows: Sequence[Place], highs: Sequence[Place]) -> Placed | None:
    """A Motion in normal form; None if no index sees anything."""
    seeing = next((i for i, low in enumerate(lows) if low < NOWHERE), None)
    if seeing is None:
        return None
    low, high = lows[seeing], highs[seeing]
    return _shortest(size, advance, tuple([x - low for x in lows]), tuple([x - high for x in highs])), low, high


def _shortest(size: int, advance: int | None, lows: tuple[Place, ...], highs: tuple[Place, ...]) -> Motion:
    """The Motion with the shortest period that there is, which also finds that irregular entries repeat."""
    count = len(lows)
    if count > size:  # less than one period is left
        advance, count, lows, highs = None, size, lows[:size], highs[:size]
    if count == 1:
        return Motion(size, advance or 0, (0,), (0,))
    steps = [(b - a, d - c) for a, b, c, d in zip(lows, lows[1:], highs, highs[1:], strict=False)]
    if advance is not None:
        steps.append((advance + lows[0] - lows[-1], advance + highs[0] - highs[-1]))
    period = _period(steps) if NOWHERE not in lows else count
    if count % period == 0 if advance is not None else period <= count // 2:
        low = sum(step for step, _ in steps[:period])
        if low == sum(step for _, step in steps[:period]):
            return Motion(size, int(low), lows[:period], highs[:period])
    return Motion(size, advance, lows, highs)


def _period(items: Sequence[object]) -> int:
    """The least p with items[i] == items[i - p] for all i >= p (Knuth, Morris, Pratt)."""
    borders = [0]  # of each beginning, the length of the longest part that it both begins and ends with
    for item in items[1:]:
        border = borders[-1]
        while border and item != items[border]:
            border = borders[border - 1]
        borders.append(border + (item == items[border]))
    return len(items) - borders[-1]


@lru_cache(maxsize=512)
def reread(motion: Motion, reads: Reads) -> Placed | None:
    """The motion along the output of an operator that reads along this one; None if it reads nothing that sees."""
    period, count, advance = len(motion.lows), reads.size, None
    if motion.advance is not None and reads.advance is not None:
        turns = period // math.gcd(period, reads.advance)
        advance, count = motion.advance * reads.advance * turns // period, len(reads.sources) * turns
    lows, highs = [], []
    for output in range(count):
        turn, rest = divmod(output, len(reads.sources))
        shift = turn * (reads.advance or 0)
        sources = reads.sources[rest]
        if period == 1 and len(sources) > 2:  # an even motion has its extremes at the ends
            sources = (min(sources), max(sources))
        seen = [motion.at(source + shift) for source in sources]
        lows.append(min([low for low, _ in seen], default=NOWHERE))
        highs.append(max([high for _, high in seen], default=-NOWHERE))
    return normal(reads.size, advance, lows, highs)


def merged(outer: Motion, inner: Motion) -> Motion:
    """Two neighbouring dimensions as one."""
    if inner.size == 1 or outer.size == 1:
        return outer if inner.size == 1 else inner
    if inner.still and outer.still:
        return still(outer.size * inner.size)
    inside = inner.entries(inner.size)
    lows = tuple([low + each for low in outer.lows for each, _ in inside])
    highs = tuple([high + each for high in outer.highs for _, each in inside])
    return _shortest(outer.size * inner.size, outer.advance, lows, highs)


@lru_cache(maxsize=128)
def _split(motion: Motion, inner: int) -> list[tuple[Motion, Motion, Place, Place]]:
    """One dimension as two, (outer, inner, low, high); rows that move differently inside become several."""
    outer = motion.size // inner
    if outer == 1 or inner == 1:
        return [(still(1), motion, 0, 0) if outer == 1 else (motion, still(1), 0, 0)]
    rows, advance = outer, None
    if motion.advance is not None:
        repeat = math.lcm(len(motion.lows), inner)
        if repeat // inner <= outer:
            rows, advance = repeat // inner, motion.advance * (repeat // len(motion.lows))
    profiles: dict[Motion, tuple[list[Place], list[Place]]] = {}
    everything = motion.entries(rows * inner)
    for row in range(rows):
        entries = everything[row * inner : (row + 1) * inner]
        placed = normal(inner, None, [low for low, _ in entries], [high for _, high in entries])
        if placed is not None:
            lows, highs = profiles.setdefault(placed[0], ([NOWHERE] * rows, [-NOWHERE] * rows))
            lows[row], highs[row] = placed[1:]
    parts = []
    for profile, (lows, highs) in profiles.items():
        placed = normal(outer, advance, lows, highs)
        assert placed is not None
        parts.append((placed[0], profile, placed[1], placed[2]))
    return parts


def splits(motion: Motion, sizes: Sequence[int]) -> list[tuple[Place, Place, tuple[Motion, ...]]]:
    if len(sizes) < 2:
        return [(0, 0, (motion,) * len(sizes))]
    return [
        (low + more_low, high + more_high, (outer, *others))
        for outer, rest, low, high in _split(motion, math.prod(sizes[1:]))
        for more_low, more_high, others in splits(rest, sizes[1:])
    ]
