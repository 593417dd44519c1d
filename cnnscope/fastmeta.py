"""Output shapes without a kernel: remembered, or in closed form, or from torch's own meta kernel.

Torch's meta kernels take 20 to 3,000 microseconds in Python. The metadata of a result depends on nothing but the
operator, the metadata of its tensors and its other arguments, so one answer serves every later call with the same.
The rules in ``RULES`` give the first answer quickly for the operators that CNNs are made of; a rule that is not sure
returns None and torch's kernel decides, which also raises torch's own error for arguments that do not fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from .layouts import Holding, Meta, bytes_of, contiguous, is_dense, iterated, like, suggests_channels_last

_metas: dict[Meta, int] = {}
METAS: list[Meta] = []
BYTES: list[int] = []


def intern(meta: Meta) -> int:
    """A small number for a Meta, the same for the same, so that memo keys are cheap to hash.

    ``METAS`` has it by number, ``BYTES`` the memory that a new tensor like it takes.
    """
    number = _metas.get(meta)
    if number is None:
        number = _metas[meta] = len(METAS)
        METAS.append(meta)
        BYTES.append(bytes_of(meta))
    return number


def meta_of(tensor: torch.Tensor) -> int:
    """The number of a tensor's Meta."""
    # A plain tuple finds its equal named one; the tuple is made only for what is new.
    number = _metas.get((tensor.shape, tensor.stride(), tensor.dtype))  # type: ignore[call-overload]
    return intern(Meta(tuple(tensor.shape), tensor.stride(), tensor.dtype)) if number is None else number


Results = Sequence[Meta | Holding | None] | None


def _convolution(
    x: Meta, w: Meta, b: Meta | None, stride: Any, padding: Any, dilation: Any, transposed: bool, *rest: Any
) -> list[Meta] | None:
    """[N, C, *space] with a kernel [O, C/groups, *space], transposed [C, O/groups, *space]; the rest is torch's."""
    extra, groups = rest[0], rest[1]
    spatial = len(x.shape) - 2
    if spatial < 1 or len(w.shape) != len(x.shape) or x.dtype != w.dtype or min(*x.shape, *w.shape) == 0:
        return None
    ins, outs = (w.shape[0], w.shape[1] * groups) if transposed else (w.shape[1] * groups, w.shape[0])
    if x.shape[1] != ins or outs % groups or (b is not None and (b.shape != (outs,) or b.dtype != w.dtype)):
        return None
    if not len(stride) == len(padding) == len(dilation) == spatial or (transposed and len(extra) != spatial):
        return None
    sizes = []
    for i in range(spatial):
        size, reach = x.shape[i + 2], dilation[i] * (w.shape[i + 2] - 1) + 1
        room = size + 2 * padding[i] - reach
        if stride[i] < 1 or dilation[i] < 1 or padding[i] < 0 or (room < 0 and not transposed):
            return None
        sizes.append(
            (size - 1) * stride[i] - 2 * padding[i] + reach + extra[i] if transposed else room // stride[i] + 1
        )
    if min(sizes) < 1:
        return None
    shape = (x.shape[0], outs, *sizes)
    # Real convolutions answer in channels-last when either operand is in it; torch's meta kernel does not know that.
    return [like(x if suggests_channels_last(x) else w, shape)._replace(dtype=x.dtype)]


def _elementwise(x: Meta, *_: Any) -> list[Meta] | None:
    return _iterated([x])


def _arithmetic(x: Meta, y: Any, *_: Any) -> list[Meta] | None:
    """Two tensors, or a tensor and a number; what has no dimensions does not decide the type of what has."""
    if not isinstance(y, Meta):
        return _iterated([x, Meta((), (), x.dtype)]) if isinstance(y, (int, float)) else None
    if x.dtype == y.dtype or not y.dtype.is_floating_point:
        return _iterated([x, y]) if x.dtype == y.dtype else None
    deciding = [each.dtype for each in (x, y) if each.shape] or [x.dtype, y.dtype]
    return _iterated([x, y], torch.promote_types(deciding[0], deciding[-1]))


def _iterated(inputs: list[Meta], dtype: torch.dtype | None = None) -> list[Meta] | None:
    found = iterated(inputs) if inputs[0].dtype.is_floating_point else None
    return found and [Meta(*found, dtype or inputs[0].dtype)]


def _loss(x: Meta, y: Meta, reduction: int = 1, *_: Any) -> Results:
    """A loss is made element by element and reduced into the same memory, which it keeps as long as it lives."""
    found = _arithmetic(x, y) if x.dtype == y.dtype else None
    if found is None or reduction == 0:
        return found
    return [Holding(Meta((), (), x.dtype), math.prod(found[0].shape) * x.dtype.itemsize)]


def _binary_cross_entropy(x: Meta, y: Meta, weight: Meta | None = None, reduction: int = 1) -> Results:
    return _loss(x, y, reduction) if x.shape == y.shape else None


def _pool(
    x: Meta, kernel: Any, stride: Any = (), padding: Any = (0,), *rest: Any, dilation: Any = (1,), ceil: bool = False
) -> Meta | None:
    """A window slid over the last two dimensions of [N, C, H, W]."""
    if len(x.shape) != 4 or min(x.shape) == 0:
        return None
    sizes = []
    for i in range(2):
        k, p, d = (each[i] if len(each) > 1 else each[0] for each in (kernel, padding, dilation))
        s = k if not stride else stride[i] if len(stride) > 1 else stride[0]
        room = x.shape[i + 2] + 2 * p - d * (k - 1) - 1
        if room < 0 or s < 1 or p < 0 or 2 * p > k or d < 1:
            return None
        size = (room + (s - 1 if ceil else 0)) // s + 1
        # The last window has to begin inside the input or its left padding.
        if ceil and (size - 1) * s >= x.shape[i + 2] + p:
            size -= 1
        sizes.append(size)
    return like(x, (*x.shape[:2], *sizes))


def _max_pool(
    x: Meta, kernel: Any, stride: Any = (), padding: Any = (0,), dilation: Any = (1,), ceil: bool = False
) -> list[Meta] | None:
    pooled = _pool(x, kernel, stride, padding, dilation=dilation, ceil=ceil)
    return pooled and [pooled, pooled._replace(dtype=torch.int64)]


def _average_pool(
    x: Meta, kernel: Any, stride: Any = (), padding: Any = (0,), ceil: bool = False, *_: Any
) -> list[Meta] | None:
    pooled = _pool(x, kernel, stride, padding, ceil=ceil)
    return pooled and [pooled]


def _upsample(x: Meta, sizes: Any, *_: Any) -> list[Meta] | None:
    return [like(x, (*x.shape[:2], *sizes))] if len(x.shape) == 4 and min(*x.shape, *sizes) > 0 else None


def _mean(x: Meta, dims: Any, keepdim: bool = False, *rest: Any) -> list[Meta] | None:
    """Over some dimensions of a row-major tensor; a sum of floating-point numbers likewise."""
    rank = len(x.shape)
    if rest or not dims or not x.dtype.is_floating_point or x.stride != contiguous(x.shape):
        return None
    if any(not -rank <= dim < rank for dim in dims):
        return None
    gone = {dim % rank for dim in dims}
    if len(gone) != len(dims):
        return None
    shape = tuple([1 if i in gone else size for i, size in enumerate(x.shape) if keepdim or i not in gone])
    return [Meta(shape, contiguous(shape), x.dtype)]


def _addmm(bias: Meta, a: Meta, b: Meta, *_: Any) -> list[Meta] | None:
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[1] != b.shape[0] or not a.dtype == b.dtype == bias.dtype:
        return None
    shape = (a.shape[0], b.shape[1])
    return [Meta(shape, contiguous(shape), a.dtype)] if bias.shape in (shape, shape[1:]) else None


def _cat(tensors: list[Meta], dim: int = 0) -> list[Meta] | None:
    first = tensors[0]
    rank = len(first.shape)
    if rank == 0 or not -rank <= dim < rank:
        return None
    dim %= rank
    before, behind, along = first.shape[:dim], first.shape[dim + 1 :], 0
    for shape, stride, dtype in tensors:
        if dtype != first.dtype or len(shape) != rank or shape[:dim] != before or shape[dim + 1 :] != behind:
            return None
        if stride != contiguous(shape):
            return None
        along += shape[dim]
    shape = (*before, along, *behind)
    return [Meta(shape, contiguous(shape), first.dtype)]


_aten = torch.ops.aten

RULES: dict[Any, Callable[..., Results]] = {
    _aten.convolution.default: _convolution,
    _aten.max_pool2d_with_indices.default: _max_pool,
    _aten.avg_pool2d.default: _average_pool,
    _aten.addmm.default: _addmm,
    _aten.mean.dim: _mean,
    _aten.sum.dim_IntList: _mean,
    _aten.cat.default: _cat,
    _aten.add.Tensor: _arithmetic,
    _aten.sub.Tensor: _arithmetic,
    _aten.mul.Tensor: _arithmetic,
    _aten.div.Tensor: _arithmetic,
    _aten.threshold_backward.default: lambda grad, x, *_: _arithmetic(x, grad),
    _aten.hardtanh_backward.default: lambda grad, x, *_: _arithmetic(grad, x),
    _aten.mse_loss.default: _loss,
    _aten.smooth_l1_loss.default: _loss,
    _aten.binary_cross_entropy.default: _binary_cross_entropy,
    _aten.upsample_nearest2d.default: _upsample,
    _aten.upsample_bilinear2d.default: _upsample,
    **{
        packet.default: _elementwise
        for packet in (
            _aten.relu, _aten.sigmoid, _aten.tanh, _aten.silu, _aten.gelu, _aten.hardtanh, _aten.hardswish,
            _aten.hardsigmoid, _aten.elu, _aten.leaky_relu, _aten.mish,
        )
    },
}  # fmt: skip
# A clone may be asked for in another memory format.
RULES[_aten.clone.default] = lambda x, *rest: [x] if not rest and is_dense(x) else None
