"""Results that depend on the device, in closed form: meta kernels answer mostly as CUDA does."""

from __future__ import annotations

from typing import Any

import torch

from .backward_metas import BACKWARD_RULES
from .fastmeta import RULES, Results
from .layouts import Meta, channels_last, contiguous, in_format, is_dense, like

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
        if len(x.shape) < 2 or not is_dense(x) or not x.dtype.is_floating_point:
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
        if not is_dense(x) or not x.dtype.is_floating_point:
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
