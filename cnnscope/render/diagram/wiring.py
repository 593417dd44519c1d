"""Which lines run inside each panel: every edge, cut where it crosses a panel's border.

A tensor that several cards inside a panel read enters it once, and parts inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from .scene import Card, Edge, Node, Panel, Signal


@dataclass(frozen=True)
class Port:
    """Where a signal crosses the upper (``into``) or the lower border of a panel."""

    signal: Signal
    into: bool


End = Node | Port


@dataclass
class Link:
    """A line inside one panel between two of its children or ports, and the edges that it is part of."""

    tail: End
    head: End
    signal: Signal
    edges: list[Edge] = field(default_factory=list)

    @property
    def skip(self) -> bool:
        return all(edge.skip for edge in self.edges)


def links(root: Panel, edges: list[Edge]) -> dict[Panel, list[Link]]:
    """The links of every panel in the tree."""
    parents = _parents(root)
    found: dict[Panel, dict[tuple[End, End, Signal], Link]] = {}

    def add(panel: Panel, tail: End, head: End, edge: Edge) -> None:
        inside = found.setdefault(panel, {})
        link = inside.setdefault((tail, head, edge.signal), Link(tail, head, edge.signal))
        link.edges.append(edge)

    for edge in edges:
        ups, downs = _chain(edge.tail, parents), _chain(edge.head, parents)
        while len(ups) > 1 and len(downs) > 1 and ups[-2] is downs[-2]:
            ups.pop()
            downs.pop()
        # Both end with the innermost panel that holds tail and head.
        for child, panel in pairwise(ups[:-1]):
            assert isinstance(panel, Panel)
            add(panel, child, Port(edge.signal, False), edge)
        meeting = ups[-1]
        assert isinstance(meeting, Panel)
        add(meeting, ups[-2], downs[-2], edge)
        for child, panel in pairwise(downs[:-1]):
            assert isinstance(panel, Panel)
            add(panel, Port(edge.signal, True), child, edge)
    return {panel: list(inside.values()) for panel, inside in found.items()}


def _parents(root: Panel) -> dict[Node, Panel]:
    found: dict[Node, Panel] = {}
    todo = [root]
    while todo:
        panel = todo.pop()
        for child in panel.children:
            found[child] = panel
            if isinstance(child, Panel):
                todo.append(child)
    return found


def _chain(card: Card, parents: dict[Node, Panel]) -> list[Node]:
    """The card, its panel, the panel around that ... up to the root."""
    chain: list[Node] = [card]
    while chain[-1] in parents:
        chain.append(parents[chain[-1]])
    return chain
