"""The figures of papers, made from the traced graph: volumes as VGG's and AlexNet's, sheets as LeNet's."""

from __future__ import annotations

from zlib import crc32

from ...analyses import of_graph
from ...analyses.costs import cost
from ...collecting import without_collection
from ...graph import ModelGraph
from ..canvas import svg_writer, tikz_writer
from ..canvas.shapes import Picture
from ..diagram import labels
from .sheets import sheets
from .stages import stages
from .volumes import volumes

STYLES = {"volumes": volumes, "sheets": sheets}
KINDS = ("svg", "tikz")


@of_graph
def figure(
    graph: ModelGraph,
    style: str = "volumes",
    *,
    kind: str = "svg",
    title: str | None = None,
    prefix: str | None = None,
    dark: bool = False,
) -> str:
    """The figure of a traced network as text, SVG or TikZ.

    Args:
        style: ``volumes``: each result is a box, as wide as it has channels; ``sheets``: a stack of its maps.
        kind: ``svg``, or ``tikz`` for LaTeX.
        title: the headline; the graph's name unless given.
        prefix: what every id of the SVG begins with.
        dark: a viewer of the SVG that prefers dark colours gets them.

    Raises:
        ValueError: there is no such style or kind.
        CnnscopeError: the network is no chain of maps, so that papers draw no such figure of it.
    """
    if kind not in KINDS:
        raise ValueError(f"no kind of figure {kind!r}; one of {', '.join(KINDS)}")
    made = picture(graph, style, title)
    if kind == "tikz":
        return tikz_writer.tikz(made)
    mark = crc32(f"{made.title}{style}{made.description}".encode("utf-8", "replace"))
    return svg_writer.svg(made, prefix or f"cnnscope-{mark:08x}", dark=dark)


def picture(graph: ModelGraph, style: str = "volumes", title: str | None = None) -> Picture:
    """The figure, ready for a writer.

    Raises:
        ValueError, CnnscopeError: as ``figure``.
    """
    if style not in STYLES:
        raise ValueError(f"no style {style!r}; one of {', '.join(STYLES)}")
    graph = graph.forward
    with without_collection():
        return STYLES[style](stages(graph), title if title is not None else graph.name or "Network", _facts(graph))


def _facts(graph: ModelGraph) -> str:
    inputs = ", ".join(labels.shape(value.shape) for value in graph.inputs)
    params = sum(each.numel for each in graph.parameters if each.role != "buffer")
    costs = cost(graph)
    least = "≥ " if costs.missing else ""
    macs = "?" if costs.total.macs is None else f"{least}{labels.number(costs.total.macs)}"
    return f"input {inputs} · {labels.number(params)} parameters · {macs} MACs"
