"""Graphviz DOT text of the same scene that the SVG shows: nested clusters, shapes on edges. Needs no program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...analyses import of_graph
from ...graph import ModelGraph
from ..canvas.metrics import fit
from . import faces, kinds, labels
from .composing import compose
from .scene import Card, Panel, Scene

if TYPE_CHECKING:
    from graphviz import Digraph

_LONGEST = 400.0  # pixels of a label's line


@of_graph
def dot(
    graph: ModelGraph,
    *,
    depth: int | None = None,
    title: str | None = None,
    fold: bool = True,
) -> str:
    """The diagram of a traced model as DOT text, for Graphviz or any tool that reads it."""
    scene = compose(graph, depth=depth, fold=fold)
    return digraph(scene, title if title is not None else graph.name or "Model").source


def digraph(scene: Scene, title: str) -> Digraph:
    """The scene as an object of the graphviz package."""
    import graphviz

    made = graphviz.Digraph("cnnscope")
    made.attr(
        "graph", label=_escaped(title), labelloc="t", fontname="Helvetica", fontsize="20", rankdir="TB", ranksep="0.35"
    )
    made.attr("node", fontname="Helvetica", fontsize="11", shape="box", style="filled,rounded", fillcolor="white")
    made.attr("edge", fontname="Helvetica", fontsize="9", color="#52627a", fontcolor="#64748b", arrowsize="0.7")
    ids = {card: f"c{i}" for i, card in enumerate(scene.root.cards())}
    _fill(made, scene.root, ids, [0])
    for edge in scene.edges:
        style: dict[str, Any] = {"style": "dashed", "color": "#c2410c"} if edge.skip else {}
        made.edge(ids[edge.tail], ids[edge.head], label=labels.shape(edge.shape, scene.batch), **style)
    return made


def _fill(into: Digraph, panel: Panel, ids: dict[Card, str], count: list[int]) -> None:
    for child in panel.children:
        if isinstance(child, Card):
            into.node(ids[child], _words(child), **_look(child))
            continue
        count[0] += 1
        with into.subgraph(name=f"cluster_{count[0]}") as cluster:
            words = faces.heading(child)
            text = "  ".join(part for part in (words.name, words.type, words.costs, words.times) if part)
            cluster.attr(
                label=_escaped(text),
                style="filled,rounded",
                fillcolor="#eef3fa",
                color="#b4c0d0",
                labeljust="l",
                fontsize="11",
            )
            _fill(cluster, child, ids, count)


def _words(card: Card) -> str:
    """What stands on the card in the SVG, line by line."""
    first = " ".join(part for part in (card.title, card.name, faces.times(card) if card.copies > 1 else "") if part)
    second = " · ".join(chip.text for chip in card.chips)
    numbers = faces.costs(card)
    lines = [first] if card.form == "circle" else [first, card.shape_text, numbers]
    return "\\n".join(_escaped(line) for line in [*lines, second] if line)


def _look(card: Card) -> dict[str, str]:
    colour = kinds.COLOURS.get(card.family, kinds.COLOURS["other"])
    if card.form == "terminal":
        return {"fillcolor": colour, "fontcolor": "white", "color": colour}
    look = {"color": colour, "penwidth": "1.6", "tooltip": _escaped(f"{card.title} {card.path}".strip())}
    if card.form == "circle":
        look |= {"shape": "circle", "margin": "0.02", "style": "filled"}
    return look


def _escaped(text: str) -> str:
    """One line of a label, with no escape sequence of DOT and no HTML in it."""
    import graphviz

    return graphviz.escape(fit(text, 11, _LONGEST))
