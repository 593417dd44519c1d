"""The forward pass of a training step as a graph of its own."""

from __future__ import annotations

import itertools

from .graph import Call, ModelGraph, Op, Run, Storage, Value


def forward_of(graph: ModelGraph) -> ModelGraph:
    """The last forward pass of a training step up to its outputs, in training mode; without loss, gradients, optimizer.

    What dies only in the backward pass outlives this graph.
    """
    first, end = _bounds(graph)
    ops = graph.ops[first:end]
    names = {op.name for op in ops}
    placing = _Placing(graph, first, end)
    calls, numbers = _calls(graph, first, end)
    return ModelGraph(
        graph.name,
        tuple([placing.op(op, names, numbers) for op in ops]),
        placing.storages,
        inputs=placing.all(graph.inputs),
        outputs=placing.all(graph.outputs),
        parameters=tuple([each._replace(storage=placing.numbers[each.storage]) for each in graph.parameters]),
        calls=tuple(
            [each._replace(inputs=placing.all(each.inputs), outputs=placing.all(each.outputs)) for each in calls]
        ),
        run=Run(**{name: getattr(graph.run, name) for name in _OF_ANY_RUN}),
    )


_OF_ANY_RUN = ("device", "dtype", "autocast", "channels_last", "traced_on")


def _bounds(graph: ModelGraph) -> tuple[int, int]:
    """Where the last forward pass begins and ends. The loss comes after the last of the outputs."""
    first = end = 0
    for phase, ops in itertools.groupby(enumerate(graph.ops), key=lambda each: each[1].phase):
        if phase == "forward":
            numbers = [number for number, _ in ops]
            first, end = numbers[0], numbers[-1] + 1
    made = {value.name for value in graph.outputs}
    return first, max((i + 1 for i in range(first, end) if made & {v.name for v in graph.ops[i].outputs}), default=end)


def _calls(graph: ModelGraph, first: int, end: int) -> tuple[list[Call], dict[int, int]]:
    """The calls that begin in the forward pass, and their new numbers; a call of a module is its first here."""
    kept = [i for i, call in enumerate(graph.calls) if i == 0 or (first <= call.start <= end and _of_module(graph, i))]
    numbers = {number: place for place, number in enumerate(kept)}
    before = {graph.calls[i].module: graph.calls[i].repeat for i in reversed(kept)}
    calls = []
    for number in kept:
        call = graph.calls[number]
        calls.append(
            call._replace(
                parent=numbers.get(call.parent, -1),
                repeat=call.repeat - before[call.module],
                start=max(call.start - first, 0),
            )
        )
    return calls, numbers


def _of_module(graph: ModelGraph, number: int) -> bool:
    """Not the optimizer's step, which stands among the calls."""
    return not any(op.call == number for op in graph.ops if op.phase == "optimizer")


class _Placing:
    """Values and storages under their new numbers."""

    def __init__(self, graph: ModelGraph, first: int, end: int) -> None:
        kept = [each for each in graph.storages if self._is_there(each, first, end)]
        self.numbers = {storage.id: number for number, storage in enumerate(kept)}
        self.storages = tuple([self._storage(each, number, first, end) for number, each in enumerate(kept)])

    @staticmethod
    def _is_there(storage: Storage, first: int, end: int) -> bool:
        given = storage.born < 0 and storage.kind not in ("gradient", "optimizer")
        return given or first <= storage.born < end

    @staticmethod
    def _storage(storage: Storage, number: int, first: int, end: int) -> Storage:
        dies = None if storage.dies is None or storage.dies > end else max(storage.dies - first, 0)
        kind = "activation" if storage.kind == "saved" else storage.kind
        born = max(storage.born - first, -1)
        return storage._replace(id=number, born=born, dies=dies, kind=kind, savers=())

    def all(self, values: tuple[Value, ...]) -> tuple[Value, ...]:
        return tuple([v._replace(storage=self.numbers[v.storage]) for v in values if v.storage in self.numbers])

    def op(self, op: Op, names: set[str], numbers: dict[int, int]) -> Op:
        return op._replace(
            inputs=self.all(op.inputs),
            outputs=self.all(op.outputs),
            call=numbers[op.call],
            after=tuple([name for name in op.after if name in names]),
        )
