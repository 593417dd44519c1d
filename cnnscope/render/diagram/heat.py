"""What the bar on a card shows: MACs, parameters, memory or time of each operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import fsum

from ...analyses.costs import cost
from ...analyses.parameters import params
from ...errors import CnnscopeError
from ...graph import ModelGraph
from ...table import columns
from ...units import binary

KINDS = ("macs", "params", "memory", "time")
_WORDS = {
    "macs": "MACs relative to the costliest layer",
    "params": "parameters relative to the largest layer",
    "memory": "memory allocated by the layer, relative to the largest",
    "time": "time estimated from {device}'s roofline, relative to the slowest layer",
}


@dataclass(frozen=True)
class Heat:
    """An amount for each operator, None where nobody knows it, and the words for the legend."""

    kind: str
    words: str
    by_op: Mapping[str, float | None]

    def of(self, ops: Iterable[str]) -> float | None:
        """Of all these operators together, as far as it is known."""
        known = [value for op in ops if (value := self.by_op.get(op)) is not None]
        return fsum(known) if known else None

    def text(self, amount: float | None) -> str:
        """What stands on a card beside its parameters and MACs, which need not be said twice."""
        if self.kind in ("macs", "params") or amount == 0:
            return ""
        if amount is None:
            return "? s" if self.kind == "time" else ""
        return binary(round(amount)) if self.kind == "memory" else _duration(amount)


def heat(graph: ModelGraph, kind: str = "macs", device: str | None = None) -> Heat:
    """The heat of a graph's operators.

    Raises:
        ValueError: there is no such kind of heat.
        CnnscopeError: time is asked for without a device, or where nothing estimates it.
    """
    if kind not in KINDS:
        raise ValueError(f"no heat {kind!r}; one of {', '.join(KINDS)}")
    words = _WORDS[kind].format(device=device)
    if kind == "macs":
        return Heat(kind, words, {row.name: row.macs for row in cost(graph).values()})
    if kind == "params":
        return Heat(kind, words, {row.name: row.params for row in params(graph).values()})
    return Heat(kind, words, _memory(graph) if kind == "memory" else _times(graph, device))


def _memory(graph: ModelGraph) -> dict[str, float | None]:
    """Bytes of what each operator allocates."""
    found: dict[str, float | None] = dict.fromkeys((op.name for op in graph), 0)
    for storage in graph.storages:
        if 0 <= storage.born < len(graph.ops):
            name = graph.ops[storage.born].name
            found[name] = (found[name] or 0) + storage.bytes
    return found


def _times(graph: ModelGraph, device: str | None) -> dict[str, float | None]:
    """Seconds by operator, as the roofline of a device has them."""
    import cnnscope

    roofline = getattr(cnnscope, "roofline", None)
    if roofline is None:
        raise CnnscopeError("heat by time needs a roofline, which this cnnscope lacks; use macs, params or memory")
    if device is None:
        raise CnnscopeError("heat by time needs a device to estimate for: --device NAME; 'cnnscope devices' lists them")
    found = roofline(graph, device)
    column = next(each.name for each in columns(found.row_type) if each.metadata["unit"] == "second")
    # An operator without a row runs no kernel, unless a row is of several operators and nobody knows which.
    without = 0.0 if all(name in graph for name in found) else None
    return {op.name: getattr(found[op.name], column) if op.name in found else without for op in graph}


def _duration(seconds: float) -> str:
    for size, unit in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
