"""Memory over the operators of a run, as plain data for pictures: ``timeline_charts`` and ``timeline_drawings``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from ..units import binary
from .bubbles import ticks

# From the bottom of a stack: what stays, then what comes and goes. Kinds not named here lie on top.
KINDS = {
    "param": "parameters", "parameter": "parameters", "buffer": "buffers", "constant": "constants",
    "optimizer": "optimizer state", "gradient": "gradients", "input": "input", "saved": "saved for backward",
    "activation": "activations", "temporary": "temporary",
}  # fmt: skip
_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


class Span(NamedTuple):
    """A phase from one column to before another."""

    phase: str
    first: int
    end: int


class Tick(NamedTuple):
    """A round number of bytes on an axis, as it is written there."""

    bytes: float
    text: str


@dataclass(frozen=True)
class Timeline:
    """Bytes alive at each operator.

    title: what and of what; labels: the operators' names, in order; series: bytes per kind at each operator.
    phases: each operator's phase, none when empty. peak: index of the operator to mark, the largest sum by default.
    lines: other bytes at each operator, drawn as lines over the stack: allocated, reserved, the device's memory.

    Raises:
        ValueError: no operator, a series of another length, or a peak that is none of the operators.
    """

    title: str
    labels: Sequence[str]
    series: Mapping[str, Sequence[int]]
    phases: Sequence[str] = ()
    peak: int | None = None
    lines: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.labels)
        if not count:
            raise ValueError("a timeline needs at least one operator")
        for name, values in [*self.series.items(), *self.lines.items(), ("phases", self.phases or self.labels)]:
            if len(values) != count:
                raise ValueError(f"{name}: {len(values)} entries for {count} operators")
        if self.peak is not None and not 0 <= self.peak < count:
            raise ValueError(f"peak {self.peak} is none of the {count} operators")

    @cached_property
    def stack(self) -> dict[str, Sequence[int]]:
        """The kinds that are ever there, from the bottom of the stack."""
        order = [*KINDS, *self.series]
        kinds = sorted(self.series, key=order.index)
        return {kind: self.series[kind] for kind in kinds if any(self.series[kind])}

    @cached_property
    def totals(self) -> list[int]:
        """Bytes of all kinds at each operator."""
        return [sum(values) for values in zip(*self.stack.values(), strict=True)] or [0] * len(self.labels)

    @cached_property
    def top(self) -> int:
        """Index of the operator that is marked."""
        return max(range(len(self.totals)), key=self.totals.__getitem__) if self.peak is None else self.peak

    @property
    def summit(self) -> str:
        """The peak's bytes and operator in words."""
        return f"{binary(self.totals[self.top])} at {self.labels[self.top]}"

    @property
    def largest(self) -> int:
        """Most bytes of anything drawn."""
        return max(max(values) for values in (self.totals, *self.lines.values()))

    def columns(self, count: int) -> list[int]:
        """The operator that each of ``count`` columns shows: that with most bytes where a column stands for several.

        The marked operator is always among them.
        """
        many = len(self.labels)
        if many <= count:
            return [column * many // count for column in range(count)]
        edges = [column * many // count for column in range(count + 1)]
        chosen = [max(range(a, b), key=self.totals.__getitem__) for a, b in pairwise(edges)]
        chosen[self.column(self.top, count)] = self.top
        return chosen

    def column(self, op: int, count: int) -> int:
        """The first column in which an operator has a share."""
        many = len(self.labels)
        return -(-op * count // many) if many <= count else ((op + 1) * count - 1) // many

    def spans(self, count: int) -> list[Span]:
        """The phases along the columns, each with one at least as far as there are enough."""
        starts = [i for i, phase in enumerate(self.phases) if not i or phase != self.phases[i - 1]]
        edges = [*(self.column(start, count) for start in starts), count]
        for i in range(len(starts) - 1, 0, -1):
            edges[i] = max(0, min(edges[i], edges[i + 1] - 1))
        return [Span(self.phases[i], a, b) for i, (a, b) in zip(starts, pairwise(edges), strict=True) if a < b]


def scale(largest: int, about: int = 5) -> list[Tick]:
    """Round numbers from 0 to at least the largest, some ``about``, in the unit in which people would say it."""
    size, unit = next(((size, unit) for size, unit in _UNITS if largest >= size), (1, "B"))
    values = ticks(0, max(largest, 1) / size, about)
    places = max(len(f"{value:g}".partition(".")[2]) for value in values)
    return [Tick(value * size, f"{value:,.{places}f} {unit}" if value else "0") for value in values]
