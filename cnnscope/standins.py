"""A copy of a model that weighs nothing: the same modules, with every tensor on the meta device.

Where a forward asks for numbers, a copy with the model's own ones takes its place. The user's model is read and never
written. What the copy's forward stores on itself (caches, counters) stays on the copy.
"""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
import weakref
from collections.abc import Callable
from operator import is_
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import nn
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.nn.parameter import is_lazy

from .deferring import Deferred, Tensors
from .doubles import is_ordinary, on_meta, with_data
from .outlines import ATOMS, CONTAINERS, Outline, outline_of

Memo = dict[int, Any]


class Originals:
    """What has been copied: the copy by ``id`` of each original, and the original tensors that have data.

    device: where the copies are, ``meta`` or ``cpu``. On the CPU they have the data, and nobody asks the originals.
    deferring: tensors of plain layers are copied when somebody looks at them; ``noticed`` is then called with each
    original and its copy. outlines: of the copied modules, by ``id`` of the copy.
    """

    def __init__(self, model: nn.Module, device: str = "meta", deferring: bool = False) -> None:
        self.device = device
        self.deferring = deferring
        self.noticed: Callable[[torch.Tensor, torch.Tensor], None] | None = None
        self.memo: Memo = {}
        self.outlines: dict[int, Outline] = {}
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

    def late_doubles(self, tensors: Tensors) -> dict[str, torch.Tensor | None]:
        """The copies of tensors in the middle of a run, which nothing that listens to the run is to see."""
        made: dict[str, torch.Tensor | None] = {}
        with (
            temporarily_clear_interpreter_stack() if _in_transform() else contextlib.nullcontext(),
            torch._C.DisableTorchFunction(),
            torch._C._DisableTorchDispatch(),
            torch.inference_mode(False),
        ):
            for name, tensor in tensors.items():
                if tensor is None:
                    made[name] = None
                    continue
                made[name] = twin = self.double(tensor)
                if self.noticed is not None:
                    self.noticed(tensor, twin)
        return made

    def forget(self) -> None:
        """The run has ended. Copies that wait and this, which knows them, would keep each other alive."""
        self.memo.clear()

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


def _in_transform() -> bool:
    """Whether what runs is inside of vmap, grad and the like, which wrap each tensor that is made."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def stand_in(model: nn.Module, device: str = "meta", deferring: bool = False) -> tuple[nn.Module, Originals]:
    """The weightless copy of ``model``, or one with its numbers on the CPU, and what it was copied from.

    Attributes that cannot be copied (locks, open files) are shared. deferring: as in ``Originals``.

    Raises:
        UnusableInput: the numbers are asked for, and the model has none.
    """
    originals = Originals(model, device, deferring)
    return _clone(model, originals), originals


def classes_of(root: nn.Module) -> set[type[nn.Module]]:
    """The classes of a module and of all below it."""
    classes, seen, todo = set(), set(), [root]
    while todo:
        module = todo.pop()
        if id(module) not in seen:
            seen.add(id(module))
            classes.add(type(module))
            todo.extend([child for child in module._modules.values() if child is not None])
    return classes


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


def _clone(module: nn.Module, originals: Originals) -> nn.Module:
    """Copy a module tree; ``copy.deepcopy`` alone would do the same at ten times the cost."""
    memo = originals.memo
    known: nn.Module | None = memo.get(id(module))
    if known is not None:
        return known
    cls = type(module)
    attributes = module.__dict__.copy()
    outline = outline_of(cls, attributes)
    if outline.special:
        return _special(module, outline.special, originals)
    twin: nn.Module = cls.__new__(cls)
    object.__setattr__(twin, "__dict__", attributes)
    memo[id(module)] = twin
    originals.outlines[id(twin)] = outline
    for name, kind in outline.hooks:
        attributes[name] = _copied(attributes[name], originals) if attributes[name] else kind()
    for name in outline.tuples:
        if not ATOMS.issuperset(map(type, attributes[name])):
            attributes[name] = _copied(attributes[name], originals)
    for name in outline.others:
        attributes[name] = _copied(attributes[name], originals)
    for name in outline.tensors:
        attributes[name] = _tensors(attributes[name], originals, outline.plain)
    children = attributes.get("_modules")
    if children is not None:
        attributes["_modules"] = {
            key: None if child is None else _clone(child, originals) for key, child in children.items()
        }
    if "_compiled_call_impl" in attributes:
        attributes["_compiled_call_impl"] = None  # what torch.compile made of it is not what is traced
    for name in outline.slots:
        if hasattr(module, name):
            object.__setattr__(twin, name, _copied(getattr(module, name), originals))
    return twin


def _tensors(given: dict[str, torch.Tensor | None], originals: Originals, plain: bool) -> dict[str, Any]:
    """The parameters or buffers of a copied module."""
    if not given:
        return {}
    if plain and originals.deferring and all(map(is_ordinary, given.values())):
        return Deferred(given, originals.late_doubles)
    return {name: None if tensor is None else originals.double(tensor) for name, tensor in given.items()}


def _special(module: nn.Module, how: str, originals: Originals) -> nn.Module:
    """The copy of a module that is not copied attribute by attribute."""
    if how == "compiled":
        return _clone(module._orig_mod, originals)  # type: ignore[arg-type]
    if how == "script":
        twin = _scripted(module, originals.device)
    else:
        originals.register_all()
        twin = copy.deepcopy(module, originals.memo).to(originals.device)
    originals.memo[id(module)] = twin
    return twin


def _scripted(module: nn.Module, device: str) -> nn.Module:
    """A script module lives in C++ and is copied by its own serialisation, which can leave the data behind."""
    stored = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # for whoever made the module, not for whoever counts it
        torch.jit.save(module, stored)
        stored.seek(0)
        return torch.jit.load(stored, map_location=device)


# -- attributes -------------------------------------------------------------------------------------------------------


def _copied(value: Any, originals: Originals) -> Any:
    """What hangs on a module, with copies in the place of all that is the model's, however deep it is held."""
    kind, memo = type(value), originals.memo
    if kind in ATOMS:
        return value
    if id(value) in memo:
        return memo[id(value)]
    if kind in CONTAINERS:
        return _container(value, originals)
    if kind is tuple:
        items = tuple([_copied(item, originals) for item in value])
        return value if all(map(is_, items, value)) else items
    if isinstance(value, nn.Module):
        return _clone(value, originals)
    if isinstance(value, torch.Tensor):
        return originals.double(value)
    if kind is FunctionType:
        return _rebound(value, originals)
    if kind is MethodType:
        return MethodType(_copied(value.__func__, originals), _copied(value.__self__, originals))
    if kind is weakref.ref:
        return weakref.ref(memo[id(value())]) if id(value()) in memo else value
    originals.register_all()
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # anything may refuse to be copied
        return value


def _container(value: Any, originals: Originals) -> Any:
    """A dict, list or set; what does not know how to be copied is shared, the rest is not."""
    items = [*value, *value.values()] if isinstance(value, dict) else value
    if ATOMS.issuperset(map(type, items)):
        made = originals.memo[id(value)] = value.copy()
        return made
    made = originals.memo[id(value)] = type(value)()
    if isinstance(value, dict):
        made.update([(_copied(key, originals), _copied(item, originals)) for key, item in value.items()])
    elif isinstance(value, list):
        made.extend([_copied(item, originals) for item in value])
    else:
        made.update([_copied(item, originals) for item in value])
    return made


def _rebound(function: FunctionType, originals: Originals) -> FunctionType:
    """A function whose closure and defaults hold the copies: a hook that collects, a lambda that calls a layer."""
    cells = function.__closure__ or ()
    held = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values(), *vars(function).values()]
    if not cells and ATOMS.issuperset(map(type, held)):  # a number in a cell may be a counter
        return function
    code, names = function.__code__, function.__globals__
    own = tuple([originals.memo.setdefault(id(cell), CellType()) for cell in cells])
    made = originals.memo[id(function)] = FunctionType(code, names, function.__name__, None, own or None)
    for cell, other in zip(cells, own, strict=True):
        if _is_filled(cell) and not _is_filled(other):
            other.cell_contents = _copied(cell.cell_contents, originals)
    made.__defaults__ = function.__defaults__ and tuple([_copied(each, originals) for each in function.__defaults__])
    made.__kwdefaults__ = function.__kwdefaults__ and {
        name: _copied(each, originals) for name, each in function.__kwdefaults__.items()
    }
    made.__dict__.update({name: _copied(each, originals) for name, each in vars(function).items()})
    made.__qualname__, made.__module__, made.__doc__ = function.__qualname__, function.__module__, function.__doc__
    return made


def _is_filled(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
