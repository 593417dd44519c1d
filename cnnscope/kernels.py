"""From the operators of a program to the kernels that a device runs: kind, precision, arithmetic and bytes of each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .analyses import op_rules
from .analyses.op_costs import accessed, rule, work
from .efficiencies import PRODUCTS
from .graph import Op, Storage, Value
from .precisions import Program

# Tensor cores take channels in such portions: fewer are filled up with zeros, which are computed too.
TILE = 32

_MATRIX_RULES = (op_rules.matrix_product, op_rules.added_product, op_rules.linear, op_rules.outer_sum)
_NORMS = ("batch_norm", "layer_norm", "group_norm", "rms_norm", "instance_norm", "softmax")
_WINDOWS = ("pool", "upsample", "grid_sampler")
_PRECISIONS = {
    "float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64", "int8": "int8", "uint8": "int8",
    "float8_e4m3fn": "fp8", "float8_e5m2": "fp8",
}  # fmt: skip


class Kernel(NamedTuple):
    """One launch. kind: one of ``efficiencies.KINDS``; precision: of its arithmetic, a key of ``Device.rates``.

    flops: as counted, None where no rule knows; padded: as computed, channels filled up. read, written: bytes.
    ops: the operators that it computes, the first under its own name.
    """

    name: str
    module: str
    kind: str
    precision: str
    flops: int | None
    padded: float
    read: int
    written: int
    ops: tuple[Op, ...]

    @property
    def bytes(self) -> int:
        return self.read + self.written


def kernels(program: Program) -> list[Kernel]:
    """The kernels of an eager program: one for each operator that touches tensors on the device, two for the backward
    pass of a convolution."""
    return [kernel for op in program.ops for kernel in _of(op, program.storages)]


def _of(op: Op, storages: Sequence[Storage]) -> Iterator[Kernel]:
    values = (*op.inputs, *op.outputs)
    if op.view or rule(op) is op_rules.untouched or (values and all(storages[each.storage].host for each in values)):
        return
    known = work(op, storages)
    kind = kind_of(op)
    if known is None:
        read, written = accessed(op.inputs, storages), accessed(op.outputs, storages)
        yield Kernel(op.name, op.module, kind, "fp32", None, 0, read, written, (op,))
        return
    flops, read, written = known.flops, known.read or 0, known.written or 0
    kernel = Kernel(op.name, op.module, kind, _precision(op, kind), flops, _padding(op) * flops, read, written, (op,))
    yield from _backward_passes(kernel, op, storages) if kind in PRODUCTS[:3] and "backward" in op.kind else (kernel,)


def _backward_passes(whole: Kernel, op: Op, storages: Sequence[Storage]) -> Iterator[Kernel]:
    """A convolution's backward pass: one kernel makes the gradient of the data, one that of the weights.

    Each reads the gradient that arrives, and the other factor.
    """
    arriving, data, weight = (accessed((value,), storages) for value in op.inputs[:3])
    mask = op.attrs.get("output_mask", (True, True, False))
    passes = [(number, factor) for number, factor in ((0, weight), (1, data)) if mask[number]]
    made = {0: data, 1: weight}
    for number, factor in passes:
        share = 1 / len(passes)
        name = whole.name if number == passes[0][0] else f"{whole.name}.weight"
        yield whole._replace(
            name=name,
            flops=round((whole.flops or 0) * share),
            padded=whole.padded * share,
            read=arriving + factor,
            written=made[number],
        )


def kind_of(op: Op) -> str:
    """Which of ``efficiencies.KINDS`` an operator is.

    A normalisation reads its data for statistics first; a batch norm with fixed ones is pointwise, like all that
    computes neither a product nor a window.
    """
    kind = op.kind
    if "conv" in kind and _weight(op) is not None:
        if op.attrs.get("groups", 1) == 1:
            return "dense"
        return "depthwise" if _weight(op).shape[1] == 1 else "grouped"  # type: ignore[union-attr]
    if "scaled_dot_product" in kind:
        return "attention"
    if rule(op) in _MATRIX_RULES:
        return "matmul"
    if any(name in kind for name in _NORMS):
        fixed = "batch_norm" in kind and not op.attrs.get("training", op.attrs.get("train"))
        return "pointwise" if fixed else "normalisation"
    return "pooling" if any(name in kind for name in _WINDOWS) else "pointwise"


def _weight(op: Op) -> Value | None:
    return op.input("weight")


def _precision(op: Op, kind: str) -> str:
    """Products compute in the type of their factors; everything else on the plain cores, whatever it loads."""
    # Depthwise convolutions have no matrix to multiply: they run on the plain cores, too.
    if kind not in PRODUCTS or kind == "depthwise":
        return "fp32"
    dtype = next((value.dtype for value in op.inputs if value.dtype in _PRECISIONS), "float32")
    return _PRECISIONS[dtype]


def _padding(op: Op) -> float:
    """By how much filling up the channels of a product makes it larger."""
    kind = kind_of(op)
    if kind in ("dense", "grouped"):
        weight, groups = op.input("weight"), op.attrs.get("groups", 1)
        assert weight is not None
        # A transposed convolution's weight has the channels of the input first.
        transposed = op.attrs.get("transposed", False)
        made = weight.shape[1] if transposed else weight.shape[0] // groups
        summed = weight.numel // weight.shape[0] if not transposed else weight.shape[0] // groups
        return _filled(made) * _filled(summed)
    if kind == "matmul" and len(op.inputs) >= 2:
        left, right = op.inputs[-2:]
        return _filled(right.shape[-1] if len(right.shape) > 1 else 1) * _filled(left.shape[-1] if left.shape else 1)
    return 1.0


def _filled(size: int) -> float:
    return math.ceil(size / TILE) * TILE / size if size else 1.0
