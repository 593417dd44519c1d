"""Laws that hold for the diagram of every model: nothing overlaps, nothing is left out, everything is well-formed."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from functools import cache
from itertools import combinations, pairwise

import pytest
import torch
from torch import Tensor, nn

from cnnscope import build, cost, names, params, trace
from cnnscope.graph import ModelGraph
from cnnscope.render.diagram import faces, svg
from cnnscope.render.diagram.composing import compose
from cnnscope.render.diagram.page import lay_out
from cnnscope.render.diagram.plan import PlacedCard, Plan, Track
from cnnscope.render.diagram.scene import Card, Edge, Panel, Scene
from cnnscope.zoo import entry

Box = tuple[float, float, float, float]  # left, top, right, bottom


class Double(nn.Sequential):
    def __init__(self, ins: int, outs: int) -> None:
        super().__init__(
            nn.Conv2d(ins, outs, 3, padding=1), nn.BatchNorm2d(outs), nn.ReLU(), nn.Conv2d(outs, outs, 3, padding=1)
        )


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        widths = (8, 16, 32)
        self.downs = nn.ModuleList([Double(3, 8), Double(8, 16), Double(16, 32)])
        self.ups = nn.ModuleList(nn.ConvTranspose2d(2 * width, width, 2, 2) for width in widths[:-1])
        self.backs = nn.ModuleList(Double(2 * width, width) for width in widths[:-1])

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for down in self.downs[:-1]:
            x = down(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.downs[-1](x)
        for i in (1, 0):
            x = self.backs[i](torch.cat([skips[i], self.ups[i](x)], 1))
        return x


class DenseLayer(nn.Module):
    def __init__(self, ins: int) -> None:
        super().__init__()
        self.norm, self.thin, self.conv = nn.BatchNorm2d(ins), nn.Conv2d(ins, 8, 1), nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.conv(self.thin(self.norm(torch.cat(maps, 1)).relu()))


class DenseBlocks(nn.Module):
    """Every layer reads the concatenation of all before it."""

    def __init__(self, layers: int = 6) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DenseLayer(4 + 4 * i) for i in range(layers))
        self.last = nn.Conv2d(4 + 4 * layers, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for layer in self.layers:
            maps.append(layer(maps))
        return self.last(torch.cat(maps, 1))


class Functional(nn.Module):
    """No modules at all, several outputs, one of which is written into after it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 3, 3, 3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = torch.relu(nn.functional.conv2d(x, self.weight))
        y = y * torch.sigmoid(y.mean((2, 3), keepdim=True)) + y
        z = x * 2
        z[:, :1] += 1
        return y.mean((2, 3)), y[:, :4], z


class ManyInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.lstm = nn.Linear(8, 16), nn.Linear(4, 16), nn.LSTM(8, 16, batch_first=True)

    def forward(self, x: Tensor, y: Tensor, z: Tensor) -> dict[str, Tensor]:
        states, (hidden, _) = self.lstm(z)
        return {"sum": self.a(x).relu() + self.b(y).relu(), "states": states, "hidden": hidden}


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = x + self.block(x)
        return x


class Tangled(nn.Module):
    """Every layer reads the sum of all before it, in no order that a planar drawing has."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(9))

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for i, layer in enumerate(self.layers):
            seen.append(layer(seen[-1] + seen[i // 2] * seen[i // 3]))
        return torch.stack(seen).sum(0)


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> None:
        return None


class OneRelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.relu()


ODD = {
    "unet": (UNet, (1, 3, 32, 32)),
    "dense": (DenseBlocks, (1, 4, 8, 8)),
    "functional": (Functional, (2, 3, 16, 16)),
    "inputs": (ManyInputs, (torch.zeros(2, 8), torch.zeros(2, 4), torch.zeros(2, 5, 8))),
    "shared": (Shared, (2, 8)),
    "tangled": (Tangled, (1, 4)),
    "attention": (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32), 3), (5, 2, 16)),
    "one": (OneRelu, (3,)),
    "identity": (nn.Identity, (2, 3)),
    "nothing": (Nothing, (2, 3)),
}
MODELS = [*names(), *ODD]


@cache
def traced(name: str) -> ModelGraph:
    if name in ODD:
        make, given = ODD[name]
        return trace(make().eval(), given, name=name)
    return trace(build(name).eval(), tuple(entry(name)["input"]), name=name)


GIANTS = {"resnet1202", "stochastic_depth1202", "preact_resnet1001"}  # seconds each, unfolded
CASES = [
    pytest.param(
        (name, fold), marks=[pytest.mark.slow] if name in GIANTS else [], id=f"{name}{'' if fold else '-unfolded'}"
    )
    for name in MODELS
    for fold in (True, False)
]
Drawn = tuple[ModelGraph, Scene, Plan]


@pytest.fixture(scope="module", params=CASES)
def drawn(request: pytest.FixtureRequest) -> Drawn:
    name, fold = request.param
    graph = traced(name)
    scene = compose(graph, fold=fold)
    return graph, scene, lay_out(scene)


def overlap(a: Box, b: Box, slack: float = 0.01) -> bool:
    return a[0] < b[2] - slack and b[0] < a[2] - slack and a[1] < b[3] - slack and b[1] < a[3] - slack


def inside(a: Box, b: Box, slack: float = 0.01) -> bool:
    return a[0] >= b[0] - slack and a[1] >= b[1] - slack and a[2] <= b[2] + slack and a[3] <= b[3] + slack


class Near:
    """The cards of a plan by height, so that not each must be held against each."""

    STEP = 60.0

    def __init__(self, plan: Plan) -> None:
        self.cells: dict[int, list[PlacedCard]] = {}
        for placed in plan.cards:
            for cell in self._cells(placed.body):
                self.cells.setdefault(cell, []).append(placed)

    def _cells(self, box: Box) -> range:
        return range(int(box[1] // self.STEP), int(box[3] // self.STEP) + 1)

    def touched(self, box: Box) -> set[Card]:
        cells = [placed for cell in self._cells(box) for placed in self.cells.get(cell, ())]
        return {placed.card for placed in cells if overlap(box, placed.body)}


def cards_stand_apart(plan: Plan) -> None:
    near = Near(plan)
    for placed in plan.cards:
        assert near.touched(placed.body) == {placed.card}, placed


def labels_stay_inside(plan: Plan) -> None:
    for placed in plan.cards:
        left, top, wide, high = placed.face.body
        frame = (left, top, left + wide, top + high)
        texts = [(t.left, t.y - 0.72 * t.size, t.left + t.width, t.y) for t in placed.face.texts]
        badges = [(b.x, b.y, b.x + b.width, b.y + 13.0) for b in placed.face.badges]
        beside = placed.card.form in ("circle", "pill")  # their chips stand beside them, in the space kept free
        room = (0.0, 0.0, placed.face.width, placed.face.height)
        assert all(inside(box, frame) for box in texts), placed.card.title
        assert all(inside(box, room if beside else frame) for box in badges), placed.card.title
        for a, b in combinations([*texts, *badges], 2):
            assert not overlap(a, b), (placed.card.title, placed.face)
        if placed.face.bar:
            x, y, long = placed.face.bar
            assert inside((x, y, x + long, y + 2.6), frame)
            assert not any(overlap((x, y, x + long, y + 2.6), text) for text in texts)


def panels_hold_their_own(plan: Plan) -> None:
    frames = [(p.panel, (p.x, p.y, p.x + p.width, p.y + p.height)) for p in plan.panels]
    for panel, frame in frames:
        own = set(panel.cards())
        for placed in plan.cards:
            if placed.card in own:
                assert inside(placed.body, frame), (panel.path, placed.card.title)
            else:
                assert not overlap(placed.body, frame), (panel.path, placed.card.title)
        words = faces.heading(panel)
        heading = (frame[0] + 10, frame[1] + 5, frame[0] + 10 + words.left, frame[1] + 18)
        costs = (frame[2] - 10 - words.right, frame[1] + 5, frame[2] - 10, frame[1] + 18)
        assert inside(heading, frame) and inside(costs, frame) and not overlap(heading, costs), panel.path
        for placed in plan.cards:
            if placed.card in own:
                assert not overlap(placed.body, heading) and not overlap(placed.body, costs), panel.path
    for (one, a), (other, b) in combinations(frames, 2):
        nested = set(one.cards()) <= set(other.cards()) or set(other.cards()) <= set(one.cards())
        assert nested or not overlap(a, b), (one.path, other.path)


def lines_keep_clear(plan: Plan) -> None:
    near = Near(plan)
    bodies = {placed.card: placed.body for placed in plan.cards}
    for track in plan.tracks:
        ends = {card for edge in track.edges for card in (edge.tail, edge.head)}
        for (x, y), (a, b) in pairwise(track.points):
            # A line is straight, or an S that stays in the rectangle between its ends.
            box = (min(x, a), min(y, b), max(x, a), max(y, b))
            touched = near.touched(box)
            assert touched <= ends, [card.title for card in touched]
            for card in touched:  # a circle's lines end on the circle, inside its square
                left, top, right, bottom = bodies[card]
                assert not overlap(box, (left + 13, top + 13, right - 13, bottom - 13)), card.title


def words_on_lines_are_readable(plan: Plan) -> None:
    boxes = [(t.left, t.y - 0.72 * t.size, t.left + t.width, t.y) for t in plan.labels if t.text]
    near = Near(plan)
    assert not any(near.touched(box) for box in boxes)
    rows: dict[int, list[Box]] = {}
    for box in boxes:
        for cell in range(int(box[1] // 20), int(box[3] // 20) + 1):
            rows.setdefault(cell, []).append(box)
    for row in rows.values():
        assert not any(overlap(a, b) for a, b in combinations(row, 2))


def on_border(point: tuple[float, float], placed: PlacedCard, side: tuple[float, float]) -> bool:
    """Whether the point lies on that side of the card: a circle's curves away, and folded cards have frames behind."""
    left, top, right, bottom = placed.body
    deep = 12.1 if placed.card.form == "circle" else 0.1
    behind = 8.1 if placed.card.copies > 1 else 0.1
    x, y = point
    if side[1]:
        within, edge, at = left - 0.1 <= x <= right + 0.1, bottom if side[1] > 0 else top, y
    else:
        within, edge, at = top - 0.1 <= y <= bottom + 0.1, right if side[0] > 0 else left, x
    out = (at - edge) * (side[1] or side[0])
    return within and -deep <= out <= behind


def every_edge_is_drawn(scene: Scene, plan: Plan) -> None:
    """Go along each edge from piece to piece, from its tail's end to its head's beginning in the flow's direction."""
    placed = {each.card: each for each in plan.cards}
    assert set(placed) == set(scene.root.cards())
    by_edge: dict[Edge, list[Track]] = {}
    for track in plan.tracks:
        for edge in track.edges:
            by_edge.setdefault(edge, []).append(track)
    assert set(by_edge) == set(scene.edges)
    flows = {plan.cards[i].card: column.place.flow for column in plan.columns for i in column.cards}
    for edge in scene.edges:
        last = follow(by_edge[edge], placed[edge.tail], flows[edge.tail].toward)
        back = (-last.toward[0], -last.toward[1])
        assert last.tip == last.points[-1] and on_border(last.points[-1], placed[edge.head], back), edge.head.title


def follow(tracks: list[Track], tail: PlacedCard, toward: tuple[float, float]) -> Track:
    """The last piece of an edge; every piece begins where one ended and never runs against the flow."""
    pieces = list(tracks)
    track = next(each for each in pieces if on_border(each.points[0], tail, toward))
    while True:
        pieces.remove(track)
        if track.kind == "flow":
            for a, b in pairwise(track.points):
                assert (b[0] - a[0]) * track.toward[0] + (b[1] - a[1]) * track.toward[1] >= -0.01
        x, y = track.points[-1]
        after = [each for each in pieces if abs(each.points[0][0] - x) < 0.05 and abs(each.points[0][1] - y) < 0.05]
        if not after:
            assert not pieces
            return track
        track = after[0]


def all_is_on_the_page(plan: Plan) -> None:
    page = (0.0, 0.0, plan.width, plan.height)
    assert all(inside(placed.body, page) for placed in plan.cards)
    assert all(inside((p.x, p.y, p.x + p.width, p.y + p.height), page) for p in plan.panels)
    assert all(0 <= x <= plan.width and 0 <= y <= plan.height for track in plan.tracks for x, y in track.points)
    assert all(inside((t.left, t.y - t.size, t.left + t.width, t.y), page) for t in plan.labels)


def keeps_all_laws(scene: Scene, plan: Plan) -> None:
    cards_stand_apart(plan)
    labels_stay_inside(plan)
    panels_hold_their_own(plan)
    lines_keep_clear(plan)
    words_on_lines_are_readable(plan)
    every_edge_is_drawn(scene, plan)
    all_is_on_the_page(plan)


def test_no_two_cards_overlap(drawn: Drawn) -> None:
    cards_stand_apart(drawn[2])


def test_every_label_is_inside_its_card_and_apart_from_the_others(drawn: Drawn) -> None:
    labels_stay_inside(drawn[2])


def test_panels_hold_their_cards_and_heading_and_nothing_else(drawn: Drawn) -> None:
    panels_hold_their_own(drawn[2])


def test_no_line_touches_a_card_that_is_not_its_own(drawn: Drawn) -> None:
    lines_keep_clear(drawn[2])


def test_shapes_on_lines_are_readable(drawn: Drawn) -> None:
    words_on_lines_are_readable(drawn[2])


def test_every_edge_is_drawn_from_card_to_card(drawn: Drawn) -> None:
    every_edge_is_drawn(drawn[1], drawn[2])


def test_nothing_leaves_the_page(drawn: Drawn) -> None:
    all_is_on_the_page(drawn[2])


@pytest.mark.parametrize("name", MODELS)
def test_all_dataflow_of_the_graph_is_in_the_picture(name: str) -> None:
    graph = traced(name)
    scene = compose(graph, fold=False)
    home = {op: card for card in scene.root.cards() for op in card.ops}
    drawn = {(edge.tail, edge.head) for edge in scene.edges}
    growth = {edge for edge in drawn if edge[0].form == edge[1].form == "pill"}
    origin: dict[str, set[Card]] = {}
    for name_ in graph.dag:  # execution order: what an operator's data comes from, seen through views
        before = [origin[other] for other in graph.dag.predecessors(name_) if other in origin]
        sources = {card for cards in before for card in cards}
        if name_ not in home:
            origin[name_] = sources
            continue
        head = home[name_]
        origin[name_] = {head}
        for tail in sources - {head}:
            # A concatenation's part may come through an earlier concatenation that has it already.
            through = any((tail, other) in drawn for other, end in growth if end is head)
            assert (tail, head) in drawn or through or _grown(tail, head, drawn, growth), (tail.title, head.title)


def _grown(tail: Card, head: Card, drawn: set[tuple[Card, Card]], growth: set[tuple[Card, Card]]) -> bool:
    bases = [first for first, second in growth if second is head]
    return any((tail, base) in drawn or _grown(tail, base, drawn, growth) for base in bases)


@pytest.mark.parametrize("name", MODELS)
def test_every_operator_stands_on_one_card_or_only_hands_on(name: str) -> None:
    graph = traced(name)
    scene = compose(graph, fold=False)
    drawn = [op for card in scene.root.cards() for op in card.ops]
    assert len(drawn) == len(set(drawn))
    for op in set(graph.dag) - set(drawn):
        free = graph[op].kind in ("clone", "_unsafe_view", "_to_copy", "empty", "new_empty")
        onto_itself = graph[op].kind == "copy_" and len({value.storage for value in graph[op].inputs}) == 1
        assert graph[op].view or free or onto_itself, op


@pytest.mark.parametrize("name", MODELS)
def test_totals_are_those_of_the_tables(name: str) -> None:
    graph = traced(name)
    scene = compose(graph)
    assert scene.root.total_macs == cost(graph).total.macs
    unused = sum(row.params for row in params(graph).values() if row.kind == "unused")
    assert scene.root.total_params == params(graph).total.params - unused


@pytest.mark.parametrize("name", MODELS)
def test_folding_keeps_the_totals(name: str) -> None:
    graph = traced(name)
    folded, whole = compose(graph), compose(graph, fold=False)
    assert folded.root.total_params == whole.root.total_params
    assert folded.root.total_macs == whole.root.total_macs


@pytest.mark.parametrize("name", MODELS)
def test_svg_is_well_formed_with_prefixed_unique_ids(name: str) -> None:
    text = svg(traced(name), prefix="cell7")
    root = ElementTree.fromstring(text)
    ids = [each.get("id") for each in root.iter() if each.get("id")]
    assert len(ids) == len(set(ids)) and all(each.startswith("cell7-") for each in ids)
    assert root.get("role") == "img"
    assert set(root.get("aria-labelledby", "").split()) <= set(ids)
    assert "url(" not in text and "http" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("name", ["googlenet", "googlenet_aux", "resnet50", "resnet152", "vgg16", "unet", "dense"])
def test_lines_do_not_cross(name: str) -> None:
    plan = lay_out(compose(traced(name)))
    assert crossings(plan) == 0


def crossings(plan: Plan) -> int:
    """Pairs of lines between the same two rows that change sides."""
    bends: dict[tuple[float, float], set[tuple[float, float]]] = {}
    for track in plan.tracks:
        for (x, y), (a, b) in pairwise(track.points):
            if b > y and track.kind == "flow":
                bends.setdefault((round(y, 1), round(b, 1)), set()).add((round(x, 1), round(a, 1)))
    return sum(
        1
        for lines in bends.values()
        for one, other in combinations(lines, 2)
        if (one[0] - other[0]) * (one[1] - other[1]) < 0
    )


def panels(panel: Panel) -> list[Panel]:
    return [each for child in panel.children if isinstance(child, Panel) for each in (child, *panels(child))]
