"""Quantities that say how a net is built: its depth, its windows, the order of its layers.

Their options are those of ``quantities``.
"""

from __future__ import annotations

from ..graph import Op
from .subjects import MATRIX, POOLS, Net, Options


def depth(net: Net, options: Options) -> float:
    """Layers with weights on the longest path. kinds: operators that count, with weights or not."""
    counted = {op.name for op in net.ops(options, options.get("kinds")) if options.get("kinds") or _weighted(op)}
    longest: dict[str, int] = {}
    made = net.graph.producers
    for op in net.graph:
        before = [made[value.name] for value in op.inputs if value.name in made]
        longest[op.name] = max((longest[each] for each in (*before, *op.after)), default=0) + (op.name in counted)
    return max(longest.values())


def layers(net: Net, options: Options) -> float:
    """How many operators with weights, on whatever path. kinds: how many of these operators, with weights or not."""
    kinds = options.get("kinds")
    return sum(1 for op in net.ops(options, kinds) if kinds or _weighted(op))


def modules(net: Net, options: Options) -> float:
    """How many modules there are of these."""
    return len(net.calls(options))


def parametrised(net: Net, options: Options) -> float:
    """How many modules have parameters of their own: what Keras lists as depth."""
    return len({each.module for each in net.parameters(options) if each.role != "buffer"})


def _weighted(op: Op) -> bool:
    return op.kind in MATRIX and bool(op.params)


def window(net: Net, options: Options) -> str:
    """Kernel, stride and padding of the named layers, each kind once: ``5x5 stride 1 pad 0``."""
    return ", ".join(dict.fromkeys(_window(op) for op in net.ops(options) if _window(op)))


def _window(op: Op) -> str:
    if op.kind not in (*POOLS, "convolution") or op.kind == "_adaptive_avg_pool2d":
        return ""
    kernel = _kernel(op)
    stride = op.attrs.get("stride") or kernel
    return f"{kernel[0]}x{kernel[1]} stride {stride[0]} pad {op.attrs.get('padding', (0,))[0]}"


def _kernel(op: Op) -> tuple[int, ...]:
    size = tuple(op.inputs[1].shape[2:]) if op.kind == "convolution" else tuple(op.attrs["kernel_size"])
    return size if len(size) == 2 else size * 2


def kernels(net: Net, options: Options) -> str:
    """The kernels of the convolutions in each named module in order, each sequence once: ``1x1-3x3-1x1``."""
    found = []
    for call in net.calls(options):
        ops = net.ops({"of": call.module, "without": options.get("aside", ())}, ("convolution",))
        found.append("-".join("x".join(map(str, _kernel(op))) for op in ops))
    return ", ".join(dict.fromkeys(found))


def sequence(net: Net, options: Options) -> str:
    """The layers in order: ``CONV-POOL-FC``.

    whole: a convolution over its whole input is an FC, which it equals. merge: the parts of an outermost module, such
    as LeNet's C3, are one layer.
    """
    words: dict[str, str] = {}
    for op in net.ops(options, (*MATRIX, *POOLS)):
        word = "POOL" if op.kind in POOLS else "CONV" if op.kind == "convolution" else "FC"
        if options.get("whole") and word == "CONV" and tuple(op.inputs[0].shape[2:]) == _kernel(op):
            word = "FC"
        words.setdefault(op.module.partition(".")[0] if options.get("merge") else op.name, word)
    return "-".join(words.values())
