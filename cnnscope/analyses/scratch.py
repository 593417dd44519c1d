"""What an operator holds on a CPU while it runs, beyond its operands and results.

``extra(op, cpu)`` is how far the memory inside an operator rises above what was alive when it began and what it leaves
behind. The figures are those of PyTorch 2.13 with oneDNN 3.12; they were found by running single operators under
``torch.profiler``, and the tests hold the rules against such runs. None means that no rule knows the operator.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import cached_property

from ..graph import ITEM_BYTES, ModelGraph, Op, Value
from .kernels import Cpu, Extra
from .layouts import contiguous
from .liveness import Timeline
from .onednn import beyond, unfolded

Rule = Callable[[Op, Cpu], int | None]

_CONVOLUTIONS = ("convolution", "_convolution", "convolution_backward")
_NUMBER = 8  # a Python number as a tensor, in double or int64
_SMALL_PICTURE = 128  # rows and columns


def bound(op: Op) -> int:
    """At most what an operator without a rule holds: two copies of all, and what a convolution unfolds."""
    columns = 0
    if op.kind in _CONVOLUTIONS and len(op.inputs) > 1:
        columns = unfolded(op._replace(kind=op.kind.removeprefix("_")))
    return 2 * sum(value.bytes for value in (*op.inputs, *op.outputs)) + columns


def extra(op: Op, cpu: Cpu) -> Extra | None:
    """Bytes that ``op`` holds on a CPU beside operands and results, at its own peak; None where no rule knows."""
    if op.view:
        return Extra(0, True, "view")
    if op.kind in _CONVOLUTIONS:
        return beyond(op._replace(kind=op.kind.removeprefix("_")), cpu)  # what scripts call, with more arguments
    base = op.kind.rstrip("_") if op.in_place else op.kind
    rule = RULES.get(base)
    if rule is not None:
        found = rule(op, cpu)
        return None if found is None else Extra(found, True, "ATen")
    if op.pointwise or base in _NOTHING or base.startswith("_foreach_"):
        return Extra(_numbers(op, cpu), True, "ATen")
    return None


# -- rules of PyTorch's own kernels -----------------------------------------------------------------------------------


def _numbers(op: Op, cpu: Cpu) -> int:
    """A Python number among the operands of arithmetic becomes a tensor, and another in the type of the other one."""
    if op.kind.rstrip("_").removeprefix("_foreach_") not in _ARITHMETIC:
        return 0
    number = op.attrs.get("other", op.attrs.get("scalar"))
    if not isinstance(number, (int, float)) or not op.inputs:
        return 0
    dtype = op.inputs[0].dtype
    own = "float64" if isinstance(number, float) else "int64"
    return _NUMBER if dtype == own else _NUMBER + ITEM_BYTES[dtype]


def _copied(op: Op, *roles: str) -> int:
    """Bytes of the operands that the kernel makes contiguous first."""
    values = [value for role in roles if (value := op.input(role)) is not None]
    return sum(value.bytes for value in values if not contiguous(value))


def _batch_norm(op: Op, cpu: Cpu) -> int:
    """Scale and shift of every channel in one factor and one term."""
    value = op.inputs[0]
    return 2 * ITEM_BYTES[value.dtype] * (value.shape[1] if len(value.shape) > 1 else 1)


def _batch_norm_backward(op: Op, cpu: Cpu) -> int:
    """In training a second gradient of the input, for the part that goes through mean and variance."""
    return op.inputs[1].bytes if op.attrs.get("train") and op.attrs["output_mask"][0] else 0


def _layer_norm_backward(op: Op, cpu: Cpu) -> int:
    """Each thread sums the gradients of weight and bias for itself."""
    value = op.input("input")
    width = math.prod(op.attrs["normalized_shape"])
    sums = 2 * cpu.threads * width * ITEM_BYTES[op.inputs[0].dtype] if any(op.attrs["output_mask"][1:]) else 0
    return sums + _copied(op, "grad_out", "input") if value is not None else sums


def _attention(op: Op, cpu: Cpu) -> int | None:
    """Each thread holds a block of scores, its largest numbers and sums by row, and the rows of the result."""
    query, key, value = op.inputs[:3]
    if query.dtype not in ("float32", "float64"):  # halves are packed, too
        return None
    rows, columns = _block(query, key)
    return cpu.threads * ITEM_BYTES[query.dtype] * rows * (columns + 2 + value.shape[-1])


def _attention_backward(op: Op, cpu: Cpu) -> int | None:
    """Scores and their gradients in a block, a sum for each row, and the gradient as [batch, rows, heads, width]."""
    gradient, query, key = op.inputs[:3]
    if query.dtype not in ("float32", "float64"):
        return None
    rows, columns = _block(query, key)
    (n, heads, length, width), strides = gradient.shape, gradient.strides
    rows_first = gradient._replace(
        shape=(n, length, heads, width), strides=strides and (strides[0], strides[2], strides[1], strides[3])
    )
    lies = contiguous(rows_first) if strides else heads == 1 or length == 1
    item = ITEM_BYTES[query.dtype]
    return cpu.threads * item * 2 * rows * columns + item * rows + (0 if lies else gradient.bytes)


def _block(query: Value, key: Value) -> tuple[int, int]:
    """Rows and columns of the scores that a thread computes at once."""
    length = query.shape[-2]
    return min(length, 256 if length >= 768 else 64 if length >= 192 else 32), min(key.shape[-2], 512)


def _resampled(taps: int) -> Callable[[Op, Cpu], int]:
    """An index (int64) and a weight for each of so many neighbours of a row, column or plane."""

    def rule(op: Op, cpu: Cpu) -> int:
        dims = len(op.inputs[0].shape) - 2
        return sum(op.outputs[0].shape[-dims:]) * taps * (8 + ITEM_BYTES[op.inputs[0].dtype])

    return rule


def _interpolated(taps: int) -> Rule:
    """Small pictures, and those with channels last, go through a kernel that wants channels last: it copies others."""

    def rule(op: Op, cpu: Cpu) -> int:
        value, result = op.inputs[0], op.outputs[0]
        lies_last, channels = contiguous(value, last=True), value.shape[1]
        small = sum(result.shape[-2:]) <= _SMALL_PICTURE or (taps == 2 and cpu.threads == 1 and channels == 3)
        if not small and not (lies_last and channels > 3):
            return _resampled(taps)(op, cpu)
        return sum(each.bytes for each in (value, result) if not contiguous(each, last=True))

    return rule


def _matrices(op: Op, cpu: Cpu) -> int:
    """BLAS takes a matrix whose rows or columns lie in order; others are copied."""
    return sum(value.bytes for value in op.inputs if len(value.shape) == 2 and not _leading(value))


def _leading(value: Value) -> bool:
    if not value.strides:
        return True
    (rows, columns), (down, across) = value.shape, value.strides
    return (across == 1 and down >= max(columns, 1)) or (down == 1 and across >= max(rows, 1))


def _rolled(op: Op, cpu: Cpu) -> int:
    """One dimension after the other."""
    return op.outputs[0].bytes if len(op.attrs["dims"]) > 1 else 0


RULES: Mapping[str, Rule] = {
    "native_batch_norm": _batch_norm,
    "native_batch_norm_backward": _batch_norm_backward,
    "native_layer_norm": lambda op, cpu: _copied(op, "input"),
    "native_layer_norm_backward": _layer_norm_backward,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
    "upsample_nearest1d": _resampled(1),
    "_upsample_nearest_exact1d": _resampled(1),
    "upsample_linear1d": _resampled(2),
    "upsample_nearest2d": _interpolated(1),
    "_upsample_nearest_exact2d": _interpolated(1),
    "upsample_bilinear2d": _interpolated(2),
    "upsample_bicubic2d": _resampled(4),
    "upsample_bilinear2d_backward": lambda op, cpu: _copied(op, "grad_output"),
    "max_pool2d_with_indices_backward": lambda op, cpu: _copied(op, "grad_output"),
    "_softmax": lambda op, cpu: _copied(op, "self"),
    "_log_softmax": lambda op, cpu: _copied(op, "self"),
    "_softmax_backward_data": lambda op, cpu: _copied(op, "grad_output", "output"),
    "_log_softmax_backward_data": lambda op, cpu: _copied(op, "grad_output", "output"),
    "mm": _matrices,
    "addmm": _matrices,
    "roll": _rolled,
    "mean": lambda op, cpu: 12,
}

_ARITHMETIC = frozenset(("add", "sub", "rsub", "mul", "div", "eq", "ne", "lt", "le", "gt", "ge", "remainder", "fmod"))
# Kinds, without the trailing _ of in-place operators, whose kernels allocate their results and nothing else.
_NOTHING = frozenset(
    """
    _adaptive_avg_pool2d _adaptive_avg_pool2d_backward _local_scalar_dense _log_softmax_backward_data _to_copy
    _unsafe_view arange argmax as_strided avg_pool2d avg_pool2d_backward avg_pool3d bernoulli bmm cat clone
    constant_pad_nd copy detach embedding empty empty_like empty_strided expand fill full full_like gather
    hardswish hardswish_backward hardtanh_backward index index_put index_select lift_fresh linalg_vector_norm
    log_sigmoid_forward max_pool2d_with_indices native_dropout native_dropout_backward new_empty new_empty_strided
    new_zeros nll_loss_backward nll_loss_forward ones ones_like rand randn resize scalar_tensor scatter
    select_backward set slice_backward stack sum upsample_nearest2d_backward zero zeros zeros_like
    """.split()  # noqa: SIM905
)  # fmt: skip


# -- a whole run ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class OnCpu:
    """The memory of a run on a CPU, what kernels hold included.

    extras: of each operator, None where unknown.
    """

    line: Timeline
    cpu: Cpu
    extras: tuple[Extra | None, ...]

    @cached_property
    def inside(self) -> tuple[int, ...]:
        """Bytes at the peak inside each operator; where nothing is known of it, what is alive when it returns."""
        return tuple(
            [
                live + (0 if held is None else held.bytes)
                for live, held in zip(self.line.total, self.extras, strict=True)
            ]
        )

    @property
    def peak(self) -> int:
        """Bytes."""
        return max(self.inside, default=self.line.peak)

    @property
    def peak_at(self) -> int:
        """Index of the first operator in which the peak lies, -1 without operators."""
        return self.inside.index(self.peak) if self.inside else -1

    @property
    def exact(self) -> bool:
        """Whether the rule of the operator at the peak gives a figure and not a bound."""
        held = self.extras[self.peak_at] if self.inside else None
        return held is not None and held.exact

    @property
    def missing(self) -> tuple[str, ...]:
        """Kinds of operators whose scratch nobody knows."""
        kinds = zip(self.line.graph.ops, self.extras, strict=True)
        return tuple(sorted({op.kind for op, held in kinds if held is None}))


def on_cpu(line: Timeline, cpu: Cpu) -> OnCpu:
    """What kernels hold, for each operator of a timeline."""
    graph: ModelGraph = line.graph
    return OnCpu(line, cpu, tuple([extra(op, cpu) for op in graph.ops]))
