"""Which memory is alive while each operator runs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from functools import cached_property

from ..graph import ModelGraph, Storage

# In the order in which a picture stacks them: what stays, what waits, what comes and goes.
KINDS = ("param", "buffer", "constant", "optimizer", "gradient", "input", "saved", "activation", "temporary")


@dataclasses.dataclass(frozen=True)
class Timeline:
    """Bytes alive when each operator has just returned: its inputs, its outputs and all that waits.

    total: by operator, in execution order; storages: those counted.
    """

    graph: ModelGraph
    storages: tuple[Storage, ...]
    total: tuple[int, ...]

    @cached_property
    def peak_at(self) -> int:
        """Index of the first operator at which most is alive; -1 for a graph without operators."""
        return self.total.index(max(self.total)) if self.total else -1

    @property
    def peak(self) -> int:
        """Bytes."""
        return self.total[self.peak_at] if self.total else sum(storage.bytes for storage in self.storages)

    @cached_property
    def kinds(self) -> Mapping[str, tuple[int, ...]]:
        """The same series for each kind of storage that occurs."""
        found = {storage.kind for storage in self.storages}
        count = len(self.graph.ops)
        return {
            kind: _series([s for s in self.storages if s.kind == kind], count)
            for kind in (*(k for k in KINDS if k in found), *sorted(found.difference(KINDS)))
        }

    def alive(self, at: int) -> list[Storage]:
        """The storages alive when operator ``at`` has just returned, the largest first."""
        found = [s for s in self.storages if s.born <= at and (s.dies is None or s.dies > at)]
        return sorted(found, key=lambda storage: -storage.bytes)


def timeline(graph: ModelGraph, *, host: bool = True, compiled: bool = False) -> Timeline:
    """What is alive, operator by operator.

    host: count tensors that the program makes on the CPU wherever the model is. compiled: free each storage behind the
    last operator that uses it, as a compiled runtime does; otherwise when the eager program lets go of it.
    """
    storages = tuple([storage for storage in graph.storages if host or not storage.host])
    if compiled:
        storages = tuple(_until_last_use(graph, storages))
    return Timeline(graph, storages, _series(storages, len(graph.ops)))


def _series(storages: list[Storage] | tuple[Storage, ...], count: int) -> tuple[int, ...]:
    changes = [0] * (count + 1)
    for storage in storages:
        changes[max(storage.born, 0)] += storage.bytes
        changes[count if storage.dies is None else storage.dies] -= storage.bytes
    return tuple(itertools.accumulate(changes[:count]))


def _until_last_use(graph: ModelGraph, storages: tuple[Storage, ...]) -> Iterator[Storage]:
    last: dict[int, int] = {}
    for index, op in enumerate(graph.ops):
        for value in (*op.inputs, *op.outputs):
            last[value.storage] = index
    for storage in storages:
        if storage.dies is None or storage.born < 0:
            yield storage
        else:
            yield storage._replace(dies=min(storage.dies, last.get(storage.id, storage.born) + 1))


def events(timeline: Timeline, runs: int = 1) -> list[tuple[int, int]]:
    """What an allocator is asked for, in order: (storage, bytes) for an allocation, (storage, -1) for a free.

    What exists before the run comes first. Between two operators what dies is freed before the next allocates. With
    more than one run, a run finds what the one before has left (new gradients are the next step's old ones), and what
    nothing takes over, like an output, is freed between the two. Storages of later runs have numbers of their own.
    """
    count = len(timeline.graph.ops)
    births: list[list[Storage]] = [[] for _ in range(count + 1)]
    deaths: list[list[Storage]] = [[] for _ in range(count + 1)]
    for storage in timeline.storages:
        births[storage.born + 1].append(storage)
        if storage.dies is not None:
            deaths[storage.dies].append(storage)
    found = [(storage.id, storage.bytes) for storage in births[0]]
    heirs = _heirs(timeline.storages)
    numbers = {storage.id: storage.id for storage in births[0]}
    fresh = itertools.count(max(numbers, default=-1) + len(timeline.storages) + 1)
    for run in range(runs):
        for index in range(count + 1):
            found.extend([(numbers.pop(storage.id), -1) for storage in deaths[index] if storage.id in numbers])
            for storage in births[index + 1] if index < count else ():
                number = numbers[storage.id] = storage.id if run == 0 else next(fresh)
                found.append((number, storage.bytes))
        if run + 1 < runs:
            left = [s for s in timeline.storages if s.born >= 0 and s.id in numbers]
            for storage in left:
                number = numbers.pop(storage.id)
                if storage.id in heirs:
                    numbers[heirs[storage.id]] = number
                else:
                    found.append((number, -1))
    return found


def _heirs(storages: tuple[Storage, ...]) -> dict[int, int]:
    """Which storage at the beginning of a run stands for one that the run before left: of the same kind and size."""
    waiting: dict[tuple[str, int], list[int]] = {}
    for storage in storages:
        if storage.born < 0 and storage.dies is not None:
            waiting.setdefault((storage.kind, storage.bytes), []).append(storage.id)
    found = {}
    for storage in storages:
        if storage.born >= 0 and storage.dies is None and (same := waiting.get((storage.kind, storage.bytes))):
            found[storage.id] = same.pop(0)
    return found
