"""The rules by which papers and tools count operations: for each a function of one operator.

They are written from the tools' own sources (fvcore 0.1.5, thop 0.1.1, ptflops 0.7.5) and held against those that are
installed, to the unit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..graph import ModelGraph, Op
from .op_costs import work

Counts = Callable[[ModelGraph, Op], int]


class Convention(NamedTuple):
    """A way to count. rule: in words; unit: MAC or FLOP; tool: the program whose rule it is, or ''."""

    name: str
    unit: str
    used_by: str
    rule: str
    counts: Counts
    tool: str = ""


_LINEAR = ("addmm", "mm", "linear", "addmv", "mv")
_ADAPTIVE = ("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d")
_POOLS = ("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d", "avg_pool1d", *_ADAPTIVE)
_BATCH_NORMS = ("native_batch_norm", "_native_batch_norm_legit_no_training")
_OTHER_NORMS = ("native_layer_norm", "native_group_norm")


def multiply_adds(graph: ModelGraph, op: Op) -> int:
    cost = work(op, graph.storages)
    return cost.macs if cost is not None else 0


def _flops(graph: ModelGraph, op: Op) -> int:
    cost = work(op, graph.storages)
    return cost.flops if cost is not None else 0


def _convolutions(graph: ModelGraph, op: Op) -> int:
    return multiply_adds(graph, op) if op.kind == "convolution" else 0


def _doubled(graph: ModelGraph, op: Op) -> int:
    return 2 * multiply_adds(graph, op)


def _bias(op: Op) -> int:
    """One addition for each result of a product with a bias."""
    with_bias = op.input("bias") is not None if op.kind in ("convolution", "linear") else op.kind in ("addmm", "addmv")
    return op.outputs[0].numel if with_bias else 0


def _with_bias(graph: ModelGraph, op: Op) -> int:
    """As ptflops counts below autograd: convolutions and products of matrices, a bias as one more."""
    return multiply_adds(graph, op) + _bias(op)


def _global_pool(op: Op) -> bool:
    """Adaptive average pooling; to one element, torch runs it as a mean over the last dimensions that keeps them."""
    mean = op.kind == "mean" and op.attrs.get("keepdim") and tuple(op.attrs.get("dim") or ()) in ((-1, -2), (-2, -1))
    return bool(mean) or op.kind in _ADAPTIVE


def _affine(op: Op) -> bool:
    return op.input("weight") is not None


def _fvcore(graph: ModelGraph, op: Op) -> int:
    """fvcore 0.1.5: products without biases, norms, adaptive average pooling; nothing else."""
    if op.kind in _BATCH_NORMS:
        return op.inputs[0].numel * (1 + _affine(op))
    if op.kind in _OTHER_NORMS:
        return op.inputs[0].numel * (4 + _affine(op))
    if _global_pool(op):
        return op.inputs[0].numel
    return multiply_adds(graph, op)


def _thop(graph: ModelGraph, op: Op) -> int:
    """thop 0.1.1: convolutions, linear layers; batch norm 2, and again 2 with scale and shift; average pooling."""
    if op.kind in _BATCH_NORMS:
        return op.inputs[0].numel * (4 if _affine(op) else 2)
    if _global_pool(op):
        return op.inputs[0].numel + op.outputs[0].numel
    if op.kind in ("avg_pool2d", "avg_pool3d", "avg_pool1d"):
        return op.outputs[0].numel
    return multiply_adds(graph, op) if op.kind == "convolution" or op.kind in _LINEAR else 0


def _ptflops(graph: ModelGraph, op: Op) -> int:
    """ptflops 0.7: a hook on each layer and another on each function; a layer that calls its function counts twice.

    Not a convolution or batch norm, whose functions have no hook.
    """
    call = graph.calls[op.call]
    kind = op.kind.rstrip("_")
    if kind in _LINEAR:
        twice = 2 if call.leaf and call.type == "Linear" else 1
        return twice * multiply_adds(graph, op) + _bias(op)
    if kind == "convolution":
        return multiply_adds(graph, op) + _bias(op)
    if kind in _BATCH_NORMS or kind in _OTHER_NORMS:
        return op.inputs[0].numel * (1 + _affine(op))
    both = 2 if call.leaf and call.parent >= 0 else 1
    if kind in ("relu", "gelu", "elu", "_prelu_kernel"):
        return op.outputs[0].numel * both
    if kind in _POOLS or _global_pool(op):
        return op.inputs[0].numel * both
    return op.outputs[0].numel if kind in ("silu", "_softmax", "hardtanh", "leaky_relu") else 0


EVERYTHING = "all arithmetic"

CONVENTIONS = (
    Convention("conv + linear", "MAC", "papers, torchvision", "convolutions and matrix products", multiply_adds),
    Convention("conv", "MAC", "papers without classifier", "convolutions alone", _convolutions),
    Convention("conv + linear + bias", "MAC", "ptflops aten",
               "convolutions and matrix products, 1 for each result with a bias", _with_bias, "ptflops aten"),
    Convention("+ 2 BN + global pool", "MAC", "fvcore, timm",
               "products without biases; batch norm 2 an element, layer norm 5; adaptive average pooling 1 an input; "
               "fvcore calls it flops, timm GMACs; torch's attention, which fvcore misses, is in it as products",
               _fvcore, "fvcore"),
    Convention("+ 4 BN + avg pool", "MAC", "thop 0.1.1",
               "convolutions and linear layers without biases; batch norm 4 an element; average pooling", _thop),
    Convention("+ bias + 2 BN + ReLU + pool", "MAC", "ptflops 0.7",
               "products with biases; batch norm 2 an element; layers that call a counted function count twice: "
               "linear, ReLU, pooling", _ptflops, "ptflops"),
    Convention("2 x (conv + linear)", "FLOP", "torch, Canziani et al.",
               "2 for each multiply-add; as torch.utils.flop_counter, Canziani's G-Ops and SqueezeNet's README",
               _doubled, "torch.utils.flop_counter"),
    Convention(EVERYTHING, "FLOP", "cnnscope",
               "2 for each multiply-add, 1 for each addition, comparison and function", _flops),
)  # fmt: skip
