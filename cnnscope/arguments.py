"""What goes into a forward: shapes and tensors in the notation of ``trace``, as tensors without data."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

from .doubles import on_meta, with_data
from .errors import UnusableInput
from .standins import Originals

_ATOMS = (int, float, complex, bool, str, bytes, type(None), type, torch.dtype, torch.device)


def arguments_of(
    model: nn.Module, input: Any, kwargs: Mapping[str, Any], originals: Originals
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of the forward.

    Raises:
        UnusableInput: not a structure of shapes and tensors, or not what the forward's signature takes.
    """
    if isinstance(input, (str, bytes, float)) or type(input) is int:
        raise UnusableInput(f"the input {input!r} is neither a shape nor a tensor; give (1, 3, 224, 224) or tensors")
    numbers = type(input) in (tuple, list) and all(isinstance(size, (int, float)) for size in input)
    if numbers and input and not _is_shape(input):
        raise UnusableInput(f"the input shape {tuple(input)} has sizes that are not whole; give (1, 3, 224, 224)")
    value = _tensor(input, originals)
    keywords = {key: _tensor(item, originals) for key, item in kwargs.items()}
    if input is None:
        args: tuple[Any, ...] = ()
    elif isinstance(value, Mapping) and _are_keywords(model, value):
        args, keywords = (), dict(value) | keywords
    elif isinstance(value, (tuple, list)) and not (_takes_one(model) and len(value) != 1):
        args = tuple(value)
    else:
        args = (value,)
    _check_fit(model, args, keywords)
    return args, keywords


def named_tensors(model: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> list[tuple[str, torch.Tensor]]:
    """Each input tensor under the name of its argument, with its place in a structure: ``batch.image``, ``x.0``."""
    try:
        parameters = inspect.signature(model.forward).parameters.items()
        names = [name for name, parameter in parameters if parameter.kind <= parameter.POSITIONAL_OR_KEYWORD]
    except (TypeError, ValueError):
        names = []
    names += [f"input{i}" for i in range(len(names), len(args))]
    return [
        each for name, value in [*zip(names, args, strict=False), *keywords.items()] for each in _within(name, value)
    ]


def tensors_in(result: Any) -> list[torch.Tensor]:
    """Every tensor in arguments or in what a forward returned, also in dataclasses and other objects."""
    return [result] if isinstance(result, torch.Tensor) else [tensor for _, tensor in _within("", result)]


def changed(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A structure of arguments with its tensors changed; objects that carry some are written into."""

    seen: set[int] = set()

    def leaf(each: Any) -> Any:
        if isinstance(each, torch.Tensor):
            return change(each)
        if id(each) in seen or not tensors_in(each):
            return each
        seen.add(id(each))
        for name, part in _parts(each).items():
            made = pytree.tree_map(leaf, part)
            if isinstance(each, Mapping):
                each[name] = made  # type: ignore[index]
            else:
                object.__setattr__(each, name, made)  # a frozen dataclass, too
        return each

    return pytree.tree_map(leaf, value)


def _within(place: str, value: Any, outside: tuple[int, ...] = ()) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a structure with their places in it: ``batch.image``, ``x.0``."""
    for path, leaf in pytree.tree_flatten_with_path(value)[0]:
        keys = [getattr(key, "key", getattr(key, "idx", getattr(key, "name", key))) for key in path]
        here = ".".join(map(str, (place, *keys)))
        if isinstance(leaf, torch.Tensor):
            yield here, leaf
        elif id(leaf) not in outside and (parts := _parts(leaf)):
            yield from _within(here, parts, (*outside, id(leaf)))


def _parts(value: Any) -> dict[str, Any]:
    """What an object that pytree does not know consists of."""
    if isinstance(value, (*_ATOMS, nn.Module)) or callable(value):
        return {}
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return {each.name: getattr(value, each.name, None) for each in dataclasses.fields(value)}
    return dict(getattr(value, "__dict__", {}))


def _is_shape(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and bool(value) and all(type(size) is int for size in value)


def _tensor(value: Any, originals: Originals) -> Any:
    """A structure of shapes and tensors as one of tensors where the copy of the model is."""
    if isinstance(value, torch.Size) or _is_shape(value):
        if min(value, default=1) < 0:
            raise UnusableInput(f"the input shape {tuple(value)} has a negative size; give sizes like (1, 3, 224, 224)")
        try:
            bare = torch.empty(tuple(value), dtype=torch.float32, device="meta")
        except (RuntimeError, OverflowError) as error:
            raise UnusableInput(
                f"no tensor can have the shape {tuple(value)}: give sizes like (1, 3, 224, 224)"
            ) from error
        return bare if originals.device == "meta" else _random(bare)
    if isinstance(value, torch.Tensor):
        if id(value) not in originals.memo:
            # Even a meta tensor is copied: the record must not show on what the user passed.
            copied = on_meta if originals.device == "meta" else _random if value.is_meta else with_data
            originals.memo[id(value)] = copied(value.detach()).requires_grad_(value.requires_grad)
        return originals.memo[id(value)]
    if type(value) is dict:
        return {key: _tensor(item, originals) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_tensor(item, originals) for item in value)
    if isinstance(value, PackedSequence):  # the lengths are numbers, on the CPU wherever the data are
        data, *indices = (value.data, value.sorted_indices, value.unsorted_indices)
        return PackedSequence(_tensor(data, originals), value.batch_sizes.clone(), *_tensor(indices, originals))
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(_tensor(item, originals) for item in value)
    return _copied(value, originals)


def _copied(value: Any, originals: Originals) -> Any:
    """An object of the user's own, copied with what it carries: the forward may write into it."""
    if isinstance(value, _ATOMS):
        return value
    if isinstance(value, nn.Module):
        return originals.memo.get(id(value), value)
    for tensor in tensors_in(value):
        _tensor(tensor, originals)  # deepcopy asks the memo first
    try:
        made = copy.deepcopy(value, originals.memo)
    except Exception:  # anything may refuse to be copied
        made = value
    if not isinstance(value, Mapping):
        return made
    items = {key: _tensor(item, originals) for key, item in value.items()}
    try:
        if made is value:
            return type(value)(items)
        for key, item in items.items():
            made[key] = item  # where a shape stands for a tensor
    except Exception:  # a mapping that is made or written in another way
        return items if made is value else made
    return made


def _random(tensor: torch.Tensor) -> torch.Tensor:
    """The same with numbers, always the same ones: from 0 to 1; zeros, which are an index into everything, if whole."""
    made = torch.zeros_like(tensor, device="cpu")
    if tensor.is_floating_point():
        made.uniform_(generator=torch.Generator().manual_seed(0))
    return made


def _parameters(model: nn.Module) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):  # a builtin has no signature
        return []


def _takes_one(model: nn.Module) -> bool:
    """Whether the forward takes exactly one positional argument, however many keywords."""
    kinds = [parameter.kind for parameter in _parameters(model)]
    positional = sum(kind <= inspect.Parameter.POSITIONAL_OR_KEYWORD for kind in kinds)
    return positional == 1 and inspect.Parameter.VAR_POSITIONAL not in kinds


def _are_keywords(model: nn.Module, value: Mapping[Any, Any]) -> bool:
    """Whether the keys of a dict are names of arguments, all that are required among them."""
    parameters = _parameters(model)
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    required = {name for name, parameter in named.items() if parameter.default is parameter.empty}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters) and required <= value.keys():
        return all(isinstance(key, str) for key in value)
    return required <= value.keys() <= named.keys()


def _check_fit(model: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):  # a builtin has none: the call itself will tell
        return
    try:
        signature.bind(*args, **keywords)
    except TypeError as error:
        given = f"{len(args)} positional" + (f" and {', '.join(keywords)}" if keywords else "")
        raise UnusableInput(
            f"forward{signature} of {type(model).__name__} cannot be called with {given} argument(s): {error}\n"
            "give one shape or tensor for each argument, keywords by name"
        ) from error
