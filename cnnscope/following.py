"""Which module calls which while a model runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from torch import nn

Forward = Callable[..., Any]


class Follower(Protocol):
    """Who wants to know: ``call`` is the number of the innermost call; ``numbers`` those of the tensors in a value.

    ran: how many operators have run.
    """

    call: int

    @property
    def ran(self) -> int: ...

    def numbers(self, tensors: Any, /) -> tuple[int, ...]: ...


class Calls:
    """The module calls of a run, in the order in which they began: path, type, parent, repeat, leaf, tensors, start."""

    def __init__(self, recorder: Follower, root: nn.Module) -> None:
        self.recorder = recorder
        self.all: list[list[Any]] = [["", type(root).__name__, -1, 0, True, (), (), 0]]
        self.counts: dict[str, int] = {}
        self.failed = 0

    def add(self, path: str, kind: str) -> int:
        """A call of something that is no module: the optimizer's step."""
        self.all.append([path, kind, 0, 0, True, (), (), self.recorder.ran])
        return len(self.all) - 1

    def followed(self, path: str, module: nn.Module, forward: Forward | None = None) -> Forward:
        """The forward of a module, or one in its place, telling where it begins and ends."""
        recorder, kind = self.recorder, type(module).__name__
        inner = forward or module.forward

        def follow(*args: Any, **kwargs: Any) -> Any:
            parent = recorder.call
            repeat = self.counts[path] = self.counts.get(path, -1) + 1
            self.all[parent][4] = False
            number = recorder.call = len(self.all)
            call = [path, kind, parent, repeat, True, recorder.numbers(args), (), recorder.ran]
            self.all.append(call)
            try:
                result = inner(*args, **kwargs)
                call[6] = recorder.numbers(result)
                self.failed = 0  # what a callee raised was caught
                return result
            except BaseException:
                self.failed = self.failed or number
                raise
            finally:
                recorder.call = parent

        follow.__wrapped__ = inner  # type: ignore[attr-defined]  # inspect.signature looks there
        return follow


@contextlib.contextmanager
def calls_followed(
    calls: Calls, modules: list[tuple[str, nn.Module]], followed: Callable[[str, nn.Module], Forward] | None = None
) -> Iterator[None]:
    """Let each module of a copy tell when its forward runs; the first, the root, is call 0.

    The copy is ours, so its ``forward`` can be wrapped where hooks would cost five times as much. It is unwrapped
    again because the wrapper and the module hold each other: the copy then goes without a garbage collection.
    """
    follow = followed or calls.followed
    own = []
    for path, module in modules[1:]:
        own.append((module, module.__dict__.get("forward")))
        module.__dict__["forward"] = follow(path, module)
    try:
        yield
    finally:
        for module, forward in own:
            del module.__dict__["forward"]
            if forward is not None:
                module.__dict__["forward"] = forward
