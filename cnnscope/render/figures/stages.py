"""The chain of results that a figure shows: layers, blocks of layers, vectors, from the input to the first output.

A figure of papers has one line of results, each made from the one before it. Where several tensors flow side by side,
what lies between is one block (a residual or inception block); a network that is little else has no such figure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NoReturn

from ...errors import CnnscopeError
from ...graph import ModelGraph, Shape
from ..diagram import labels
from ..diagram.composing import compose
from ..diagram.kinds import family
from ..diagram.panels import PLAIN
from ..diagram.scene import Card, Scene
from .windows import Window, window_of

_INSTEAD = "'cnnscope graph' draws it"
_MOST = 8  # a block of more layers with weights than this, and than half of all, is the network itself


@dataclass(frozen=True)
class Stage:
    """One result of the chain.

    kind: input, convolution, block, pooling, vector or other. title: ``conv 3×3``; name and type: of its module.
    size: height and width, (1, 1) for a vector. kernel: of a window that slides over the stage before, else None.
    activation: what follows at once, by name.
    """

    kind: str
    title: str
    channels: int
    size: tuple[int, int]
    name: str = ""
    type: str = ""
    params: int = 0
    macs: int | None = 0
    kernel: tuple[int, int] | None = None
    activation: str = ""

    @property
    def flat(self) -> bool:
        """It has one number for each channel: a vector, also where it is called a map."""
        return self.size == (1, 1)


def stages(graph: ModelGraph) -> list[Stage]:
    """The chain of a traced network.

    Raises:
        CnnscopeError: there is none, and why.
    """
    chain = _Chain(graph, compose(graph, fold=False))
    made = [chain.stage(unit) for unit in chain.units()]
    kept: list[Stage] = []
    for stage in made:
        if stage is None:
            continue
        before = kept[-1] if kept else None
        same = before is not None and (stage.channels, stage.size) == (before.channels, before.size)
        if stage.kind == "other" and same and before is not None:
            kept[-1] = _joined(before, stage)
        else:
            kept.append(stage)
    maps = [stage for stage in kept if not stage.flat and stage.kind in ("convolution", "block", "pooling")]
    if not maps:
        raise CnnscopeError(f"no figure of {chain.name}: no layer in it gives maps of height × width; {_INSTEAD}")
    return kept


def _joined(before: Stage, after: Stage) -> Stage:
    """A stage with what only changes its numbers: their parameters are counted, their activation is shown."""
    macs = None if before.macs is None or after.macs is None else before.macs + after.macs
    params, activation = before.params + after.params, before.activation or after.activation
    return replace(before, params=params, macs=macs, activation=activation)


@dataclass
class _Unit:
    """Cards that become one stage, and the call of the module that they fill."""

    cards: list[Card]
    call: int | None = None


class _Chain:
    """What leads from the input to the first output, cut where a single tensor flows."""

    def __init__(self, graph: ModelGraph, scene: Scene) -> None:
        self.graph, self.scene, self.name = graph, scene, graph.name or "the network"
        cards = list(scene.root.cards())
        ends = [card for card in cards if card.form == "terminal" and card.title.startswith("Output")]
        if not ends:
            raise CnnscopeError(f"no figure of {self.name}: it returns no tensor")
        into: dict[Card, list[Card]] = {}
        for edge in scene.edges:
            into.setdefault(edge.head, []).append(edge.tail)
        found, front = {ends[0]}, [ends[0]]
        while front:
            for tail in into.get(front.pop(), ()):
                if tail not in found:
                    found.add(tail)
                    front.append(tail)
        self.cards = [card for card in cards if card in found]
        inputs = sum(card.form == "terminal" and card is not ends[0] for card in self.cards)
        if inputs != 1:
            raise CnnscopeError(f"no figure of {self.name}: its output comes from {inputs} inputs; {_INSTEAD}")
        self.around = {card: self._calls(card) for card in self.cards}

    def _calls(self, card: Card) -> list[int]:
        """The module calls that hold all operators of a card, from the outside, without the model's own."""
        found: list[int] | None = None
        for op in card.ops:
            chain, index = [], self.graph[op].call
            while index > 0:
                chain.append(index)
                index = self.graph.calls[index].parent
            found = chain[::-1] if found is None else [i for i in found if i in chain]
        return found or []

    def units(self) -> Iterator[_Unit]:
        """The cards stage by stage; modules of a type that elsewhere has branches are blocks also without any."""
        segments = list(self._segments())
        self._check(segments)
        blocks = set()
        for cards in segments:
            around = self._common(cards) if len(cards) > 1 else None
            if around and self.graph.calls[around[-1]].type not in PLAIN:
                blocks.add(self.graph.calls[around[-1]].type)
        last: _Unit | None = None
        for cards in segments:
            call = next((each for each in self._common(cards) if self.graph.calls[each].type in blocks), None)
            if last and call is not None and last.call == call:
                last.cards += cards
                continue
            if last:
                yield last
            last = _Unit(cards, call)
        if last:
            yield last

    def _segments(self) -> Iterator[list[Card]]:
        """Runs of cards, cut wherever a single tensor flows on."""
        place = {card: i for i, card in enumerate(self.cards)}
        until = list(range(len(self.cards)))  # the last reader of each card
        for edge in self.scene.edges:
            if edge.head in place and edge.tail in place:
                until[place[edge.tail]] = max(until[place[edge.tail]], place[edge.head])
        start, flowing = 0, set[int]()
        for i, end in enumerate(until):
            flowing = {j for j in flowing if until[j] > i}
            if end > i:
                flowing.add(i)
            if len(flowing) <= 1:
                yield self.cards[start : i + 1]
                start = i + 1

    def _common(self, cards: list[Card]) -> list[int]:
        """The module calls that hold all these cards, from the outside."""
        first, *others = (self.around[card] for card in cards)
        return [call for call in first if all(call in other for other in others)]

    def _check(self, segments: list[list[Card]]) -> None:
        layers = [sum(self._weighs(card) for card in cards) for cards in segments]
        most = max(layers)
        if most > _MOST and 2 * most > sum(layers):
            raise CnnscopeError(
                f"no figure of {self.name}: it is no chain, {most} of its {sum(layers)} layers with weights lie where "
                f"several tensors flow side by side; {_INSTEAD}"
            )

    def _weighs(self, card: Card) -> bool:
        return card.family in ("convolution", "linear")

    def stage(self, unit: _Unit) -> Stage | None:
        """What a unit is in the figure; None when it only hands on."""
        last = unit.cards[-1]
        shape, window = last.shape or (), self._window(unit.cards)
        kind = self._kind(unit, shape, window)
        if kind is None:
            return None
        inner = self._common(unit.cards)
        call = self.graph.calls[unit.call if unit.call is not None else inner[-1] if inner else 0]
        macs = [card.macs for card in unit.cards]
        chips = [chip.text for card in unit.cards for chip in card.chips if chip.family == "activation"]
        chips += [card.title for card in unit.cards if card.family == "activation"]
        return Stage(
            kind, _title(kind, last, window, call.type if inner else ""), shape[1],
            (shape[2], shape[3]) if len(shape) == 4 else (1, 1), call.module or last.path, call.type if inner else "",
            sum(card.params for card in unit.cards), None if None in macs else sum(each or 0 for each in macs),
            window.kernel if window and kind != "block" else None, chips[-1] if chips else "",
        )  # fmt: skip

    def _kind(self, unit: _Unit, shape: Shape, window: Window | None) -> str | None:
        last, families = unit.cards[-1], {card.family for card in unit.cards}
        if last.form == "terminal" and last.title.startswith("Output"):
            return None
        if len(shape) not in (2, 4):
            if any(map(self._weighs, unit.cards)) or last.form == "terminal":
                self._refuse(last, f"gives {labels.shape(shape)}, neither maps nor a vector")
            return None
        if last.form == "terminal":
            return "input"
        if len(unit.cards) > 1 or unit.call is not None:
            if len(shape) == 4 and not families & {"convolution", "pooling"}:
                self._refuse(last, "comes from neither convolution nor pooling, so it may be no maps")
            return "vector" if len(shape) == 2 else "convolution" if window and window.wide else "block"
        if last.family in ("convolution", "pooling"):
            return last.family
        if len(shape) == 2:
            return None if last.family == "reshape" else "vector" if last.family == "linear" else "other"
        return "other"

    def _refuse(self, card: Card, why: str) -> NoReturn:
        what = "the input" if card.form == "terminal" else card.path or card.title
        raise CnnscopeError(f"no figure of {self.name}: {what} {why}; {_INSTEAD}")

    def _window(self, cards: list[Card]) -> Window | None:
        """The window of a single convolution or pooling, or of equal convolutions beside one another."""
        found: list[Window] = []
        for card in cards:
            for op in (self.graph[name] for name in card.ops):
                if family(op.kind) in ("convolution", "pooling") and (window := window_of(op)):
                    found.append(window)
        if len(set(found)) != 1:
            return None
        heads = {card for card in cards if card.family == "convolution"}
        deep = any(edge.tail in heads and edge.head in heads for edge in self.scene.edges)
        joins = {card for card in cards if card.form in ("circle", "pill")}
        around = any(edge.head in joins and edge.tail not in cards for edge in self.scene.edges)
        sums = any(card.form == "circle" for card in cards)
        return found[0]._replace(wide=not (deep or sums or around))


def _title(kind: str, card: Card, window: Window | None, type_: str) -> str:
    if kind == "input":
        return "input"
    if kind == "block":
        return type_ or "block"
    if kind == "vector":
        return "fc"
    if window is None:
        return type_ if kind == "other" and len(card.shape or ()) == 2 and type_ else card.title
    words = "conv" if kind == "convolution" else card.title.split()[0]
    stride = "" if window.stride == (1, 1) else f" /{window.stride[0]}"
    return f"{words} {window.kernel[0]}×{window.kernel[1]}{stride}"
