"""Long nets in several columns: cut where a single tensor flows, so that the picture has about the shape of a page."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, log, sqrt

from .arrangement import Arrangement, Row
from .framing import PAD
from .scene import Node, Panel

GUTTER = 64.0
_MOST = 40
_PLACES = 240  # as many places to cut are looked at, spread over the height
_DEEP = 0.035  # how much a cut inside a panel is worse than one between panels
_PLAIN = 0.15  # how much worse it is between two layers than behind a panel or a pooling
_STUMP = 0.35  # a column lower than this share of the highest is none; the last may be half of that
_RAGGED = 1.0  # what unequal columns count against the shape of the page


@dataclass(frozen=True)
class Format:
    """The shape of a page: how wide it is across the flow for its length.

    shortest: columns shorter than this are no columns; narrowest: a page is never narrower, so that narrow nets may be
    cut into narrow columns.
    """

    aspect: float
    shortest: float
    narrowest: float


PAGE = Format(1.3, 400.0, 520.0)
LANDSCAPE = Format(1 / 1.9, 900.0, 240.0)  # its columns are rows


@dataclass(frozen=True)
class Cut:
    """A place to cut: below ``trail[0]`` of the rows, or inside the only panel there, below ``trail[1]`` of its rows.

    fine: how bad a place it is, against unequal columns; crossing: how many tensors flow on.
    """

    y: float
    trail: tuple[int, ...]
    fine: float = 0.0
    crossing: int = 1


def split(whole: Arrangement, tensors: int = 1, form: Format = PAGE) -> tuple[list[Panel], float]:
    """The root as one panel a column, and how far that is from the shape of a page.

    tensors: as many may flow from one column to the next.
    """
    found = _thinned(cuts(whole, tensors), whole.height)
    best, least = [], _misfit(whole, [], form)
    about = sqrt(form.aspect * whole.height / (whole.natural + GUTTER))
    for count in range(max(2, int(about / 2)), min(_MOST, int(2 * about) + 3)):
        if whole.height / count < form.shortest or len(found) < count - 1:
            break
        chosen = _balanced(found, whole.height, count)
        if (misfit := _misfit(whole, chosen, form)) < least:
            best, least = chosen, misfit
    return parts(whole, [cut.trail for cut in best]), least


def _thinned(found: list[Cut], height: float) -> list[Cut]:
    """The best of the cuts at about the same height."""
    step = height / _PLACES
    best: dict[int, Cut] = {}
    for cut in found:
        place = int(cut.y / step) if len(found) > _PLACES else len(best)
        if place not in best or cut.fine < best[place].fine:
            best[place] = cut
    return sorted(best.values(), key=lambda cut: cut.y)


def cuts(made: Arrangement, tensors: int, top: float = 0.0, trail: tuple[int, ...] = ()) -> list[Cut]:
    """All places where few enough tensors flow on, from top to bottom."""
    found: list[Cut] = []
    filled = [i for i, row in enumerate(made.rows) if row.nodes]
    for i in filled:
        row = made.rows[i]
        inner = _inside(made, row)
        if inner is not None:
            left, upper = inner
            found += cuts(left, tensors, top + upper, (*trail, i))
        if row.crossing <= tensors and i != filled[-1]:
            found.append(Cut(top + row.bottom + 8, (*trail, i), _fine(row, len(trail)), row.crossing))
    return found


def _inside(made: Arrangement, row: Row) -> tuple[Arrangement, float] | None:
    """The panel that fills the row alone, unless it stands for several; blocks in turn may be cut in between."""
    if not row.alone or not isinstance(row.nodes[0], Panel):
        return None
    if made.panel.period > 1 or (row.nodes[0].copies > 1 and row.nodes[0].period == 1):
        return None
    child = next(child for child in made.children if child.node is row.nodes[0])
    assert isinstance(child.inner, Arrangement)
    return child.inner, child.y


def _fine(row: Row, depth: int) -> float:
    """Best between panels and behind a pooling, where the resolution changes."""
    stage = all(isinstance(node, Panel) or node.family == "pooling" for node in row.nodes)
    return depth * _DEEP + (0.0 if stage else _PLAIN) + _PLAIN * max(0, row.crossing - 1)


def _balanced(found: list[Cut], height: float, count: int) -> list[Cut]:
    """The cuts that make ``count`` columns of the most equal height; bad places to cut count against it."""
    aim = height / count
    ends = [0.0, *(cut.y for cut in found), height]
    fines = [0.0, *(cut.fine for cut in found), 0.0]
    best: list[dict[int, tuple[float, int]]] = [{0: (0.0, 0)}]
    for number in range(1, count + 1):
        stage: dict[int, tuple[float, int]] = {}
        # Nobody looks for a column's end far from where it should be: that keeps long nets quick.
        near = bisect_left(ends, (number - 2) * aim), bisect_right(ends, (number + 2) * aim)
        for i in range(max(1, near[0]), near[1]) if number < count else [len(ends) - 1]:
            before = range(bisect_left(ends, ends[i] - 3 * aim), i)
            options = [
                (best[-1][j][0] + _uneven((ends[i] - ends[j]) / aim) + fines[i], j) for j in before if j in best[-1]
            ]
            if options:
                stage[i] = min(options)
        best.append(stage)
    if len(ends) - 1 not in best[-1]:
        return []
    chosen, here = [], len(ends) - 1
    for number in range(count, 1, -1):
        here = best[number][here][1]
        chosen.append(found[here - 1])
    return chosen[::-1]


def _uneven(share: float) -> float:
    """How bad a column is that has ``share`` of the mean height: the high ones make the page longer."""
    return (share - 1) ** 2 * (3.25 if share > 1 else 0.25)


def _misfit(whole: Arrangement, chosen: list[Cut], form: Format) -> float:
    """How far from the shape of a page with full columns the picture would be."""
    ends = [0.0, *(cut.y for cut in chosen), whole.height]
    heights = [b - a for a, b in pairwise(ends)]
    wide = sum(_width(whole, a, b) + GUTTER for a, b in pairwise(ends))
    if min(heights[:-1], default=max(heights)) < _STUMP * max(heights) or heights[-1] < _STUMP / 2 * max(heights):
        return inf
    ragged = 1 - sum(heights) / len(heights) / max(max(heights), 1.0)
    return abs(log(max(wide, form.narrowest) / (max(heights) + 150) / form.aspect)) + _RAGGED * ragged


def _width(made: Arrangement, top: float, bottom: float) -> float:
    left, right = _reach(made, top, bottom)
    return right - left


def _reach(made: Arrangement, top: float, bottom: float) -> tuple[float, float]:
    """Leftmost and rightmost of what stands between two heights; panels that are cut need less than whole ones."""
    lefts, rights = [], []
    for child in made.children:
        inner, high = child.inner, child.height
        if child.y >= bottom or child.y + high <= top:
            continue
        left, right = child.x, child.x + child.width
        if isinstance(inner, Arrangement):
            if child.y >= top and child.y + high <= bottom:
                left += inner.shifted
                right = left + inner.natural
            else:
                near, far = _reach(inner, top - child.y, bottom - child.y)
                left, right = child.x + near - PAD, child.x + far + PAD
        lefts.append(left)
        rights.append(right)
    return (min(lefts), max(rights)) if lefts else (0.0, 0.0)


def parts(made: Arrangement, trails: list[tuple[int, ...]]) -> list[Panel]:
    """The panel in as many parts as the cuts through it make."""
    panel = made.panel
    places = {child: i for i, child in enumerate(panel.children)}
    found: list[list[Node]] = [[]]
    for i, row in enumerate(made.rows):
        inner = [trail[1:] for trail in trails if trail[0] == i and len(trail) > 1]
        if inner:
            child = next(child for child in made.children if child.node is row.nodes[0])
            assert isinstance(child.inner, Arrangement)
            first, *others = parts(child.inner, inner)
            found[-1].append(first)
            found += [[part] for part in others]
        else:
            found[-1] += sorted(row.nodes, key=places.__getitem__)
        if (i,) in trails:
            found.append([])
    if len(found) == 1:
        return [panel]
    return [replace(panel, children=nodes, part=k + 1, whole=panel) for k, nodes in enumerate(found)]
