"""The diagram: a model's real structure as a self-contained SVG.

``compose`` decides what is drawn, ``lay_out`` where, ``Drawing`` writes it.
"""

from __future__ import annotations

from zlib import crc32

from ...graph import ModelGraph
from . import labels
from .composing import compose
from .drawing import Drawing
from .external import lay_out_with_dot
from .page import lay_out
from .scene import Scene

ENGINES = ("layered", "dot")


def svg(
    graph: ModelGraph,
    *,
    depth: int | None = None,
    title: str | None = None,
    engine: str = "layered",
    fold: bool = True,
    columns: bool = True,
    prefix: str | None = None,
) -> str:
    """The diagram of a traced model as SVG text.

    Args:
        depth: panels nested deeper become one card each; None shows everything.
        title: the headline; the graph's name unless given.
        engine: ``layered``, our own layout, or ``dot`` where Graphviz is installed.
        fold: equal blocks in a row are drawn once, with a mark ×N.
        columns: long nets are cut into columns; without, all stands one below the other.
        prefix: what every id begins with; by default it follows from the content.

    Raises:
        ValueError: depth is below 1, or there is no such engine.
        CnnscopeError: engine is ``dot``, and that is missing or takes too long.
    """
    if engine not in ENGINES:
        raise ValueError(f"no engine {engine!r}; one of {', '.join(ENGINES)}")
    scene = compose(graph, depth=depth, fold=fold)
    plan = lay_out(scene, columns=columns) if engine == "layered" else lay_out_with_dot(scene)
    words = title if title is not None else graph.name or "Model"
    facts = _facts(graph, scene, len(plan.cards))
    prefix = prefix or f"cnnscope-{crc32(f'{words}{facts}{engine}'.encode('utf-8', 'replace')):08x}"
    return Drawing(plan, prefix).svg(words, facts, f"Diagram of {words}: {facts}")


def _facts(graph: ModelGraph, scene: Scene, boxes: int) -> str:
    macs = scene.root.total_macs
    missing = sorted(set(scene.root.missing))
    total = "? MACs" if macs is None else f"{'≥ ' if missing else ''}{labels.number(macs)} MACs"
    if missing:
        total += f" without {', '.join(missing[:4])}"
    inputs = ", ".join(labels.shape(value.shape) for value in graph.inputs) or "none"
    params = sum(each.numel for each in graph.parameters if each.role != "buffer")
    return (
        f"input {inputs} · {labels.number(params)} parameters · {total} · {boxes} boxes for {scene.operators} operators"
    )
