"""One network at every batch size, from two traces: each size is linear in the batch, so the third need not be run.

``Batches`` takes traces at two batch sizes, finds for every number in them (sizes of tensors, arguments of operators)
the line through both, and gives the graph at any other batch size, equal to a direct trace. The bytes of a storage
follow from the sizes of a tensor that fills it, since a product of lines (a similarity matrix) is no line. Where the
two runs differ in more than numbers, or a line meets no whole number, it says so: then each batch needs its own trace.
A model that takes another path only at batch sizes beyond the two cannot be seen through; ``agrees`` holds an answer
against a direct trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..errors import CnnscopeError
from ..graph import ITEM_BYTES, Call, ModelGraph, Op, Storage, Value


class NotLinear(CnnscopeError):
    """Two traces that no straight line goes through: the model runs other operators at another batch size."""


class Batches:
    """The graphs of one network by batch size.

    low, high: traces of the same model at the batch sizes ``b`` and ``c``, two numbers of at least 2 (some models treat
    a batch of 1 as a case of its own).

    Raises:
        NotLinear: they differ in more than numbers.
    """

    def __init__(self, low: ModelGraph, b: int, high: ModelGraph, c: int) -> None:
        if b == c:
            raise ValueError(f"two traces at the same batch size {b} tell nothing of others")
        self.low, self.high, self.b, self.c = low, high, b, c
        self._check()
        self._fills = self._filling()

    def _check(self) -> None:
        low, high = self.low, self.high
        same = (
            [op.name for op in low.ops] == [op.name for op in high.ops]
            and [s[2:] for s in low.storages] == [s[2:] for s in high.storages]
            and len(low.calls) == len(high.calls)
        )
        if not same:
            raise NotLinear(
                f"{low.name} runs other operators at batch size {self.c} than at {self.b}: "
                "its memory at other batch sizes has to be traced one by one"
            )

    def _filling(self) -> dict[int, tuple[Value, Value]]:
        """For each storage that changes a tensor that fills it, in both traces."""
        found: dict[int, tuple[Value, Value]] = {}
        low, high = self.low.storages, self.high.storages
        for one, other in zip(self.low.ops, self.high.ops, strict=True):
            for a, b in zip((*one.inputs, *one.outputs), (*other.inputs, *other.outputs), strict=True):
                if a.storage not in found and a.bytes == low[a.storage].bytes and b.bytes == high[b.storage].bytes:
                    found[a.storage] = (a, b)
        return found

    def number(self, low: int, high: int, batch: int) -> int:
        """The number at another batch size.

        Raises:
            NotLinear: the line meets no whole number there.
        """
        if low == high:
            return low
        rise, rest = divmod((high - low) * (batch - self.b), self.c - self.b)
        if rest:
            raise NotLinear(f"{self.low.name}: a size of {low} at batch {self.b} and {high} at {self.c} is on no line")
        return low + rise

    def storages(self, batch: int) -> tuple[Storage, ...]:
        """The storages at a batch size: all that a peak depends on."""
        pairs = zip(self.low.storages, self.high.storages, strict=True)
        return tuple([low if low.bytes == high.bytes else self._storage(low, high, batch) for low, high in pairs])

    def _storage(self, low: Storage, high: Storage, batch: int) -> Storage:
        if low.id not in self._fills:
            return low._replace(bytes=self.number(low.bytes, high.bytes, batch))
        one, other = self._fills[low.id]
        sizes = [self.number(a, b, batch) for a, b in zip(one.shape, other.shape, strict=True)]
        return low._replace(bytes=math.prod(sizes) * ITEM_BYTES[one.dtype])

    def at(self, batch: int) -> ModelGraph:
        """The graph at a batch size, for every analysis.

        Raises:
            NotLinear: some size or argument is not linear in the batch.
        """
        low, high = self.low, self.high
        at = _At(self, batch)
        return ModelGraph(
            low.name,
            at.all(at.op, low.ops, high.ops),
            self.storages(batch),
            inputs=at.all(at.value, low.inputs, high.inputs),
            outputs=at.all(at.value, low.outputs, high.outputs),
            parameters=low.parameters,
            calls=at.all(at.call, low.calls, high.calls),
            run=low.run,
        )


def agrees(found: ModelGraph, direct: ModelGraph) -> bool:
    """Whether a graph from two others is that of a direct trace, as far as memory goes."""
    return found.storages == direct.storages and [op.name for op in found] == [op.name for op in direct]


class _At(NamedTuple):
    """The pieces of a graph at one batch size, each from its two traces."""

    batches: Batches
    batch: int

    def all(self, one: Callable[[Any, Any], Any], low: tuple[Any, ...], high: tuple[Any, ...]) -> tuple[Any, ...]:
        if low == high:
            return low
        return tuple([one(a, b) for a, b in zip(low, high, strict=True)])

    def value(self, low: Value, high: Value) -> Value:
        if low == high:
            return low
        # Strides of the two differ in number where a tensor of one batch happens to lie in order.
        strides = self.plain(low.strides, high.strides) if len(low.strides) == len(high.strides) else low.strides
        return low._replace(shape=self.plain(low.shape, high.shape), strides=strides)

    def call(self, low: Call, high: Call) -> Call:
        return low._replace(
            inputs=self.all(self.value, low.inputs, high.inputs),
            outputs=self.all(self.value, low.outputs, high.outputs),
        )

    def op(self, low: Op, high: Op) -> Op:
        return low._replace(
            inputs=self.all(self.value, low.inputs, high.inputs),
            outputs=self.all(self.value, low.outputs, high.outputs),
            attrs=self.attrs(low.attrs, high.attrs),
        )

    def attrs(self, low: Mapping[str, Any], high: Mapping[str, Any]) -> Mapping[str, Any]:
        if low == high:
            return low
        return {name: self.plain(value, high[name]) for name, value in low.items()}

    def plain(self, low: Any, high: Any) -> Any:
        """An argument: whole numbers lie on a line, other numbers (a mean's divisor) may not matter to any size."""
        if low == high and type(low) is type(high):
            return low
        if isinstance(low, tuple) and isinstance(high, tuple) and len(low) == len(high):
            return tuple([self.plain(a, b) for a, b in zip(low, high, strict=True)])
        if type(low) is int and type(high) is int:
            return self.batches.number(low, high, self.batch)
        if isinstance(low, float) and isinstance(high, float):
            return None  # no line is promised for it, and no size depends on it
        raise NotLinear(f"{self.batches.low.name}: an argument is {low!r} at one batch size and {high!r} at another")
