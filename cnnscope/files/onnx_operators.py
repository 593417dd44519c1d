"""What each ONNX operator is in torch: ``OPERATORS["Conv"](node, x, weight, bias)``.

A value is a tensor, or a numpy array where it is known without running the model (shapes, constants). An operator whose
arguments are all known never comes here. Results may differ from ONNX in their numbers where the shape, the type and
the work are the same; nobody looks at the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import onnx_shapes as shapes
from . import onnx_windows as windows
from .onnx_values import Node, dtype, full, known, tensor


def _gemm(node: Node, a: Any, b: Any, c: Any = None) -> Tensor:
    a, b, c = full(a), full(b), tensor(c)
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    a = a.t() if node.get("transA", 0) else a
    plain = alpha == 1 and (beta == 1 or c is None)
    if node.get("transB", 0) and plain and (c is None or (isinstance(c, Tensor) and c.dim() == 1)):
        return F.linear(a, b, c)
    b = b.t() if node.get("transB", 0) else b
    if isinstance(c, Tensor):
        return torch.addmm(c, a, b, beta=beta, alpha=alpha)
    product = torch.mm(a, b)
    product = product if alpha == 1 else product * alpha
    return product if c is None else product + beta * c


def _batch_norm(node: Node, x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Tensor:
    training = bool(node.get("training_mode", 0))
    return F.batch_norm(
        full(x), full(mean), full(variance), full(scale), full(bias), training, eps=node.get("epsilon", 1e-5)
    )


def _layer_norm(node: Node, x: Any, scale: Any, bias: Any = None) -> Any:
    shape = list(full(x).shape[node.get("axis", -1) :])
    weight, shift = full(scale).reshape(shape), None if bias is None else full(bias).reshape(shape)
    epsilon = node.get("epsilon", 1e-5)
    if node.results > 1:  # and the mean and deviation of each
        return torch.native_layer_norm(full(x), shape, weight, shift, epsilon)
    return F.layer_norm(full(x), shape, weight, shift, epsilon)


def _rms_norm(node: Node, x: Any, scale: Any) -> Tensor:
    shape = full(x).shape[node.get("axis", -1) :]
    return F.rms_norm(full(x), shape, full(scale).reshape(shape), node.get("epsilon", 1e-5))


def _group_norm(node: Node, x: Any, scale: Any, bias: Any) -> Tensor:
    groups, channels = node.get("num_groups"), full(x).shape[1]
    weight, shift = full(scale), full(bias)
    if weight.numel() != channels:  # before opset 21 there was one for each group
        weight, shift = (each.repeat_interleave(channels // groups) for each in (weight, shift))
    return F.group_norm(full(x), groups, weight, shift, node.get("epsilon", 1e-5))


def _clip(node: Node, x: Any, low: Any = None, high: Any = None) -> Tensor:
    least = tensor(low) if low is not None else node.get("min")
    most = tensor(high) if high is not None else node.get("max")
    return full(x) if least is None and most is None else torch.clamp(full(x), least, most)


def _prelu(node: Node, x: Any, slope: Any) -> Tensor:
    weight = full(slope)
    return (
        F.prelu(full(x), weight.flatten())
        if weight.numel() in (1, full(x).shape[1])
        else torch.where(x > 0, x, x * weight)
    )


def _hard_sigmoid(node: Node, x: Any) -> Tensor:
    alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-3) and beta == 0.5:
        return F.hardsigmoid(full(x))
    return torch.clamp(full(x) * alpha + beta, 0, 1)


def _divided(node: Node, a: Any, b: Any) -> Any:
    one, other = tensor(a), tensor(b)
    whole = isinstance(one, Tensor) and not one.is_floating_point()
    return torch.div(one, other, rounding_mode="trunc") if whole else one / other


def _power(node: Node, a: Any, b: Any) -> Any:
    base = full(a)
    return (base ** tensor(b)).to(base.dtype)


def _remainder(node: Node, a: Any, b: Any) -> Tensor:
    run = torch.fmod if node.get("fmod", 0) else torch.remainder
    return run(full(a), tensor(b))


def _reduce(run: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Over all axes where none are named, unless the operator says that none means none."""

    def reduce(node: Node, x: Any, axes: Any = None) -> Tensor:
        x, found = full(x), shapes.axes_of(node, axes)
        if not found and node.get("noop_with_empty_axes", 0):
            return x
        return run(x, tuple(found) if found else tuple(range(x.dim())), bool(node.get("keepdims", 1)))

    return reduce


def _product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = x.prod(axis, keep)
    return x


def _best(run: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda node, x: run(full(x), node.get("axis", 0), bool(node.get("keepdims", 1)))


def _top(node: Node, x: Any, count: Any = None) -> Any:
    number = known(count, "how many") if count is not None else node.get("k")
    number = number[0] if isinstance(number, list) else number
    return torch.topk(full(x), number, node.get("axis", -1), bool(node.get("largest", 1)))


def _triangle(node: Node, x: Any, diagonal: Any = None) -> Tensor:
    run = torch.triu if node.get("upper", 1) else torch.tril
    return run(full(x), known(diagonal, "the diagonal") or 0)


def _each(run: Callable[..., Any]) -> Callable[..., Any]:
    return lambda node, x: run(full(x))


def _both(run: Callable[..., Any]) -> Callable[..., Any]:
    return lambda node, a, b: run(tensor(a), tensor(b))


def _all(run: Callable[..., Any]) -> Callable[..., Any]:
    def fold(node: Node, *values: Any) -> Any:
        found = tensor(values[0])
        for value in values[1:]:
            found = run(found, tensor(value))
        return found

    return fold


def _pairs(run: Callable[..., Any]) -> Callable[..., Any]:
    """For functions that take tensors only."""
    return _all(lambda a, b: run(full(a), full(b)))


OPERATORS: dict[str, Callable[..., Any]] = {
    "Conv": windows.conv, "ConvTranspose": windows.conv_transpose,
    "MaxPool": windows.max_pool, "AveragePool": windows.average_pool,
    "GlobalAveragePool": lambda node, x: x.mean(tuple(range(2, x.dim())), keepdim=True),
    "GlobalMaxPool": lambda node, x: x.amax(tuple(range(2, x.dim())), keepdim=True),
    "Gemm": _gemm, "MatMul": _pairs(torch.matmul),
    "Einsum": lambda node, *values: torch.einsum(node.get("equation"), *map(full, values)),
    "BatchNormalization": _batch_norm, "LayerNormalization": _layer_norm, "GroupNormalization": _group_norm,
    "RMSNormalization": _rms_norm,
    "InstanceNormalization": lambda node, x, scale, bias: F.instance_norm(
        x, weight=full(scale), bias=full(bias), eps=node.get("epsilon", 1e-5)
    ),
    "LRN": lambda node, x: F.local_response_norm(
        x, node.get("size"), node.get("alpha", 1e-4), node.get("beta", 0.75), node.get("bias", 1.0)
    ),
    "Reshape": shapes.reshape, "Flatten": shapes.flatten, "Squeeze": shapes.squeeze, "Unsqueeze": shapes.unsqueeze,
    "Split": shapes.split, "Slice": shapes.cut, "Gather": shapes.gather, "ScatterND": shapes.scatter_nd,
    "Pad": shapes.pad, "Resize": shapes.resize, "Upsample": shapes.resize,
    "DepthToSpace": shapes.space, "SpaceToDepth": shapes.space,
    "Transpose": lambda node, x: full(x).permute(list(node.get("perm") or reversed(range(full(x).dim())))),
    "Concat": lambda node, *values: torch.cat([full(value) for value in values], node.get("axis", 0)),
    "Expand": lambda node, x, shape: full(x).expand(torch.broadcast_shapes(full(x).shape, known(shape, "the shape"))),
    "Tile": lambda node, x, times: full(x).repeat(known(times, "how often")),
    "GatherElements": lambda node, x, indices: torch.gather(full(x), node.get("axis", 0), full(indices)),
    "ScatterElements": lambda node, x, indices, updates: torch.scatter(
        full(x), node.get("axis", 0), full(indices), full(updates)
    ),
    "OneHot": lambda node, x, depth, values: F.one_hot(full(x), int(np.ravel(known(depth, "the depth"))[0])),
    "NonZero": lambda node, x: torch.nonzero(full(x)).t(),
    "Identity": lambda node, x: x,
    "Dropout": lambda node, x, *_: (x, torch.ones_like(x, dtype=torch.bool)) if node.results > 1 else x,
    "Cast": lambda node, x: full(x).to(dtype(node.get("to"))),
    "CastLike": lambda node, x, like: full(x).to(full(like).dtype),
    "Where": lambda node, condition, a, b: torch.where(full(condition), tensor(a), tensor(b)),
    "Clip": _clip, "PRelu": _prelu, "HardSigmoid": _hard_sigmoid, "Trilu": _triangle, "TopK": _top,
    "CumSum": lambda node, x, axis: torch.cumsum(full(x), int(np.ravel(known(axis, "the axis"))[0])),
    "Add": _both(lambda a, b: a + b), "Sub": _both(lambda a, b: a - b), "Mul": _both(lambda a, b: a * b),
    "Div": _divided, "Pow": _power, "Mod": _remainder,
    "Min": _pairs(torch.minimum), "Max": _pairs(torch.maximum), "Sum": _all(lambda a, b: a + b),
    "Mean": lambda node, *values: sum(map(tensor, values)) / len(values),
    "Equal": _both(lambda a, b: a == b), "Greater": _both(lambda a, b: a > b), "Less": _both(lambda a, b: a < b),
    "GreaterOrEqual": _both(lambda a, b: a >= b), "LessOrEqual": _both(lambda a, b: a <= b),
    "And": _pairs(torch.logical_and), "Or": _pairs(torch.logical_or), "Xor": _pairs(torch.logical_xor),
    "Not": _each(torch.logical_not),
    "ReduceMean": _reduce(torch.mean), "ReduceSum": _reduce(torch.sum), "ReduceMax": _reduce(torch.amax),
    "ReduceMin": _reduce(torch.amin), "ReduceLogSumExp": _reduce(torch.logsumexp), "ReduceProd": _reduce(_product),
    "ReduceL1": _reduce(lambda x, axes, keep: x.abs().sum(axes, keep)),
    "ReduceL2": _reduce(lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep)),
    "ReduceSumSquare": _reduce(lambda x, axes, keep: x.square().sum(axes, keep)),
    "ArgMax": _best(torch.argmax), "ArgMin": _best(torch.argmin),
    "Softmax": lambda node, x: F.softmax(full(x), node.get("axis", -1)),
    "LogSoftmax": lambda node, x: F.log_softmax(full(x), node.get("axis", -1)),
    "LeakyRelu": lambda node, x: F.leaky_relu(full(x), node.get("alpha", 0.01)),
    "Elu": lambda node, x: F.elu(full(x), node.get("alpha", 1.0)),
    "Celu": lambda node, x: F.celu(full(x), node.get("alpha", 1.0)),
    "ThresholdedRelu": lambda node, x: F.threshold(full(x), node.get("alpha", 1.0), 0.0),
    "Gelu": lambda node, x: F.gelu(full(x), approximate=node.get("approximate", "none")),
    "Relu": _each(F.relu), "Sigmoid": _each(torch.sigmoid), "Tanh": _each(torch.tanh), "HardSwish": _each(F.hardswish),
    "Selu": _each(F.selu), "Softplus": _each(F.softplus), "Softsign": _each(F.softsign), "Mish": _each(F.mish),
    "Exp": _each(torch.exp), "Log": _each(torch.log), "Sqrt": _each(torch.sqrt), "Abs": _each(torch.abs),
    "Neg": _each(torch.neg), "Floor": _each(torch.floor), "Ceil": _each(torch.ceil), "Round": _each(torch.round),
    "Erf": _each(torch.erf), "Sin": _each(torch.sin), "Cos": _each(torch.cos), "Tan": _each(torch.tan),
    "Atan": _each(torch.atan), "Sign": _each(torch.sign), "Reciprocal": _each(torch.reciprocal),
    "IsNaN": _each(torch.isnan), "IsInf": _each(torch.isinf),
}  # fmt: skip
