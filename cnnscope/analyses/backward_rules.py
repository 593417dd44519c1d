"""How the cost of one operator of a backward pass follows from its shapes and arguments; see ``op_rules``.

What is counted is what the operator computes: a gradient that ``output_mask`` does not ask for costs nothing, and a
tensor that it is given for the shape alone is not read.
"""

from __future__ import annotations

import math

from ..graph import Op, Value
from .op_rules import Cost, Rule, adaptive_windows, product, spatial_window

_GRADIENTS = ("grad_output", "grad_out", "grad_out_", "grad", "grad_in", "grad_w")


def _gradient(op: Op) -> Value:
    """The gradient that comes in."""
    return next(value for value, role in zip(op.inputs, op.roles, strict=True) if role in _GRADIENTS)


def _given(op: Op, role: str) -> Value:
    value = op.input(role)
    assert value is not None, f"{op.name} has no {role}"
    return value


def _mask(op: Op, count: int = 3) -> tuple[bool, ...]:
    """Which gradients are asked for: of the input, of the weight, of the bias."""
    return op.attrs.get("output_mask") or (True,) * count


# -- products ---------------------------------------------------------------------------------------------------------


def convolution(op: Op) -> Cost:
    """Two products as large as the forward's: for the gradient of the input, and for that of the weight."""
    grad, source, weight = _gradient(op), _given(op, "input"), _given(op, "weight")
    to_input, to_weight, to_bias = _mask(op)
    grid = source if op.attrs.get("transposed") else grad
    macs = grid.numel * math.prod(weight.shape[1:]) * (to_input + to_weight)
    read = ("grad_output", *["weight"] * to_input, *["input"] * to_weight)
    return product(macs, grad.numel if to_bias else 0)._replace(read=read)


def attention(op: Op) -> Cost:
    """The scores again, then the gradients of value, scores, query and key: five products where the forward has two.

    For each score: scale, difference and exponential again; gradient times score, difference, scale. For each row the
    sum of gradient times result.
    """
    query, key, value = (_given(op, role).shape for role in ("query", "key", "value"))
    scores = math.prod(query[:-1]) * key[-2]
    masked = 1 if any("mask" in role or "bias" in role for role in op.roles) else 0
    rows = 2 * math.prod(query[:-1]) * value[-1]
    return product(scores * (3 * query[-1] + 2 * value[-1]), (6 + masked) * scores + rows)


def distances(op: Op) -> Cost:
    """cdist: difference, power, factor and sum for each pair and coordinate."""
    return Cost(flops=4 * _gradient(op).numel * _given(op, "x1").shape[-1])


# -- normalisation ----------------------------------------------------------------------------------------------------


def batch_norm(op: Op) -> Cost:
    """In training two sums (4: of gradients, of gradients times normalised inputs) and the result (4) of each element.

    With fixed statistics the gradient is scaled (1); those of weight and bias are the sums (3 and 1).
    """
    to_input, to_weight, to_bias = _mask(op)
    sums = 3 * to_weight + to_bias
    operations = (8 if op.attrs.get("train", True) else 1 + sums) if to_input else sums
    return Cost(flops=operations * _given(op, "input").numel)


def layer_norm(op: Op) -> Cost:
    """Normalise again (2); of the input two sums (3) and the result (4), times the weight; 2 for weight, 1 for bias."""
    to_input, to_weight, to_bias = _mask(op)
    again = 2 if to_input or to_weight else 0
    weighted = op.input("weight") is not None
    return Cost(flops=(again + to_input * (7 + weighted) + 2 * to_weight + to_bias) * _given(op, "input").numel)


def rms_norm(op: Op) -> Cost:
    """Normalise again (1); of the input one sum (2) and the result (3), times the weight; 2 for the weight."""
    to_input, to_weight = _mask(op, 2)
    weighted = op.input("weight") is not None
    return Cost(flops=(1 + to_input * (5 + weighted) + 2 * to_weight) * _given(op, "input").numel)


# -- one number after another -----------------------------------------------------------------------------------------


def each(operations: int) -> Rule:
    """So many operations for each element of the gradient that comes in."""
    return lambda op: Cost(flops=operations * _gradient(op).numel)


def added(*read: str) -> Rule:
    """Each element of the gradient is added at its place in a larger result; of the inputs it reads those named."""
    return lambda op: Cost(flops=_gradient(op).numel, read=(*_GRADIENTS, *read))


def spread(op: Op) -> Cost:
    """The gradient of a part: zeros, and the gradient copied into its place."""
    return Cost()


def bag(op: Op) -> Cost:
    """embedding_bag: each looked-up row gets the gradient of its bag."""
    return Cost(flops=_given(op, "indices").numel * _gradient(op).shape[-1])


# -- windows ----------------------------------------------------------------------------------------------------------


def average_pool(dims: int) -> Rule:
    """One division, and one addition to each element of the window."""
    return lambda op: Cost(flops=(spatial_window(op, dims) + 1) * _gradient(op).numel, read=_GRADIENTS)


def adaptive_pool(dims: int) -> Rule:
    """The same with the windows of adaptive pooling."""

    def cost(op: Op) -> Cost:
        grad = _gradient(op)
        return Cost(flops=grad.numel + adaptive_windows(op.outputs[0].shape, grad.shape, dims), read=_GRADIENTS)

    return cost


def interpolated(taps: int) -> Rule:
    """The gradient times a weight, added to each of so many neighbours."""
    return lambda op: Cost(flops=2 * taps * _gradient(op).numel, read=_GRADIENTS)


def sampled(dims: int) -> Rule:
    """grid_sampler: as interpolated, and for each direction of the grid once more."""

    def cost(op: Op) -> Cost:
        to_input, to_grid = _mask(op, 2)
        return Cost(flops=2 * 2**dims * (to_input + dims * to_grid) * _gradient(op).numel)

    return cost
