"""The laws of test_diagram in every mode: landscapes, U-shapes with random skips, heat, colours at night."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_diagram import GIANTS, ODD, crossings, keeps_all_laws, traced
from torch import Tensor, nn

import cnnscope
from cnnscope import cost, names, params, trace
from cnnscope.errors import CnnscopeError
from cnnscope.render.canvas.night import night
from cnnscope.render.canvas.shapes import Box, Group, Shape, Text
from cnnscope.render.diagram import picture, svg
from cnnscope.render.diagram.composing import compose
from cnnscope.render.diagram.heat import heat
from cnnscope.render.diagram.page import lay_out
from cnnscope.render.diagram.plan import Plan, Track
from cnnscope.zoo import catalog

FAMILIES = [paper["model"][0]["name"] for paper in catalog() if paper.get("model")]
PLANAR = [name for name in names() if re.match("googlenet|resnet|densenet", name) and name not in GIANTS]


@pytest.mark.parametrize("name", [*FAMILIES, "googlenet_aux", "nasnet_a_large", *ODD])
def test_a_landscape_keeps_all_laws_and_lies(name: str) -> None:
    scene = compose(traced(name))
    plan = lay_out(scene, landscape=True)
    keeps_all_laws(scene, plan)
    assert plan.sideways and all(abs(track.toward[0]) == 1 for track in plan.tracks if track.kind == "flow")
    assert plan.width > plan.height or len(scene.root.children) < 4 or name in ("unet", "tangled", "inputs")


@pytest.mark.parametrize("name", PLANAR)
def test_lines_do_not_cross_when_folded(name: str) -> None:
    assert crossings(lay_out(compose(traced(name)))) == 0


# -- nets with skips across stages ------------------------------------------------------------------------------------


class Stage(nn.Module):
    def __init__(self, ins: int, outs: int, layers: int, residual: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(ins, outs, 3, padding=1)
        self.more = nn.ModuleList(nn.Conv2d(outs, outs, 3, padding=1) for _ in range(layers - 1))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        for each in self.more:
            x = each(x).relu() + x if self.residual else each(x).relu()
        return x


class Skips(nn.Module):
    """Stages that halve the maps, then as many that double them; ``skips``: which of the latter reads which former."""

    def __init__(self, layers: list[int], skips: dict[int, int], add: bool, residual: bool) -> None:
        super().__init__()
        depth = len(layers)
        self.downs = nn.ModuleList(Stage(3 if i == 0 else 4, 4, n, residual) for i, n in enumerate(layers))
        self.ups = nn.ModuleList(nn.Conv2d(8 if i in skips and not add else 4, 4, 1) for i in range(depth - 1))
        self.skips, self.add = skips, add

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for i, down in enumerate(self.downs):
            x = down(nn.functional.max_pool2d(x, 2) if i else x)
            kept.append(x)
        for i in reversed(range(len(self.ups))):
            x = nn.functional.interpolate(x, scale_factor=2)
            if i in self.skips:
                other = kept[self.skips[i]]
                if other.shape != x.shape:
                    other = nn.functional.interpolate(other, size=x.shape[2:])
                x = x + other if self.add else torch.cat([other, x], 1)
            x = self.ups[i](x)
        return x


@st.composite
def nets_with_skips(draw: st.DrawFn) -> tuple[Skips, bool]:
    """A net, and whether all of its skips run straight across."""
    depth = draw(st.integers(2, 4))
    layers = draw(st.lists(st.integers(1, 3), min_size=depth, max_size=depth))
    straight = draw(st.booleans())
    targets = draw(st.sets(st.integers(0, depth - 2)))
    skips = {i: i if straight else draw(st.integers(0, depth - 1)) for i in targets}
    return Skips(layers, skips, draw(st.booleans()), draw(st.booleans())), straight and len(skips) >= 2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(nets_with_skips(), st.booleans(), st.booleans())
def test_nets_with_random_skips_keep_all_laws(drawn: tuple[Skips, bool], landscape: bool, fold: bool) -> None:
    net, straight = drawn
    scene = compose(trace(net, (1, 3, 32, 32)), fold=fold)
    plan = lay_out(scene, landscape=landscape)
    keeps_all_laws(scene, plan)
    if straight:
        assert [column.place.flow.backward for column in plan.columns] == [False, True]
        assert len(across(plan)) == len(net.skips)
        assert len({levels(track) for track in across(plan)}) == len(net.skips)


def across(plan: Plan) -> list[Track]:
    """The lines between the two sides of a U, without the one over its floor."""
    return [track for track in plan.tracks if track.kind == "corners" and track.tip]


def levels(track: Track) -> float:
    """How deep in the valley a line runs straight across: lines at different depths cannot cross."""
    (x, y), (a, b) = track.points[-2:]
    assert abs(x - a) < 0.01 or abs(y - b) < 0.01
    return round(y, 1) if abs(y - b) < 0.01 else round(x, 1)


def test_the_skips_of_a_u_net_run_straight_across() -> None:
    plan = lay_out(compose(traced("unet")))
    assert len(plan.columns) == 2 and len(across(plan)) == 2
    for track in across(plan):
        (x, y), (a, b), (c, d) = track.points
        assert x == a and abs(b - d) < 0.01 and c > a and b > y


# -- heat -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "densenet121", "googlenet_aux", "functional", "shared"])
def test_heat_adds_up_to_the_tables(name: str) -> None:
    graph = traced(name)
    allocated = sum(each.bytes for each in graph.storages if each.born >= 0)
    totals = {"macs": cost(graph).total.macs, "params": params(graph).total.params, "memory": allocated}
    for kind, total in totals.items():
        for fold in (True, False):
            scene = compose(graph, fold=fold, heat=heat(graph, kind))
            assert scene.root.total_heat == total, (kind, fold)
            keeps_all_laws(scene, lay_out(scene))
        closed = compose(graph, depth=1, heat=heat(graph, kind))
        assert closed.root.total_heat == total


def test_the_bar_is_as_long_as_the_heat() -> None:
    found = [each for each in boxes(picture(traced("vgg16"), heat="params").parts) if each.height == 2.6]
    shares = {round(short.width / whole.width, 3) for whole, short in zip(found[::2], found[1::2], strict=True)}
    largest = 4096 * 25088 + 4096
    assert {1.0, round((4096 * 4096 + 4096) / largest, 3)} <= shares
    assert len(found) == 2 * (16 + 1)  # 16 layers with weights, and the sign in the legend


def test_heat_by_time_is_the_roofline_or_one_clear_error() -> None:
    graph = traced("alexnet")
    if not hasattr(cnnscope, "roofline"):
        with pytest.raises(CnnscopeError, match="needs a roofline"):
            heat(graph, "time", "H100")
        return
    with pytest.raises(CnnscopeError, match="needs a device"):
        heat(graph, "time")
    total = cnnscope.roofline(graph, "H200").total.seconds
    scene = compose(graph, heat=heat(graph, "time", "H200"))
    assert scene.root.total_heat == pytest.approx(total, rel=1e-9) and "H200" in scene.heat


def test_unknown_heat_is_refused() -> None:
    with pytest.raises(ValueError, match="no heat 'joules'; one of macs, params, memory, time"):
        svg(traced("lenet5"), heat="joules")


def boxes(parts: object) -> Iterator[Box]:
    for part in shapes(parts):
        if isinstance(part, Box):
            yield part


def shapes(parts: object) -> Iterator[Shape]:
    for part in parts:  # type: ignore[attr-defined]
        yield part
        if isinstance(part, Group):
            yield from shapes(part.parts)


# -- colours at night -------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """By WCAG 2: 1 for equal colours, 21 for black on white."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        ("#0f172a", "#ffffff"), ("#475569", "#ffffff"), ("#64748b", "#ffffff"), ("#1e3a66", "#e9f0f9"),
        ("#64748b", "#f6f9fd"), ("#ffffff", "#1e3a66"), ("#ffffff", "#475569"), ("#b06c0a", "#fdeed6"),
        ("#566273", "#e5e9ee"), ("#7a4fa8", "#f1e8fa"), ("#43963f", "#ffffff"), ("#52627a", "#ffffff"),
        ("#c2410c", "#e9f0f9"), ("#b91c1c", "#edf1f6"), ("#3b76b5", "#ffffff"),
    ],
)  # fmt: skip
def test_what_is_readable_by_day_is_readable_at_night(ink: str, ground: str) -> None:
    assert contrast(night(ink), night(ground)) > min(3.4, 0.9 * contrast(ink, ground))
    assert luminance(night("#ffffff")) < 0.02 < 0.5 < luminance(night("#0f172a"))


@pytest.mark.parametrize("name", ["resnet50", "nasnet_a_mobile", "attention"])
def test_a_dark_picture_has_a_rule_for_each_colour_and_only_for_itself(name: str) -> None:
    text = svg(traced(name), prefix="cell 7", dark=True)
    root = ElementTree.fromstring(text)
    style = root.findtext("{http://www.w3.org/2000/svg}style") or ""
    assert style.startswith("@media (prefers-color-scheme:dark){") and "cell\\20 7\\2d picture" in style
    rules = set(re.findall(r'\[(\w+)="(#\w+)"\]', style))
    used = {(key, each.get(key, "")) for each in root.iter() for key in ("fill", "stroke") if each.get(key)}
    assert {pair for pair in used if pair[1] != "none"} <= rules
    assert svg(traced(name), prefix="cell 7") == re.sub(r"<style>.*</style>\n", "", text)


def test_every_text_of_a_picture_is_set_in_a_colour() -> None:
    found = [each for each in shapes(picture(traced("googlenet")).parts) if isinstance(each, Text)]
    assert len(found) > 300 and all(re.fullmatch("#[0-9a-f]{6}", each.ink) for each in found)


def test_the_legend_and_heading_fit_the_page() -> None:
    for name in ("lenet5", "unet", "one"):
        made = picture(traced(name))
        assert all(each.left + each.width <= made.width for each in shapes(made.parts) if isinstance(each, Text))


def test_lines_of_a_landscape_enter_at_the_left() -> None:
    plan = lay_out(compose(traced("vgg16")), landscape=True)
    bodies = {placed.card: placed.body for placed in plan.cards}
    tips = [(track.tip, bodies[track.edges[0].head]) for track in plan.tracks if track.tip]
    assert all(tip and abs(tip[0] - body[0]) < 0.01 and body[1] < tip[1] < body[3] for tip, body in tips)
    rows = [[plan.cards[i].x for i in column.cards] for column in plan.columns]
    assert all(a < b for row in rows for a, b in pairwise(row))
