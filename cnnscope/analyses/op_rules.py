"""How the cost of one operator follows from its shapes and arguments: a function for each kind of work.

A rule takes an ``Op`` and returns a ``Cost``. One multiply-add is 1 MAC and 2 FLOPs; every other arithmetic operation
(addition, multiplication, comparison, or elementary function such as exp, tanh, erf) on one element is 1 FLOP. Moving
data costs bytes and no FLOPs. ``op_costs.RULES`` says which rule is whose.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from ..graph import Op, Shape

Moved = int | tuple[str, ...] | None


class Cost(NamedTuple):
    """Work of one operator.

    read, written: where that is not all inputs and all outputs, the bytes, or the roles of the inputs meant.
    """

    macs: int = 0
    flops: int = 0
    read: Moved = None
    written: Moved = None


Rule = Callable[[Op], Cost | None]


# -- no arithmetic ----------------------------------------------------------------------------------------------------


def untouched(op: Op) -> Cost:
    """A view, or memory that is reserved and not written."""
    return Cost(read=0, written=0)


def moved(op: Op) -> Cost:
    """Copies its inputs."""
    return Cost()


def filled(op: Op) -> Cost:
    """Writes what it did not read."""
    return Cost(read=0)


def overwritten(op: Op) -> Cost:
    """copy_: writes its first input without reading it."""
    return Cost(read=("src",))


def looked_up(op: Op) -> Cost:
    """Reads only the elements that it returns, and the indices."""
    wanted = sum(value.bytes for value in op.outputs)
    indices = sum(value.bytes for value in op.inputs if value.dtype in ("int64", "int32"))
    return Cost(read=wanted + indices)


def scattered(op: Op) -> Cost:
    """Writes only the elements that it is given, into its first input; one addition for each where it adds them."""
    given = sum(value.bytes for value in op.inputs[1:])
    source = op.input("src") or op.input("source") or op.input("values")
    adds = op.attrs.get("accumulate") or "add" in op.kind or "reduce" in op.kind
    flops = source.numel if adds and source else 0
    return Cost(flops=flops, read=given, written=given) if op.in_place else Cost(flops=flops)


# -- one number after another -----------------------------------------------------------------------------------------


def _size(op: Op) -> int:
    return op.outputs[0].numel if op.outputs else sum(value.numel for value in op.inputs[:1])


def pointwise(op: Op) -> Cost:
    """One operation for each element of the result."""
    return Cost(flops=_size(op))


def each(operations: int) -> Rule:
    """So many operations for each element of the result."""
    return lambda op: Cost(flops=operations * _size(op))


def reduced(operations: int = 1) -> Rule:
    """So many operations for each element of the input."""
    return lambda op: Cost(flops=operations * op.inputs[0].numel)


def averaged(op: Op) -> Cost:
    """One addition for each element of the input, one division for each of the result."""
    return Cost(flops=op.inputs[0].numel + op.outputs[0].numel)


def sorted_(op: Op) -> Cost:
    """n log2 n comparisons along the sorted dimension."""
    numel = op.inputs[0].numel
    shape = op.inputs[0].shape
    along = shape[op.attrs.get("dim", -1)] if shape and op.attrs.get("dim", -1) is not None else numel
    return Cost(flops=numel * math.ceil(math.log2(max(along, 2))))


def softmax(op: Op) -> Cost:
    """Maximum, difference, exponential, sum and quotient."""
    return Cost(flops=5 * op.outputs[0].numel)


def fourier(op: Op) -> Cost:
    """5 n log2 n real operations for a complex transform of length n (Cooley and Tukey), half for a real one."""
    longest = max(op.inputs[0].numel, op.outputs[0].numel)
    shape = max(op.inputs[0].shape, op.outputs[0].shape, key=math.prod)
    length = math.prod(shape[dim] for dim in op.attrs.get("dim", (-1,)))
    real = op.kind in ("_fft_r2c", "_fft_c2r")
    return Cost(flops=round((2.5 if real else 5) * longest * math.log2(max(length, 2))))


# -- normalisation ----------------------------------------------------------------------------------------------------


def batch_norm(op: Op) -> Cost:
    """Scale and shift for each element; in training also mean (1) and variance (2)."""
    return Cost(flops=(5 if op.attrs.get("training", op.attrs.get("train")) else 2) * op.inputs[0].numel)


def layer_norm(op: Op) -> Cost:
    """Mean (1), variance (2), difference and quotient (2); scale and shift where there are any."""
    affine = sum(op.input(role) is not None for role in ("weight", "bias"))
    return Cost(flops=(5 + affine) * op.inputs[0].numel)


def rms_norm(op: Op) -> Cost:
    """Mean of squares (2), quotient (1), scale where there is one."""
    return Cost(flops=(3 + (op.input("weight") is not None)) * op.inputs[0].numel)


# -- windows ----------------------------------------------------------------------------------------------------------


def window(op: Op) -> int:
    kernel = op.attrs["kernel_size"]
    return math.prod(kernel) if isinstance(kernel, tuple) else kernel


def spatial_window(op: Op, dims: int) -> int:
    kernel = op.attrs["kernel_size"]
    return window(op) ** (dims if isinstance(kernel, int) or len(kernel) == 1 else 1)


def max_pool(dims: int) -> Rule:
    """Comparisons: one fewer than the window has elements, for each result."""
    return lambda op: Cost(flops=(spatial_window(op, dims) - 1) * op.outputs[0].numel)


def average_pool(dims: int) -> Rule:
    """Additions and one division: as many as the window has elements, for each result."""
    return lambda op: Cost(flops=spatial_window(op, dims) * op.outputs[0].numel)


def adaptive_pool(dims: int) -> Rule:
    """Every window from floor(i n / m) to ceil((i + 1) n / m), overlaps counted."""

    return lambda op: Cost(flops=adaptive_windows(op.inputs[0].shape, op.outputs[0].shape, dims))


def adaptive_windows(source: Shape, target: Shape, dims: int) -> int:
    """Elements of all windows of adaptive pooling together."""
    seen = math.prod(source[:-dims])
    for n, m in zip(source[-dims:], target[-dims:], strict=True):
        seen *= sum(-(-(i + 1) * n // m) - i * n // m for i in range(m))
    return seen


def interpolated(taps: int) -> Rule:
    """A weighted sum of so many neighbours."""
    return lambda op: Cost(flops=(2 * taps - 1) * op.outputs[0].numel)


# -- products ---------------------------------------------------------------------------------------------------------


def product(macs: int, extra: int = 0) -> Cost:
    return Cost(macs=macs, flops=2 * macs + extra)


def convolution(op: Op) -> Cost | None:
    """Every result (transposed: every input) meets one kernel of its group; a bias adds once to each result.

    A quantized one has its weight packed in an object that is no tensor.
    """
    if len(op.inputs) < 2:
        return None
    weight: Shape = op.inputs[1].shape
    transposed = op.attrs.get("transposed", False)
    grid = op.inputs[0] if transposed else op.outputs[0]
    return product(grid.numel * math.prod(weight[1:]), op.outputs[0].numel if op.input("bias") else 0)


def matrix_product(op: Op) -> Cost:
    """mm, bmm, mv, dot: the last dimension of the first factor is summed away."""
    return product(op.outputs[0].numel * op.inputs[0].shape[-1])


def added_product(op: Op) -> Cost:
    """addmm, baddbmm, addbmm, addmv: a product and one addition for each result, more with factors alpha and beta."""
    left, right = op.inputs[1], op.inputs[2].shape
    factors = sum(op.attrs.get(name, 1) != 1 for name in ("alpha", "beta"))
    return product(left.numel * (right[-1] if len(right) > 1 else 1), (1 + factors) * op.outputs[0].numel)


def linear(op: Op) -> Cost | None:
    if len(op.inputs) < 2:
        return None
    return product(op.outputs[0].numel * op.inputs[1].shape[-1], op.outputs[0].numel if op.input("bias") else 0)


def outer_sum(op: Op) -> Cost:
    """_trilinear: three factors multiplied and summed over ``sumdim``: two multiply-adds at each point.

    A factor has size 1 at the dimensions in its ``expand`` list.
    """
    rank = len(op.inputs[0].shape) + len(op.attrs["expand1"])
    sizes = [1] * rank
    for value, name in zip(op.inputs, ("expand1", "expand2", "expand3"), strict=True):
        own = [dim for dim in range(rank) if dim not in op.attrs[name]]
        for dim, size in zip(own, value.shape, strict=True):
            sizes[dim] = max(sizes[dim], size)
    return product(2 * math.prod(sizes))


def attention(op: Op) -> Cost:
    """softmax(q k^T / sqrt(d)) v for q [..., L, E], k [..., S, E], v [..., S, F], however it is fused."""
    query, key, value = (v.shape for v in op.inputs[:3])
    scores = math.prod(query[:-1]) * key[-2]
    masked = 1 if any("mask" in role or "bias" in role for role in op.roles) else 0
    return product(scores * (query[-1] + value[-1]), (5 + 1 + masked) * scores)


def distances(op: Op) -> Cost:
    """cdist: difference, absolute power and sum for each pair and coordinate."""
    return Cost(flops=3 * op.outputs[0].numel * op.inputs[0].shape[-1])
