"""What is drawn, before anyone knows where: cards in nested panels, and edges between cards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ...graph import Shape


@dataclass(frozen=True)
class Chip:
    """A small sign on a card for what is done to its result at once: BN, ReLU, Dropout."""

    text: str
    family: str


# Cards and panels are told apart by who they are, not by what they say: hence eq=False.


@dataclass(eq=False)
class Card:
    """One layer or operator.

    form: ``card`` (stripe, two lines), ``block`` (a closed panel), ``line`` (stripe, one line), ``circle`` (a sign),
    ``pill`` or ``terminal``.
    family: what it is coloured by. name: dotted path of its module. shape: of its result, as text.
    macs: None where nobody knows. copies: how many equal cards it stands for; last: the name of the last of them.
    again: this is a further call of a layer that was drawn before.
    ops: all operators that it stands for; more_ops: those of the equal cards that were folded into it; signature: all
    that makes it equal to another but its place.
    heat: the amount that its bar shows, None where nobody knows it; heat_text: the same in words.
    """

    form: str
    family: str
    title: str
    path: str = ""
    name: str = ""
    shape: Shape | None = None
    shape_text: str = ""
    params: int = 0
    macs: int | None = 0
    chips: list[Chip] = field(default_factory=list)
    ops: tuple[str, ...] = ()
    more_ops: tuple[str, ...] = ()
    signature: str = ""
    copies: int = 1
    last: str = ""
    missing: tuple[str, ...] = ()
    again: bool = False
    more_params: int = 0
    more_macs: int = 0
    more_heat: float = 0
    grows: bool = False
    heat: float | None = 0
    heat_text: str = ""

    @property
    def total_params(self) -> int:
        return self.params + self.more_params

    @property
    def total_macs(self) -> int | None:
        return None if self.macs is None else self.macs + self.more_macs

    @property
    def total_heat(self) -> float:
        return (self.heat or 0) + self.more_heat


@dataclass(eq=False)
class Panel:
    """One call of a module that is drawn as a titled frame around its children.

    copies: how many equal panels it stands for; last: the path of the last of them; more_params, more_macs, more_heat:
    what the others add to the totals; grows: they differ in width. period: how many modules in a row one copy
    consists of, where that is more than one. part: 1, 2, ... when it is cut over several columns; whole: what was cut.
    """

    path: str
    name: str
    type: str
    children: list[Card | Panel] = field(default_factory=list)
    copies: int = 1
    last: str = ""
    more_params: int = 0
    more_macs: int = 0
    more_heat: float = 0
    grows: bool = False
    period: int = 1
    part: int = 0
    whole: Panel | None = None

    def cards(self) -> Iterator[Card]:
        """All cards in it, in order, however deep."""
        for child in self.children:
            if isinstance(child, Card):
                yield child
            else:
                yield from child.cards()

    @property
    def params(self) -> int:
        """Of one copy."""
        return sum(child.total_params for child in self.children)

    @property
    def macs(self) -> int | None:
        """Of one copy; None when nothing in it is known."""
        known = sum(child.total_macs or 0 for child in self.children)
        return None if self.missing and not known else known

    @property
    def total_params(self) -> int:
        return self.params + self.more_params

    @property
    def total_macs(self) -> int | None:
        macs = self.macs
        return None if macs is None else macs + self.more_macs

    @property
    def heat(self) -> float:
        """Of one copy, as far as it is known."""
        return sum(child.total_heat for child in self.children)

    @property
    def total_heat(self) -> float:
        return self.heat + self.more_heat

    @property
    def missing(self) -> tuple[str, ...]:
        """Kinds of operators in it whose MACs nobody knows."""
        return tuple(kind for child in self.children for kind in child.missing)


Node = Card | Panel


@dataclass(frozen=True)
class Edge:
    """A tensor from one card to another.

    shape: as it arrives, which differs from the tail's result where views lie between; via: those views.
    skip: an identity shortcut around other cards.
    """

    tail: Card
    head: Card
    shape: Shape
    dtype: str = ""
    via: tuple[str, ...] = ()
    skip: bool = False

    @property
    def signal(self) -> Signal:
        return self.tail, self.shape


Signal = tuple[Card, Shape]
"""What runs along one line: edges from the same card with the same shape share it until they part."""


@dataclass
class Scene:
    """The content of a whole picture.

    batch: the size that shapes are written without; operators: how many were traced; heat: what the bars show.
    """

    root: Panel
    edges: list[Edge]
    batch: int | None = None
    operators: int = 0
    heat: str = ""
