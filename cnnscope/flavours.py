"""What CPU and CUDA call where ATen's composite functions ask for the device: on meta they would call neither.

Recurrent layers stay taken apart on both: what the single kernels of oneDNN and cuDNN keep for the backward pass is
known to these libraries alone.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode

from . import attention
from .interception import Interception, Kernel
from .layouts import Meta, suggests_channels_last

_aten = torch.ops.aten
_C: Any = torch._C
_IN_PLACE_OR_VIEW = _C.DispatchKey.ADInplaceOrView
_LARGEST_INDEX = 2**31 - 1


def _format(x: torch.Tensor) -> torch.memory_format:
    """What ``suggest_memory_format`` of c10 answers; the one of torch's meta kernels is another."""
    if not suggests_channels_last(Meta(tuple(x.shape), x.stride(), x.dtype)):
        return torch.contiguous_format
    return torch.channels_last if x.dim() == 4 else torch.channels_last_3d


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
    dense = x.contiguous(memory_format=_format(x))
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
    dense = x.contiguous(memory_format=_format(x))
    rows = [each if each is None else each.contiguous() for each in (weight, bias)]
    return _aten.native_group_norm(dense, *rows, *x.shape[:2], math.prod(x.shape[2:]), groups, eps)[0]


def _scalar_tensor(below: Kernel, value: Any, **options: Any) -> Any:
    """``x[i] = value``, whose number elsewhere becomes a tensor on x's device, lifts one on the CPU.

    Python's binding makes it below autograd, as no other caller does; but for what the recorder takes apart.
    """
    on_meta = torch.device(options.get("device") or "cpu").type == "meta"
    if not on_meta or "layout" not in options or not _C._dispatch_tls_is_dispatch_key_excluded(_IN_PLACE_OR_VIEW):
        return below(value, **options)
    if getattr(_get_current_dispatch_mode(), "taking_apart", 0):
        return below(value, **options)
    with _disable_current_modes():
        number = torch.scalar_tensor(value, dtype=options.get("dtype"))
    return _aten.lift_fresh(number)


def _one_hot(below: Kernel, x: torch.Tensor, classes: int = -1) -> Any:
    """``one_hot`` in ATen's Onehot.cpp for devices with data, but for its look at the smallest and largest class."""
    if not x.is_meta or classes <= 0 or x.numel() == 0:
        return below(x, classes)
    torch.aminmax(x)
    found = torch.zeros((*x.shape, classes), dtype=x.dtype, device=x.device)
    return found.scatter_(-1, x.unsqueeze(-1), 1)


def _mish_backward(below: Kernel, grad: torch.Tensor, x: torch.Tensor) -> Any:
    """One kernel, where meta has it taken apart."""
    with _C._AutoDispatchBelowAutograd(), FLAVOURS["cpu"].passed():
        return _aten.mish_backward(grad, x)


def _on_cpu() -> dict[str, Kernel]:
    return {
        "scaled_dot_product_attention": attention.on_cpu,
        "group_norm": _group_norm,
        "scalar_tensor": _scalar_tensor,
        "one_hot": _one_hot,
        "mish_backward": _mish_backward,
    }


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
