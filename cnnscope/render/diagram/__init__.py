"""The diagram: a model's real structure as a self-contained SVG or TikZ.

``compose`` decides what is drawn, ``lay_out`` where, ``Drawing`` how it looks.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

from ...analyses import of_graph
from ...collecting import without_collection
from ...graph import ModelGraph
from ..canvas import svg_writer, tikz_writer
from ..canvas.shapes import Picture
from . import labels
from .composing import compose
from .drawing import Drawing
from .external import lay_out_with_dot
from .heat import heat as heat_of
from .page import lay_out
from .scene import Scene

LAYOUTS = ("own", "dot")


@of_graph
def svg(graph: ModelGraph, *, prefix: str | None = None, dark: bool = False, **options: Any) -> str:
    """The diagram of a traced model as SVG text.

    Args:
        prefix: what every id begins with; by default it follows from the content.
        dark: a viewer that prefers dark colours gets them.
        options: those of ``picture``.

    Raises:
        ValueError, CnnscopeError: as ``picture``.
    """
    made = picture(graph, **options)
    mark = crc32(f"{made.description}{sorted(options.items())}".encode("utf-8", "replace"))
    return svg_writer.svg(made, prefix or f"cnnscope-{mark:08x}", dark=dark)


@of_graph
def tikz(graph: ModelGraph, **options: Any) -> str:
    """The same picture for LaTeX: a file that pdflatex compiles and that a document can take in with ``\\input``.

    Raises:
        ValueError, CnnscopeError: as ``picture``.
    """
    return tikz_writer.tikz(picture(graph, **options))


@of_graph
def picture(
    graph: ModelGraph,
    *,
    depth: int | None = None,
    title: str | None = None,
    layout: str = "own",
    fold: bool = True,
    columns: bool = True,
    landscape: bool = False,
    heat: str = "macs",
    device: str | None = None,
) -> Picture:
    """The diagram of a traced model, ready for a writer; of a training step that of its forward pass.

    Args:
        depth: panels nested deeper become one card each; None shows everything.
        title: the headline; the graph's name unless given.
        layout: ``own``, or ``dot`` where Graphviz is installed.
        fold: equal blocks in a row are drawn once, with a mark ×N.
        columns: long nets are cut into columns, those with skips across stages bent; else all stands in one column.
        landscape: data runs to the right, in rows.
        heat: what the bars on the cards show: macs, params, memory (bytes allocated) or time.
        device: the GPU whose roofline gives the time.

    Raises:
        ValueError: depth is below 1, or there is no such layout or heat, or dot is asked for a landscape.
        CnnscopeError: dot is missing or takes too long, or nothing estimates the time.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"no layout {layout!r}; one of {', '.join(LAYOUTS)}")
    if layout == "dot" and landscape:
        raise ValueError("layout 'dot' has no landscape; layout 'own' has")
    graph = graph.forward
    with without_collection():
        scene = compose(graph, depth=depth, fold=fold, heat=heat_of(graph, heat, device))
        plan = lay_out(scene, columns=columns, landscape=landscape) if layout == "own" else lay_out_with_dot(scene)
        return Drawing(plan, scene.heat).picture(
            title if title is not None else graph.name or "Model", _facts(graph, scene)
        )


def _facts(graph: ModelGraph, scene: Scene) -> str:
    macs = scene.root.total_macs
    missing = sorted(set(scene.root.missing))
    total = "? MACs" if macs is None else f"{'≥ ' if missing else ''}{labels.number(macs)} MACs"
    if missing:
        total += f" without {', '.join(missing[:4])}"
    inputs = ", ".join(labels.shape(value.shape) for value in graph.inputs) or "none"
    params = sum(each.numel for each in graph.parameters if each.role != "buffer")
    cards = sum(card.form != "terminal" for card in scene.root.cards())
    return (
        f"input {inputs} · {labels.number(params)} parameters · {total} · "
        f"{cards} card{'s' * (cards != 1)} for {scene.operators} operator{'s' * (scene.operators != 1)}"
    )
