"""How tensors lie in memory: the orders that torch knows, and the blocks in which oneDNN copies them."""

from __future__ import annotations

import math

from ..graph import Op, Shape, Value
from .kernels import ITEM, Convolution, Kernel


def up(number: int, block: int) -> int:
    """The next multiple of a block."""
    return -(-number // block) * block


def channels_last(value: Value) -> bool:
    """Whether torch takes the strides of [N, C, H, W] or [N, C, D, H, W] for channels last (``is_channels_last``)."""
    if not value.strides or len(value.shape) not in (4, 5):
        return False
    least = 0
    for dim in (1, *range(len(value.shape) - 1, 1, -1), 0):
        stride, size = value.strides[dim], value.shape[dim]
        if stride < least or (dim == 0 and least == value.strides[1]):
            return False
        least = stride * max(size, 1)
    return value.strides[1] != 0


def contiguous(value: Value, last: bool = False) -> bool:
    """Whether ``contiguous()`` in a memory format returns the tensor itself."""
    if not value.strides:
        return not last or math.prod(value.shape[2:]) == 1 or value.shape[1] == 1
    step = 1
    dims = [1, *range(len(value.shape) - 1, 1, -1), 0] if last else range(len(value.shape) - 1, -1, -1)
    for dim in dims:
        if value.shape[dim] != 1:
            if value.strides[dim] != step:
                return False
            step *= value.shape[dim]
    return True


def copied_bytes(op: Op, roles: tuple[str, ...], last: bool = False) -> int:
    """Bytes of the operands that are copied first because their elements do not lie in order."""
    found = [value for role in roles if (value := op.input(role)) is not None]
    return sum(value.bytes for value in found if not contiguous(value, last))


def data_bytes(c: Convolution, channels: int, size: Shape, block: int) -> int:
    return ITEM * c.batch * up(channels, max(block, 1)) * math.prod(size)


def source_bytes(c: Convolution, kernel: Kernel) -> int:
    """Bytes of the copy of the input."""
    return 0 if kernel.name in ("first", "gemm") else data_bytes(c, c.inputs, c.source, kernel.block)


def weight_bytes(c: Convolution, kernel: Kernel) -> int:
    """Bytes of the copy of the weight."""
    into, out = c.per_group
    block, window = kernel.block, ITEM * math.prod(c.kernel)
    if kernel.name == "gemm":
        return 0
    if kernel.name == "depthwise":
        return window * up(c.groups, block)
    if kernel.name == "first":
        return window * up(c.outputs, block) * into
    if kernel.name == "strided":
        return window * c.groups * out * max(up(into, block) for block in (64, 48, 32))
    return window * c.groups * up(out, block) * up(into, block)
