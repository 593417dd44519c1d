"""Which operator belongs to which layer while a model really runs, and something around each of them.

The mode sits where the recorder of ``trace`` sits, so operators and layers have the names that they have in a graph.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ..following import Calls, calls_followed
from .subjects import Subject

Around = Callable[[int], contextlib.AbstractContextManager[Any]]


class Operator(NamedTuple):
    """One operator call: the layer that it is part of, that layer's type, its own kind, and in which phase it ran."""

    layer: str
    type: str
    kind: str
    phase: str


class _Seen(NamedTuple):
    call: int
    kind: str
    phase: str
    forward: int  # in backward: the number of the operator whose gradient this is, else -1


class Following(TorchDispatchMode):
    """While it is entered, runs each operator inside ``around(number)``."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the wrapper would import torch._dynamo and cost microseconds a call

    def __init__(self, subject: Subject, around: Around) -> None:
        super().__init__()
        self.subject = subject
        self.around = around
        self.call = 0
        self.seen: list[_Seen] = []
        self._by_sequence: dict[int, int] = {}

    @property
    def ran(self) -> int:
        return len(self.seen)

    def numbers(self, tensors: Any) -> tuple[int, ...]:
        """What ``Calls`` asks of a recorder: nobody asks for the tensors of a call here."""
        return ()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kind = function._schema.name.partition("::")[2]
        if function.namespace == "profiler" or kind == "detach":
            return function(*args, **(kwargs or {}))  # remarks to the profiler, and autograd's own bookkeeping
        number = len(self.seen)
        phase, forward = self.subject.phase, -1
        if phase == "backward":
            node = torch._C._current_autograd_node()
            forward = self._by_sequence.get(node._sequence_nr(), -1) if node is not None else -1
        elif torch.is_grad_enabled():
            # The operator that made the latest node is the first to see its number; those without a node come later.
            self._by_sequence.setdefault(torch._C._autograd._get_sequence_nr() - 1, number)
        self.seen.append(_Seen(self.call, kind, phase, forward))
        with self.around(number):
            return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def followed(subject: Subject, around: Around) -> Iterator[list[Operator]]:
    """Follow the calls inside it; the operators, by number, are in the list when it is left."""
    mode = Following(subject, around)
    calls = Calls(mode, subject.module)
    found: list[Operator] = []
    with calls_followed(calls, list(subject.module.named_modules())), mode:
        yield found
    found += _named(mode.seen, calls.all)


def _named(seen: list[_Seen], calls: list[list[Any]]) -> list[Operator]:
    """Layers are named as in ``analyses.layering``: a leaf call by its path, another operator by path and kind."""
    counts: dict[str, int] = {}
    found: list[Operator] = []
    for each in seen:
        call = seen[each.forward].call if each.forward >= 0 else each.call
        path, kind, _, repeat, leaf, *_ = calls[call]
        if each.phase == "optimizer":
            layer, type_ = "optimizer", "optimizer"
        elif leaf and path:
            layer, type_ = path if not repeat else f"{path}#{repeat + 1}", kind
        else:
            name = f"{path}.{each.kind}" if path else each.kind
            counts[name] = counts.get(name, 0) + 1
            layer, type_ = name if counts[name] == 1 else f"{name}#{counts[name]}", each.kind
        found.append(Operator(layer, type_, each.kind, each.phase))
    return found
