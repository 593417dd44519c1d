"""Mixed precision for tensors without data: ``torch.autocast`` takes effect in a trace, the model's own too.

Real autocast looks at where a tensor is and leaves tensors on meta alone. Here they count as tensors of the device that
is traced for: the same casts, the same cache of cast weights, freed when the outermost context ends.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
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


_here = _Here()


@contextlib.contextmanager
def autocast_followed(device: str) -> Iterator[None]:
    """Let ``torch.autocast(device)`` and ``torch.autocast("meta")`` act on tensors without data in this thread.

    No autocast is in force at first; the state around is put back at the end.
    """
    before = _here.device, _here.casts, AUTOCAST.is_on(), _nested(0), torch.is_autocast_cache_enabled()
    kept = [(each, torch.is_autocast_enabled(each), torch.get_autocast_dtype(each)) for each in ("cpu", "cuda")]
    with _functions_replaced():
        _here.device, _here.casts = device, {}
        for each, _, _ in kept:
            torch.set_autocast_enabled(each, False)
        torch.set_autocast_cache_enabled(True)
        try:
            yield
        finally:
            for each, enabled, dtype in kept:
                torch.set_autocast_enabled(each, enabled)
                torch.set_autocast_dtype(each, dtype)
            _here.device, _here.casts, on, depth, caching = before
            AUTOCAST.switch(on)
            _nested(depth)
            torch.set_autocast_cache_enabled(caching)


def _nested(depth: int) -> int:
    """Set how many autocast contexts surround this thread; how many did."""
    before: int = torch.autocast_increment_nesting() - 1
    for _ in range(before + 1):
        torch.autocast_decrement_nesting()
    for _ in range(depth):
        torch.autocast_increment_nesting()
    return before


# -- casts ------------------------------------------------------------------------------------------------------------


def _is_eligible(value: Any) -> bool:
    """Whether autocast touches it: a floating-point tensor of the device, but no double."""
    if not isinstance(value, torch.Tensor) or not (value.is_meta or value.device.type == _here.device):
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
    reference, cast = _here.casts.get(id(value), (None, None))
    if reference is None or reference() is not value:
        with torch.enable_grad():  # as torch does: a cast made where no gradient is wanted may be used where one is
            cast = value.to(dtype)
        _here.casts[id(value)] = weakref.ref(value), cast
    return cast


def _is_weight(tensor: torch.Tensor) -> bool:
    leaf = tensor.requires_grad and tensor.is_leaf and tensor.dtype is torch.float32 and not tensor._is_view()
    return leaf and torch.is_autocast_cache_enabled()


def _lower_precision() -> torch.dtype:
    return torch.get_autocast_dtype(_here.device)


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
        policy = policies.get(_here.device)
        if policy is None:
            return below(*args, **kwargs)
        with AUTOCAST.passed():  # what the operator calls itself is not cast again
            return policy(op, below, args, kwargs)

    return kernel


AUTOCAST = Interception("AutocastXLA", _kernels)


# -- what says whether autocast is on ---------------------------------------------------------------------------------

Wrapper = Callable[..., Any]


def _for_meta(function: Wrapper, then: Callable[[], None] | None = None) -> Wrapper:
    """A function of a device's name, for which meta is the device of the trace."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        device = _here.device
        if not device:
            return function(*args, **kwargs)
        args = tuple([device if each == "meta" else each for each in args])
        result = function(*args, **{name: device if each == "meta" else each for name, each in kwargs.items()})
        if then is not None:
            then()
        return result

    return call


def _follow() -> None:
    AUTOCAST.switch(torch.is_autocast_enabled(_here.device))


def _forgetting(clear: Wrapper) -> Wrapper:
    return lambda: _here.casts.clear() if _here.device else clear()


def _on_cuda(answer: bool) -> Callable[[Wrapper], Wrapper]:
    """What a GPU of this day would answer where there is none."""
    return lambda function: lambda *args, **kwargs: answer if _here.device == "cuda" else function(*args, **kwargs)


def _casting_meta(cast: Wrapper) -> Wrapper:
    """``custom_fwd`` casts what is on the device that it names."""

    def call(value: Any, device_type: str, dtype: torch.dtype) -> Any:
        value = cast(value, "meta", dtype) if device_type == _here.device else value
        return cast(value, device_type, dtype)

    return call


_REPLACED: tuple[tuple[Any, str, Callable[[Wrapper], Wrapper]], ...] = (
    (torch, "is_autocast_enabled", _for_meta),
    (torch, "get_autocast_dtype", _for_meta),
    (torch, "set_autocast_dtype", _for_meta),
    (torch, "set_autocast_enabled", lambda function: _for_meta(function, _follow)),
    (torch, "clear_autocast_cache", _forgetting),
    (torch._C, "_is_autocast_available", _for_meta),
    (torch.cuda.amp.common, "amp_definitely_not_available", _on_cuda(False)),
    (torch.cuda, "is_bf16_supported", _on_cuda(True)),
    (torch.amp.autocast_mode, "_cast", _casting_meta),
)
_replacing = threading.Lock()
_originals: list[Any] = []
_traces = 0


@contextlib.contextmanager
def _functions_replaced() -> Iterator[None]:
    """Put our functions before torch's own while a trace runs in any thread; in others they do what torch's do."""
    global _traces
    with _replacing:
        if _traces == 0:
            _originals[:] = [getattr(owner, name) for owner, name, _ in _REPLACED]
            for (owner, name, wrapper), original in zip(_REPLACED, _originals, strict=True):
                setattr(owner, name, wrapper(original))
        _traces += 1
    try:
        yield
    finally:
        with _replacing:
            _traces -= 1
            if _traces == 0:
                for (owner, name, _), original in zip(_REPLACED, _originals, strict=True):
                    setattr(owner, name, original)
