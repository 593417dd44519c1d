"""A copy of a model that weighs nothing: the same modules, with every tensor on the meta device.

The user's model is read and never written. What the copy's forward stores on itself (caches, counters) stays
on the copy.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Memo = dict[int, Any]

_ATOMS = (int, float, bool, str, bytes, complex, type(None), type, torch.dtype, torch.device, torch.Size)
_PLAIN_CONTAINERS = (dict, OrderedDict, list, set)


def stand_in(model: nn.Module) -> tuple[nn.Module, Memo, list[torch.Tensor]]:
    """The weightless copy of ``model``, the memo from ``id`` of each original to its copy, and the tensors with data.

    Tensors that are on meta already are shared, not copied. Attributes that cannot be copied (locks, open files)
    are shared too.
    """
    memo: Memo = {}
    originals: list[torch.Tensor] = []
    for module in model.modules():
        for name, value in module.__dict__.items():
            if name != "_modules" and type(value) not in _ATOMS:
                _register_tensors(value, memo, originals)
    return _clone(model, memo), memo, originals


def on_meta(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the same class, shape, strides and dtype without data."""
    if isinstance(tensor, nn.parameter.UninitializedTensorMixin):
        return type(tensor)(requires_grad=tensor.requires_grad, device="meta", dtype=tensor.dtype)  # type: ignore[call-arg]
    if tensor.layout is not torch.strided or tensor.is_quantized:
        return tensor.detach().to("meta")
    bare = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    if isinstance(tensor, nn.Parameter):
        bare = torch.Tensor._make_subclass(type(tensor), bare, tensor.requires_grad)
        if tensor.__dict__:
            bare.__dict__.update(tensor.__dict__)
        return bare
    return bare.requires_grad_(tensor.requires_grad and tensor.is_leaf)


def _register_tensors(value: Any, memo: Memo, originals: list[torch.Tensor]) -> None:
    """Put the meta copy of each tensor in a structure of plain containers into the memo.

    ``copy.deepcopy`` asks the memo first, so no weight is ever copied and a tied tensor stays tied.
    """
    if isinstance(value, torch.Tensor):
        if id(value) not in memo:
            memo[id(value)] = value if value.is_meta else on_meta(value)
            if not value.is_meta:
                originals.append(value)
    elif isinstance(value, dict):
        for item in value.values():
            _register_tensors(item, memo, originals)
    elif isinstance(value, (list, tuple, set)):
        for item in value:
            _register_tensors(item, memo, originals)


def _clone(module: nn.Module, memo: Memo) -> nn.Module:
    """Copy a module tree; ``copy.deepcopy`` alone would do the same at ten times the cost."""
    if id(module) in memo:
        return memo[id(module)]
    if type(module).__name__ == "OptimizedModule":  # torch.compile's wrapper: trace what it wraps
        return _clone(module._orig_mod, memo)  # type: ignore[arg-type]
    cls = type(module)
    if _copies_itself(cls):
        return copy.deepcopy(module, memo).to("meta")
    twin = cls.__new__(cls)
    memo[id(module)] = twin
    attributes = twin.__dict__
    for name, value in module.__dict__.items():
        kind = type(value)
        if kind in _ATOMS or kind in _PLAIN_CONTAINERS and not value:
            attributes[name] = value if kind in _ATOMS else kind()
        elif name == "_modules":
            attributes[name] = kind((key, child and _clone(child, memo)) for key, child in value.items())
        elif name in ("_parameters", "_buffers"):
            attributes[name] = kind((key, memo.get(id(tensor))) for key, tensor in value.items())
        else:
            attributes[name] = _copied(value, memo)
    return twin


def _copied(value: Any, memo: Memo) -> Any:
    if isinstance(value, tuple) and all(type(item) in _ATOMS for item in value):
        return value
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # anything may refuse to be copied; sharing it is what running the model would do
        return value


_self_copying: dict[type, bool] = {}


def _copies_itself(cls: type) -> bool:
    """Whether the class says how it is copied (script modules, fx graphs, parametrized modules)."""
    known = _self_copying.get(cls)
    if known is None:
        names = ("__reduce_ex__", "__reduce__", "__getstate__")
        own: list[Callable[..., Any]] = [getattr(cls, name, None) for name in names]
        known = hasattr(cls, "__deepcopy__") or own != [getattr(object, name, None) for name in names]
        _self_copying[cls] = known
    return known
