"""What autocast does to the arguments of an operator, for tensors without data.

Real autocast looks at where a tensor is and leaves tensors on meta alone. Here they count as tensors of the device that
is traced for: the same casts in the same order, the same cache of cast weights.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch

from .cast_lists import POLICIES
from .interception import Interception, Kernel

_aten = torch.ops.aten


class _Here(threading.local):
    """The trace of this thread: the device that it is for, empty outside of a trace, and the casts of weights."""

    device = ""

    def __init__(self) -> None:
        self.casts: dict[int, tuple[Any, torch.Tensor]] = {}


here = _Here()


def _is_eligible(value: Any) -> bool:
    """Whether autocast touches it: a floating-point tensor of the device, but no double."""
    if not isinstance(value, torch.Tensor) or not (value.is_meta or value.device.type == here.device):
        return False
    return value.is_floating_point() and value.dtype is not torch.float64


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """An argument in another precision; weights are cast once."""
    if isinstance(value, (list, tuple)):
        return [_cast(item, dtype) for item in value]
    if not _is_eligible(value) or value.dtype is dtype:
        return value
    if dtype is not _lower_precision() or not _is_weight(value):
        return value.to(dtype)
    reference, cast = here.casts.get(id(value), (None, None))
    if reference is None or reference() is not value:
        with torch.enable_grad():  # as torch does: a cast made where no gradient is wanted may be used where one is
            cast = value.to(dtype)
        here.casts[id(value)] = weakref.ref(value), cast
    return cast


def _is_weight(tensor: torch.Tensor) -> bool:
    leaf = tensor.requires_grad and tensor.is_leaf and tensor.dtype is torch.float32 and not tensor._is_view()
    return leaf and torch.is_autocast_cache_enabled()


def _lower_precision() -> torch.dtype:
    return torch.get_autocast_dtype(here.device)


def _cast_all(dtype: torch.dtype, below: Kernel, args: Any, kwargs: Any) -> Any:
    """The last argument first: so do PyTorch's builds, whose compilers evaluate arguments from the right."""
    named = {name: _cast(kwargs[name], dtype) for name in reversed(kwargs)}
    return below(*reversed([_cast(each, dtype) for each in reversed(args)]), **named)


def _lower(op: Any, below: Kernel, args: Any, kwargs: Any) -> Any:
    return _cast_all(_lower_precision(), below, args, kwargs)


def _fp32(op: Any, below: Kernel, args: Any, kwargs: Any) -> Any:
    return _cast_all(torch.float32, below, args, kwargs)


def _fp32_dtype(op: Any, below: Kernel, args: Any, kwargs: Any) -> Any:
    """float32 as ``dtype``, unless the caller says another."""
    if not _is_eligible(args[0]):
        return below(*args, **kwargs)
    given = dict(zip([each.name for each in op._schema.arguments], args, strict=False)) | kwargs
    if given.get("dtype") is None:
        given["dtype"] = torch.float32
    return below(**given)


def _fp32_appended(op: Any, below: Kernel, args: Any, kwargs: Any) -> Any:
    """``norm`` has overloads that take a dtype."""
    dtype = torch.float32 if _is_eligible(args[0]) else args[0].dtype
    if op is _aten.norm.Scalar:
        return _aten.norm.ScalarOpt_dtype(args[0], args[1] if len(args) > 1 else 2, dtype=dtype)
    keepdim = args[3] if len(args) > 3 else kwargs.get("keepdim", False)
    return _aten.norm.ScalarOpt_dim_dtype(*args[:3], keepdim, dtype=dtype)


def _promote(op: Any, below: Kernel, args: Any, kwargs: Any) -> Any:
    """The lower precision, or float32 where one of the inputs is in it."""
    widest = lower = _lower_precision()
    for value in (*args, *kwargs.values()):
        for each in value if isinstance(value, (list, tuple)) else (value,):
            if not _is_eligible(each) or widest is torch.float32:
                continue
            if each.dtype not in (lower, torch.float32):
                raise RuntimeError("Unexpected floating ScalarType in at::autocast::prioritize")
            widest = each.dtype
    return _cast_all(widest, below, args, kwargs)


def _banned(op: Any, below: Kernel, args: Any, kwargs: Any) -> Any:
    """Torch's own kernel says why."""
    return op.redispatch(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCUDA), *args, **kwargs)


_POLICIES: dict[str, Callable[[Any, Kernel, Any, Any], Any]] = {
    "lower": _lower,
    "fp32": _fp32,
    "fp32_dtype": _fp32_dtype,
    "fp32_appended": _fp32_appended,
    "promote": _promote,
    "banned": _banned,
}


def _kernels() -> Mapping[str, Kernel]:
    return {name: _kernel(name) for name in POLICIES["cpu"] | POLICIES["cuda"]}


def _kernel(name: str) -> Kernel:
    kind, _, overload = name.partition(".")
    op = getattr(getattr(_aten, kind), overload or "default")
    policies = {device: _POLICIES[lists[name]] for device, lists in POLICIES.items() if name in lists}

    def kernel(below: Kernel, *args: Any, **kwargs: Any) -> Any:
        policy = policies.get(here.device)
        if policy is None:
            return below(*args, **kwargs)
        with AUTOCAST.passed():  # what the operator calls itself is not cast again
            return policy(op, below, args, kwargs)

    return kernel


AUTOCAST = Interception("AutocastXLA", _kernels)
