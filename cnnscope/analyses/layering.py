"""``layers``: the table that people read, one row for each call of a layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from ..collecting import without_collection
from ..graph import Call, ModelGraph, Op, Parameter, Shape, Value
from ..table import Table, column, table
from . import of_graph
from .costs import intensity
from .dimensions import per_dim
from .op_costs import work
from .parameters import by_reader, first_readers, tally


@dataclasses.dataclass(frozen=True)
class Layer:
    """One call of a leaf module, or one operator that a larger module calls itself.

    window: kernel, stride, padding and what else is unusual of a convolution or pooling: ``7x7/2 p3``, ``3x3 p1 g32``.
    activation: bytes of its results that it allocated itself: nothing for a view or an in-place operator.
    """

    name: str = column("layer")
    module: str = column("module", hidden=True)
    type: str = column("type", default="")
    output: Shape | None = column("output", "shape", fold="last", default=None)
    window: str | None = column("window", default=None)
    params: int = column("params", "count", fold="sum", default=0)
    macs: int | None = column("MACs", "MAC", fold="sum", default=None)
    flops: int | None = column("FLOPs", "FLOP", fold="sum", default=None)
    activation: int = column("activation", "byte", fold="sum", default=0)
    input: Shape | None = column("input", "shape", fold="first", hidden=True, default=None)
    kernel: Shape | None = column("kernel", "shape", hidden=True, default=None)
    stride: Shape | None = column("stride", "shape", hidden=True, default=None)
    padding: Shape | None = column("pad", "shape", hidden=True, default=None)
    dilation: Shape | None = column("dilation", "shape", hidden=True, default=None)
    groups: int | None = column("groups", "count", hidden=True, default=None)
    weights: int = column("weights", "count", fold="sum", hidden=True, default=0)
    biases: int = column("biases", "count", fold="sum", hidden=True, default=0)
    norm: int = column("norm", "count", fold="sum", hidden=True, default=0)
    trainable: int = column("trainable", "count", fold="sum", hidden=True, default=0)
    buffers: int = column("buffers", "count", fold="sum", hidden=True, default=0)
    param_bytes: int = column("param memory", "byte", fold="sum", hidden=True, default=0)
    bytes_read: int | None = column("read", "byte", fold="sum", hidden=True, default=None)
    bytes_written: int | None = column("written", "byte", fold="sum", hidden=True, default=None)
    intensity: float | None = column("FLOP/byte", "ratio", fold=intensity, hidden=True, default=None)
    repeat: int = column("repeat", "count", hidden=True, default=0)
    ops: tuple[str, ...] = column("operators", fold="join", hidden=True, default=())
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


@dataclasses.dataclass(frozen=True)
class TrainedLayer(Layer):
    """A layer of a training step: MACs of its forward and of its backward pass apart. ``macs``: of both.

    Output, window and activation are those of the forward pass.
    """

    macs: int | None = column("MACs", "MAC", fold="sum", hidden=True, default=None)
    forward_macs: int | None = column("forward MACs", "MAC", fold="sum", behind="params", default=None)
    backward_macs: int | None = column("backward MACs", "MAC", fold="sum", behind="forward_macs", default=None)


_DEFAULTS = {kind: {field.name: field.default for field in dataclasses.fields(kind)} for kind in (Layer, TrainedLayer)}


@of_graph
def layers(graph: ModelGraph) -> Table[Layer]:
    """One row for each call of a module that calls no other, and for each operator outside of those.

    A module that is called again has a further row, ``name#2``, with its compute but without its parameters: they
    are counted where they are read first. Parameters that nothing reads have rows of type ``unused``.

    Of a training step the rows are ``TrainedLayer``: a module's backward operators belong to its row, other ones have
    rows of their own, and so have the loss and the optimizer.
    """
    known: Table[Layer] | None = graph.answers.get("layers")
    if known is None:
        with without_collection():
            known = table("layers", _rows(graph), _kind(graph), model=graph.name, input=graph.input_text)
        graph.answers["layers"] = known
    return known


def _rows(graph: ModelGraph) -> list[Layer]:
    by_op = by_reader(graph, first_readers(graph))
    names: dict[str, int] = {}
    known: dict[Any, dict[str, Any]] = {}
    rows = [_row(graph, by_op, names, known, call, places) for call, places in _groups(graph)]
    for each in by_op.get("", ()):
        name = _unique(each.name, names)
        about = {"type": "unused", **_work(graph, ()), **_params([each])}
        rows.append(_layer(graph, _DEFAULTS[_kind(graph)] | about, name=name, module=each.module))
    return rows


def _groups(graph: ModelGraph) -> list[tuple[Call, Sequence[int]]]:
    """The layers in execution order: each leaf call with all its operators, each other operator with its call alone.

    Operators by their positions. Leaf calls that run none (dropout in inference, identity) are there too.
    """
    ops = graph.ops
    by_call: dict[int, list[int]] = {}
    for position, op in enumerate(ops):
        by_call.setdefault(op.call, []).append(position)
    found: list[tuple[float, Call, Sequence[int]]] = []
    last = -1.0
    for number, call in enumerate(graph.calls):
        places = by_call.get(number, [])
        if call.leaf and number:
            # Without operators it stands behind what ran before it: calls are in order.
            last = places[0] if places else last + 1e-6
            found.append((last, call, places))
            last = _of_one_phase(ops, places)[-1] if places else last
        else:
            found.extend((position, call, (position,)) for position in places)
    return [(call, places) for _, call, places in sorted(found, key=itemgetter(0))]


def _row(
    graph: ModelGraph,
    by_op: dict[str, list[Parameter]],
    names: dict[str, int],
    known: dict[Any, dict[str, Any]],
    call: Call,
    places: Sequence[int],
) -> Layer:
    ops, alike = [graph.ops[i] for i in places], graph.alike
    whole = call.leaf and call.module != ""
    kind = call.type if whole else ops[0].kind
    name = call.module if whole else f"{call.module}.{kind}" if call.module else kind
    computing = _of_one_phase(graph.ops, places)
    outputs = call.outputs if whole and call.outputs else graph.ops[computing[-1]].outputs[:1] if ops else ()
    inputs = call.inputs if whole and call.inputs else _data_inputs(graph, computing)
    own = [parameter for op in ops if op.name in by_op for parameter in by_op[op.name]]
    shapes = outputs[0].shape if outputs else None, inputs[0].shape if inputs else None
    key = (kind, shapes, tuple([alike[i] for i in places]), tuple([each[1:5] for each in own])) if alike else None
    about = known.get(key)
    if about is None or not alike:
        about = known[key] = {
            **_DEFAULTS[_kind(graph)],
            "type": kind,
            "output": shapes[0],
            "input": shapes[1],
            **_window([graph.ops[i] for i in computing], outputs),
            **_work(graph, ops),
            **(_params(own) if own else {}),
        }
    return _layer(
        graph,
        about,
        name=_unique(name, names),
        module=call.module,
        activation=_born(graph, computing, outputs) if ops and ops[0].phase == "forward" else 0,
        repeat=call.repeat,
        ops=tuple([op.name for op in ops]),
    )


def _of_one_phase(ops: Sequence[Op], places: Sequence[int]) -> Sequence[int]:
    """Those of the phase of the first: of a layer its forward pass."""
    if places and ops[places[-1]].phase != ops[places[0]].phase:
        return [i for i in places if ops[i].phase == ops[places[0]].phase]
    return places


def _kind(graph: ModelGraph) -> type[Layer]:
    return TrainedLayer if graph.train else Layer


def _layer(graph: ModelGraph, about: dict[str, Any], **values: Any) -> Layer:
    """A row without its ``__init__``, which in a frozen class sets each field by a call of its own."""
    layer = object.__new__(_kind(graph))
    object.__setattr__(layer, "__dict__", about | values)
    return layer


def _work(graph: ModelGraph, ops: Sequence[Op]) -> dict[str, Any]:
    """MACs, FLOPs and bytes of the operators together; None when nothing is known, ``missing`` names the unknown."""
    macs = {"forward": 0, "backward": 0, "optimizer": 0}
    flops = read = written = 0
    missing = []
    for op in ops:
        cost = work(op, graph.storages)
        if cost is None:
            missing.append(op.kind)
        else:
            macs[op.phase] += cost.macs
            flops += cost.flops
            read += cost.read or 0
            written += cost.written or 0
    if missing and len(missing) == len(ops):
        return {"missing": tuple(missing)}
    sums: dict[str, Any] = {
        "macs": sum(macs.values()),
        "flops": flops,
        "bytes_read": read,
        "bytes_written": written,
    }
    if graph.train:
        sums |= {"forward_macs": macs["forward"], "backward_macs": macs["backward"]}
    return {**sums, "intensity": intensity(sums), "missing": tuple(missing)}


def allocated(graph: ModelGraph, ops: tuple[Op, ...], outputs: tuple[Value, ...]) -> int:
    """Bytes of the storages that the outputs live in and that were born in these operators."""
    return _born(graph, [graph.positions[op.name] for op in ops], outputs) if ops else 0


def _born(graph: ModelGraph, places: Sequence[int], outputs: tuple[Value, ...]) -> int:
    first, last = places[0], places[-1]
    if len(outputs) == 1:
        storage = graph.storages[outputs[0].storage]
        return storage.bytes if first <= storage.born <= last else 0
    storages = [graph.storages[number] for number in {value.storage for value in outputs}]
    return sum([storage.bytes for storage in storages if first <= storage.born <= last])


def _params(own: list[Parameter]) -> dict[str, Any]:
    counted: dict[str, Any] = tally(own)
    counted["param_bytes"] = counted.pop("bytes")
    return counted


def _data_inputs(graph: ModelGraph, places: Sequence[int]) -> tuple[Value, ...]:
    values = [value for i in places for value in graph.ops[i].inputs]
    return tuple([value for value in values if graph.storages[value.storage].kind not in ("param", "buffer")])


def _window(ops: Sequence[Op], outputs: tuple[Value, ...]) -> dict[str, Any]:
    """Kernel, stride, padding, dilation and groups of the one operator in the layer that slides a window over space.

    A window of another rank than the layer's result slides over something else (channels, in local response
    normalisation).
    """
    sliding = [op for op in ops if "kernel_size" in op.attrs or "convolution" in op.kind]
    if len(sliding) != 1 or not outputs or len(sliding[0].outputs[0].shape) != len(outputs[0].shape):
        return {}
    op = sliding[0]
    dims = max(len(op.outputs[0].shape) - 2, 1)
    kernel = op.attrs["kernel_size"] if "kernel_size" in op.attrs else op.inputs[1].shape[2:]
    kernel = per_dim(kernel, dims)
    found = {
        "kernel": kernel,
        # An empty stride means the kernel's own size.
        "stride": per_dim(op.attrs.get("stride") or kernel, dims),
        "padding": per_dim(op.attrs.get("padding", 0), dims),
        "dilation": per_dim(op.attrs.get("dilation", 1), dims),
    }
    groups = op.attrs.get("groups")
    return {**found, "groups": groups, "window": _window_text(**found, groups=groups or 1)}


def _window_text(kernel: Shape, stride: Shape, padding: Shape, dilation: Shape, groups: int) -> str:
    """As papers write it: what is usual (stride 1, no padding, no dilation, one group) goes without saying."""
    parts = ["x".join(map(str, kernel)) + ("" if set(stride) == {1} else f"/{_short(stride)}")]
    if set(padding) != {0}:
        parts.append(f"p{_short(padding)}")
    if set(dilation) != {1}:
        parts.append(f"d{_short(dilation)}")
    if groups > 1:
        parts.append(f"g{groups}")
    return " ".join(parts)


def _short(sizes: Shape) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else "x".join(map(str, sizes))


def _unique(name: str, names: dict[str, int]) -> str:
    count = names[name] = names.get(name, 0) + 1
    return name if count == 1 else f"{name}#{count}"
