"""Equal blocks that follow one another become one block with a mark ×N.

Blocks are equal when they have the same operators with the same attributes and shapes, wired in the same way. A block
may be several modules that come in turn (Swin's plain and shifted windows), and may read the last two blocks (NASNet's
cells). Blocks that extend a concatenation (DenseNet's layers) are alike when only their widths differ: they are folded
as growing.
"""

from __future__ import annotations

from collections.abc import Sequence

from .alike import Block, block, wired
from .scene import Card, Edge, Node, Panel

_LONGEST = 6  # modules that one block may consist of
_LAYERS = 6  # as many equal layers in a row are a block ×N though no module frames them


def fold_repeats(root: Panel, edges: list[Edge]) -> dict[Card, Card]:
    """Fold runs of equal blocks; returns for each card that is gone the one that stands for it."""
    folder = _Folder(edges)
    folder.fold(root)
    return folder.gone


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
        self._fold_row(panel)

    def _fold_row(self, panel: Panel) -> None:
        """Fold what is repeated among the children of one panel, and then what is repeated inside a new block."""
        children = panel.children
        alone = [self._block([child]) for child in children]
        ends: dict[int, int] = {}
        kept: list[Node] = []
        i = 0
        while i < len(children):
            period, copies = self._longest(children, alone, i, ends)
            if copies > 1:
                kept.append(self._folded(children[i : i + period * copies], period))
            else:
                kept.append(children[i])
            i += period * copies
        panel.children = kept

    def _longest(self, children: list[Node], alone: list[Block], start: int, ends: dict[int, int]) -> tuple[int, int]:
        """Children in a block and number of blocks, from ``start`` on, that hide the most cards.

        ends: by period, how far children were found to be like those a period before, from an earlier start on.
        """
        best, most = (1, 1), 0
        for period in range(1, min(_LONGEST, (len(children) - start) // 2) + 1):
            layers = all(isinstance(each, Card) for each in children[start : start + period])
            if layers and period > 1:
                continue
            size = sum(len(each.places) for each in alone[start : start + period])
            end = max(start + period, ends.get(period, 0))
            while end < len(children) and alone[end].like(alone[end - period]):
                end += 1
            ends[period] = end
            copies = (end - start) // period
            if copies > 1 and (copies - 1) * size > most:
                copies = self._wired(children[start : start + period * copies], alone[start:], period)
            if copies >= (_LAYERS if layers else 2) and (copies - 1) * size > most:
                best, most = (period, copies), (copies - 1) * size
        return best

    def _wired(self, row: list[Node], alone: list[Block], period: int) -> int:
        """How many of the blocks in a row are equal also within, and wired to one another in the same way."""
        if period == 1:
            return wired(alone[: len(row)])
        blocks = [self._block(row[i : i + period]) for i in range(0, len(row), period)]
        same = next((k for k, each in enumerate(blocks) if not each.like(blocks[0])), len(blocks))
        return wired(blocks[:same])

    def _block(self, nodes: Sequence[Node]) -> Block:
        """The edges inside and at the nodes, in order, as far as they are still drawn."""
        cards = [card for node in nodes for card in ([node] if isinstance(node, Card) else node.cards())]
        found = {number: edge for card in cards for number, edge in self.around.get(card, {}).items()}
        return block(nodes, cards, without([found[number] for number in sorted(found)], self.gone))

    def _folded(self, row: list[Node], period: int) -> Node:
        """Let the first block of a row stand for all of them."""
        blocks = row if period == 1 else [_turn(row[i : i + period]) for i in range(0, len(row), period)]
        first, *others = blocks
        last = others[-1]
        first.copies = len(blocks)
        first.last = (
            last.path
            if period == 1 or isinstance(last, Card)
            else next(each.path for each in last.children[::-1] if each.path)
        )
        first.grows = not all(_same_shapes(first, other) for other in others)
        for other in others:
            for card, stays in zip(_cards(other), _cards(first), strict=True):
                self.gone[card] = stays
                stays.more_ops += (*card.ops, *card.more_ops)
                self.around.setdefault(stays, {}).update(self.around.get(card, {}))
            first.more_params += other.total_params
            first.more_macs += other.total_macs or 0
            first.more_heat += other.total_heat
        if period > 1 and isinstance(first, Panel):
            self._fold_row(first)
        return first


def _turn(nodes: list[Node]) -> Panel:
    """A panel around modules that come in turn."""
    types = list(dict.fromkeys(node.type if isinstance(node, Panel) else node.title for node in nodes))
    words = f"{len(nodes)} {types[0]}" if len(types) == 1 else ", ".join(types)
    return Panel(next(node.path for node in nodes if node.path), "", words, list(nodes), period=len(nodes))


def _cards(node: Node) -> list[Card]:
    return [node] if isinstance(node, Card) else list(node.cards())


def _same_shapes(one: Node, other: Node) -> bool:
    return all(a.shape == b.shape for a, b in zip(_cards(one), _cards(other), strict=True))
