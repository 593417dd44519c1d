"""Copies of single tensors: without data on the meta device, or with their own on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from .errors import UnusableInput

_META = torch.device("meta")
_STRIDED = torch.strided


def is_ordinary(tensor: torch.Tensor | None) -> bool:
    """Whether all that a trace asks of a tensor can be asked of the original."""
    kind = type(tensor)
    plain = kind is nn.Parameter or kind is torch.Tensor
    return tensor is None or (plain and tensor.layout is _STRIDED and not tensor.is_quantized)


def on_meta(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the same class, shape, strides and dtype without data."""
    if not is_ordinary(tensor):
        if is_lazy(tensor):
            lazy: Any = type(tensor)
            return lazy(requires_grad=tensor.requires_grad, device="meta", dtype=tensor.dtype)
        if tensor.layout is not _STRIDED or tensor.is_quantized:
            return tensor.detach().to("meta")
    return _like(tensor, torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=_META))


def with_data(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the same class and with the same numbers in memory of its own on the CPU.

    Raises:
        UnusableInput: it is on the meta device.
    """
    if is_lazy(tensor):
        lazy: Any = type(tensor)
        return lazy(requires_grad=tensor.requires_grad, device="cpu", dtype=tensor.dtype)
    if tensor.is_meta:
        raise UnusableInput(
            f"a tensor of shape {tuple(tensor.shape)} in the model is on the meta device and has no numbers\n"
            "make the model on the CPU to trace it there"
        )
    return _like(tensor, tensor.detach().to("cpu", copy=True))


def _like(tensor: torch.Tensor, bare: torch.Tensor) -> torch.Tensor:
    if type(tensor) is not torch.Tensor and isinstance(tensor, nn.Parameter):  # the first is asked much faster
        bare = torch.Tensor._make_subclass(type(tensor), bare, tensor.requires_grad)
        if tensor.__dict__:
            bare.__dict__.update(tensor.__dict__)
        return bare
    return bare.requires_grad_(tensor.requires_grad and tensor.is_leaf)
