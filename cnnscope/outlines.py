"""What modules of one class with the same attributes have in common, looked up once for all of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from operator import itemgetter
from types import BuiltinFunctionType, ModuleType
from typing import Any, NamedTuple

import torch
from torch import nn

ATOMS = frozenset(
    (
        *(int, float, bool, str, bytes, complex, type(None), type, ModuleType, BuiltinFunctionType),
        *(torch.dtype, torch.device, torch.Size),
    )
)
CONTAINERS = frozenset((dict, OrderedDict, list, set))

_OF_EVERY_MODULE = frozenset(nn.Module().__dict__)
_COPIED_APART = frozenset(("_parameters", "_buffers", "_modules", "_compiled_call_impl"))
_LIMIT = 10_000


class Outline(NamedTuple):
    """How a module is copied, and what its layer is called with beside its input.

    special: ``compiled``, ``script`` or ``itself`` where it is not copied attribute by attribute. hooks: names of the
    containers that every module has, with their types, mostly empty; tuples, others: names of attributes to look into
    and to copy; slots: names of those outside of ``__dict__``.
    tensors: those of ``_parameters`` and ``_buffers`` that there are. plain: a layer of torch.nn as torch wrote it.
    size: how many attributes there are; values: those that nn.Module does not give to every module, and ``training``,
    out of a module's ``__dict__``.
    """

    special: str
    hooks: tuple[tuple[str, Callable[[], Any]], ...] = ()
    tuples: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()
    plain: bool = False
    size: int = 0
    values: Callable[[Any], Any] = itemgetter("training", "training")


_outlines: dict[Any, Outline] = {}
_last: dict[type[nn.Module], tuple[Any, Any, Outline]] = {}


def outline_of(cls: type[nn.Module], attributes: dict[str, Any]) -> Outline:
    """The outline of a module: of its class and its ``__dict__``."""
    names, kinds = tuple(attributes), tuple(map(type, attributes.values()))
    last = _last.get(cls)
    if last is not None and last[0] == names and last[1] == kinds:  # mostly, and much faster than to hash them all
        return last[2]
    key = (cls, names, kinds)
    known = _outlines.get(key)
    if known is None:
        if len(_outlines) >= _LIMIT:
            _outlines.clear()
            _last.clear()
        known = _outlines[key] = _outlined(cls, attributes)
    _last[cls] = names, kinds, known
    return known


def _outlined(cls: type[nn.Module], attributes: dict[str, Any]) -> Outline:
    special = _special(cls)
    if special:
        return Outline(special)
    kinds = {name: type(value) for name, value in attributes.items() if name not in _COPIED_APART}
    hooks = tuple((name, kind) for name, kind in kinds.items() if kind in CONTAINERS and name in _OF_EVERY_MODULE)
    tuples = tuple(name for name, kind in kinds.items() if kind is tuple)
    at_once = {*tuples, *[name for name, _ in hooks]}
    own = [name for name in attributes if name not in _OF_EVERY_MODULE] or ["training"]
    return Outline(
        "",
        hooks,
        tuples,
        tuple(name for name, kind in kinds.items() if kind not in ATOMS and name not in at_once),
        _slots(cls),
        tuple(name for name in ("_parameters", "_buffers") if name in attributes),
        cls.__module__.startswith("torch.nn.modules.") and "forward" not in attributes,
        len(attributes),
        itemgetter(*own, "training"),
    )


def _slots(cls: type[nn.Module]) -> tuple[str, ...]:
    """Attributes that a class keeps outside of ``__dict__``."""
    found = []
    for base in cls.__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            private = name.startswith("__") and not name.endswith("__")
            found.append(f"_{base.__name__.lstrip('_')}{name}" if private else name)
    return tuple([name for name in found if name not in ("__dict__", "__weakref__")])


def _special(cls: type[nn.Module]) -> str:
    if cls.__name__ == "OptimizedModule":  # torch.compile's wrapper: what it wraps is traced
        return "compiled"
    if issubclass(cls, torch.jit.ScriptModule):
        return "script"
    names = ("__reduce_ex__", "__reduce__", "__getstate__")
    own = any(getattr(cls, name, None) is not getattr(nn.Module, name, None) for name in names)
    return "itself" if own or hasattr(cls, "__deepcopy__") else ""
