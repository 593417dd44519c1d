"""Which forward operator each operator of a backward pass belongs to, and what autograd saved between the two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from .lifetimes import Memory, Record

_current_node = torch._C._current_autograd_node
_next_number = torch._C._autograd._get_sequence_nr
_saved_tensor_hooks = torch._C._autograd._top_saved_tensors_default_hooks


class Lineage:
    """The ties of a training step.

    values: what the recorder knows by storage, metadata and offset, because autograd hands on other tensor objects
    than those that an operator returned; phases: index of the first operator of each phase, with its name; savers: by
    storage, the forward operators whose backward reads it and the names under which they saved it.
    """

    def __init__(self, records: list[Record], params: list[torch.Tensor]) -> None:
        self.values: dict[tuple[int, int, int], Any] = {}
        self.phases: list[tuple[int, str]] = []
        self.savers: dict[int, list[tuple[int, str]]] = {}
        self._records = records
        self._params = params
        self._made: dict[int, int] = {}
        self._packed: set[int] = set()
        self._readers: dict[int, int] = {}

    def begin(self, phase: str) -> None:
        """From the next operator on it is this phase."""
        self.phases.append((len(self._records), phase))

    def call(self, call: int, params: tuple[int, ...]) -> int:
        """The module call that the next operator belongs to, when ``call`` is the one running (0: none).

        Autograd numbers its nodes as the forward makes them; in the backward pass the node that runs tells its number.
        """
        if torch.is_grad_enabled():
            number = _next_number() - 1
            if number not in self._made:
                self._made[number] = len(self._records)
                if _saved_tensor_hooks(True) is not None:
                    self._packed.add(number)
        for param in params:
            self._readers.setdefault(id(self._params[param]), call)
        if call == 0 and (node := _current_node()) is not None:
            return self._call_of(node)
        return call

    def _call_of(self, node: Any) -> int:
        made = self._made.get(node._sequence_nr())
        if made is not None:
            return self._records[made].call
        # A node that stores a gradient has no number; its parameter tells whose it is.
        return self._readers.get(id(getattr(node, "variable", None)), 0)

    def note_saved(self, roots: list[torch.Tensor], memory: Memory) -> None:
        """Walk from the loss through autograd's graph and mark the memory that its nodes keep."""
        todo = [tensor.grad_fn for tensor in roots if tensor.grad_fn is not None]
        seen = set(todo)
        while todo:
            node = todo.pop()
            for name, tensor in self._saved(node):
                storage = memory.at.get(tensor.untyped_storage()._cdata)
                made = self._made.get(node._sequence_nr())
                if storage is not None and made is not None:
                    savers = self.savers.setdefault(storage, [])
                    if (made, name) not in savers:
                        savers.append((made, name))
                    if memory.kinds[storage] == "activation":
                        memory.kinds[storage] = "saved"
            for following, _ in node.next_functions:
                if following is not None and following not in seen:
                    seen.add(following)
                    todo.append(following)

    def _saved(self, node: Any) -> Iterator[tuple[str, torch.Tensor]]:
        if node._sequence_nr() in self._packed:
            return  # reading what a hook packed away would unpack it: a checkpoint would run its block again
        for name in _saved_names(type(node)):
            try:
                value = getattr(node, name)
            except RuntimeError:  # an in-place operator has overwritten it: the backward pass will say so
                continue
            for each in value if isinstance(value, (tuple, list)) else (value,):
                if isinstance(each, torch.Tensor):
                    yield name.removeprefix("_saved_"), each


_names: dict[type, tuple[str, ...]] = {}


def _saved_names(kind: type) -> tuple[str, ...]:
    """The attributes of a node that hold tensors: those that exist in raw form too, and a custom Function's list."""
    found = _names.get(kind)
    if found is None:
        raw = [name.removeprefix("_raw") for name in dir(kind) if name.startswith("_raw_saved_")]
        found = _names[kind] = ("saved_tensors",) if hasattr(kind, "saved_tensors") else tuple(raw)
    return found
