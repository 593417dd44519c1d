"""The page: columns side by side, joined by one line each, with a rail that shows the resolution."""

from __future__ import annotations

from dataclasses import dataclass

from ..canvas.shapes import Text
from . import labels
from .arrangement import Arrangement
from .arranging import Arranger
from .columns import GUTTER, LANDSCAPE, PAGE, cuts, split
from .plan import MARGIN, RAIL, TOP, Plan, Track
from .scene import Panel, Scene, Signal
from .turning import Flow, Place
from .valleys import valley
from .wiring import End, Link, links

LANE = 10.0
_BAD = 0.9  # a picture this far from a page's shape may be cut where two tensors flow
_AROUND = 36.0  # how far before its first row a line comes into a column


@dataclass
class Joint:
    """A line from one column to another, by their numbers."""

    link: Link
    tail: int
    head: int


def lay_out(scene: Scene, *, columns: bool = True, landscape: bool = False) -> Plan:
    """Place a scene with our own layered layout.

    columns: long nets are cut into columns, and nets with skips across stages are bent into a U; landscape: data runs
    to the right, in rows.
    """
    words, flow = signal_labels(scene), Flow(sideways=landscape)
    single = Arranger(links(scene.root, scene.edges), words, flow).arrange(scene.root)
    plan = None
    if columns:
        form = LANDSCAPE if landscape else PAGE
        plan = valley(scene, words, single, cuts(single, 1 << 30), flow)
        parts, misfit = split(single, form=form)
        if plan is None and misfit > _BAD:  # nets of cells that read the last two cells, as NASNet's
            plan = _in_columns(scene, split(single, 2, form)[0], words, flow)
        plan = plan or _in_columns(scene, parts, words, flow)
    return plan or _compose([single], [], scene.batch, flow)


def _in_columns(scene: Scene, parts: list[Panel], words: dict[Signal, str], flow: Flow) -> Plan | None:
    """The parts side by side; None when there is one alone, or when a line would have to pass a whole column."""
    root = Panel("", "", "", list(parts))
    wiring = links(root, scene.edges)
    places: dict[End, int] = {part: i for i, part in enumerate(parts)}
    if len(parts) < 2:
        return None
    joints = [Joint(link, places[link.tail], places[link.head]) for link in wiring.get(root, [])]
    if any(joint.head != joint.tail + 1 for joint in joints):
        return None
    arranger = Arranger(wiring, words, flow)
    return _compose([arranger.arrange(part) for part in parts], joints, scene.batch, flow)


def signal_labels(scene: Scene) -> dict[Signal, str]:
    """Shapes for lines that differ from what stands on the card they leave; a circle says no shape itself."""
    return {
        edge.signal: labels.shape(edge.shape, scene.batch)
        for edge in scene.edges
        if edge.shape != edge.tail.shape or edge.tail.form == "circle"
    }


def _compose(made: list[Arrangement], joints: list[Joint], batch: int | None, flow: Flow) -> Plan:
    plan = Plan()
    across, along = (TOP, MARGIN + _AROUND) if flow.sideways else (MARGIN, TOP)
    for column in made:
        across += RAIL
        corner = (along, across) if flow.sideways else (across, along)
        plan.add_column(column, Place(flow, *corner, column.height))
        across += column.width + GUTTER
    across += MARGIN - GUTTER
    along += max((column.height for column in made), default=0.0) + 34
    plan.width, plan.height = (along + LANE, across) if flow.sideways else (across, along)
    for tail in {joint.tail for joint in joints}:
        bundle = [joint for joint in joints if joint.tail == tail]
        bundle.sort(key=lambda joint: -made[tail].bottoms[joint.link.signal])
        for lane, joint in enumerate(bundle):
            _connect(plan, joint, made, lane, labels.shape(joint.link.signal[1], batch))
    return plan


def _connect(plan: Plan, joint: Joint, made: list[Arrangement], lane: int, words: str) -> None:
    """Below the one column, up between the columns, down into the other; the right one of two lines turns first."""
    signal = joint.link.signal
    left, right = plan.columns[joint.tail].place, plan.columns[joint.head].place
    start, end = made[joint.tail].bottoms[signal], made[joint.head].tops[signal]
    between = -RAIL - GUTTER / 2 + LANE * lane
    high = -_AROUND + (LANE + 4) * lane
    first = left.point(start, made[joint.tail].height + 16 + LANE * lane)
    second, third, fourth = right.point(between, 0.0), right.point(between, high), right.point(end, high)
    second = (first[0], second[1]) if left.flow.sideways else (second[0], first[1])
    points = [left.point(start, made[joint.tail].height), first, second, third, fourth, right.point(end, 0.0)]
    plan.tracks.append(Track(joint.link.edges, points, kind="corners"))
    if left.flow.sideways:
        plan.labels.append(Text(second[0] - 8 - LANE * lane, second[1] - 4, words, 9, "#64748b", anchor="end"))
    else:
        plan.labels.append(Text(third[0] + 8 + LANE, third[1] - 4, words, 9, "#64748b"))
