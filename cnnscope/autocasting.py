"""``torch.autocast`` around tensors without data: it takes effect in a trace, the model's own contexts too.

Whether autocast is on stands in torch, for each thread. While a trace runs, the functions that read and set it know
that tensors on meta belong to the device of the trace, and switch our casts on and off.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch

from .casting import AUTOCAST, here

Wrapper = Callable[..., Any]


def _for_meta(function: Wrapper, then: Callable[[], None] | None = None) -> Wrapper:
    """A function of a device's name, for which meta is the device of the trace."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        device = here.device
        if not device:
            return function(*args, **kwargs)
        args = tuple([device if each == "meta" else each for each in args])
        result = function(*args, **{name: device if each == "meta" else each for name, each in kwargs.items()})
        if then is not None:
            then()
        return result

    return call


def _follow() -> None:
    AUTOCAST.switch(torch.is_autocast_enabled(here.device))


def _forgetting(clear: Wrapper) -> Wrapper:
    return lambda: here.casts.clear() if here.device else clear()


def _on_cuda(answer: bool) -> Callable[[Wrapper], Wrapper]:
    """What a GPU of this day would answer where there is none."""
    return lambda function: lambda *args, **kwargs: answer if here.device == "cuda" else function(*args, **kwargs)


def _casting_meta(cast: Wrapper) -> Wrapper:
    """``custom_fwd`` casts what is on the device that it names."""

    def call(value: Any, device_type: str, dtype: torch.dtype) -> Any:
        value = cast(value, "meta", dtype) if device_type == here.device else value
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


@contextlib.contextmanager
def autocast_followed(device: str) -> Iterator[None]:
    """Let ``torch.autocast(device)`` and ``torch.autocast("meta")`` act on tensors without data in this thread.

    No autocast is in force at first; the state around is put back at the end.
    """
    before = here.device, here.casts, AUTOCAST.is_on(), _nested(0), torch.is_autocast_cache_enabled()
    kept = [(each, torch.is_autocast_enabled(each), torch.get_autocast_dtype(each)) for each in ("cpu", "cuda")]
    with _functions_replaced():
        here.device, here.casts = device, {}
        for each, _, _ in kept:
            torch.set_autocast_enabled(each, False)
        torch.set_autocast_cache_enabled(True)
        try:
            yield
        finally:
            for each, enabled, dtype in kept:
                torch.set_autocast_enabled(each, enabled)
                torch.set_autocast_dtype(each, dtype)
            here.device, here.casts, on, depth, caching = before
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
