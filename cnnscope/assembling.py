"""From a recorder's numbers to the immutable ModelGraph."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

from .fastmeta import METAS
from .graph import Call, ModelGraph, Op, Parameter, Run, Shape, Storage, Value
from .layouts import Meta, contiguous
from .lifetimes import Record
from .recording import Recorder

_NORMALISATIONS = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm")


class Facts(NamedTuple):
    """All that a graph is made of, what differs soonest first. asking: which parameters ask for a gradient."""

    name: str
    run: Run
    inputs: list[int]
    outputs: list[int]
    metas: list[int]
    records: list[Record]
    storages: list[int]
    names: dict[int, str]
    params: list[list[str]]
    firsts: list[int]
    asking: list[bool]
    memory: tuple[Any, ...]
    calls: list[list[Any]]
    lineage: tuple[Any, ...]

    def same(self, other: Facts) -> bool:
        """Whether both make the same graph. Equal arguments need not be the same: 1, 1.0 and True are equal."""
        if len(self.records) != len(other.records) or self != other:
            return False
        pairs = zip(self.records, other.records, strict=True)
        asked = [(one[0].attrs, two[0].attrs) for one, two in pairs if one[0] is not two[0]]
        return all(repr(one) == repr(two) for one, two in asked)


_KEPT = 4
_LARGEST = 5_000
_recent: list[tuple[Facts, ModelGraph]] = []


def assemble(
    recorder: Recorder, calls: list[list[Any]], name: str, inputs: list[int], outputs: list[int], run: Run
) -> ModelGraph:
    """The record as immutable data. ``inputs`` and ``outputs`` are numbers of values.

    A run in which nothing was other than in one of the last few gives the graph of that one, with all that analyses
    have worked out of it.
    """
    facts = _facts(recorder, calls, name, inputs, outputs, run)
    for before, graph in _recent:
        if facts.same(before):
            return graph
    graph = _assembled(recorder, calls, name, inputs, outputs, run)
    if len(graph) <= _LARGEST:
        _recent[:] = [(facts, graph), *_recent[: _KEPT - 1]]
    return graph


def forget() -> None:
    """Let go of the last graphs."""
    _recent.clear()


def _facts(
    recorder: Recorder, calls: list[list[Any]], name: str, inputs: list[int], outputs: list[int], run: Run
) -> Facts:
    memory, lineage = recorder.memory, recorder.lineage
    return Facts(
        *(name, run, inputs, outputs, recorder.value_metas, recorder.records, recorder.value_storages),
        *(recorder.value_names, recorder.param_names, recorder.param_values),
        [tensor.requires_grad for tensor in recorder.params],
        (memory.bytes, memory.kinds, memory.born, memory.dies, memory.host),
        calls,
        (lineage.phases, lineage.savers) if lineage else (),
    )


def _assembled(
    recorder: Recorder, calls: list[list[Any]], name: str, inputs: list[int], outputs: list[int], run: Run
) -> ModelGraph:
    op_names, value_names = _names(recorder, calls)
    values = _values(recorder, value_names)
    ops = _ops(recorder, calls, op_names, values, [names[0] for names in recorder.param_names])
    return ModelGraph(
        name,
        tuple(ops),
        _storages(recorder, op_names),
        inputs=tuple([values[i] for i in dict.fromkeys(inputs)]),
        outputs=tuple([values[i] for i in outputs]),
        parameters=_parameters(recorder, ops, values),
        calls=tuple([_call(call, values) for call in calls]),
        run=run,
        alike=_alike(recorder, values),
    )


def _alike(recorder: Recorder, values: list[Value]) -> tuple[int, ...]:
    """By operator the first one with the same signature, where all tensors are different ones and in row-major order.

    What tensors in other orders take can depend on the memory that they are in.
    """
    first: dict[int, int] = {}
    found = []
    for place, (signature, inputs, outputs, _, _, _) in enumerate(recorder.records):
        number = place
        if len(inputs) < 2 or len(set(inputs)) == len(inputs):
            number = first.get(id(signature), -1)
            if number < 0:
                number = place
                if not any(values[i].strides for i in (*inputs, *outputs)):
                    first[id(signature)] = place
        found.append(number)
    return tuple(found)


def _call(told: list[Any], values: list[Value]) -> Call:
    path, kind, parent, repeat, leaf, ins, outs, start = told
    inputs, outputs = tuple([values[i] for i in ins]), tuple([values[i] for i in outs])
    return Call(path, kind, parent, repeat, leaf, inputs, outputs, start)


def _storages(recorder: Recorder, op_names: list[str]) -> tuple[Storage, ...]:
    memory, lineage = recorder.memory, recorder.lineage
    plain = list(map(Storage, range(len(memory.bytes)), memory.bytes, memory.kinds, memory.born, memory.dies))
    for number in memory.host:
        plain[number] = plain[number]._replace(host=True)
    if lineage is None:
        return tuple(plain)
    phases = _phases(recorder)
    storages = []
    for storage in plain:
        if storage.kind == "activation" and storage.born >= 0 and phases[storage.born] != "forward":
            storage = storage._replace(kind="temporary")
        savers = lineage.savers.get(storage.id, ())
        storages.append(storage._replace(savers=tuple([f"{op_names[made]}:{name}" for made, name in savers])))
    return tuple(storages)


def _phases(recorder: Recorder) -> list[str]:
    """The phase of each operator."""
    count = len(recorder.records)
    if recorder.lineage is None:
        return ["forward"] * count
    marks = [*recorder.lineage.phases, (count, "")]
    return [phase for (begin, phase), (end, _) in itertools.pairwise(marks) for _ in range(end - begin)]


def _values(recorder: Recorder, names: list[str]) -> list[Value]:
    plain = {number: _plain(METAS[number]) for number in set(recorder.value_metas)}
    return [
        Value(name, shape, dtype, storage, strides)
        for name, (shape, dtype, strides), storage in zip(
            names, map(plain.__getitem__, recorder.value_metas), recorder.value_storages, strict=True
        )
    ]


def _plain(meta: Meta) -> tuple[Shape, str, Shape]:
    strides = () if meta.stride == contiguous(meta.shape) else meta.stride
    return meta.shape, str(meta.dtype)[6:], strides


def _ops(
    recorder: Recorder, calls: list[list[Any]], names: list[str], values: list[Value], param_names: list[str]
) -> list[Op]:
    ops = []
    phase_of = _phases(recorder)
    for name, phase, (signature, inputs, outputs, params, call, after) in zip(
        names, phase_of, recorder.records, strict=True
    ):
        function, roles, attrs, _, _ = signature
        ops.append(
            Op(
                name,
                function.kind,
                tuple([values[i] for i in inputs]),
                tuple([values[i] for i in outputs]),
                tuple([param_names[i] for i in params]),
                attrs,
                calls[call][0],
                phase,
                roles,
                call,
                tuple([names[i] for i in after]),
                function.view,
                function.pointwise,
            )
        )
    return ops


def _names(recorder: Recorder, calls: list[list[Any]]) -> tuple[list[str], list[str]]:
    """Unique names of operators (module path and kind, counted from the second) and of values (their operator's)."""
    counts: dict[str, int] = {}
    op_names = []
    value_names = [""] * len(recorder.value_metas)
    for number, given in recorder.value_names.items():
        value_names[number] = given
    for record in recorder.records:
        module = calls[record.call][0]
        kind = record.signature.function.kind
        name = f"{module}.{kind}" if module else kind
        count = counts[name] = counts.get(name, 0) + 1
        if count > 1:
            name = f"{name}#{count}"
        op_names.append(name)
        for i, number in enumerate(record.outputs):
            value_names[number] = name if i == 0 else f"{name}:{i}"
    for number, value_name in enumerate(value_names):
        if not value_name:
            value_names[number] = f"alias{number}"
    return op_names, value_names


def _parameters(recorder: Recorder, ops: list[Op], values: list[Value]) -> tuple[Parameter, ...]:
    """The model's parameters and buffers with the role that the operators reading them give them."""
    norms = {kind for kind in {op.kind for op in ops} if any(each in kind for each in _NORMALISATIONS)}
    normalising = {name for op in ops if op.kind in norms for name in op.params}
    found = []
    kinds = recorder.memory.kinds
    for tensor, names, number in zip(recorder.params, recorder.param_names, recorder.param_values, strict=True):
        shape, dtype, storage = values[number][1:4]
        role = _role(names[0], kinds[storage] == "param", normalising)
        found.append(Parameter(names[0], shape, dtype, role, tensor.requires_grad, storage, tuple(names)))
    return tuple(found)


def _role(name: str, learned: bool, normalising: set[str]) -> str:
    if not learned:
        return "buffer"
    if name in normalising:
        return "norm"
    leaf = name.rpartition(".")[2]
    return "bias" if leaf.startswith("bias") or leaf.endswith("bias") else "weight"
