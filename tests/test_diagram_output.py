"""The files: SVG with hostile names, DOT, the dot layout, PNG, and how long it takes."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from test_diagram import ODD, traced
from torch import Tensor, nn

from cnnscope import trace
from cnnscope.errors import CnnscopeError
from cnnscope.graph import ModelGraph
from cnnscope.render.canvas import raster
from cnnscope.render.diagram import external, svg
from cnnscope.render.diagram.composing import compose
from cnnscope.render.diagram.dots import dot

EVIL = '</title><script>alert("1")</script>\n\u202e\u05d0\u05d1\x07&amp;{}"\\' + "n" * 10_000


@pytest.fixture(scope="module")
def hostile() -> ModelGraph:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module(EVIL.replace(".", "_"), nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 5)))

        def forward(self, x: Tensor) -> Tensor:
            return next(self.children())(x).cumsum(1)

    return trace(Net(), (2, 4), name=EVIL)


def test_a_closed_run_says_that_its_figures_are_a_sum() -> None:
    """An open run of equal blocks has "each" and one block's figures."""
    graph = traced("resnet50")
    opened, closed = svg(graph), svg(graph, depth=2)
    assert ">each 70.4k p · 218M MAC<" in opened and ">all 141k p · 437M MAC<" in closed
    assert ">75.0k p · 231M MAC<" in opened and ">75.0k p · 231M MAC<" in closed
    assert "all 141k p · 437M MAC" in dot(graph, depth=2)


def test_hostile_names_are_escaped_and_shortened(hostile: ModelGraph) -> None:
    text = svg(hostile)
    root = ElementTree.fromstring(text)
    assert not [each for each in root.iter() if each.tag.endswith("script")]
    assert "<script" not in text and "\u202e" not in text
    assert max(len(each.text or "") for each in root.iter()) <= 400
    assert float(root.get("width", "0")) < 1200
    assert any("…" in (each.text or "") for each in root.iter())


def test_hostile_prefixes_and_titles_stay_text(hostile: ModelGraph) -> None:
    root = ElementTree.fromstring(svg(hostile, title="<b>\x00", prefix='"><x'))
    assert not [each for each in root.iter() if each.tag.endswith("}b") or each.tag.endswith("}x")]


def test_the_header_says_input_and_totals() -> None:
    text = svg(traced("vgg16"), title="VGG-16")
    assert ">VGG-16</text>" in text
    assert "input 1×3×224×224 · 138M parameters · 15.5G MACs" in text


def test_every_edge_has_a_tooltip_with_its_shape() -> None:
    root = ElementTree.fromstring(svg(traced("resnet18")))
    paths = [each for each in root.iter("{http://www.w3.org/2000/svg}path") if each.get("data-edges")]
    titles = [each.findtext("{http://www.w3.org/2000/svg}title") or "" for each in paths]
    assert len(titles) > 30 and all("→" in each and "×" in each and "float32" in each for each in titles)


def test_the_same_graph_gives_the_same_text() -> None:
    assert svg(traced("googlenet")) == svg(traced("googlenet"))


def test_unknown_layout_is_refused() -> None:
    with pytest.raises(ValueError, match="no layout 'neato'"):
        svg(traced("lenet5"), layout="neato")


@pytest.mark.parametrize("name", ["googlenet_aux", "resnet50", *ODD])
def test_dot_text_has_clusters_shapes_and_costs(name: str) -> None:
    text = dot(traced(name))
    scene = compose(traced(name))
    assert text.count("subgraph cluster_") == text.count("subgraph")
    assert text.count(" -> ") == len(scene.edges)
    if name == "resnet50":
        assert "64×112×112" in text and "9.54k p · 118M MAC" in text and "×2" in text


def test_dot_text_of_hostile_names_is_read_by_graphviz(hostile: ModelGraph) -> None:
    text = dot(hostile)
    assert "\u202e" not in text and len(text) < 10_000
    if shutil.which("dot"):
        drawn = subprocess.run(["dot", "-Tsvg"], input=text, capture_output=True, text=True, check=True)
        assert "&lt;script&gt;" in drawn.stdout
        ElementTree.fromstring(drawn.stdout.encode())


@pytest.mark.skipif(not shutil.which("dot"), reason="needs the dot program of Graphviz")
@pytest.mark.parametrize("name", ["googlenet", "resnet50", *ODD])
def test_the_dot_layout_draws_the_same_cards(name: str) -> None:
    theirs, ours = (ElementTree.fromstring(svg(traced(name), layout=layout, prefix="p")) for layout in ("dot", "own"))
    cards = [
        [each.get("data-module") for each in root.iter() if each.get("id", "").startswith("p-c")]
        for root in (theirs, ours)
    ]
    cards = [sorted(map(str, each)) for each in cards]
    assert cards[0] == cards[1]


def test_without_graphviz_the_dot_layout_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external.shutil, "which", lambda name: None)
    with pytest.raises(CnnscopeError, match="apt-get install graphviz"):
        svg(traced("lenet5"), layout="dot")


def test_a_dot_program_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "dot"
    slow.write_text("#!/bin/sh\nexec sleep 20\n")
    slow.chmod(0o755)
    monkeypatch.setattr(external.shutil, "which", lambda name: str(slow))
    with pytest.raises(CnnscopeError, match=r"more than 0\.2 s"):
        external.lay_out_with_dot(compose(traced("lenet5")), limit=0.2)
    slow.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    with pytest.raises(CnnscopeError, match="broken"):
        external.lay_out_with_dot(compose(traced("lenet5")))


def test_png_has_the_size_asked_for_and_text_in_it() -> None:
    pytest.importorskip("vl_convert")
    text = svg(traced("lenet5_modern"))
    picture = raster.png(text, scale=1.5)
    wide, high = struct.unpack(">II", picture[16:24])
    root = ElementTree.fromstring(text)
    assert abs(wide - 1.5 * float(root.get("width", 0))) <= 2 and abs(high - 1.5 * float(root.get("height", 0))) <= 2
    silent = raster.png(text.replace(">", "> ").replace("<text", "<g").replace("</text", "</g"), scale=1.5)
    assert len(picture) > 1.3 * len(silent)


def test_png_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(CnnscopeError, match=r"pip install 'cnnscope\[png\]'"):
        raster.png(svg(traced("lenet5")))


def test_png_of_what_is_no_svg_is_an_error() -> None:
    pytest.importorskip("vl_convert")
    with pytest.raises(CnnscopeError, match="cannot be drawn"):
        raster.png("<html></html>")


def test_importing_the_diagram_loads_nothing_heavy() -> None:
    code = "import sys, cnnscope.render.diagram, cnnscope.render.diagram.dots, cnnscope.render.canvas.raster\n"
    code += "print([m for m in ('torch', 'graphviz', 'vl_convert', 'numpy', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
