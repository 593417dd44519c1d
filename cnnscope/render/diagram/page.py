"""The page: columns side by side, joined by one line each, with a rail that shows the resolution."""

from __future__ import annotations

from dataclasses import dataclass

from . import labels
from .arrangement import Arrangement
from .arranging import Arranger
from .columns import GUTTER, split
from .faces import Text
from .plan import Plan, Track
from .scene import Card, Panel, Scene, Signal
from .wiring import End, Link, links

MARGIN = 28.0
TOP = 116.0
RAIL = 30.0
LANE = 10.0
_BAD = 0.9  # a picture this far from a page's shape may be cut where two tensors flow


@dataclass
class Joint:
    """A line from one column to another, by their numbers."""

    link: Link
    tail: int
    head: int


def lay_out(scene: Scene, *, columns: bool = True) -> Plan:
    """Place a scene with our own layered layout."""
    words = signal_labels(scene)
    single = Arranger(links(scene.root, scene.edges), words).arrange(scene.root, framed=False)
    parts, misfit = split(single) if columns else ([scene.root], 0.0)
    plan = None
    if misfit > _BAD:  # nets of cells that read the last two cells, as NASNet's
        plan = _in_columns(scene, split(single, tensors=2)[0], words)
    return plan or _in_columns(scene, parts, words) or _compose([single], [], scene.batch)


def _in_columns(scene: Scene, parts: list[Panel], words: dict[Signal, str]) -> Plan | None:
    """The parts side by side; None when there is one alone, or when a line would have to pass a whole column."""
    root = Panel("", "", "", list(parts))
    wiring = links(root, scene.edges)
    places: dict[End, int] = {part: i for i, part in enumerate(parts)}
    if len(parts) < 2:
        return None
    joints = [Joint(link, places[link.tail], places[link.head]) for link in wiring.get(root, [])]
    if any(joint.head != joint.tail + 1 for joint in joints):
        return None
    arranger = Arranger(wiring, words)
    return _compose([arranger.arrange(part, framed=False) for part in parts], joints, scene.batch)


def signal_labels(scene: Scene) -> dict[Signal, str]:
    """Shapes for lines: where a tensor has several readers, and where the shape is not that of what came in."""
    readers: dict[Signal, int] = {}
    arriving: dict[Card, set[tuple[int, ...]]] = {}
    for edge in scene.edges:
        readers[edge.signal] = readers.get(edge.signal, 0) + 1
        arriving.setdefault(edge.head, set()).add(edge.shape)
    found = {}
    for signal, count in readers.items():
        card, shape = signal
        if card.form == "terminal" and shape == card.shape:
            continue  # the terminal itself says it
        if count > 1 or arriving.get(card) != {shape}:
            found[signal] = labels.shape(shape, scene.batch)
    return found


def _compose(made: list[Arrangement], joints: list[Joint], batch: int | None) -> Plan:
    plan = Plan()
    x = MARGIN
    for column in made:
        plan.add_column(column, x + RAIL, TOP)
        x += RAIL + column.width + GUTTER
    plan.width = x - GUTTER + MARGIN
    plan.height = TOP + max((column.height for column in made), default=0.0) + 34
    for tail in {joint.tail for joint in joints}:
        bundle = [joint for joint in joints if joint.tail == tail]
        bundle.sort(key=lambda joint: -made[tail].bottoms[joint.link.signal])
        for lane, joint in enumerate(bundle):
            _connect(plan, joint, made, lane, labels.shape(joint.link.signal[1], batch))
    return plan


def _connect(plan: Plan, joint: Joint, made: list[Arrangement], lane: int, words: str) -> None:
    """Below the one column, up between the columns, down into the other; the right one of two lines turns first."""
    signal = joint.link.signal
    left, right = plan.columns[joint.tail], plan.columns[joint.head]
    start = left + made[joint.tail].bottoms[signal], TOP + made[joint.tail].height
    end = right + made[joint.head].tops[signal], TOP
    between = right - RAIL - GUTTER / 2 + LANE * lane
    low, high = start[1] + 16 + LANE * lane, TOP - 36 + (LANE + 4) * lane
    points = [start, (start[0], low), (between, low), (between, high), (end[0], high), end]
    plan.tracks.append(Track(joint.link.edges, points, connector=True))
    plan.labels.append(Text(between + 8 + LANE, high - 4, words, 9, "#64748b"))
