"""From cards and calls to nested panels: the model's own modules, without those that would frame nothing."""

from __future__ import annotations

from collections.abc import Mapping

from ...graph import ModelGraph
from .flow import Unit
from .heat import Heat
from .scene import Card, Edge, Node, Panel

PLAIN = frozenset({"Sequential", "ModuleList", "ModuleDict"})
"""Classes that say nothing about what is in them."""


def nest(graph: ModelGraph, cards: Mapping[Unit, Card]) -> Panel:
    """The tree of module calls with every card in the panel of the call that made it."""
    panels: dict[int, Panel] = {}
    root = Panel("", graph.name, graph.calls[0].type)
    panels[0] = root
    for unit, card in cards.items():
        if unit.role != "op":
            root.children.append(card)
        else:
            _panel(graph, unit.call, panels).children.append(card)
    root.children = [child for node in root.children for child in _tidy(node)]
    return root


def _panel(graph: ModelGraph, index: int, panels: dict[int, Panel]) -> Panel:
    if index not in panels:
        call = graph.calls[index]
        panel = panels[index] = Panel(call.module, "", call.type + (" (again)" if call.repeat else ""))
        _panel(graph, call.parent, panels).children.append(panel)
    return panels[index]


def _tidy(node: Node) -> list[Node]:
    """The node without frames around one single thing, which says the frame's name better itself."""
    if isinstance(node, Card):
        return [node]
    node.children = [child for inner in node.children for child in _tidy(inner)]
    if len(node.children) == 1:
        only = node.children[0]
        only.path = only.path or node.path
        return [only]
    return [node] if node.children else []


def unframe_branches(panel: Panel, edges: list[Edge]) -> None:
    """Take the frames off short chains that run beside others: the branches of an inception module."""
    for child in panel.children:
        if isinstance(child, Panel):
            unframe_branches(child, edges)
    short = [child for child in panel.children if isinstance(child, Panel) and _is_short_chain(child)]
    if not short or len(panel.children) == 1:
        return
    order = _Reach(panel, edges)
    kept: list[Node] = []
    for child in panel.children:
        if isinstance(child, Panel) and child in short and order.beside_another(child):
            kept += child.children
        else:
            kept.append(child)
    panel.children = kept


def _is_short_chain(panel: Panel) -> bool:
    cards = panel.children
    return (
        panel.copies == 1
        and len(cards) <= 4
        and all(isinstance(each, Card) and each.form in ("card", "line") for each in cards)
    )


class _Reach:
    """Which children of a panel lead to which."""

    def __init__(self, panel: Panel, edges: list[Edge]) -> None:
        self.place = {card: i for i, child in enumerate(panel.children) for card in _cards(child)}
        self.index = {child: i for i, child in enumerate(panel.children)}
        self.after = [0] * len(panel.children)  # bit sets of all that come later
        heads: dict[int, set[int]] = {}
        for edge in edges:
            tail, head = self.place.get(edge.tail), self.place.get(edge.head)
            if tail is not None and head is not None and tail != head:
                heads.setdefault(tail, set()).add(head)
        for i in range(len(panel.children) - 1, -1, -1):
            for j in heads.get(i, ()):
                self.after[i] |= 1 << j | self.after[j]

    def beside_another(self, child: Node) -> bool:
        """Some other child neither leads to this one nor comes from it."""
        i = self.index[child]
        return any(j != i and not self.after[i] >> j & 1 and not self.after[j] >> i & 1 for j in range(len(self.after)))


def _cards(node: Node) -> list[Card]:
    return [node] if isinstance(node, Card) else list(node.cards())


def name_nodes(panel: Panel, inside: str = "") -> None:
    """Every name relative to the panel around it."""
    for child in panel.children:
        if child.path:
            child.name = _relative(child.path, inside)
        if isinstance(child, Card) and child.title in PLAIN:
            child.title, child.name = child.name, ""
        if child.last:
            child.last = _relative(child.last, inside)
        if isinstance(child, Panel):
            name_nodes(child, inside if child.period > 1 else child.path)


def _relative(path: str, inside: str) -> str:
    """Without the path around it, but for a bare number: ``layer1.0``."""
    if path == inside:
        return ""
    short = path.removeprefix(inside + ".") if inside else path
    return f"{inside.rpartition('.')[2]}.{short}" if inside and short.isdecimal() else short


def collapse(panel: Panel, depth: int, heat: Heat, level: int = 1) -> dict[Card, Card]:
    """Panels deeper than ``depth`` become one card each; returns the card that each hidden card is now part of."""
    gone: dict[Card, Card] = {}
    for i, child in enumerate(panel.children):
        if not isinstance(child, Panel):
            continue
        if child.period > 1:  # what is repeated is no module
            gone |= collapse(child, depth, heat, level)
        elif level < depth:
            gone |= collapse(child, depth, heat, level + 1)
        else:
            card = panel.children[i] = _as_card(child, heat)
            gone.update(dict.fromkeys(child.cards(), card))
    return gone


def _as_card(panel: Panel, heat: Heat) -> Card:
    cards = list(panel.cards())
    main = max(cards, key=lambda card: (card.macs or 0, card.params))
    return Card(
        "block", main.family, panel.type, path=panel.path, shape=cards[-1].shape, shape_text=cards[-1].shape_text,
        params=panel.params, macs=panel.macs, ops=tuple(op for card in cards for op in card.ops), copies=panel.copies,
        last=panel.last, missing=panel.missing, more_params=panel.more_params, more_macs=panel.more_macs,
        grows=panel.grows, heat=panel.heat, more_heat=panel.more_heat, heat_text=heat.text(panel.heat),
    )  # fmt: skip
