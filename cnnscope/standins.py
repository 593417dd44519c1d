"""A copy of a model that weighs nothing: the same modules, with every tensor on the meta device.

Where a forward asks for numbers, a copy with the model's own ones takes its place. The user's model is read and never
written. What the copy's forward stores on itself (caches, counters) stays on the copy.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections import OrderedDict
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from .errors import UnusableInput

Memo = dict[int, Any]

_META = torch.device("meta")

_ATOMS = frozenset((int, float, bool, str, bytes, complex, type(None), type, torch.dtype, torch.device, torch.Size))
_CONTAINERS = frozenset((dict, OrderedDict, list, set))


class Originals:
    """What has been copied: the copy by ``id`` of each original, and the original tensors that have data.

    device: where the copies are, ``meta`` or ``cpu``. On the CPU they have the data, and nobody asks the originals.
    """

    def __init__(self, model: nn.Module, device: str = "meta") -> None:
        self.device = device
        self.memo: Memo = {}
        self.with_data: list[torch.Tensor] = []
        self._model = model
        self._all_registered = False
        self.lazy = False

    def double(self, tensor: torch.Tensor) -> torch.Tensor:
        """The copy of a tensor, also of one on meta: the forward may change its shape or its flags."""
        twin = self.memo.get(id(tensor))
        if twin is None:
            twin = on_meta(tensor) if self.device == "meta" else with_data(tensor)
            if type(tensor) is not nn.Parameter and is_lazy(tensor):
                self.lazy = True
            elif self.device == "meta" and not tensor.is_meta:
                self.with_data.append(tensor)
            self.memo[id(tensor)] = twin
        return twin

    def register_all(self) -> None:
        """Give every tensor of the model its double, also those in plain containers among the attributes.

        ``copy.deepcopy`` asks the memo first, so it will copy no weight and keep tied tensors tied.
        """
        if not self._all_registered:
            self._all_registered = True
            for module in self._model.modules():
                for name, value in module.__dict__.items():
                    if name != "_modules":
                        self._register(value)

    def _register(self, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            self.double(value)
        elif isinstance(value, dict):
            for item in value.values():
                self._register(item)
        elif isinstance(value, (list, tuple, set)):
            for item in value:
                self._register(item)


def stand_in(model: nn.Module, device: str = "meta") -> tuple[nn.Module, Originals]:
    """The weightless copy of ``model``, or one with its numbers on the CPU, and what it was copied from.

    Attributes that cannot be copied (locks, open files) are shared.

    Raises:
        UnusableInput: the numbers are asked for, and the model has none.
    """
    originals = Originals(model, device)
    return _clone(model, originals), originals


def named_modules(root: nn.Module) -> list[tuple[str, nn.Module]]:
    """What ``root.named_modules()`` gives, without a generator inside of a generator for each level."""
    found: dict[int, tuple[str, nn.Module]] = {}
    _walk("", root, found)
    return list(found.values())


def _walk(path: str, module: nn.Module, found: dict[int, tuple[str, nn.Module]]) -> None:
    found[id(module)] = path, module
    for name, child in module._modules.items():
        if child is not None and id(child) not in found:
            _walk(f"{path}.{name}" if path else name, child, found)


def on_meta(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the same class, shape, strides and dtype without data."""
    if is_lazy(tensor):
        lazy: Any = type(tensor)
        return lazy(requires_grad=tensor.requires_grad, device="meta", dtype=tensor.dtype)
    if tensor.layout is not torch.strided or tensor.is_quantized:
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


def _clone(module: nn.Module, originals: Originals) -> nn.Module:
    """Copy a module tree; ``copy.deepcopy`` alone would do the same at ten times the cost."""
    memo = originals.memo
    if id(module) in memo:
        return memo[id(module)]
    if type(module).__name__ == "OptimizedModule":  # torch.compile's wrapper: trace what it wraps
        return _clone(module._orig_mod, originals)  # type: ignore[arg-type]
    cls = type(module)
    if isinstance(module, torch.jit.ScriptModule):
        memo[id(module)] = _scripted(module, originals.device)
        return memo[id(module)]
    if _copies_itself(cls):
        originals.register_all()
        return copy.deepcopy(module, memo).to(originals.device)
    twin = cls.__new__(cls)
    memo[id(module)] = twin
    attributes = twin.__dict__
    for name, value in module.__dict__.items():
        kind = type(value)
        if kind in _ATOMS:
            attributes[name] = value
        elif kind in _CONTAINERS and not value:
            attributes[name] = kind()
        elif kind is tuple and _ATOMS.issuperset(map(type, value)):
            attributes[name] = value
        elif name == "_compiled_call_impl":
            attributes[name] = None  # what torch.compile made of it is not what is traced
        elif name == "_modules":
            attributes[name] = {key: child and _clone(child, originals) for key, child in value.items()}
        elif name in ("_parameters", "_buffers"):
            attributes[name] = {key: None if t is None else originals.double(t) for key, t in value.items()}
        else:
            attributes[name] = _copied(value, originals)
    return twin


def _scripted(module: torch.jit.ScriptModule, device: str) -> nn.Module:
    """A script module lives in C++ and is copied by its own serialisation, which can leave the data behind."""
    stored = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # for whoever made the module, not for whoever counts it
        torch.jit.save(module, stored)
        stored.seek(0)
        return torch.jit.load(stored, map_location=device)


def _copied(value: Any, originals: Originals) -> Any:
    if type(value) is list and _ATOMS.issuperset(map(type, value)):
        return list(value)
    originals.register_all()
    try:
        return copy.deepcopy(value, originals.memo)
    except Exception:  # anything may refuse to be copied; of a container share only the item that does
        if type(value) is dict:
            return {key: _copied(item, originals) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(_copied(item, originals) for item in value)
        return value


_self_copying: dict[type, bool] = {}


def _copies_itself(cls: type) -> bool:
    """Whether the class says how it is copied (script modules, fx graphs, parametrized modules)."""
    known = _self_copying.get(cls)
    if known is None:
        names = ("__reduce_ex__", "__reduce__", "__getstate__")
        own = any(getattr(cls, name, None) is not getattr(nn.Module, name, None) for name in names)
        known = hasattr(cls, "__deepcopy__") or own
        _self_copying[cls] = known
    return known
