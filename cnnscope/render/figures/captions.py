"""The words of a figure: captions under its parts, the heading, the legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile

from ..canvas.metrics import fit
from ..canvas.shapes import INK, Box, Paint, Shape, Text
from ..diagram.labels import costs, number
from .stages import Stage

SOFT = "#5b6675"
_BOLD, _PLAIN, _LINE = 11.5, 10.5, 15.0


@dataclass(frozen=True)
class Caption:
    """A bold line and softer ones under it, centred."""

    head: str
    lines: Sequence[str] = ()

    @property
    def width(self) -> float:
        return max(text.width for text in self.shapes(0, 0))

    def shapes(self, x: float, y: float) -> list[Text]:
        """Its lines around x, the first one's foot at y."""
        texts = [Text(x, y, fit(self.head, _BOLD, 190, bold=True), _BOLD, INK, True, "middle")]
        for line in self.lines:
            y += _LINE
            texts.append(Text(x, y, fit(line, _PLAIN, 170), _PLAIN, SOFT, anchor="middle"))
        return texts


def heading(title: str, facts: str) -> list[Text]:
    return [
        Text(36, 42, fit(title, 20, 900, bold=True), 20, INK, True),
        Text(36, 62, fit(facts, 11.5, 900), 11.5, SOFT),
    ]


def of_group(stages: Sequence[Stage], others: Sequence[Stage] = ()) -> Caption:
    """What stands under stages of one kind and resolution; ``others``: the rest of the chain."""
    first = stages[0]
    if first.kind == "input":
        return Caption("input", [_shape(first)])
    macs = None if any(each.macs is None for each in stages) else sum(each.macs or 0 for each in stages)
    work = f"{number(macs)} MACs" if macs else "? MACs" if macs is None else ""
    if first.kind == "block":
        return Caption(_names(stages, others), [_counted([each.title for each in stages]), *([work] if work else [])])
    words = _counted([each.title for each in stages])
    if first.kind == "vector" and first.activation in ("Softmax", "LogSoftmax"):
        words += ", softmax"
    if first.flat:
        return Caption(words, [costs(first.params, 0).replace(" p", " params")] if first.params else [])
    return Caption(words, [work] if work else [])


def _shape(stage: Stage) -> str:
    return f"{stage.channels}×{stage.size[0]}×{stage.size[1]}"


def _counted(titles: Sequence[str]) -> str:
    """``conv 5×5, 2 × conv 1×1``; only the number where that is long."""
    runs = [(title, len(list(equal))) for title, equal in groupby(titles)]
    words = ", ".join(f"{count} × {title}" if count > 1 else title for title, count in runs)
    return words if len(words) <= 30 else f"{len(titles)} × {titles[0].split()[0]}"


def _names(stages: Sequence[Stage], others: Sequence[Stage]) -> str:
    """``layer1`` for layer1.0 to layer1.2 where that is all of layer1, else the first and the last."""
    names = [stage.name for stage in stages]
    if len(names) == 1:
        return names[0]
    parts = zip(*(name.split(".") for name in names), strict=False)
    together = ".".join(part[0] for part in takewhile(lambda part: len(set(part)) == 1, parts))
    if together and not any(f"{other.name}.".startswith(f"{together}.") for other in others):
        return together
    return f"{names[0]} – {names[-1].removeprefix(f'{together}.') if together else names[-1]}"


def legend(entries: Sequence[tuple[str, str]], x: float, y: float) -> list[Shape]:
    """Squares of a colour with words."""
    parts: list[Shape] = []
    for colour, words in entries:
        parts.append(Box(x, y - 10, 12, 12, Paint(colour, "#3d4653", 0.8), 1.5))
        text = Text(x + 18, y, words, 11, SOFT)
        parts.append(text)
        x += text.width + 40
    return parts
