"""Copies of tensors that are made when somebody first looks at one: most layers of a trace never do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

Tensors = Mapping[str, "torch.Tensor | None"]


class Deferred(dict[str, "torch.Tensor | None"]):
    """The parameters or the buffers of a copied module.

    Until the first look it holds the originals, which only ``originals`` gives out; then all copies are made at once.
    """

    __slots__ = ("_copies",)

    def __init__(self, tensors: Tensors, copies: Callable[[Tensors], Tensors]) -> None:
        super().__init__(tensors)
        self._copies: Callable[[Tensors], Tensors] | None = copies

    @property
    def waiting(self) -> bool:
        """Whether nobody has looked, so that nobody can have changed anything either."""
        return self._copies is not None

    @property
    def originals(self) -> list[tuple[str, torch.Tensor | None]]:
        """The originals by name, while it is waiting."""
        return list(dict.items(self))

    def _make(self) -> None:
        copies, self._copies = self._copies, None
        if copies is not None:
            dict.update(self, copies(dict(dict.items(self))))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return dict, (dict(self.items()),)


def _made_first(method: Any) -> Any:
    def method_of_dict(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._copies is not None:
            self._make()
        return method(self, *args, **kwargs)

    return method_of_dict


# With ``__iter__`` of its own, dict(...) and {**...} too go through these and not past them.
_SPECIAL = ("getitem", "setitem", "delitem", "iter", "reversed", "eq", "ne", "or", "ror", "ior", "repr")
_PLAIN = ("clear", "copy", "get", "items", "pop", "popitem", "setdefault", "update", "values")
for _name in (*[f"__{each}__" for each in _SPECIAL], *_PLAIN):
    setattr(Deferred, _name, _made_first(getattr(dict, _name)))
