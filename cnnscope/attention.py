"""``scaled_dot_product_attention`` as CPU and CUDA run it, with kernels that never hold the matrix of scores.

Which kernel: ``use_flash_attention_cpp`` in ATen's ``sdp_utils_cpp`` and ``select_sdp_backend`` in its
``cuda/sdp_utils.cpp``, for a GPU of compute capability 8.0 or more whose first choice is flash attention.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from .interception import Kernel

_aten = torch.ops.aten
_HALVES = (torch.float16, torch.bfloat16)
_MATH, _FLASH, _EFFICIENT = 0, 1, 2  # of torch._C._SDPBackend


class _Attention(NamedTuple):
    """The arguments of one call: q [N, H, L, E], k [N, H, S, E], v [N, H, S, F] where a fused kernel takes it."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None
    dropout: float
    causal: bool
    grouped: bool

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        return self.query, self.key, self.value

    def is_regular(self, grouped: bool) -> bool:
        """Four dimensions, one type, batch and heads alike (or heads in groups), nothing empty, a mask that fits."""
        q, k, v = self.tensors
        if not q.dim() == k.dim() == v.dim() == 4 or not q.dtype == k.dtype == v.dtype:
            return False
        if not q.shape[0] == k.shape[0] == v.shape[0] or 0 in (q.shape[2], *k.shape[1:3]) or not self.mask_is_typed():
            return False
        if self.grouped and grouped:
            return k.shape[1] == v.shape[1] and q.shape[1] % k.shape[1] == 0
        return q.shape[1] == k.shape[1] == v.shape[1]

    def has_one_head_size(self) -> bool:
        return self.query.shape[-1] == self.key.shape[-1] == self.value.shape[-1]

    def has_rows(self, any_mask: bool = False) -> bool:
        """Whether the last dimensions lie in memory without gaps."""
        others = () if self.mask is None or any_mask else (self.mask,)
        return all(each.stride(-1) == 1 for each in (*self.tensors, *others))

    def mask_fits(self) -> bool:
        if self.mask is None:
            return True
        q, k, mask = self.query.shape, self.key.shape, self.mask.shape
        if self.mask.requires_grad or len(mask) not in (2, 4):
            return False
        return all(size in (1, want) for size, want in zip(reversed(mask), (k[2], q[2], q[1], q[0]), strict=False))

    def mask_is_typed(self) -> bool:
        return self.mask is None or self.mask.dtype in (torch.bool, torch.float32, self.query.dtype)

    def additive_mask(self) -> torch.Tensor | None:
        mask = self.mask
        if mask is None or mask.dtype is not torch.bool:
            return mask
        return torch.where(mask, 0.0, torch.scalar_tensor(-math.inf, dtype=self.query.dtype, device=mask.device))


def on_cpu(
    below: Kernel, query: Any, key: Any, value: Any, mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    *, scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """Flash attention for the CPU, or the plain products where it cannot be."""
    given = _Attention(query, key, value, mask, dropout_p, is_causal, enable_gqa)
    fused = query.is_meta and dropout_p == 0 and torch.backends.cuda.flash_sdp_enabled()
    fused = fused and query.dtype in (torch.float32, torch.float64, *_HALVES) and given.is_regular(grouped=True)
    if not (fused and given.mask_fits() and given.has_one_head_size() and given.has_rows(any_mask=True)):
        return below(query, key, value, mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
    additive = given.additive_mask()
    kernel = _aten._scaled_dot_product_flash_attention_for_cpu
    return kernel(query, key, value, dropout_p, is_causal, attn_mask=additive, scale=scale)[0]


def on_cuda(
    below: Kernel, query: Any, key: Any, value: Any, mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    *, scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """Flash attention, memory-efficient attention or the plain products, the first that can be."""
    given = _Attention(query, key, value, mask, dropout_p, is_causal, enable_gqa)
    for backend in torch._C._get_sdp_priority_order():
        if backend == _FLASH and _can_flash(given):
            return _flash(given, scale)
        if backend == _EFFICIENT and _can_be_efficient(given):
            return _efficient(given, scale)
        if backend == _MATH and torch.backends.cuda.math_sdp_enabled():
            break
    return below(query, key, value, mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)


def _can_flash(given: _Attention) -> bool:
    q, k, _ = given.tensors
    fits = torch.backends.cuda.flash_sdp_enabled() and given.mask is None and q.is_meta and q.dtype in _HALVES
    fits = fits and given.is_regular(grouped=True) and given.has_one_head_size() and q.shape[-1] <= 256
    fits = fits and (given.has_rows() or q.shape[-1] == 1)
    return fits and not (given.causal and q.shape[2] != k.shape[2])


def _flash(given: _Attention, scale: float | None) -> torch.Tensor:
    """The kernel takes heads of a multiple of 8."""
    size = given.query.shape[-1]
    padded = [F.pad(each, (0, -size % 8)) if size % 8 else each for each in given.tensors]
    factor = 1 / math.sqrt(size) if scale is None else scale
    out = _aten._scaled_dot_product_flash_attention(*padded, given.dropout, given.causal, scale=factor)[0]
    return out[..., :size] if size % 8 else out


def _can_be_efficient(given: _Attention) -> bool:
    q, k, v = given.tensors
    fits = torch.backends.cuda.mem_efficient_sdp_enabled() and q.is_meta
    fits = fits and q.dtype in (torch.float32, *_HALVES) and given.is_regular(grouped=False) and given.has_rows()
    sizes, alignment = (q.shape[-1], v.shape[-1]), 16 // q.dtype.itemsize  # 128 bits
    return fits and q.shape[-1] == k.shape[-1] and all(size > 0 and size % alignment == 0 for size in sizes)


def _efficient(given: _Attention, scale: float | None) -> torch.Tensor:
    """The kernel takes masks whose rows are aligned to 8 elements."""
    bias = given.additive_mask()
    if bias is not None:
        if bias.stride(-1) != 1 or any(stride % 8 for stride in bias.stride()[:-1]):
            size = bias.shape[-1]
            bias = F.pad(bias, (0, 8 - size % 8))[..., :size]
        bias = bias.expand(*given.query.shape[:3], given.key.shape[2])
    differentiated = torch.is_grad_enabled() and any(each.requires_grad for each in given.tensors)
    kernel = _aten._scaled_dot_product_efficient_attention
    return kernel(*given.tensors, bias, differentiated, given.dropout, given.causal, scale=scale)[0]
