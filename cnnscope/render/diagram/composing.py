"""The way from a traced graph to the content of a picture."""

from __future__ import annotations

from ...graph import ModelGraph
from . import panels
from .cards import Costs, batch_size, card
from .flow import Unit, units
from .folding import fold_repeats, standing, without
from .heat import Heat
from .heat import heat as heat_of
from .merging import attach_chips, draw_growth
from .scene import Card, Edge, Scene


def compose(graph: ModelGraph, *, depth: int | None = None, fold: bool = True, heat: Heat | None = None) -> Scene:
    """Everything that a picture of the graph shows.

    depth: panels nested deeper become one card; fold: equal blocks in a row become one, marked ×N; heat: what the bars
    on the cards show, by default MACs. Of a training step it is the forward pass.

    Raises:
        ValueError: depth is below 1.
    """
    if depth is not None and depth < 1:
        raise ValueError(f"depth {depth} is below 1; depth 1 is the children of the model")
    graph = graph.forward
    heat = heat or heat_of(graph)
    costs, batch = Costs(graph, heat), batch_size(graph)
    found = units(graph)
    draw_growth(found)
    found = attach_chips(found, graph)
    cards = {unit: card(unit, graph, costs, batch) for unit in found}
    edges = _edges(found, cards)
    root = panels.nest(graph, cards)
    if fold:
        edges = without(edges, fold_repeats(root, edges))
    panels.unframe_branches(root, edges)
    if depth is not None:
        edges = _collapsed(edges, panels.collapse(root, depth, heat))
    panels.name_nodes(root)
    return Scene(root, list(dict.fromkeys(edges)), batch, len(graph), heat.words)


def _edges(found: list[Unit], cards: dict[Unit, Card]) -> list[Edge]:
    skips = _skips(found, cards)
    edges = []
    for unit in found:
        for source in unit.sources:
            skip = (source.unit, unit) in skips
            edges.append(
                Edge(cards[source.unit], cards[unit], source.value.shape, source.value.dtype, source.via, skip)
            )
    return list(dict.fromkeys(edges))


def _skips(found: list[Unit], cards: dict[Unit, Card]) -> set[tuple[Unit, Unit]]:
    """Edges into a sum from a unit that also reaches it the long way round: identity shortcuts."""
    order = {unit: i for i, unit in enumerate(found)}
    skips = set()
    for unit in found:
        if cards[unit].title != "+" or len(unit.sources) < 2:
            continue
        tails = {source.unit for source in unit.sources}
        for tail in tails:
            if any(_leads(tail, other, order) for other in tails if other is not tail):
                skips.add((tail, unit))
    return skips


def _leads(tail: Unit, head: Unit, order: dict[Unit, int]) -> bool:
    """Whether data runs from ``tail`` to ``head``: looked for backwards, no further than ``tail`` itself."""
    seen, front = {head}, [head]
    while front:
        for source in front.pop().sources:
            if source.unit is tail:
                return True
            if source.unit not in seen and order[source.unit] > order[tail]:
                seen.add(source.unit)
                front.append(source.unit)
    return False


def _collapsed(edges: list[Edge], gone: dict[Card, Card]) -> list[Edge]:
    """Edges between what is left; those inside one card are no longer seen."""
    moved = [
        Edge(standing(e.tail, gone), standing(e.head, gone), e.shape, e.dtype, e.via, e.skip and e.head not in gone)
        for e in edges
    ]
    return [edge for edge in moved if edge.tail is not edge.head]
