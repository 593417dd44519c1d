"""What a forward may touch outside its module: put in order for a run, and put back after it."""

from __future__ import annotations

import contextlib
import operator
import random
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from .autocasting import autocast_followed
from .flavours import FLAVOURS


@contextlib.contextmanager
def surroundings_kept(
    classes: Iterable[type[nn.Module]], gradients: bool = False, device: str = "cpu"
) -> Iterator[None]:
    """Run a forward as the plain eager program, and leave everything around it as it was, also when it raises.

    Gradients are on or off as asked, autocast is off until the program says otherwise; composite functions call what
    they call on ``device``; inference mode is off, so that they are taken apart; no transformer layer is one single
    kernel, whose memory nobody could know; compiled functions run eagerly; every module may call one more frame than it
    did.
    """
    with (
        random_state_kept(),
        _classes_kept(classes),
        _deeper_recursion(),
        _layers_taken_apart(),
        _eager(),
        autocast_followed(device),
        FLAVOURS[device].on(),
        torch.inference_mode(False),
        torch.set_grad_enabled(gradients),
    ):
        yield


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """Put back the random states, which a forward may draw from."""
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    numpy_random: Any = sys.modules.get("numpy.random")  # torch imports numpy without it
    numpy_state = numpy_random.get_state() if numpy_random else None
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        random.setstate(python_state)
        if numpy_random:
            numpy_random.set_state(numpy_state)


@contextlib.contextmanager
def _classes_kept(classes: Iterable[type[nn.Module]]) -> Iterator[None]:
    """Put back what hangs on the classes of modules, and what the files that define them hold in global names.

    A mask that a forward makes once and keeps there is a meta tensor now, and would break the next real run. Of global
    names only such tensors go: a library may have other reasons to remember that it ran.
    """
    bases = {base: None for cls in classes for base in cls.__mro__ if not base.__module__.startswith(_NOT_OURS)}
    files = {base.__module__: sys.modules.get(base.__module__) for base in bases}
    attributes = [(base, dict(vars(base))) for base in bases]
    names = [(vars(file), dict(vars(file))) for file in files.values() if file is not None]
    ours: _Containers = {}
    theirs: _Containers = {}
    for _, before in attributes:
        _find_containers(_of_program(before), ours)
    for _, before in names:
        _find_containers(_of_program(before), theirs)
    try:
        yield
    finally:
        attributes = [(base, before) for base, before in attributes if _differ(vars(base), before)]
        names = [(namespace, before) for namespace, before in names if _differ(namespace, before)]
        for base, before in attributes:
            for name in [name for name in {**before, **vars(base)} if not _is_pythons(name)]:
                if name not in before:
                    type.__delattr__(base, name)
                elif vars(base).get(name, _NOTHING) is not before[name]:
                    type.__setattr__(base, name, before[name])
        for namespace, before in names:
            for name in [name for name, value in namespace.items() if _has_no_data(value)]:
                if name not in before:
                    del namespace[name]
                else:
                    namespace[name] = before[name]
        for number, (container, items) in {**theirs, **ours}.items():
            if _differ(container, items) and (number in ours or any(map(_has_no_data, _items(container)))):
                container.clear()
                container.extend(items) if isinstance(container, list) else container.update(items)


_NOT_OURS = ("torch.", "builtins", "typing", "abc")
_NOTHING = object()
_MANY = 10_000
_KINDS = frozenset((dict, list, set))
_HOLDERS = _KINDS | {tuple, staticmethod, classmethod, types.FunctionType}
_Containers = dict[int, tuple[Any, Any]]  # by id: a dict, list or set, and a copy of it


def _is_pythons(name: str) -> bool:
    return name.startswith("__") or name == "_abc_impl"


def _of_program(names: dict[str, Any]) -> list[Any]:
    """What may be or hold a container, among the values of these names, but for Python's own."""
    return [value for name, value in names.items() if type(value) in _HOLDERS and not _is_pythons(name)]


def _has_no_data(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_meta


def _items(container: Any) -> Iterable[Any]:
    return container if isinstance(container, (list, set)) else container.values()


def _differ(container: Any, before: Any) -> bool:
    if isinstance(container, set):
        return bool(container != before)
    same = len(container) == len(before) and all(map(operator.is_, _items(container), _items(before)))
    return not same or (not isinstance(container, list) and list(container) != list(before))


def _find_containers(values: Iterable[Any], found: _Containers) -> None:
    """Dicts, lists and sets among values, inside of each other, and in what functions hold from call to call."""
    for value in values:
        kind = type(value)
        if kind in _KINDS and id(value) not in found:
            found[id(value)] = value, value.copy()
            if len(value) <= _MANY:
                _find_containers([each for each in _items(value) if type(each) in _HOLDERS], found)
        elif kind is tuple:
            _find_containers(value, found)
        elif kind in (staticmethod, classmethod):
            _find_containers([value.__func__], found)
        elif kind is types.FunctionType and (value.__defaults__ or value.__kwdefaults__ or value.__closure__):
            held = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
            for cell in value.__closure__ or ():
                with contextlib.suppress(ValueError):  # nothing in it yet
                    held.append(cell.cell_contents)
            _find_containers([each for each in held if type(each) in _KINDS], found)


@contextlib.contextmanager
def _deeper_recursion() -> Iterator[None]:
    """Each module call has one frame more than without the trace."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(2 * limit)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@contextlib.contextmanager
def _layers_taken_apart() -> Iterator[None]:
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _eager() -> contextlib.AbstractContextManager[Any]:
    """torch.compile's stance. Where nobody has imported the compiler, nothing is compiled."""
    if "torch._dynamo" not in sys.modules:
        return contextlib.nullcontext()
    return torch.compiler.set_stance("force_eager")
