"""ONNX convolutions and pools as torch runs them: paddings, strides, sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from .onnx_values import Node, full, tensor


class Window(NamedTuple):
    """Strides, dilations and padding of a convolution or pool, in the order of the dimensions."""

    stride: list[int]
    dilation: list[int]
    before: list[int]
    behind: list[int]


def _window(node: Node, x: Tensor, kernel: Sequence[int]) -> Window:
    rank = len(kernel)
    stride = list(node.get("strides") or [1] * rank)
    dilation = list(node.get("dilations") or [1] * rank)
    pads = list(node.get("pads") or [0] * 2 * rank)
    before, behind = pads[:rank], pads[rank:]
    how = node.get("auto_pad", "NOTSET")
    if how.startswith("SAME"):
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        sizes = zip(x.shape[2:], stride, spans, strict=True)
        totals = [max((-(-size // step) - 1) * step + span - size, 0) for size, step, span in sizes]
        half = [total // 2 for total in totals]
        rest = [total - part for total, part in zip(totals, half, strict=True)]
        before, behind = (half, rest) if how == "SAME_UPPER" else (rest, half)
    elif how == "VALID":
        before, behind = [0] * rank, [0] * rank
    return Window(stride, dilation, before, behind)


def _evened(
    x: Tensor, window: Window, most: Sequence[int] | None = None, fill: float = 0.0
) -> tuple[Tensor, list[int]]:
    """The input, padded first where the two sides differ or torch takes no more than ``most``; and the padding left."""
    uneven = window.before != window.behind
    if uneven or (most and any(pad > limit for pad, limit in zip(window.before, most, strict=True))):
        pairs = zip(reversed(window.before), reversed(window.behind), strict=True)
        return F.pad(x, [pad for pair in pairs for pad in pair], value=fill), [0] * len(window.before)
    return x, window.before


def conv(node: Node, x: Any, weight: Any, bias: Any = None) -> Tensor:
    x, weight = full(x), full(weight)
    window = _window(node, x, weight.shape[2:])
    x, padding = _evened(x, window)
    run = (F.conv1d, F.conv2d, F.conv3d)[x.dim() - 3]
    return run(x, weight, tensor(bias), window.stride, padding, window.dilation, node.get("group", 1))


def conv_transpose(node: Node, x: Any, weight: Any, bias: Any = None) -> Tensor:
    x, weight = full(x), full(weight)
    kernel = weight.shape[2:]
    window = _window(Node(node.kind, {**node.attributes, "auto_pad": "NOTSET"}, 1), x, kernel)
    more = list(node.get("output_padding") or [0] * len(kernel))
    whole = [
        (size - 1) * step + (k - 1) * d + 1 + extra
        for size, step, k, d, extra in zip(x.shape[2:], window.stride, kernel, window.dilation, more, strict=True)
    ]
    wanted = node.get("output_shape")
    if wanted is None and node.get("auto_pad", "NOTSET").startswith("SAME"):
        wanted = [size * step for size, step in zip(x.shape[2:], window.stride, strict=True)]
    before, behind = window.before, window.behind
    if wanted is not None:
        cut = [size - want for size, want in zip(whole, list(wanted)[-len(kernel) :], strict=True)]
        before, behind = [each // 2 for each in cut], [each - each // 2 for each in cut]
    run = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[x.dim() - 3]
    even = before == behind and min(before) >= 0
    padding = before if even else [0] * len(kernel)
    y = run(x, weight, tensor(bias), window.stride, padding, more, node.get("group", 1), window.dilation)
    if even:
        return y
    pairs = zip(reversed(before), reversed(behind), strict=True)
    return F.pad(y, [-size for pair in pairs for size in pair])


def max_pool(node: Node, x: Any) -> Any:
    kernel = list(node.get("kernel_shape"))
    window = _window(node, x, kernel)
    x, padding = _evened(full(x), window, [k // 2 for k in kernel], -math.inf)
    run: Any = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    ceil, indices = bool(node.get("ceil_mode", 0)), node.results > 1
    return run(x, kernel, window.stride, padding, window.dilation, ceil, return_indices=indices)


def average_pool(node: Node, x: Any) -> Tensor:
    kernel = list(node.get("kernel_shape"))
    window = _window(node, x, kernel)
    if any(each != 1 for each in window.dilation):
        raise ValueError("torch has no average pooling with dilation")
    x, padding = _evened(full(x), window, [k // 2 for k in kernel])
    run: Any = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    return run(
        x, kernel, window.stride, padding, bool(node.get("ceil_mode", 0)), bool(node.get("count_include_pad", 0))
    )
