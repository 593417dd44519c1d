"""Figures of papers: the chain of stages against the papers' own tables, and laws of the drawing."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from test_canvas import PDFLATEX, compiled
from test_diagram import traced
from test_diagram_modes import FAMILIES, shapes
from torch import Tensor, nn

from cnnscope import cost, params, trace
from cnnscope.errors import CnnscopeError
from cnnscope.graph import ModelGraph
from cnnscope.render import figure
from cnnscope.render.canvas.shapes import Box, Disc, Picture, Text
from cnnscope.render.canvas.shapes import Path as Line
from cnnscope.render.figures import STYLES, picture
from cnnscope.render.figures.stages import Stage, stages

CHAINS = [name for name in FAMILIES if name not in ("fusion", "nasnet_a_mobile", "fractalnet_c1_16")]


def chain(name: str) -> list[tuple[str, int, int]]:
    return [(each.kind, each.channels, each.size[0]) for each in stages(traced(name))]


def test_alexnet_is_the_chain_of_its_paper() -> None:
    """Krizhevsky et al. 2012, figure 2 and section 3.5, with the input that makes its sizes come out."""
    c, p, v = "convolution", "pooling", "vector"
    assert chain("alexnet") == [
        ("input", 3, 227), (c, 96, 55), (p, 96, 27), (c, 256, 27), (p, 256, 13), (c, 384, 13), (c, 384, 13),
        (c, 256, 13), (p, 256, 6), (v, 4096, 1), (v, 4096, 1), (v, 1000, 1),
    ]  # fmt: skip


def test_lenet_is_the_chain_of_its_paper() -> None:
    """LeCun et al. 1998, figure 2: C1 6@28x28, S2 6@14x14, C3 16@10x10, S4 16@5x5, C5 120, F6 84, OUTPUT 10."""
    found = [(each.name, each.channels, each.size[0], each.kernel) for each in stages(traced("lenet5"))[1:]]
    assert found == [
        ("C1", 6, 28, (5, 5)), ("S2", 6, 14, (2, 2)), ("C3", 16, 10, (5, 5)), ("S4", 16, 5, (2, 2)),
        ("C5", 120, 1, (5, 5)), ("F6", 84, 1, None), ("OUTPUT", 10, 1, None),
    ]  # fmt: skip


def test_vgg16_and_resnet50_have_the_stages_of_their_tables() -> None:
    vgg = [size for kind, _, size in chain("vgg16") if kind == "convolution"]
    assert vgg == [224] * 2 + [112] * 2 + [56] * 3 + [28] * 3 + [14] * 3
    blocks = [(channels, size) for kind, channels, size in chain("resnet50") if kind == "block"]
    assert blocks == [(256, 56)] * 3 + [(512, 28)] * 4 + [(1024, 14)] * 6 + [(2048, 7)] * 3


@pytest.mark.parametrize("name", [*CHAINS, "googlenet_aux"])
def test_nothing_of_a_chain_is_lost(name: str) -> None:
    graph = traced(name)
    found = stages(graph)
    if name != "googlenet_aux":  # its other heads do not lead to the first output
        assert sum(each.params for each in found) == params(graph).total.params
        assert sum(each.macs or 0 for each in found) == cost(graph).total.macs
    assert found[0].kind == "input" and sum(each.kind == "input" for each in found) == 1
    assert found[-1].channels == graph.outputs[0].shape[1]


class Generator(nn.Sequential):
    """From a vector to maps, of unequal sides, with a resolution that grows."""

    def __init__(self) -> None:
        super().__init__(
            nn.Unflatten(1, (16, 1, 1)), nn.ConvTranspose2d(16, 8, (2, 3)), nn.ReLU(), nn.Upsample(scale_factor=2),
            nn.Conv2d(8, 3, 3, padding=1), nn.Tanh(),
        )  # fmt: skip


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.conv(x + y)


def drawings(graph: ModelGraph) -> list[Picture]:
    return [picture(graph, style) for style in STYLES]


@pytest.mark.parametrize("name", [*CHAINS, "googlenet_aux"])
def test_captions_and_numbers_do_not_run_into_one_another(name: str) -> None:
    for made in drawings(traced(name)):
        level: dict[float, list[Text]] = {}
        for each in shapes(made.parts):
            if isinstance(each, Text):
                assert each.left >= 0 and (each.turned or each.left + each.width <= made.width), each
                if not each.turned:
                    level.setdefault(round(each.y, 1), []).append(each)
        for line in level.values():
            line.sort(key=lambda text: text.left)
            assert all(a.left + a.width < b.left for a, b in pairwise(line)), made.title


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "lenet5"])
def test_all_is_on_the_page(name: str) -> None:
    for made in drawings(traced(name)):
        for each in shapes(made.parts):
            points: list[tuple[float, float]] = []
            if isinstance(each, Box):
                points = [(each.x, each.y), (each.x + each.width, each.y + each.height)]
            elif isinstance(each, Disc):
                points = [(each.x, each.y)]
            elif isinstance(each, Line):
                points = [point for _, step in each.steps for point in step]
            assert all(0 <= x <= made.width and 0 <= y <= made.height for x, y in points), each


def test_a_volume_is_wider_with_more_channels_and_higher_with_larger_maps() -> None:
    fronts = [each for each in shapes(picture(traced("vgg16")).parts) if isinstance(each, Box) and each.height > 15]
    convolutions = [each for each in fronts if each.paint.fill == "#f7c66a"]
    assert len(convolutions) == 13
    heights = [each.height for each in convolutions]
    assert heights == sorted(heights, reverse=True) and len(set(heights)) == 5
    assert abs(heights[0] / heights[2] - 2**0.5) < 1e-6  # 224 against 112, by the root
    assert convolutions[0].width < convolutions[2].width < convolutions[4].width < convolutions[7].width


def test_sheets_show_as_many_maps_as_there_are() -> None:
    drawn = list(shapes(picture(traced("lenet5"), "sheets").parts))
    sheets = [each for each in drawn if isinstance(each, Box) and each.paint.fill != "none" and each.width > 10]
    assert len(sheets) == 1 + 6 + 6 + 16 + 16
    assert {round(each.width, 2) for each in sheets[1:7]} == {round(sheets[1].width, 2)}
    words = [each.text for each in drawn if isinstance(each, Text)]
    assert {"6 @ 28×28", "16 @ 10×10", "16 @ 5×5", "120", "84", "10", "156 params", "Full connection"} <= set(words)


def test_captions_say_what_the_group_is() -> None:
    words = [each.text for each in shapes(picture(traced("resnet50")).parts) if isinstance(each, Text)]
    assert {"conv 7×7 /2", "conv4_x", "6 × AddReLU", "1.39G MACs", "fc", "2.05M params"} <= set(words)


def test_a_generator_has_a_figure_too() -> None:
    graph = trace(Generator(), (1, 16))
    assert [(each.kind, each.channels, each.size) for each in stages(graph)] == [
        ("input", 16, (1, 1)), ("convolution", 8, (2, 3)), ("other", 8, (4, 6)), ("convolution", 3, (4, 6)),
    ]  # fmt: skip
    for made in drawings(graph):
        assert made.width < 1500


@pytest.mark.parametrize(
    ("model", "given", "why"),
    [
        (TwoInputs(), ((1, 3, 8, 8), (1, 3, 8, 8)), "comes from 2 inputs"),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), (1, 4), "no layer in it gives maps"),
        (nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32), 2), (5, 2, 16), "neither maps nor a vector"),
        (nn.Sequential(nn.Conv1d(3, 4, 3), nn.Conv1d(4, 4, 3)), (1, 3, 16), "1×3×16, neither maps nor a vector"),
    ],
)
def test_nets_without_such_a_figure_get_one_clear_error(model: nn.Module, given: object, why: str) -> None:
    with pytest.raises(CnnscopeError, match=why) as caught:
        figure(trace(model.eval(), given, name="odd"))
    assert str(caught.value).startswith("no figure of odd: ") and "\n" not in str(caught.value)


def test_a_net_that_is_no_chain_says_so() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(12))

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([layer(x) for layer in self.layers]).sum(0)

    with pytest.raises(CnnscopeError, match="12 of its 12 layers with weights lie where several tensors"):
        figure(trace(Wide(), (1, 3, 8, 8)))


def test_unknown_styles_and_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="no style 'cubes'; one of volumes, sheets"):
        figure(traced("lenet5"), "cubes")
    with pytest.raises(ValueError, match="no kind of figure 'gif'; one of svg, tikz"):
        figure(traced("lenet5"), kind="gif")


@pytest.mark.parametrize("style", STYLES)
def test_the_svg_is_well_formed_and_the_boxes_keep_their_colours_at_night(style: str) -> None:
    text = figure(traced("vgg16"), style, title="<b>", prefix="p", dark=True)
    root = ElementTree.fromstring(text)
    assert all(each.get("id", "p-").startswith("p-") for each in root.iter())
    night = re.findall(r'\[fill="(#\w+)"\]', root.findtext("{http://www.w3.org/2000/svg}style") or "")
    assert "#ffffff" in night and "#f7c66a" not in night and "#dfe9f5" not in night
    assert figure(traced("vgg16"), style) == figure(traced("vgg16"), style)


@pytest.mark.skipif(not PDFLATEX, reason="needs pdflatex: apt-get install texlive-latex-base texlive-pictures")
@pytest.mark.parametrize(("name", "style"), [("vgg16", "volumes"), ("lenet5", "sheets")])
def test_pdflatex_compiles_figures(name: str, style: str, tmp_path: Path) -> None:
    said = compiled(figure(traced(name), style, kind="tikz"), tmp_path)
    assert "(1 page" in said and "Overfull" not in said and "Warning" not in said


def test_a_stage_knows_whether_it_is_flat() -> None:
    assert Stage("vector", "fc", 10, (1, 1)).flat and not Stage("input", "input", 3, (1, 2)).flat
