"""The same picture with positions from Graphviz: better for tangled nets, and only where its ``dot`` is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

from ...errors import CnnscopeError
from ..canvas.shapes import Point, Text
from . import faces
from .faces import Face
from .framing import LABEL_INK, LABEL_SIZE
from .page import signal_labels
from .plan import MARGIN, TOP, PlacedCard, PlacedPanel, Plan, Track
from .scene import Card, Edge, Panel, Scene, Signal

TIME_LIMIT = 30.0
_INCH = 72.0


def lay_out_with_dot(scene: Scene, *, limit: float = TIME_LIMIT) -> Plan:
    """Place a scene with the ``dot`` program, in a child process that has ``limit`` seconds.

    Raises:
        CnnscopeError: there is no such program, it takes too long, or it fails.
    """
    program = shutil.which("dot")
    if program is None:
        raise CnnscopeError(
            "layout 'dot' needs the dot program of Graphviz on PATH: apt-get install graphviz\n"
            "layout 'own' needs nothing"
        )
    boxes = {card: faces.face(card) for card in scene.root.cards()}
    try:
        done = subprocess.run(
            [program, "-Tjson"], input=_source(scene, boxes), capture_output=True, text=True, timeout=limit, check=True
        )
        return _Reader(scene, boxes, json.loads(done.stdout)).plan()
    except subprocess.TimeoutExpired as failure:
        raise CnnscopeError(f"dot took more than {limit:g} s; layout 'own' is faster") from failure
    except (subprocess.CalledProcessError, ValueError, KeyError) as failure:
        told = getattr(failure, "stderr", "") or str(failure)
        raise CnnscopeError(f"dot could not lay this graph out: {told.strip()[:300]}") from failure


def _source(scene: Scene, boxes: dict[Card, Face]) -> str:
    """DOT text with nothing but sizes: the words are drawn by us."""
    ids = {card: f"c{i}" for i, card in enumerate(boxes)}
    lines = ["digraph {", "graph [nodesep=0.3 ranksep=0.42]", 'node [shape=box fixedsize=true label=""]']
    count = 0

    def fill(panel: Panel) -> None:
        nonlocal count
        for child in panel.children:
            if isinstance(child, Card):
                box = boxes[child]
                lines.append(f"{ids[child]} [width={box.width / _INCH:.4f} height={box.height / _INCH:.4f}]")
                continue
            words = faces.heading(child)
            wide = words.left + words.right + 50
            size = f'WIDTH="{wide:.0f}" HEIGHT="{faces.HEADER:.0f}"'
            room = f'<TABLE BORDER="0" FIXEDSIZE="TRUE" {size}><TR><TD></TD></TR></TABLE>'
            lines.append(f"subgraph cluster_{count} {{ graph [margin=12 label=<{room}>]")
            count += 1
            fill(child)
            lines.append("}")

    fill(scene.root)
    for i, edge in enumerate(scene.edges):
        weight = 1 if edge.skip else 4
        lines.append(f'{ids[edge.tail]}:s -> {ids[edge.head]}:n [comment="{i}" weight={weight} arrowhead=none]')
    return "\n".join([*lines, "}"])


class _Reader:
    """Takes positions out of dot's JSON, whose y runs upwards."""

    def __init__(self, scene: Scene, boxes: dict[Card, Face], answer: dict[str, Any]) -> None:
        self.scene, self.boxes, self.answer = scene, boxes, answer
        _, _, self.wide, self.high = map(float, answer["bb"].split(","))

    def plan(self) -> Plan:
        plan = Plan(width=self.wide + 2 * MARGIN, height=self.high + TOP + 24)
        objects = {each["name"]: each for each in self.answer.get("objects", ())}
        for i, (card, box) in enumerate(self.boxes.items()):
            x, y = self._point(objects[f"c{i}"]["pos"])
            plan.cards.append(PlacedCard(card, x - box.width / 2, y - box.height / 2, box))
        self._panels(plan, self.scene.root, objects, 0, [0])
        for each in self.answer.get("edges", ()):
            plan.tracks.append(self._track(self.scene.edges[int(each["comment"])], each["pos"]))
        plan.labels = self._labels(plan)
        return plan

    def _point(self, pair: str) -> Point:
        x, y = map(float, pair.split(","))
        return MARGIN + x, TOP + self.high - y

    def _panels(self, plan: Plan, panel: Panel, objects: dict[str, Any], depth: int, count: list[int]) -> None:
        for child in panel.children:
            if isinstance(child, Panel):
                left, low, right, high = map(float, objects[f"cluster_{count[0]}"]["bb"].split(","))
                count[0] += 1
                x, y = MARGIN + left, TOP + self.high - high
                plan.panels.append(PlacedPanel(child, x, y, right - left, high - low, depth))
                self._panels(plan, child, objects, depth + 1, count)

    def _track(self, edge: Edge, spline: str) -> Track:
        points = [self._point(pair) for pair in spline.split() if not pair.startswith(("e,", "s,"))]
        return Track([edge], points, edge.skip, points[-1], "spline")

    def _labels(self, plan: Plan) -> list[Text]:
        """Shapes where lines leave their cards, once for each tensor."""
        words = signal_labels(self.scene)
        starts: dict[Signal, Point] = {}
        for track in plan.tracks:
            starts.setdefault(track.edges[0].signal, track.points[0])
        return [
            Text(x + 4.5, y + 9.5, words[signal], LABEL_SIZE, LABEL_INK)
            for signal, (x, y) in starts.items()
            if signal in words
        ]
