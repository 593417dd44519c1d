"""Kernels of our own between a program and ATen, for one thread and only while they are switched on.

The dispatcher looks at a set of keys, from autocast and autograd down to the device. The autocast keys of a few devices
for which torch has no build are free: a kernel registered there is asked before autograd, also for what C++ calls
inside of composite functions, scripted modules and the backward pass, which a ``TorchFunctionMode`` would not see.
The keys are off in every thread; a kernel that is not switched on costs nothing.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

_C: Any = torch._C
_registering = threading.Lock()

Kernel = Callable[..., Any]


class Interception:
    """The kernels at one key: ``aten`` overloads by name, each ``kernel(below, *args, **kwargs)``.

    ``below(op, *args, **kwargs)`` is what would have run instead; ATen functions called in a kernel are asked anew.
    """

    def __init__(self, key: str, kernels: Callable[[], Mapping[str, Kernel]]) -> None:
        self._name = key
        self._key = _C._dispatch_key_parse(key)
        self._keys = _C.DispatchKeySet(self._key)
        self._below = _C._dispatch_keyset_full_after(self._key)
        self._kernels = kernels
        self._libraries: list[Any] = []

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Ask the kernels in this thread."""
        before = self.is_on()
        self.switch(True)
        try:
            yield
        finally:
            self.switch(before)

    def switch(self, on: bool) -> None:
        """Ask the kernels in this thread from now on, or no longer."""
        if on and not self._libraries:
            self.prepare()
        _C._dispatch_tls_set_dispatch_key_included(self._key, on)
        _C._dispatch_tls_set_dispatch_key_excluded(self._key, not on)

    def is_on(self) -> bool:
        """Whether this thread asks the kernels."""
        included: bool = _C._dispatch_tls_is_dispatch_key_included(self._key)
        return included and not _C._dispatch_tls_is_dispatch_key_excluded(self._key)

    def passed(self) -> Any:
        """A context in which the kernels are passed by, also by what runs inside."""
        return _C._ExcludeDispatchKeyGuard(self._keys)

    def prepare(self) -> None:
        """Register the kernels, once in a process, at a cost of milliseconds."""
        with _registering:
            if self._libraries:
                return
            fallback = torch.library.Library("_", "IMPL", self._name)
            fallback.fallback(torch.library.fallthrough_kernel, self._name)
            library = torch.library.Library("aten", "IMPL", self._name)
            for name, kernel in self._kernels().items():
                library.impl(name, self._bound(name, kernel), self._name, with_keyset=True)
            self._libraries = [fallback, library]

    def _bound(self, name: str, kernel: Kernel) -> Kernel:
        kind, _, overload = name.partition(".")
        op = getattr(getattr(torch.ops.aten, kind), overload or "default")

        def run(keys: Any, *args: Any, **kwargs: Any) -> Any:
            def below(*args: Any, **kwargs: Any) -> Any:
                return op.redispatch(keys & self._below, *args, **kwargs)

            return kernel(below, *args, **kwargs)

        return run
