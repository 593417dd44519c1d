"""What CPU and CUDA call where ATen's composite functions ask for the device: on meta they would call neither.

Recurrent layers stay taken apart on both: what the single kernels of oneDNN and cuDNN keep for the backward pass is
known to these libraries alone.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch._prims_common import suggest_memory_format

from . import attention
from .interception import Interception, Kernel

_aten = torch.ops.aten
_LARGEST_INDEX = 2**31 - 1


def _dropout(below: Kernel, x: torch.Tensor, p: float, train: bool) -> Any:
    """``is_fused_kernel_acceptable`` in ATen's Dropout.cpp: one kernel, which keeps a mask of bytes."""
    if train and 0 < p < 1 and x.numel() and x.is_meta:
        return _aten.native_dropout(x, p, True)[0]
    return below(x, p, train)


def _batch_norm(
    below: Kernel, x: torch.Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *rest: Any
) -> Any:
    """cuDNN where ``_select_batch_norm_backend`` in ATen's Normalization.cpp chooses it."""
    momentum, eps, _ = rest
    if not (x.is_meta and weight is not None and bias is not None and torch.backends.cudnn.enabled and eps >= 0):
        return below(x, weight, bias, mean, var, training, *rest)
    typed = torch.bfloat16 not in (x.dtype, weight.dtype)
    typed = typed and (x.dtype is not torch.float16 or weight.dtype is torch.float32)
    tracked = (mean is not None and var is not None) or (mean is None and var is None and training)
    sized = x.dim() >= 3 and x.shape[0] <= (880801 if training else 65535) and 0 < x.numel() < _LARGEST_INDEX
    if not (typed and tracked and sized):
        return below(x, weight, bias, mean, var, training, *rest)
    rows = [each if each is None else each.contiguous() for each in (weight, bias, mean, var)]
    dense = x.contiguous(memory_format=suggest_memory_format(x))
    return _aten.cudnn_batch_norm(dense, *rows, training, momentum, eps)[0]


def _softmax_of(fused: Any) -> Kernel:
    """A softmax of float16 in float32 needs no copy of its input on CUDA."""

    def softmax(below: Kernel, x: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> Any:
        if x.dtype is torch.float16 and dtype is torch.float32 and x.is_meta:
            return fused(x, dim, True)
        return below(x, dim, dtype)

    return softmax


def _group_norm(
    below: Kernel, x: torch.Tensor, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *rest: Any
) -> Any:
    """On the CPU channels may stay innermost; elsewhere, and so on meta, the input is copied."""
    if not x.is_meta or x.is_contiguous() or x.shape[1] % groups:
        return below(x, groups, weight, bias, eps, *rest)
    dense = x.contiguous(memory_format=suggest_memory_format(x))
    rows = [each if each is None else each.contiguous() for each in (weight, bias)]
    return _aten.native_group_norm(dense, *rows, *x.shape[:2], math.prod(x.shape[2:]), groups, eps)[0]


def _on_cpu() -> dict[str, Kernel]:
    return {"scaled_dot_product_attention": attention.on_cpu, "group_norm": _group_norm}


def _on_cuda() -> dict[str, Kernel]:
    return {
        "scaled_dot_product_attention": attention.on_cuda,
        "dropout": _dropout,
        "batch_norm": _batch_norm,
        "softmax.int": _softmax_of(_aten._softmax),
        "log_softmax.int": _softmax_of(_aten._log_softmax),
    }


FLAVOURS = {"cpu": Interception("AutocastIPU", _on_cpu), "cuda": Interception("AutocastHPU", _on_cuda)}
FLAVOURS["cpu"].prepare()  # while torch is being imported, so that the first trace does not wait for it
