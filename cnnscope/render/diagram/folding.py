"""Equal blocks that follow one another become one block with a mark ×N.

Blocks are equal when they have the same operators with the same attributes and shapes, wired in the same way. Blocks
that extend a concatenation (DenseNet's layers) are alike when only their widths differ: they are folded as growing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .scene import Card, Edge, Node, Panel


@dataclass(frozen=True)
class _Block:
    """What is needed to compare a panel with the one before it.

    exact: operators, shapes and inner wiring; loose: the same without widths. ports: the cards outside that it
    reads from, in order of first use. outs: its cards that others read; readers: those others.
    """

    exact: tuple[Any, ...]
    loose: tuple[Any, ...] | None
    ports: tuple[Card, ...]
    places: dict[Card, int]
    readers: frozenset[Card]


def fold_repeats(root: Panel, edges: list[Edge]) -> dict[Card, Card]:
    """Fold runs of equal panels; returns for each card that is gone the one that stands for it."""
    folder = _Folder(edges)
    folder.fold(root)
    return folder.gone


class _Folder:
    """Folds panels from the inside out. around: the edges at each card and at those that it stands for, by number."""

    def __init__(self, edges: list[Edge]) -> None:
        self.gone: dict[Card, Card] = {}
        self.around: dict[Card, dict[int, Edge]] = {}
        for number, edge in enumerate(edges):
            self.around.setdefault(edge.tail, {})[number] = edge
            self.around.setdefault(edge.head, {})[number] = edge

    def fold(self, panel: Panel) -> None:
        for child in panel.children:
            if isinstance(child, Panel):
                self.fold(child)
        blocks = {child: _block(child, self._edges(child)) for child in panel.children if isinstance(child, Panel)}
        runs = _runs(panel, blocks)
        for run in runs:
            for card, first in _fold(run).items():
                self.gone[card] = first
                self.around.setdefault(first, {}).update(self.around.get(card, {}))
        panel.children = [run[0] for run in runs]

    def _edges(self, panel: Panel) -> list[Edge]:
        """The edges inside and at a panel, in order, as far as they are still drawn."""
        found = {number: edge for card in panel.cards() for number, edge in self.around.get(card, {}).items()}
        return without([found[number] for number in sorted(found)], self.gone)


def _fold(run: list[Node]) -> dict[Card, Card]:
    """Let the first of a run of panels stand for all of them."""
    panels = [node for node in run if isinstance(node, Panel)]
    gone: dict[Card, Card] = {}
    if len(panels) > 1:
        first, *others = panels
        first.copies, first.last = len(panels), panels[-1].path
        first.grows = not all(first.same_shapes(other) for other in others)
        for other in others:
            for card, kept in zip(other.cards(), first.cards(), strict=True):
                gone[card] = kept
                kept.more_ops += (*card.ops, *card.more_ops)
            first.more_params += other.total_params
            first.more_macs += other.total_macs or 0
    return gone


def without(edges: list[Edge], gone: dict[Card, Card]) -> list[Edge]:
    """The edges that are left when some cards stand for others: those that arrive at a card that is still there."""
    if not gone:
        return edges
    return [
        Edge(standing(edge.tail, gone), edge.head, edge.shape, edge.dtype, edge.via, edge.skip)
        for edge in edges
        if edge.head not in gone
    ]


def standing(card: Card, gone: dict[Card, Card]) -> Card:
    """The card that stands for this one, perhaps itself."""
    while card in gone:
        card = gone[card]
    return card


def _runs(panel: Panel, blocks: dict[Panel, _Block]) -> list[list[Node]]:
    """The children in runs of equal panels."""
    runs: list[list[Node]] = []
    wiring: tuple[object, ...] | None = None
    for child in panel.children:
        last = runs[-1][-1] if runs else None
        if isinstance(child, Panel) and isinstance(last, Panel):
            found = _wiring(blocks[last], blocks[child])
            if found is not None and (len(runs[-1]) == 1 or found == wiring):
                runs[-1].append(child)
                wiring = found
                continue
        runs.append([child])
    return runs


def _wiring(first: _Block, second: _Block) -> tuple[object, ...] | None:
    """How the second block reads from the first, or None when they cannot be folded."""
    alike = first.exact == second.exact or (first.loose is not None and first.loose == second.loose)
    if not alike or not first.readers <= second.places.keys():
        return None
    pattern: list[object] = []
    for before, port in zip(first.ports, second.ports, strict=True):
        if port in first.places:
            pattern.append(first.places[port])
        elif port is before:
            pattern.append(port)  # both read the same tensor from elsewhere
        else:
            return None
    return tuple(pattern) if any(isinstance(each, int) for each in pattern) else None


def _block(panel: Panel, edges: list[Edge]) -> _Block:
    cards = list(panel.cards())
    places = {card: i for i, card in enumerate(cards)}
    ports: dict[Card, int] = {}
    wires: list[tuple[Any, ...]] = []
    outs, readers = set(), set()
    extends = False
    for edge in edges:
        if edge.head in places:
            inner = edge.tail in places
            start = places[edge.tail] if inner else -1 - ports.setdefault(edge.tail, len(ports))
            extends |= not inner and edge.head.form == "pill"
            wires.append((start, places[edge.head], edge.shape, edge.skip))
        elif edge.tail in places:
            outs.add((places[edge.tail], edge.shape))
            readers.add(edge.head)
    tree = _nesting(panel)
    exact = (tree, tuple(card.signature for card in cards), tuple(wires), frozenset(outs))
    loose = None
    if extends:
        narrow = tuple((start, head, len(shape)) for start, head, shape, _ in wires)
        loose = (tree, tuple((card.title, card.shape and card.shape[2:]) for card in cards), narrow)
    return _Block(exact, loose, tuple(ports), places, frozenset(readers))


def _nesting(node: Node) -> tuple[Any, ...]:
    inner = tuple(_nesting(child) for child in node.children) if isinstance(node, Panel) else ()
    return node.copies, inner
