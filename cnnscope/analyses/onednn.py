"""What a CPU holds inside a convolution beyond its operands: oneDNN's copies in blocked layouts, and scratch.

PyTorch hands oneDNN tensors in the plain layout (channels first); oneDNN copies each into the layout of its kernel and
the result back. All copies are alive at once while the kernel runs, then the blocked result beside the plain one. With
channels last data are not copied. The bytes are what PyTorch's CPU allocator is asked for.

``beyond(op, cpu)`` is exact or a bound, and says which; see ``scratch.extra`` for what is asked of it.
"""

from __future__ import annotations

import math

from ..graph import ITEM_BYTES, Op
from .gradients import BARRIER, backward, last_backward, of_data, product_scratch
from .kernels import (
    ITEM,
    SLACK,
    Convolution,
    Cpu,
    Extra,
    by_onednn,
    convolution,
    data_gradient,
    doubtful,
    forward,
    reduces_stride,
)
from .layouts import channels_last, copied_bytes, data_bytes, source_bytes, up, weight_bytes


def beyond(op: Op, cpu: Cpu) -> Extra | None:
    """What a ``convolution`` or ``convolution_backward`` holds; None where no rule knows."""
    values = [value for value in (op.input("input"), op.input("weight")) if value is not None]
    if op.attrs["groups"] < 1 or any(0 in value.shape for value in values) or len(values) != 2:
        return None
    c = convolution(op)
    found = _of_kernel(op, c, cpu)
    if found is None or {value.dtype for value in op.inputs} != {"float32"}:
        return found
    if _is_usual(op, c, cpu):
        few = not found.exact and c.outputs < 8  # whose sums threads share in a way that is not known
        return found._replace(bytes=found.bytes + BARRIER) if few else found
    return Extra(max(found.bytes, _at_most(op, c, cpu)), False, found.kernel)


def _of_kernel(op: Op, c: Convolution, cpu: Cpu) -> Extra | None:
    """By the rules of the kernel that runs, as far as they are known."""
    values = [value for value in (op.input("input"), op.input("weight")) if value is not None]
    dtypes, transposed = {value.dtype for value in op.inputs}, op.attrs["transposed"]
    if dtypes == {"float32"} and by_onednn(c, cpu.threads, transposed, op.attrs["output_padding"]):
        last = any(channels_last(value) for value in values)
        if op.kind == "convolution":
            return _last_forward(op, c, cpu) if last else _forward(op, c, cpu)
        return last_backward(op, c, cpu) if last else backward(op, c, cpu)
    if dtypes <= {"float32", "float64"} and op.attrs["groups"] == 1:
        return _unfolded(op, c, ITEM_BYTES[values[0].dtype])
    return None


# -- forward ----------------------------------------------------------------------------------------------------------


def _forward(op: Op, c: Convolution, cpu: Cpu) -> Extra:
    """Copies of input, weight and result with scratch; then the result in both layouts."""
    waiting = copied_bytes(op, ("input", "weight"))
    bias = op.input("bias") is not None
    if op.attrs["transposed"]:
        return _transposed(op, c, cpu, waiting)
    kernel = forward(c, cpu.lanes)
    plain = data_bytes(c, c.outputs, c.result, 1)
    if kernel.last:
        held = data_bytes(c, c.inputs, c.source, 1) + weight_bytes(c, kernel) + plain
        held += product_scratch(cpu) if kernel.name == "product" else 0
        return Extra(max(held, 3 * plain) - plain + waiting, False, f"oneDNN {kernel.name}")
    if kernel.name == "gemm":
        return Extra(max(_columns(c, cpu), plain) + waiting, False, "oneDNN gemm")
    result = data_bytes(c, c.outputs, c.result, kernel.block)
    held = source_bytes(c, kernel) + weight_bytes(c, kernel) + result
    if bias and c.outputs % kernel.block and (c.groups == 1 or kernel.name == "depthwise"):
        held += ITEM * up(c.outputs, kernel.block) + SLACK
    if reduces_stride(c):
        held += cpu.threads * ITEM * up(c.inputs, kernel.block) * math.prod(c.result) + SLACK
    if doubtful(c):
        held = max(held, _columns(c, cpu) + plain)
    return Extra(max(held, result + plain) - plain + waiting, not doubtful(c), f"oneDNN {kernel.name}")


def _columns(c: Convolution, cpu: Cpu) -> int:
    """Scratch of the matrix-product kernel: unfolded columns for each thread, cut so that they fit into its cache."""
    if c.pointwise and not c.strided:
        return 0
    return cpu.threads * min(c.columns, cpu.cache) + SLACK


def _transposed(op: Op, c: Convolution, cpu: Cpu, waiting: int) -> Extra:
    """A transposed convolution is the gradient of the input of another convolution."""
    kernel = data_gradient(c, cpu.lanes)
    plain = data_bytes(c, c.inputs, c.source, 1)
    held, after, exact = of_data(c, kernel, cpu)
    if op.input("bias") is not None and kernel.last:
        held += cpu.threads * ITEM * up(c.inputs, 64) * math.prod(c.source)
    elif op.input("bias") is not None and kernel.block:
        held += data_bytes(c, c.inputs, c.source, kernel.block) + SLACK
    return Extra(max(held, after) - plain + waiting, exact, f"oneDNN transposed {kernel.name}")


# -- what no rule is sure of ------------------------------------------------------------------------------------------


def _is_usual(op: Op, c: Convolution, cpu: Cpu) -> bool:
    """Whether the rules were found for convolutions like it, as networks have them."""
    wide = any(reach <= 2 * padding for reach, padding in zip(c.reach, c.padding, strict=True))
    if op.kind == "convolution":
        if op.attrs["transposed"]:
            return len(c.kernel) == 2 and c.groups == 1 and not c.dilated and not wide
        return c.groups == 1 or forward(c, cpu.lanes).name != "first"
    if len(c.kernel) != 2 or op.attrs["transposed"]:
        return False
    grouped = c.groups > 1 and c.per_group != (1, 1)
    covered = any(size < reach for size, reach in zip(c.result, c.reach, strict=True))
    covered = covered and (grouped or c.dilated or (any(c.padding) and max(c.reach) >= 5))
    return not (wide or covered or (c.dilated and (c.strided or grouped)))


def _at_most(op: Op, c: Convolution, cpu: Cpu) -> int:
    """A bound for all of them: every copy in blocks of 16, and for each thread gradients of the weight and columns."""
    into, out = (up(channels, 16) for channels in c.per_group)
    window = math.prod(c.kernel)
    data = c.batch * c.groups * (into * math.prod(c.source) + out * math.prod(c.result))
    weight = c.groups * into * out * window
    columns = c.inputs * window * math.prod(c.result)
    held = ITEM * (2 * data + (2 * cpu.threads + 5) * weight + cpu.threads * columns) + cpu.threads * _OF_A_THREAD
    return held + copied_bytes(op, ("input", "weight", "grad_output"))


_OF_A_THREAD = 49_152  # what a kernel for matrix products keeps for each


def _last_forward(op: Op, c: Convolution, cpu: Cpu) -> Extra:
    """With channels last only the weight is copied: into the order of the data, and for the kernel into blocks."""
    into, out = c.per_group
    waiting = copied_bytes(op, ("input", "weight"), last=True)
    if into == out == 1 and c.groups > 1:
        return Extra(ITEM * math.prod(c.kernel) * up(c.groups, cpu.lanes) + waiting, True, "oneDNN depthwise")
    blocked = ITEM * math.prod(c.kernel) * c.groups * up(out, 4 * cpu.lanes) * up(into, 16 if c.groups > 1 else 1)
    return Extra(blocked + cpu.threads * 6144 + 48 + waiting, False, "oneDNN channels last")


# -- PyTorch's own ----------------------------------------------------------------------------------------------------


def unfolded(op: Op) -> int:
    """Bytes of the inputs of all windows of a convolution of whatever type."""
    c = convolution(op)
    return max(ITEM, ITEM_BYTES[op.inputs[0].dtype]) * c.batch * c.inputs * math.prod(c.kernel) * math.prod(c.result)


def _unfolded(op: Op, c: Convolution, item: int) -> Extra | None:
    """PyTorch's own convolution: the whole batch unfolded, or one image where it is dilated or transposed."""
    own = not op.attrs["transposed"] and not c.dilated
    if op.kind == "convolution_backward" and op.attrs["transposed"]:
        return None
    columns = item * c.inputs * math.prod(c.kernel) * math.prod(c.result)
    if own:
        columns = 0 if c.pointwise and not c.strided else columns * c.batch
    elif op.kind == "convolution_backward" and op.attrs["output_mask"][2]:
        columns += item * c.outputs
    elif op.attrs["transposed"] and len(c.kernel) == 3:
        columns += item * math.prod(c.source)  # ones, by which the bias is spread
    last = any(channels_last(value) for value in op.inputs)
    return Extra(columns + copied_bytes(op, ("input", "weight", "grad_output"), last), True, "unfolded")
