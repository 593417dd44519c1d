"""Whether blocks are alike, and whether a row of them is wired block by block in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from .scene import Card, Edge, Node, Panel

_BACK = 2  # a block may read the last block and the one before it


@dataclass(frozen=True, eq=False)
class Block:
    """What is needed to compare some nodes with others.

    exact: operators, shapes and inner wiring; loose: the same without widths. ports: the cards outside that it
    reads from, in order of first use. places: its cards in order; outs: those of them that are read from outside, by
    readers.
    """

    exact: tuple[Any, ...]
    loose: tuple[Any, ...] | None
    ports: tuple[Card, ...]
    places: dict[Card, int]
    outs: frozenset[int]
    readers: frozenset[Card]

    def like(self, other: Block) -> bool:
        return self.exact == other.exact or (self.loose is not None and self.loose == other.loose)


def wired(blocks: Sequence[Block]) -> int:
    """How many of these blocks, which are alike, can stand for one another: 1 when not even the first two can."""
    most = _reading_alike(blocks)
    last = _last_readers(blocks[:most])
    for count in range(most, 1, -1):
        if count == most or count == 2:  # from three blocks on the links are the same
            links = _links_back(blocks[: min(count, 3)])
            results = {place for _, place in links}
            kept = list(accumulate(each.outs <= results for each in blocks[:count]))
        # What is outside of the row reads only the last blocks, and only what blocks read of one another.
        inner = count - max(back for back, _ in links)
        if (inner <= 0 or last[inner - 1] < count) and kept[count - 1] == count:
            return count
    return 1


def _reading_alike(blocks: Sequence[Block]) -> int:
    """How many from the first on read in the same way. What more of them do, fewer do too, so it is searched for."""
    low = next((count for count in (3, 2) if count <= len(blocks) and _links_back(blocks[:count])), 1)
    if low < 3:
        return low
    high = low + 1
    while high <= len(blocks) and _links_back(blocks[:high]):
        low, high = high, 2 * high
    high = min(high, len(blocks) + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _links_back(blocks[:middle]) else (low, middle)
    return low


def _links_back(blocks: Sequence[Block]) -> set[tuple[int, int]]:
    """What each block reads of those before it; nothing when they differ in that or do not read the one before."""
    found = {link for link in _links(blocks) if link}
    return found if any(back == 1 for back, _ in found) else set()


def _last_readers(blocks: Sequence[Block]) -> list[int]:
    """The number of the last block that reads this one or one before it; more than there are where others do too."""
    numbers = {card: number for number, each in enumerate(blocks) for card in each.places}
    last = [max((numbers.get(card, len(blocks)) for card in each.readers), default=0) for each in blocks]
    return list(accumulate(last, max))


def _links(blocks: Sequence[Block]) -> list[Link]:
    """What each port reads, in every block alike; none when they differ in that."""
    last = blocks[-1]
    if any(len(each.ports) != len(last.ports) for each in blocks):
        return []
    links = [_link(blocks, port) for port in last.ports]
    for i, link in enumerate(links):
        if link is None:
            link = links[i] = _before_the_row(blocks, links, i)
        if link is None and any(each.ports[i] is not last.ports[i] for each in blocks):
            return []
        if link is not None and not _same_way(blocks, links, i):
            return []
    return links


Link = tuple[int, int] | None
"""How many blocks back a port reads, and which card of it; None: a card outside that all blocks read."""


def _link(blocks: Sequence[Block], port: Card) -> Link:
    for back in range(1, min(_BACK, len(blocks) - 1) + 1):
        place = blocks[-1 - back].places.get(port)
        if place is not None:
            return back, place
    return None


def _before_the_row(blocks: Sequence[Block], links: Sequence[Link], i: int) -> Link:
    """Of two blocks the second cannot read the one before the last in the row: it reads what the first read as last."""
    if len(blocks) == 2:
        first, second = blocks
        for j, link in enumerate(links):
            if link and link[0] == 1 and first.ports[j] is second.ports[i] and second.ports[i] is not first.ports[i]:
                return 2, link[1]
    return None


def _same_way(blocks: Sequence[Block], links: Sequence[Link], i: int) -> bool:
    """Whether port i of every block reads the same place of the block as far back."""
    link = links[i]
    assert link is not None
    back, place = link
    near = next((j for j, other in enumerate(links) if other == (1, place)), None)
    for k, each in enumerate(blocks):
        if k >= back:
            if blocks[k - back].places.get(each.ports[i]) != place:
                return False
        elif any(each.ports[i] in other.places for other in blocks):
            return False
        elif k == 1 and (near is None or each.ports[i] is not blocks[0].ports[near]):
            return False  # the second block's last but one is the first block's last
    return True


def block(nodes: Sequence[Node], cards: list[Card], edges: list[Edge]) -> Block:
    """The block of nodes with these cards; edges: all that begin or end at them."""
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
            outs.add(places[edge.tail])
            readers.add(edge.head)
    tree = tuple(_nesting(node) for node in nodes)
    exact = (tree, tuple((card.signature, card.again) for card in cards), tuple(wires))
    loose = None
    if extends:
        narrow = tuple((start, head, len(shape)) for start, head, shape, _ in wires)
        loose = (tree, tuple((card.title, card.again, card.shape and card.shape[2:]) for card in cards), narrow)
    return Block(exact, loose, tuple(ports), places, frozenset(outs), frozenset(readers))


def _nesting(node: Node) -> tuple[Any, ...]:
    inner = tuple(_nesting(child) for child in node.children) if isinstance(node, Panel) else ()
    return node.copies, node.period if isinstance(node, Panel) else 0, inner
