"""The page: columns side by side, joined by one line each, with a rail that shows the resolution."""

from __future__ import annotations

from . import labels
from .arrangement import Arrangement
from .arranging import Arranger
from .columns import GUTTER, split
from .faces import Text
from .plan import Plan, Track
from .scene import Card, Panel, Scene, Signal
from .wiring import Link, links

MARGIN = 28.0
TOP = 104.0
RAIL = 30.0


def lay_out(scene: Scene, *, columns: bool = True) -> Plan:
    """Place a scene with our own layered layout."""
    words = signal_labels(scene)
    single = Arranger(links(scene.root, scene.edges), words).arrange(scene.root, framed=False)
    parts = split(single) if columns else [scene.root]
    if len(parts) == 1:
        return _compose([single], [], scene.batch, RAIL)
    root = Panel("", "", "", list(parts))
    wiring = links(root, scene.edges)
    arranger = Arranger(wiring, words)
    made = [arranger.arrange(part, framed=False) for part in parts]
    return _compose(made, wiring.get(root, []), scene.batch, RAIL)


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


def _compose(made: list[Arrangement], joints: list[Link], batch: int | None, rail: float) -> Plan:
    plan = Plan()
    x, lefts = MARGIN, []
    for column in made:
        x += rail
        lefts.append(x)
        plan.add_column(column, x, TOP)
        x += column.width + GUTTER
    places = {column.panel: i for i, column in enumerate(made)}
    for link in joints:
        assert isinstance(link.tail, Panel) and isinstance(link.head, Panel)
        words = labels.shape(link.signal[1], batch)
        _connect(plan, link, made, lefts, places[link.tail], places[link.head], rail, words)
    plan.width = x - GUTTER + MARGIN
    plan.height = TOP + max((column.height for column in made), default=0.0) + 34
    return plan


def _connect(
    plan: Plan, link: Link, made: list[Arrangement], lefts: list[float], tail: int, head: int, rail: float, words: str
) -> None:  # fmt: skip
    """Below the one column, up between the columns, down into the other."""
    start = lefts[tail] + made[tail].bottoms[link.signal], TOP + made[tail].height
    end = lefts[head] + made[head].tops[link.signal], TOP
    between = lefts[tail + 1] - rail - GUTTER / 2 + 6
    low, high = start[1] + 16, TOP - 22
    points = [start, (start[0], low), (between, low), (between, high), (end[0], high), end]
    plan.tracks.append(Track(link.edges, points, connector=True))
    plan.labels.append(Text(between + 8, high - 5, words, 9, "#64748b"))
