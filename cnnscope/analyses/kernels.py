"""Which kernel computes a convolution on a CPU, and the blocks of channels in which it lays its tensors out.

PyTorch gives a float32 convolution to oneDNN or to kernels of its own (``Convolution.cpp``, ``use_mkldnn``). oneDNN
takes the first of its kernels that does not refuse; most keep channels in blocks of as many as a vector register
holds, padded with zeros. The conditions are those of oneDNN 3.12 (``src/cpu/x64/jit_*_conv_kernel.cpp``), told here as
far as they decide over memory.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ..graph import Op, Shape, Value
from .dimensions import per_dim

ITEM = 4  # bytes of a float32, the only type with rules
SLACK = 128  # oneDNN aligns each piece of its scratch memory


class Cpu(NamedTuple):
    """A CPU as its kernels see it. isa: ``avx512`` or ``avx2``; threads: of one operator; cache: level 2, of a core."""

    isa: str = "avx512"
    threads: int = 1
    cache: int = 1 << 20

    @property
    def lanes(self) -> int:
        """How many float32 a vector register holds."""
        return 16 if self.isa == "avx512" else 8


class Convolution(NamedTuple):
    """The sizes of a convolution; those of a transposed one are of the convolution whose gradient it is."""

    batch: int
    inputs: int
    outputs: int
    groups: int
    source: Shape
    result: Shape
    kernel: Shape
    stride: Shape
    padding: Shape
    dilation: Shape

    @property
    def reach(self) -> Shape:
        """What the dilated kernel spans."""
        return tuple([(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)])

    @property
    def end(self) -> Shape:
        """Padding that the last windows need."""
        return tuple(
            [
                max(0, (out - 1) * s + reach - size - p)
                for out, s, reach, size, p in zip(
                    self.result, self.stride, self.reach, self.source, self.padding, strict=True
                )
            ]
        )

    @property
    def per_group(self) -> tuple[int, int]:
        return self.inputs // self.groups, self.outputs // self.groups

    @property
    def pointwise(self) -> bool:
        return set(self.kernel) == {1} and not any(self.padding)

    @property
    def strided(self) -> bool:
        return set(self.stride) != {1}

    @property
    def dilated(self) -> bool:
        return set(self.dilation) != {1}

    @property
    def columns(self) -> int:
        """Bytes of one image of one group unfolded: a column of inputs for each result (im2col)."""
        return ITEM * self.per_group[0] * math.prod(self.kernel) * math.prod(self.result)


class Extra(NamedTuple):
    """Bytes beyond operands and results at the peak inside an operator. exact: False for an upper bound."""

    bytes: int
    exact: bool
    kernel: str


class Kernel(NamedTuple):
    """A kernel of oneDNN. block: channels in a block, 0 in the plain layout; last: data with channels last instead."""

    name: str
    block: int = 0
    last: bool = False


def convolution(op: Op) -> Convolution:
    """The sizes of a ``convolution`` or ``convolution_backward``."""
    weight, data = _value(op, "weight"), _value(op, "input")
    dims = len(data.shape) - 2
    other = op.outputs[0] if op.kind == "convolution" else _value(op, "grad_output")
    groups = op.attrs["groups"]
    if op.attrs["transposed"]:
        data, other = other, data
    numbers = [per_dim(op.attrs[name], dims) for name in ("stride", "padding", "dilation")]
    return Convolution(
        data.shape[0], weight.shape[1] * groups, weight.shape[0], groups, data.shape[2:], other.shape[2:],
        weight.shape[2:], *numbers,
    )  # fmt: skip


def _value(op: Op, role: str) -> Value:
    value = op.input(role)
    if value is None:
        raise ValueError(f"{op.name} has no {role}")
    return value


def by_onednn(c: Convolution, threads: int, transposed: bool = False, output_padding: Shape = ()) -> bool:
    """Whether PyTorch gives a float32 convolution to oneDNN."""
    if transposed and any(o >= s for o, s in zip(output_padding, c.stride, strict=True)):
        return False
    channels, size = (c.outputs, c.result) if transposed else (c.inputs, c.source)
    kernel = (*c.kernel, 1)[:2] if len(c.kernel) == 1 else c.kernel[-2:]
    worth = c.strided or c.dilated or c.batch >= 16 or set(kernel) != {1} or threads > 1
    large = c.groups > 1 or min(kernel) > 3 or c.batch > 1 or channels * math.prod((*size, 1)[:2]) > 20480
    return worth and large


def forward(c: Convolution, lanes: int) -> Kernel:
    """The kernel of the forward pass in the plain layout (channels first)."""
    into, out = c.per_group
    if covers(c):
        return Kernel("product", 1, last=True)
    if not _fits(c, lanes):
        return Kernel("gemm")
    if c.groups > 1 and into == out == 1:
        return Kernel("depthwise", lanes) if len(c.kernel) < 3 else Kernel("depthwise", lanes, last=True)
    if c.groups == 1:
        return _dense(c, lanes)
    if out % 8 == 0 and c.padding[-1] <= 3 and (into <= 3 or (lanes == 8 and into in (5, 6, 7))):
        return Kernel("first", 8)
    for block in (16, 8, 4) if lanes == 16 else (8,):
        if into % block == out % block == 0:
            return Kernel("direct", block)
    return Kernel("gemm")


def _dense(c: Convolution, lanes: int) -> Kernel:
    if c.pointwise:
        if not c.strided and not any(c.end):
            return Kernel("pointwise", lanes)
        if reduces_stride(c):
            return Kernel("pointwise", lanes)
    # Few input channels are read as they lie: they would be mostly padding.
    return Kernel("first" if c.inputs < lanes else "direct", lanes)


def reduces_stride(c: Convolution) -> bool:
    """Whether a strided 1x1 convolution first gathers the elements that it reads."""
    exact = all(out * s == size for out, s, size in zip(c.result, c.stride, c.source, strict=True))
    return c.pointwise and c.strided and exact and len(c.kernel) < 3 and c.groups == 1


def _fits(c: Convolution, lanes: int) -> bool:
    """No window lies wholly in the padding, and the padding fits into one row of registers."""
    inside = all(r > p and r > e for r, p, e in zip(c.reach, c.padding, c.end, strict=True))
    return inside and c.padding[-1] <= min(28 if lanes == 16 else 3, c.result[-1])


def doubtful(c: Convolution) -> bool:
    """Wide padding around a small kernel (dilation): whether it still fits depends on how oneDNN cuts the rows."""
    wide = c.padding[-1] > 5 or (c.dilated and 2 * c.padding[-1] > c.result[-1])
    return wide and c.kernel[-1] <= 3


def covers(c: Convolution) -> bool:
    """The kernel, a large one, covers the whole input: a matrix product, as in a fully connected layer."""
    return c.kernel == c.source and min(c.kernel) >= 6 and not any(c.padding) and c.batch > 1 and c.groups == 1


def data_gradient(c: Convolution, lanes: int) -> Kernel:
    """The kernel of the gradient of the input."""
    kernel = forward(c, lanes)
    into, out = c.per_group
    if kernel.name == "product":
        return kernel
    if kernel.name == "depthwise":
        return Kernel("gemm") if c.dilated else kernel
    wide = c.groups == 1 or max(into, out) > 16 or (out > 8 and not into == out == 16)
    if c.strided and len(c.kernel) == 2 and wide:
        return Kernel("strided", 16, last=True)
    if kernel.name == "first":
        return Kernel("direct", lanes) if c.groups == 1 else Kernel("gemm")
    return kernel


def weight_gradient(c: Convolution, lanes: int) -> Kernel:
    """The kernel of the gradient of the weight."""
    kernel = forward(c, lanes)
    into, _ = c.per_group
    if kernel.name == "depthwise":
        skips = c.stride[-1] > c.kernel[-1]
        return Kernel("gemm") if c.dilated or skips or c.kernel[-1] > 3 else kernel
    if kernel.name == "first" and (c.groups > 1 or max(c.kernel) > 14):
        return Kernel("gemm")
    if kernel.name == "first" and into > 3:
        kernel = Kernel("direct", 8)
    small = kernel == Kernel("direct", 4) or (c.dilated and kernel == Kernel("direct", 8))
    return Kernel("gemm") if small else kernel
