"""Results that depend on the device, in closed form: meta kernels answer mostly as CUDA does."""

from __future__ import annotations

import math
from typing import Any

import torch

from .backward_metas import BACKWARD_RULES
from .fastmeta import RULES, Results
from .layouts import Holding, Meta, channels_last, contiguous, in_format, is_dense, like

_aten = torch.ops.aten
_HALVES = (torch.float16, torch.bfloat16)


def _statistics_type(device: str, x: Meta, *params: Meta | None) -> torch.dtype:
    """In which type a normalisation keeps mean and deviation of halves: CUDA always in float32."""
    if x.dtype not in _HALVES or (device == "cpu" and not any(p and p.dtype is torch.float32 for p in params)):
        return x.dtype
    return torch.float32


def _regular(x: Meta) -> Meta:
    """Row-major, or with the channels innermost when that and nothing else is how ``x`` lies."""
    if len(x.shape) in (4, 5) and not in_format(x, contiguous(x.shape)):
        last = channels_last(x.shape)
        if in_format(x, last):
            return x._replace(stride=last)
    return x._replace(stride=contiguous(x.shape))


def _batch_norm(device: str) -> Any:
    def rule(
        x: Meta, w: Meta | None, b: Meta | None, mean: Meta | None, var: Meta | None, training: bool, *_: Any
    ) -> Results:
        """Per channel; outside training CPU kernels return no statistics."""
        if len(x.shape) < 2 or not x.dtype.is_floating_point or (device == "cuda" and not is_dense(x)):
            return None
        channels = (x.shape[1],)
        if any(given is not None and given.shape != channels for given in (w, b, mean, var)):
            return None
        if not training and (mean is None or var is None):
            return None
        dtype = _statistics_type(device, x, w, b, mean, var)
        statistics = Meta(channels if training or device == "cuda" else (0,), (1,), dtype)
        return [x if device == "cuda" else _regular(x), statistics, statistics]

    return rule


def _gradients(x: Meta, dtype: torch.dtype, wanted: Any) -> Results:
    """Of input, weight and bias, those that are asked for."""
    params = Meta((x.shape[1],), (1,), dtype)
    return [meta if want else None for meta, want in zip((like(x, x.shape), params, params), wanted, strict=True)]


def _batch_norm_backward(device: str) -> Any:
    def rule(grad: Meta, x: Meta, w: Meta | None, mean: Any, var: Any, a: Any, b: Any, *rest: Any) -> Results:
        if (device == "cuda" and not is_dense(x)) or not x.dtype.is_floating_point:
            return None
        return _gradients(x, _statistics_type(device, x, w, mean, var) if w is None else w.dtype, rest[-1])

    return rule


def _cudnn_batch_norm(x: Meta, w: Meta, b: Meta, mean: Any, var: Any, training: bool, *_: Any) -> Results:
    """What cuDNN reserves for the backward pass is not known and stands as 0 bytes."""
    channels = (x.shape[1],)
    if not is_dense(x) or w.shape != channels or b.shape != channels:
        return None
    statistics = Meta(channels if training else (0,), (1,), w.dtype)
    return [like(x, x.shape), statistics, statistics, Meta((0,), (1,), torch.uint8)]


def _layer_norm(device: str) -> Any:
    def rule(x: Meta, normalized: Any, w: Meta | None, b: Meta | None, *_: Any) -> Results:
        axis = len(x.shape) - len(normalized)
        if not normalized or x.shape[axis:] != tuple(normalized) or 0 in x.shape or not x.dtype.is_floating_point:
            return None
        if any(given is not None and given.shape != tuple(normalized) for given in (w, b)):
            return None
        shape = (*x.shape[:axis], *[1] * len(normalized))
        statistics = Meta(shape, contiguous(shape), _statistics_type(device, x, w, b))
        return [Meta(x.shape, contiguous(x.shape), x.dtype), statistics, statistics]

    return rule


def _group_norm(x: Meta, w: Meta | None, b: Meta | None, n: int, c: int, inner: int, groups: int, *_: Any) -> Results:
    """One program for all devices, in the format of the input."""
    if not is_dense(x) or not x.dtype.is_floating_point or len(x.shape) < 2:
        return None
    statistics = Meta((n, groups), (groups, 1), _statistics_type("cpu", x, w, b))
    return [like(x, x.shape), statistics, statistics]


def _group_norm_backward(grad: Meta, x: Meta, mean: Meta, rstd: Meta, w: Meta | None, *rest: Any) -> Results:
    if not is_dense(x) or not x.dtype.is_floating_point:
        return None
    return _gradients(x, mean.dtype if w is None else w.dtype, rest[-1])


def _dropout(x: Meta, *_: Any) -> Results:
    return [x, x._replace(dtype=torch.bool)] if is_dense(x) and x.dtype.is_floating_point else None


def _made(shape: tuple[int, ...], dtype: torch.dtype, elements: int = 0) -> Holding:
    """A row-major tensor in memory that was made for so many elements, if those are more."""
    return Holding(Meta(shape, contiguous(shape), dtype), max(math.prod(shape), elements) * dtype.itemsize)


def _windows(x: Meta, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Results:
    """im2col of [N, C, H, W]. The CPU begins with a result of the input's size, and memory does not shrink."""
    if len(x.shape) != 4 or 0 in x.shape:
        return None
    rooms = [x.shape[i + 2] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1 for i in range(2)]
    if min(rooms) < 0 or min(stride) < 1:
        return None
    count = math.prod(room // step + 1 for room, step in zip(rooms, stride, strict=True))
    return [_made((x.shape[0], x.shape[1] * math.prod(kernel), count), x.dtype, math.prod(x.shape))]


def _from_windows(x: Meta, size: Any, kernel: Any, *_: Any) -> Results:
    """col2im to [N, C, *size], in memory that begins as large as the input's."""
    if len(x.shape) != 3 or 0 in x.shape or x.shape[1] % math.prod(kernel):
        return None
    return [_made((x.shape[0], x.shape[1] // math.prod(kernel), *size), x.dtype, math.prod(x.shape))]


def _shuffled(x: Meta, groups: int) -> Results:
    return [like(x, x.shape)] if len(x.shape) > 2 and x.shape[1] % groups == 0 else None


def _pixels(shape_of: Any) -> Any:
    """Pixels out of channels or back, channels innermost where they were."""

    def rule(x: Meta, factor: int) -> Results:
        if len(x.shape) != 4 or 0 in x.shape or factor < 1:
            return None
        n, c, h, w = x.shape
        shape = shape_of(n, c, h, w, factor)
        if math.prod(shape) != math.prod(x.shape):
            return None
        last = _regular(x).stride != contiguous(x.shape)
        return [Meta(shape, channels_last(shape) if last else contiguous(shape), x.dtype)]

    return rule


def _row_major(grad: Meta, x: Meta, *_: Any) -> Results:
    """A gradient that lies in rows, however both inputs lie."""
    same = grad.shape == x.shape and grad.dtype == x.dtype
    return [Meta(x.shape, contiguous(x.shape), x.dtype)] if same else None


def _weight_norm(v: Meta, g: Meta, *_: Any) -> Results:
    """The norms of halves are kept in float32."""
    norms = torch.float32 if v.dtype in _HALVES else g.dtype
    return [Meta(v.shape, contiguous(v.shape), v.dtype), g._replace(dtype=norms)]


def _embedding_bag(
    w: Meta, indices: Meta, offsets: Meta, by_count: bool = False, mode: int = 0, sparse: bool = False,
    factors: Meta | None = None, with_last: bool = False, padding: int = -1,
) -> Results:  # fmt: skip
    """Sum (0), mean (1) or maximum (2), as EmbeddingBag.cpp has it; the bag of each index needs one number more."""
    bags = offsets.shape[0] - with_last
    if len(w.shape) != 2 or len(indices.shape) != 1 or bags < 0:
        return None
    plain = w.stride[1] == 1 and (factors is None or factors.stride == (1,)) and padding < 0
    fast = mode == 0 and plain and w.dtype in (torch.float32, *_HALVES)
    of_each = _made((0,) if fast else indices.shape, indices.dtype, 0 if fast else indices.shape[0] + 1)
    most = _made((bags, w.shape[1]) if mode == 2 else (bags,), indices.dtype)
    return [_made((bags, w.shape[1]), w.dtype), of_each, _made((bags,), indices.dtype), most]


def _adaptive(x: Meta, sizes: Any) -> Results:
    """A pool to so many places along each of the last dimensions."""
    if len(x.shape) != len(sizes) + 2 or 0 in x.shape:
        return None
    return [like(x, (*x.shape[:2], *sizes))]


def _padded(x: Meta, widths: Any) -> Results:
    """Reflection or replication along the last dimensions; ``widths`` begins with the last one."""
    rank = len(widths) // 2
    if len(x.shape) != rank + 2 or 0 in x.shape:
        return None
    sizes = [size + sum(widths[2 * i : 2 * i + 2]) for i, size in zip(reversed(range(rank)), x.shape[2:], strict=True)]
    if min(*sizes, *widths, 1) < 0 or max(widths) >= min(x.shape[2:]):
        return None
    return [like(x, (*x.shape[:2], *sizes))]


def _layer_norm_backward(grad: Meta, x: Meta, normalized: Any, mean: Meta, rstd: Meta, *rest: Any) -> Results:
    """The input's gradient is row-major, however the input lies."""
    params, wanted = rest[:2], rest[2]
    if not x.dtype.is_floating_point or any(wanted[i + 1] and params[i] is None for i in range(2)):
        return None
    metas = (Meta(x.shape, contiguous(x.shape), x.dtype), *params)
    return [meta if want else None for meta, want in zip(metas, wanted, strict=True)]


def _rolled(x: Meta, shifts: Any, dims: Any = ()) -> Results:
    """One dimension after the other is joined from two parts, in the format of both, or copied in rows."""
    if not x.shape or 0 in x.shape:
        return None
    moved = bool(dims)
    for shift, dim in zip(shifts, dims, strict=False):
        moved = shift % x.shape[dim] != 0
        x = like(x, x.shape) if moved else Meta(x.shape, contiguous(x.shape), x.dtype)
    return [x if moved else Meta(x.shape, contiguous(x.shape), x.dtype)]


def _glu_backward(grad: Meta, x: Meta, dim: int) -> Results:
    return [Meta(x.shape, contiguous(x.shape), x.dtype)] if grad.dtype == x.dtype else None


def _filled(x: Meta, *_: Any) -> Results:
    """A copy, in the format of what is copied."""
    return [x] if is_dense(x) else None


def _power_of_number(base: Any, x: Meta) -> Results:
    """Row-major, however the exponents lie."""
    if not x.dtype.is_floating_point or isinstance(base, complex):
        return None
    return [Meta(x.shape, contiguous(x.shape), x.dtype)]


_ON_CPU: dict[Any, Any] = {
    _aten.im2col.default: _windows,
    _aten.col2im.default: _from_windows,
    _aten.channel_shuffle.default: _shuffled,
    _aten.pixel_shuffle.default: _pixels(lambda n, c, h, w, by: (n, c // by**2, h * by, w * by)),
    _aten.pixel_unshuffle.default: _pixels(lambda n, c, h, w, by: (n, c * by**2, h // by, w // by)),
    _aten._adaptive_avg_pool2d.default: _adaptive,
    _aten._adaptive_avg_pool3d.default: _adaptive,
    _aten.replication_pad2d.default: _padded,
    _aten.replication_pad3d.default: _padded,
    _aten.reflection_pad2d.default: _padded,
    _aten.reflection_pad3d.default: _padded,
    _aten.rrelu_with_noise.default: lambda x, *_: [Meta(x.shape, contiguous(x.shape), x.dtype)],
    _aten.log_sigmoid_forward.default: lambda x: [Meta(x.shape, contiguous(x.shape), x.dtype)] * 2,
    _aten.glu_backward.default: _glu_backward,
    _aten.roll.default: _rolled,
    _aten.index_fill.int_Scalar: _filled,
    _aten.index_fill.int_Tensor: _filled,
    _aten._softmax_backward_data.default: _row_major,
    _aten._log_softmax_backward_data.default: _row_major,
    _aten.native_layer_norm_backward.default: _layer_norm_backward,
    _aten.pow.Scalar: _power_of_number,
    _aten._weight_norm_interface.default: _weight_norm,
    _aten._embedding_bag.default: _embedding_bag,
    _aten._embedding_bag_forward_only.default: _embedding_bag,
}

DEVICE_RULES: dict[str, dict[Any, Any]] = {
    device: {
        **RULES,
        **BACKWARD_RULES,
        _aten.native_batch_norm.default: _batch_norm(device),
        _aten.native_batch_norm_backward.default: _batch_norm_backward(device),
        _aten.native_layer_norm.default: _layer_norm(device),
        _aten.native_group_norm.default: _group_norm,
        _aten.native_group_norm_backward.default: _group_norm_backward,
        _aten.cudnn_batch_norm.default: _cudnn_batch_norm,
        _aten.native_dropout.default: _dropout,
    }
    for device in ("cpu", "cuda")
}
DEVICE_RULES["cpu"].update(_ON_CPU)
