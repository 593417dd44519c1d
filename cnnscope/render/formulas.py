"""Numbers and formulas as the lecture's slides print them: ``(3*3*64)*64 = 36,864``, ``224*224*64=3.2M``."""

from __future__ import annotations

import math

from ..analyses.layering import Layer
from ..graph import ModelGraph, Op, Shape

# Operators whose results have their features last; all others are taken to have channels before positions.
_FEATURES_LAST = ("addmm", "mm", "bmm", "native_layer_norm")


def short(number: int, digits: int = 2) -> str:
    """Rounded to ``digits`` significant digits, with K, M or G: 3,211,264 -> 3.2M, 802,816 -> 800K, 150,528 -> 150K."""
    step = 10 ** max(0, len(str(number)) - digits)
    rounded = (number + step // 2) // step * step
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "K")):
        if rounded >= size:
            return f"{rounded / size:.10g}{letter}"
    return str(rounded)


def dimension(shape: Shape, batch: int, ops: tuple[Op, ...] = ()) -> Shape:
    """A shape without its batch in the slides' order: height, width, channels. Without a batch it stays as it is."""
    if shape[:1] != (batch,):
        return shape
    inner = shape[1:]
    if len(inner) <= 1:
        return (1, 1, *inner)
    computing = [op.kind for op in ops if not op.view]
    slides_over = any("convolution" in kind or "pool" in kind for kind in computing)
    if (ops and ops[-1].kind in _FEATURES_LAST) or {"addmm", "mm"} & set(computing):
        return inner
    return (*inner[1:], inner[0]) if len(inner) > 2 or slides_over else inner


def times(sizes: Shape) -> str:
    """``224*224*64``."""
    return "*".join(map(str, sizes))


def conv_weights(layer: Layer, count: int) -> str:
    """``(3*3*64)*64 = 36,864``; with groups ``(5*5*96/2)*256 = 307,200``."""
    assert layer.input and layer.output and layer.kernel
    dims = len(layer.kernel)
    ins, outs, groups = layer.input[-dims - 1], layer.output[-dims - 1], layer.groups or 1
    if math.prod(layer.kernel) * ins * outs // groups != count:
        return f"{count:,}"
    share = f"/{groups}" if groups > 1 else ""
    return f"({times((*layer.kernel, ins))}{share})*{outs} = {count:,}"


def linear_weights(graph: ModelGraph, layer: Layer, count: int) -> str:
    """``4096*1000 = 4,096,000``; behind a flattened map its size stands there: ``7*7*512*4096 = 102,760,448``."""
    assert layer.input and layer.output
    ins, outs = layer.input[-1], layer.output[-1]
    if ins * outs != count:
        return f"{count:,}"
    spread = _flattened(graph, layer)
    return f"{times((*(spread or (ins,)), outs))} = {count:,}"


def _flattened(graph: ModelGraph, layer: Layer) -> Shape | None:
    """The map, height x width x channels, of which the layer's input is a flat view; None if it is of none."""
    wanted = (layer.input or (0,))[-1]
    weights = {parameter.storage for parameter in graph.parameters}
    value = next((value for name in layer.ops for value in graph[name].inputs if value.storage not in weights), None)
    while value is not None:
        if len(value.shape) > 2:
            map_ = dimension(value.shape, value.shape[0])
            # A map of one position is a vector already.
            return map_ if math.prod(map_) == wanted and math.prod(map_[:-1]) > 1 else None
        op = graph[graph.producers[value.name]] if value.name in graph.producers else None
        value = op.inputs[0] if op is not None and op.view else None
    return None
