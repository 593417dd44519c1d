"""Where everything stands on a card: worked out once, for the layout, the drawing and the tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ..canvas.metrics import fit, width
from ..canvas.shapes import INK, Text
from . import labels
from .panels import PLAIN
from .scene import Card, Chip, Panel

SOFT, FAINT = "#475569", "#64748b"
STRIPE, PAD, GAP = 5.0, 9.0, 7.0
CHIP_HEIGHT, CHIP_SIZE = 13.0, 8.0
RADIUS = 12.0
HEADER = 22.0
STACK = 4.0
"""How far each of the two frames behind a folded panel or card looks out."""


@dataclass(frozen=True)
class Badge:
    """A chip in its place, or the ×N of a folded card."""

    x: float
    y: float
    width: float
    chip: Chip


@dataclass
class Face:
    """What a card looks like, seen from its upper left corner.

    body: left, top, width and height of what is drawn; the box around it is what the layout keeps free, with the
    line through the card in its middle. bar: left, top, width of the heat bar.
    """

    width: float
    height: float
    body: tuple[float, float, float, float]
    texts: list[Text] = field(default_factory=list)
    badges: list[Badge] = field(default_factory=list)
    bar: tuple[float, float, float] | None = None


def face(card: Card, sideways: bool = False) -> Face:
    """The face of a card by its form. sideways: lines pass it from left to right, and not from above."""
    made = _FORMS[card.form](card)
    if sideways and card.chips and card.form in ("circle", "pill"):
        made = _chips_below(made)
    return _stacked(made, card) if card.copies > 1 else made


def _card(card: Card) -> Face:
    """Two lines: what it is, with chips; what comes out and what it costs."""
    words = fit(card.title, 12, 220, bold=True)
    name = fit(_name(card), 9, 110)
    result = fit(card.shape_text, 10, 150)
    shared = "shared" if card.again and not card.params else ""
    numbers = fit(" · ".join(filter(None, [shared, costs(card), card.heat_text])), 9.5, 220)
    chips = list(_chips(card))
    left = STRIPE + PAD
    first = width(words, 12, bold=True) + (GAP + width(name, 9) if name else 0)
    first += sum(each + 3 for each, _ in chips) + (GAP if chips else 0)
    second = width(result, 10) + (14 + width(numbers, 9.5) if numbers else 0)
    total = max(left + max(first, second) + PAD, 84.0)
    texts = [Text(left, 15.5, words, 12, INK, True), Text(left, 29, result, 10, SOFT)]
    if name:
        texts.append(Text(left + width(words, 12, bold=True) + GAP, 15.5, name, 9, FAINT))
    if numbers:
        texts.append(Text(total - PAD, 29, numbers, 9.5, FAINT, anchor="end"))
    bar = (left, 35.0, total - left - PAD) if card.heat else None
    height = 42.0 if bar else 36.0
    return Face(total, height, (0, 0, total, height), texts, _from_right(chips, total - PAD + 2, 5.0), bar)


def _line(card: Card) -> Face:
    """One line, for what has neither parameters nor MACs."""
    words, result = fit(card.title, 11, 220, bold=True), fit(card.shape_text, 9.5, 150)
    result = " · ".join(filter(None, [result, card.heat_text]))
    chips = list(_chips(card))
    left = STRIPE + PAD
    after = left + width(words, 11, bold=True) + GAP
    total = after + width(result, 9.5) + PAD + sum(each + 3 for each, _ in chips) + (GAP if chips else 0)
    texts = [Text(left, 16, words, 11, INK, True), Text(after, 16, result, 9.5, FAINT)]
    bar = (left, 21.0, total - left - PAD) if card.heat else None
    high = 28.0 if bar else 24.0
    return Face(total, high, (0, 0, total, high), texts, _from_right(chips, total - PAD + 3, 5.5), bar)


def _circle(card: Card) -> Face:
    """A sign in a circle."""
    sign = Text(RADIUS, RADIUS + 5.5, card.title, 16, "", True, "middle")
    made = Face(2 * RADIUS, 2 * RADIUS, (0, 0, 2 * RADIUS, 2 * RADIUS), [sign])
    return _chips_beside(made, card)


def _pill(card: Card) -> Face:
    words, result = fit(card.title, 11, 120, bold=True), fit(card.shape_text, 9.5, 150)
    total = 24 + width(words, 11, bold=True) + 6 + width(result, 9.5)
    texts = [Text(12, 16, words, 11, "", True), Text(total - 12, 16, result, 9.5, FAINT, anchor="end")]
    return _chips_beside(Face(total, 24, (0, 0, total, 24), texts), card)


def _chips_beside(made: Face, card: Card) -> Face:
    """Chips at the right; the box is as wide to the left, so that lines run straight through the middle."""
    chips = list(_chips(card))
    beside = sum(each + 3 for each, _ in chips) + (5 if chips else 0)
    badges, x = [], beside + made.width + 5
    for each, chip in chips:
        badges.append(Badge(x, (made.height - CHIP_HEIGHT) / 2, each, chip))
        x += each + 3
    texts = [replace(text, x=text.x + beside) for text in made.texts]
    return Face(made.width + 2 * beside, made.height, (beside, *made.body[1:]), texts, badges)


def _chips_below(made: Face) -> Face:
    """The same with the chips under it, and as much room above."""
    _, _, wide, high = made.body
    first = min(badge.x for badge in made.badges)
    row = max(badge.x + badge.width for badge in made.badges) - first
    total, below = max(wide, row), CHIP_HEIGHT + 3
    left = (total - wide) / 2
    texts = [replace(text, x=text.x - made.body[0] + left, y=text.y + below) for text in made.texts]
    start = (total - row) / 2 - first
    badges = [replace(badge, x=badge.x + start, y=below + high + 3) for badge in made.badges]
    return Face(total, high + 2 * below, (left, below, wide, high), texts, badges)


def _terminal(card: Card) -> Face:
    words, name = fit(card.title, 12, 160, bold=True), fit(card.name, 9, 90)
    result = fit(card.shape_text, 10, 150)
    parts = [(words, 12.0, True, "#ffffff"), (name, 9.0, False, "#cbd5e1"), (result, 10.0, False, "#e2e8f0")]
    parts = [part for part in parts if part[0]]
    total = 32 + sum(width(text, size, bold=bold) for text, size, bold, _ in parts) + 7 * (len(parts) - 1)
    texts, x = [], 16.0
    for text, size, bold, ink in parts:
        texts.append(Text(x, 18, text, size, ink, bold))
        x += width(text, size, bold=bold) + 7
    return Face(total, 28, (0, 0, total, 28), texts)


_FORMS = {"card": _card, "block": _card, "line": _line, "circle": _circle, "pill": _pill, "terminal": _terminal}


def _name(card: Card) -> str:
    name = f"{card.name} – {tail(card.last)}" if card.last else card.name
    return f"{name} (again)" if card.again else name


def tail(path: str) -> str:
    """The last part of a dotted path."""
    return path.rpartition(".")[2]


def _chips(card: Card) -> Iterator[tuple[float, Chip]]:
    for chip in card.chips:
        text = fit(chip.text, CHIP_SIZE, 70, bold=True)
        yield width(text, CHIP_SIZE, bold=True) + 10, Chip(text, chip.family)


def _from_right(chips: list[tuple[float, Chip]], right: float, top: float) -> list[Badge]:
    badges = []
    for each, chip in reversed(chips):
        right -= each
        badges.append(Badge(right, top, each, chip))
        right -= 3
    return badges[::-1]


def _stacked(made: Face, card: Card) -> Face:
    """Room at the right for the ×N, and above and beside for the frames behind."""
    text, edge = times(card), 2 * STACK
    each = width(text, 9, bold=True) + 12
    _, _, wide, high = made.body
    grown = wide + each + 4
    texts = []
    for line in made.texts:
        right = line.anchor == "end"
        texts.append(replace(line, x=line.x + edge + (each + 4 if right else 0), y=line.y + edge))
    badges = [replace(badge, x=badge.x + edge, y=badge.y + edge) for badge in made.badges]
    badges.append(Badge(edge + grown - each - 5, edge + 4.5, each, Chip(text, "times")))
    bar = (made.bar[0] + edge, made.bar[1] + edge, made.bar[2] + each + 4) if made.bar else None
    return Face(grown + 2 * edge, high + edge, (edge, edge, grown, high), texts, badges, bar)


def costs(card: Card) -> str:
    """What a card costs; one that stands for several says that it is their sum, as its bar is."""
    words = labels.costs(card.total_params, card.total_macs, card.missing)
    return f"all {words}" if words and card.copies > 1 else words


def times(node: Card | Panel) -> str:
    return f"×{node.copies} growing" if node.grows else f"×{node.copies}"


@dataclass(frozen=True)
class Heading:
    """The words on a panel's upper edge: at the left what it is, at the right what it costs."""

    name: str
    type: str
    costs: str
    times: str

    @property
    def left(self) -> float:
        gap = 6 if self.name and self.type else 0
        return width(self.name, 10.5, bold=True) + gap + width(self.type, 10)

    @property
    def right(self) -> float:
        badge = width(self.times, 9, bold=True) + 12 + 6 if self.times else 0
        return width(self.costs, 9.5) + badge


def heading(panel: Panel) -> Heading:
    whole = panel.whole or panel
    name = f"{whole.name} – {tail(whole.last)}" if whole.last else whole.name
    # Blocks that grow differ, so that only their sum says something; of equal ones, one block's figures do.
    own = (whole.total_params, whole.total_macs) if whole.grows else (whole.params, whole.macs)
    words = labels.costs(*own, whole.missing)
    if whole.copies > 1 and words:
        words = f"all {words}" if whole.grows else f"each {words}"
    type_ = "" if whole.type in PLAIN else whole.type.removeprefix("Sequential ")
    type_ += " (continued)" if panel.part > 1 else ""
    return Heading(
        fit(name, 10.5, 190, bold=True), fit(type_, 10, 130), words, times(whole) if whole.copies > 1 else ""
    )
