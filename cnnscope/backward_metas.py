"""Results of backward operators that CNNs are made of, in closed form; see ``fastmeta``.

A gradient that ``output_mask`` does not ask for is None, as the real kernels answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .fastmeta import Results
from .layouts import Meta, contiguous


def _plain(*metas: Meta) -> bool:
    """Whether all are floating-point tensors of one dtype, row-major."""
    first = metas[0].dtype
    return first.is_floating_point and all(m.dtype == first and m.stride == contiguous(m.shape) for m in metas)


def _convolution_backward(grad: Meta, x: Meta, w: Meta, *rest: Any) -> Results:
    if not _plain(grad, x, w):
        return None
    gradients = (x, w, Meta((grad.shape[1],), (1,), x.dtype))
    return [gradient if asked else None for gradient, asked in zip(gradients, rest[-1], strict=True)]


def _like_input(grad: Meta, x: Meta, *_: Any) -> Results:
    return [x] if _plain(grad, x) else None


_aten = torch.ops.aten

BACKWARD_RULES: dict[Any, Callable[..., Results]] = {
    _aten.convolution_backward.default: _convolution_backward,
    _aten.max_pool2d_with_indices_backward.default: _like_input,
    _aten.avg_pool2d_backward.default: _like_input,
    _aten._adaptive_avg_pool2d_backward.default: _like_input,
}
