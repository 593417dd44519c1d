"""Results of the backward operators that CNNs are made of, in closed form; see ``fastmeta``.

A gradient that ``output_mask`` does not ask for is None, as the real kernels answer; torch's meta kernel of the batch
norm makes it all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .fastmeta import RULES, Meta, Results, contiguous


def _plain(*metas: Meta) -> bool:
    """Whether all are floating-point tensors of one dtype, row-major."""
    first = metas[0].dtype
    return first.is_floating_point and all(m.dtype == first and m.stride == contiguous(m.shape) for m in metas)


def _masked(metas: Sequence[Meta], mask: Sequence[bool]) -> Results:
    return [meta if asked else None for meta, asked in zip(metas, mask, strict=True)]


def _vector(size: int, dtype: torch.dtype) -> Meta:
    return Meta((size,), (1,), dtype)


def _convolution_backward(grad: Meta, x: Meta, w: Meta, sizes: Any, *rest: Any) -> Results:
    if not _plain(grad, x, w):
        return None
    return _masked((x, w, _vector(grad.shape[1], x.dtype)), rest[-1])


def _batch_norm_backward(grad: Meta, x: Meta, w: Meta | None, *rest: Any) -> Results:
    statistics = _vector(x.shape[1], x.dtype)
    # An expanded gradient, as of a sum, has no order of its own.
    ordered = x.stride == contiguous(x.shape) and x.dtype.is_floating_point and grad.dtype == x.dtype
    if not ordered or (w is not None and w != statistics):
        return None
    return _masked((x, statistics, statistics), rest[-1])


def _like_input(grad: Meta, x: Meta, *_: Any) -> Results:
    return [x] if _plain(grad, x) else None


_aten = torch.ops.aten

RULES.update(
    {
        _aten.convolution_backward.default: _convolution_backward,
        _aten.native_batch_norm_backward.default: _batch_norm_backward,
        _aten.max_pool2d_with_indices_backward.default: _like_input,
        _aten.avg_pool2d_backward.default: _like_input,
        _aten._adaptive_avg_pool2d_backward.default: _like_input,
        _aten.threshold_backward.default: lambda grad, x, *_: [x] if grad == x and _plain(x) else None,
    }
)
