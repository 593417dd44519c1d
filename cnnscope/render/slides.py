"""The lecture's table of VGG16 for any traced model: parameters, memory, dimension and type of each layer.

As on the slide, parameters are weights without biases, activations and batch normalisation work in place and have no
row, and memory counts the values of one image. What has no row is stated in the notes, so that every sum is right.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..analyses.layering import Layer, layers
from ..graph import ITEM_BYTES, ModelGraph, Op, Shape, Value
from ..table import Table, column, table
from ..units import binary, decimal
from . import formulas

# Of one input, element by element; some of them torch does not declare so.
_ACTIVATIONS = frozenset((
    "celu", "clamp", "clamp_min", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_sigmoid",
    "mish", "relu", "relu6", "rrelu", "selu", "sigmoid", "silu", "softplus", "tanh", "threshold",
))  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class SlideRow:
    """A row of the slide. counted: its parameters; values: the numbers of its result for one image; bytes: theirs."""

    name: str = column("layer", hidden=True)
    module: str = column("module", hidden=True)
    parameters: str | None = column("parameters", default=None)
    memory: str | None = column("memory", default=None)
    dimension: Shape | None = column("dimension", "shape", default=None)
    type: str | None = column("layer type", default=None)
    counted: int = column("counted parameters", "count", fold="sum", hidden=True, default=0)
    values: int = column("values", "count", fold="sum", hidden=True, default=0)
    bytes: int = column("memory in bytes", "byte", fold="sum", hidden=True, default=0)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


def slide(graph: ModelGraph, claim: Mapping[str, Any] | None = None) -> Table[SlideRow]:
    """The slide's rows for a graph; ``claim`` is what the lecture prints in the heads of its own table of the model."""
    graph = graph.forward
    whole = layers(graph)
    batch = next((value.shape[0] for value in graph.inputs if value.shape), 1)
    kept = [layer for layer in whole.values() if _has_row(graph, layer)]
    rows = [*(_input_row(value, batch) for value in graph.inputs), *(_row(graph, layer, batch) for layer in kept)]
    found = table("as the lecture prints it", rows, SlideRow, model=graph.name, input=graph.input_text)
    left_out = [layer for layer in whole.values() if layer.name not in found]
    separate = found.total.bytes + sum(_for_one(layer.activation, batch) for layer in left_out)
    notes = [_parameter_note(found, whole, left_out), _memory_note(found), *_left_out_note(left_out, separate)]
    if claim and [list(value.shape[1:]) for value in graph.inputs] == [claim["input"][1:]]:
        notes.append(_claim_note(found, separate, claim))
    return dataclasses.replace(found, notes=tuple(notes))


def titles(found: Table[SlideRow]) -> dict[str, str]:
    """The heads of the columns with their totals, as on the slide."""
    return {
        "parameters": f"parameters ({formulas.short(found.total.counted, 3)} total)",
        "memory": f"memory ({decimal(found.total.bytes).replace(' ', '')}/image)",
    }


# -- rows -------------------------------------------------------------------------------------------------------------


def _has_row(graph: ModelGraph, layer: Layer) -> bool:
    """Not what works in place on the slide, moves nothing, or is a parameter that nothing reads."""
    ops = [graph[name] for name in layer.ops]
    return any(not op.view and not _in_place_on_the_slide(graph, op) for op in ops)


def _in_place_on_the_slide(graph: ModelGraph, op: Op) -> bool:
    kind = op.kind.rstrip("_")
    if op.inputs and all(graph.storages[value.storage].kind == "buffer" for value in op.inputs):
        return True  # a norm counts its batches
    if "batch_norm" in kind or "prelu" in kind or kind in ("empty", "dropout", "native_dropout", "_unsafe_view"):
        return True
    if op.params or not (op.pointwise or kind in _ACTIVATIONS):
        return False
    return len({value.name for value in op.inputs}) == 1 and op.inputs[0].shape == op.outputs[0].shape


def _input_row(value: Value, batch: int) -> SlideRow:
    size = formulas.dimension(value.shape, batch)
    count = math.prod(size)
    bytes_ = count * ITEM_BYTES[value.dtype]
    return SlideRow(f"input {value.name}", "", "0", _memory(size, count), size, "INPUT", 0, count, bytes_)


def _row(graph: ModelGraph, layer: Layer, batch: int) -> SlideRow:
    ops = tuple(graph[name] for name in layer.ops)
    size = formulas.dimension(layer.output or (), batch, ops)
    bytes_ = _for_one(layer.activation, batch)
    values = bytes_ // (ITEM_BYTES[ops[-1].outputs[0].dtype] if ops[-1].outputs else 1)
    parameters, counted = _parameters(graph, layer, ops)
    memory = _memory(size, values) if bytes_ else "0 (in place)"
    return SlideRow(layer.name, layer.module, parameters, memory, size, _type(layer, ops), counted, values, bytes_)


def _for_one(bytes_: int, batch: int) -> int:
    """The share of one image; what does not come in such shares is needed whole."""
    return bytes_ // batch if bytes_ % batch == 0 else bytes_


def _parameters(graph: ModelGraph, layer: Layer, ops: tuple[Op, ...]) -> tuple[str, int]:
    """The formula and the number of the weights; of layers other than convolutions and FC all parameters."""
    kind = _weighted(layer, ops)
    if kind and not layer.weights:
        return "0 (shared)", 0
    if kind == "convolution":
        return formulas.conv_weights(layer, layer.weights), layer.weights
    if kind:
        return formulas.linear_weights(graph, layer, layer.weights), layer.weights
    return f"{layer.params:,}", layer.params


def _weighted(layer: Layer, ops: tuple[Op, ...]) -> str:
    """``convolution`` or ``addmm`` for a layer that is one such product with weights, else nothing."""
    products = [op for op in ops if op.kind in ("convolution", "addmm", "mm") and op.params]
    return products[0].kind if len(products) == 1 and layer.input and layer.output else ""


def _memory(size: Shape, values: int) -> str:
    """``224*224*64=3.2M``; a vector's length as it is."""
    if math.prod(size) != values:
        return f"{values:,}"
    return str(values) if math.prod(size[:-1]) == 1 else f"{formulas.times(size)}={formulas.short(values)}"


def _type(layer: Layer, ops: tuple[Op, ...]) -> str:
    """``CONV3-64``, ``POOL2``, ``FC``; a stride that is not the usual one behind a stroke: ``CONV7-64/2``."""
    kinds = {op.kind.rstrip("_") for op in ops if not op.view} - {"as_strided"}
    if "LocalResponseNorm" in layer.type or "LRN" in layer.type:
        return "NORM"
    window = _edge(layer.kernel)
    if _weighted(layer, ops) == "convolution" and layer.output:
        stride = "" if set(layer.stride or ()) == {1} else f"/{_edge(layer.stride)}"
        return f"CONV{window}-{layer.output[-len(layer.kernel or ()) - 1]}{stride}"
    if any("pool" in kind for kind in kinds):
        stride = "" if layer.stride == layer.kernel else f"/{_edge(layer.stride)}"
        return f"{'' if any('max_pool' in kind for kind in kinds) else 'AVG'}POOL{window}{stride}"
    if _weighted(layer, ops):
        return "FC"
    if kinds == {"mean"} and len(layer.input or ()) == 4:
        return "AVGPOOL"
    return "CONCAT" if kinds == {"cat"} else layer.type.strip("_").upper()


def _edge(window: Shape | None) -> str:
    """``3`` for 3x3, ``1x7`` for what is not square."""
    if not window:
        return ""
    return str(window[0]) if len(set(window)) == 1 else "x".join(map(str, window))


# -- what stands under it ---------------------------------------------------------------------------------------------


def _parameter_note(found: Table[SlideRow], whole: Table[Layer], left_out: list[Layer]) -> str:
    """What the rows add up to, and what makes it the model's number of parameters."""
    rest = whole.total.params - found.total.counted
    norm = sum(layer.norm for layer in left_out)
    other = sum(layer.params - layer.norm for layer in left_out)
    parts = [(rest - norm - other, "biases"), (norm, "of normalisations"), (other, "in layers without a row")]
    text = f"parameters  the rows add up to {found.total.counted:,}"
    if not rest:
        return f"{text}, which is all there are"
    added = " + ".join(f"{count:,} {what}" for count, what in parts if count)
    return f"{text}, as slides count; + {added} = {whole.total.params:,}"


def _memory_note(found: Table[SlideRow]) -> str:
    total = found.total
    each = " x 4 bytes" if total.bytes == 4 * total.values else ""
    return (
        f"memory      the rows add up to {formulas.short(total.values, 3)} values{each} = {decimal(total.bytes)} "
        f"= {binary(total.bytes, 3)} for one image (MB = 10^6 bytes)"
    )


def _left_out_note(left_out: list[Layer], separate: int) -> list[str]:
    """Which layers have no row, and the memory with results of their own for them."""
    counts = Counter(layer.type for layer in left_out if layer.type != "unused")
    if not counts:
        return []
    names = ", ".join(f"{kind} x{count}" for kind, count in counts.items())
    if not any(layer.activation for layer in left_out):
        return [f"no row      {names}: they allocate nothing"]
    return [f"no row      {names}: as if in place; with results of their own it is {_both(separate)}"]


def _claim_note(found: Table[SlideRow], separate: int, claim: Mapping[str, Any]) -> str:
    """What the lecture prints in the heads of this table, and whether the rows give it."""
    printed = claim["memory_bytes"]
    each = f" = {formulas.short(claim['memory_values'])} x {printed // claim['memory_values']} bytes"
    parameters = claim["parameters"]
    if abs(found.total.counted - claim["parameters_value"]) > claim["parameters_value"] / 200:
        parameters += " (the rows do not give that)"
    rows_agree, separate_agree = (abs(value - printed) < printed / 200 for value in (found.total.bytes, separate))
    if rows_agree:
        verdict = "as the rows give it"
    elif separate_agree:
        verdict = "the rows do not give that, results of their own for all layers do"
    else:
        verdict = f"the rows do not give that, nor does {decimal(separate)}"
    return f"the slide   prints {parameters} and {claim['memory']}{each}: {verdict}"


def _both(bytes_: int) -> str:
    """Bytes as values of four bytes and as MB."""
    if bytes_ % 4:
        return decimal(bytes_)
    return f"{formulas.short(bytes_ // 4, 3)} values x 4 bytes = {decimal(bytes_)}"
