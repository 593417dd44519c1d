"""What two sequences have in common, in order, without the quadratic time that ``difflib`` takes on long ones."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise

_PAIRS = 1_000_000  # up to so many pairs of items difflib may look for the longest common stretches itself

Stretch = tuple[bool, int, int, int, int]


def matched(first: Sequence[Hashable], second: Sequence[Hashable]) -> Iterator[Stretch]:
    """Stretches (equal, i, ii, j, jj) in order: ``first[i:ii]`` and ``second[j:jj]`` are equal, or belong nowhere else.

    Of long sequences, first what they begin and end with alike is set aside, then what occurs once in each of them
    ties them together; between the ties, and where there are none, stretches that are still too long are taken as
    different. That costs n log n.
    """
    pending = [(0, len(first), 0, len(second))]
    while pending:
        i, ii, j, jj = pending.pop()
        start, end = _same_ends(first, second, i, ii, j, jj)
        if start:
            yield True, i, i + start, j, j + start
        inner = (i + start, ii - end, j + start, jj - end)
        if end:
            pending.append((ii - end, ii, jj - end, jj))
        if inner[0] == inner[1] or inner[2] == inner[3]:
            if inner[0] < inner[1] or inner[2] < inner[3]:
                yield (False, *inner)
        elif (inner[1] - inner[0]) * (inner[3] - inner[2]) <= _PAIRS:
            yield from _short(first, second, *inner)
        elif ties := _ties(first, second, *inner):
            edges = [(inner[0], inner[2]), *ties, (inner[1], inner[3])]
            pending += [(a, c, b, d) for (a, b), (c, d) in reversed(list(pairwise(edges)))]
        else:
            yield (False, *inner)


def _same_ends(
    first: Sequence[Hashable], second: Sequence[Hashable], i: int, ii: int, j: int, jj: int
) -> tuple[int, int]:
    """How many items are equal at the start, and behind them at the end."""
    most = min(ii - i, jj - j)
    start = next((n for n in range(most) if first[i + n] != second[j + n]), most)
    end = next((n for n in range(most - start) if first[ii - 1 - n] != second[jj - 1 - n]), most - start)
    return start, end


def _short(
    first: Sequence[Hashable], second: Sequence[Hashable], i: int, ii: int, j: int, jj: int
) -> Iterator[Stretch]:
    matcher = SequenceMatcher(None, first[i:ii], second[j:jj], autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        yield tag == "equal", i + a, i + b, j + c, j + d


def _ties(
    first: Sequence[Hashable], second: Sequence[Hashable], i: int, ii: int, j: int, jj: int
) -> list[tuple[int, int]]:
    """Places of items that occur once on each side: of those, the longest run that is in order on both."""
    counts, others = Counter(first[i:ii]), Counter(second[j:jj])
    places = {item: place for place, item in enumerate(second[j:jj], j) if others[item] == 1}
    pairs = [(place, places[item]) for place, item in enumerate(first[i:ii], i) if counts[item] == 1 and item in places]
    # The longest increasing subsequence, by the smallest last place of each length.
    lasts: list[int] = []
    heads: list[int] = []
    before: list[int | None] = []
    for number, (_, place) in enumerate(pairs):
        length = bisect_left(lasts, place)
        before.append(heads[length - 1] if length else None)
        lasts[length : length + 1] = [place]
        heads[length : length + 1] = [number]
    found: list[tuple[int, int]] = []
    at = heads[-1] if heads else None
    while at is not None:
        found.append(pairs[at])
        at = before[at]
    return found[::-1]
