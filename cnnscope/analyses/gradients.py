"""What oneDNN holds for the gradients of a convolution: that of its input first, then that of its weight beside it."""

from __future__ import annotations

import math

from ..graph import Op
from .kernels import (
    ITEM,
    SLACK,
    Convolution,
    Cpu,
    Extra,
    Kernel,
    data_gradient,
    doubtful,
    reduces_stride,
    weight_gradient,
)
from .layouts import copied_bytes, data_bytes, source_bytes, up, weight_bytes
from .reductions import sharers

BARRIER = 8192  # where threads that add up wait for each other
_PAGE = 4096


def backward(op: Op, c: Convolution, cpu: Cpu) -> Extra:
    """The gradient of the data, then that of the weight beside it: the larger of the two peaks."""
    data, weight, bias = op.attrs["output_mask"]
    if op.attrs["transposed"]:
        return _transposed_backward(op, c, cpu)
    plain = data_bytes(c, c.inputs, c.source, 1) if data else 0
    exact, peak, names = True, 0, []
    if data:
        kernel = data_gradient(c, cpu.lanes)
        held, after, exact = of_data(c, kernel, cpu)
        peak = max(held, after)
        names.append(kernel.name)
    if weight or bias:
        kernel = weight_gradient(c, cpu.lanes)
        held, sure = of_weight(c, kernel, cpu, bias)
        if doubtful(c):
            held = max(held, of_weight(c, Kernel("gemm"), cpu, bias)[0])
        peak, exact = max(peak, plain + held), exact and sure
        names.append(kernel.name)
    results = sum(value.bytes for value in op.outputs)
    waiting = copied_bytes(op, ("grad_output", "input", "weight"))
    return Extra(max(peak - results, 0) + waiting, exact, f"oneDNN {' and '.join(names)}")


def product_scratch(cpu: Cpu) -> int:
    """A bound on what a matrix product keeps for each thread."""
    return cpu.threads * (256 << 10) + _PAGE


def of_data(c: Convolution, kernel: Kernel, cpu: Cpu) -> tuple[int, int, bool]:
    """Bytes while the kernel runs, bytes while the result is copied back (the result included), and if exactly."""
    plain = data_bytes(c, c.inputs, c.source, 1)
    if kernel.name == "gemm":
        return _unbounded_columns(c, cpu, over_outputs=True) + plain, 2 * plain, False
    weight = weight_bytes(c, kernel)
    if kernel.name == "product":
        return weight + plain + product_scratch(cpu), 3 * plain, False
    if kernel.last:
        return data_bytes(c, c.outputs, c.result, 1) + weight + plain + strided_scratch(c, cpu), 3 * plain, False
    blocked = data_bytes(c, c.inputs, c.source, kernel.block)
    held = data_bytes(c, c.outputs, c.result, kernel.block) + weight + blocked
    return held, blocked + plain, not doubtful(c)


def strided_scratch(c: Convolution, cpu: Cpu) -> int:
    """A bound on what the threads of the strided kernel keep: an image of the gradient of the result each."""
    return cpu.threads * (up(ITEM * c.outputs * _with_halo(c), _PAGE) + 24 * _PAGE + 6144) + 176


def _with_halo(c: Convolution) -> int:
    """Pixels of the gradient of a result with the borders that windows of a strided convolution reach into."""
    reach = zip(c.result, c.reach, c.padding, c.stride, strict=True)
    return math.prod([size + max(0, -(-(r - 1 - p) // s) + (r - 1 - p) // s) for size, r, p, s in reach])


def _unbounded_columns(c: Convolution, cpu: Cpu, over_outputs: bool) -> int:
    """Scratch of the matrix-product kernel in the backward pass: whole columns, by thread where threads share work."""
    if c.pointwise and not c.strided:
        return 0
    pixels = math.prod(c.result)
    spread = (c.batch > 1 or c.groups > 2) and (pixels // cpu.threads < (512 if over_outputs else 256))
    small = over_outputs and math.prod(c.kernel) < 64 and (c.batch > 1 or c.groups > 2)
    return (cpu.threads if spread or small else 1) * c.columns + SLACK


def of_weight(c: Convolution, kernel: Kernel, cpu: Cpu, bias: bool) -> tuple[int, bool]:
    into, _ = c.per_group
    plain = ITEM * c.outputs * into * math.prod(c.kernel)
    sums = ITEM * c.outputs if bias else 0
    if kernel.name == "gemm":
        pixels = math.prod(c.result)
        spread = pixels // cpu.threads < 256 and (c.batch > 1 or c.groups > 2)
        scratch = (cpu.threads if spread else 1) * 4 * plain + SLACK + _unbounded_columns(c, cpu, over_outputs=False)
        return max(plain + sums + scratch, 2 * plain + 2 * sums), True
    blocked = weight_bytes(c, kernel)
    if kernel.name == "product":
        held = data_bytes(c, c.inputs, c.source, 1) + plain + product_scratch(cpu) + sums
        return max(held, 3 * plain + 2 * sums), False
    held = data_bytes(c, c.outputs, c.result, kernel.block) + source_bytes(c, kernel) + blocked + sums
    held += scratch_of_weight(c, kernel, cpu, bias)
    # How the threads share the sum over a bias of a number of blocks that they cannot divide is not known exactly.
    even = not bias or c.batch == 1 or cpu.threads <= 2 or -(-c.outputs // kernel.block) % cpu.threads == 0
    return max(held, blocked + plain + 2 * sums), even and kernel.block == cpu.lanes == 16 and not doubtful(c)


def scratch_of_weight(c: Convolution, kernel: Kernel, cpu: Cpu, bias: bool) -> int:
    scratch = 0
    copies = sharers(c, kernel, cpu.threads) - 1
    sums = ITEM * up(c.outputs, kernel.block) if bias else 0
    if kernel.name == "depthwise":
        return copies * (weight_bytes(c, kernel) + sums) + (SLACK * (2 if bias else 1) if copies else 0)
    if copies:
        if cpu.lanes == 8 and kernel.name == "pointwise":
            copies += 1  # there the first thread has a copy too
        own = 0 if kernel.name == "pointwise" else ITEM * up(c.outputs, kernel.block)
        scratch += copies * (weight_bytes(c, kernel) + own) + BARRIER + SLACK
    blocks = -(-c.outputs // kernel.block)
    if bias and c.batch > 1 and (blocks < cpu.threads or (c.batch >= 16 and blocks % cpu.threads)):
        scratch += BARRIER + _PAGE + (min(cpu.threads, c.batch) - 1) * ITEM * kernel.block
    if bias and c.outputs % kernel.block:
        scratch += sums + SLACK
    if reduces_stride(c):
        scratch += cpu.threads * ITEM * kernel.block * math.prod(c.result) * _blocks(c, kernel) + SLACK
    return scratch


def _blocks(c: Convolution, kernel: Kernel) -> int:
    """How many blocks of input channels a strided 1x1 convolution gathers at a time: a divisor of all, 5 at least."""
    blocks = -(-c.inputs // kernel.block)
    return next((each for each in range(min(5, blocks), blocks + 1) if blocks % each == 0), blocks)


def _transposed_backward(op: Op, c: Convolution, cpu: Cpu) -> Extra:
    """A bound: the gradient of the input is a forward pass, that of the weight as ever, all in the largest blocks."""
    data = data_bytes(c, c.inputs, c.source, cpu.lanes) + data_bytes(c, c.outputs, c.result, cpu.lanes)
    into, out = c.per_group
    weight = ITEM * math.prod(c.kernel) * c.groups * up(into, cpu.lanes) * up(out, cpu.lanes)
    scratch = cpu.threads * (c.columns + 2 * weight)
    return Extra(data + 2 * weight + scratch + copied_bytes(op, ("grad_output", "input", "weight")), False, "oneDNN")


def last_backward(op: Op, c: Convolution, cpu: Cpu) -> Extra | None:
    """With channels last the data stay as they are; the weight and its gradient are copied into blocks and back."""
    data, _, bias = op.attrs["output_mask"]
    plain = data_bytes(c, c.inputs, c.source, 1) if data else 0
    peak = plain + _last_of_data(c, cpu) if data else 0
    peak = max(peak, plain + _last_of_weight(c, cpu, bias))
    results = sum(value.bytes for value in op.outputs)
    waiting = copied_bytes(op, ("grad_output", "input", "weight"), last=True)
    depthwise = c.per_group == (1, 1) and c.groups > 1
    if depthwise and min(c.source) < 4:
        return None  # maps of a few points go to another kernel
    exact = depthwise and not c.dilated
    return Extra(max(peak - results, 0) + waiting, exact, "oneDNN channels last")


def _last_of_data(c: Convolution, cpu: Cpu) -> int:
    """The blocked weight, with what the threads of a product keep."""
    into, out = c.per_group
    window = ITEM * math.prod(c.kernel)
    if into == out == 1 and c.groups > 1:
        return window * up(c.groups, cpu.lanes)
    scratch = strided_scratch(c, cpu) if c.strided else cpu.threads * 6144 + 176
    return window * c.groups * up(into, 4 * cpu.lanes) * out + scratch


def _last_of_weight(c: Convolution, cpu: Cpu, bias: bool) -> int:
    """The blocked gradient with scratch; or beside it the gradient in both orders."""
    into, out = c.per_group
    window = ITEM * math.prod(c.kernel)
    plain, sums = window * c.outputs * into, ITEM * c.outputs if bias else 0
    name = weight_gradient(c, cpu.lanes).name
    kernel = Kernel(name if name in ("depthwise", "pointwise") else "direct", cpu.lanes)
    blocked = weight_bytes(c, kernel)
    if kernel.name == "depthwise":  # each thread has a gradient of its own
        own = cpu.threads * (blocked + sums) + (2 if bias else 1) * SLACK
        return max(own, blocked + 2 * plain + 2 * sums)
    scratch = scratch_of_weight(c, kernel, cpu, bias) if c.groups == 1 else 0
    if reduces_stride(c):
        scratch += cpu.threads * ITEM * c.inputs * math.prod(c.result) + SLACK
    if bias and kernel.name == "direct" and out % cpu.lanes and c.groups > 1:
        scratch += ITEM * c.groups * up(out, cpu.lanes) + SLACK
    return max(blocked + sums + scratch, blocked + 2 * plain + 2 * sums)
