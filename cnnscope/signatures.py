"""What an ATen overload's schema says of it, and what all its calls with the same arguments have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from .fastmeta import BYTES, METAS, intern
from .layouts import Holding, Meta


class Function(NamedTuple):
    """An ATen overload, looked up once per process.

    names, defaults: of its arguments; view, pointwise: as in ``graph.Op``; in_place: it returns its first argument;
    written: the arguments that it changes; lists: it changes lists of tensors and returns nothing;
    decomposes: it is made of other operators.
    """

    kind: str
    names: tuple[str, ...]
    defaults: dict[str, Any]
    view: bool
    pointwise: bool
    in_place: bool
    written: frozenset[str]
    lists: bool
    decomposes: bool

    @property
    def writes(self) -> bool:
        """Whether it changes any argument."""
        return bool(self.written)


class Signature(NamedTuple):
    """One overload with one set of metadata and arguments.

    roles: argument name of each input tensor; attrs: the other arguments as plain data; outs: number, metadata and
    bytes of each new tensor it returns, with None for a result that is None, and None as a whole while not known;
    many: it returns a tuple.
    """

    function: Function
    roles: tuple[str, ...]
    attrs: dict[str, Any]
    outs: tuple[tuple[int, Meta, int] | None, ...] | None
    many: bool


_functions: dict[Any, Function] = {}


def function_of(func: Any) -> Function:
    """The description of an overload."""
    known = _functions.get(func)
    if known is None:
        known = _functions[func] = _describe(func)
    return known


def _describe(func: Any) -> Function:
    schema = func._schema
    kind = schema.name.partition("::")[2]
    written = [each.name for each in schema.arguments if each.alias_info is not None and each.alias_info.is_write]
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    # silu_backward and a few more are composite and have kernels of their own as well.
    composite = has_kernel(func.name(), "CompositeImplicitAutograd") and not has_kernel(func.name(), "CPU")
    return Function(
        kind,
        tuple(argument.name for argument in schema.arguments),
        {argument.name: argument.default_value for argument in schema.arguments if argument.has_default_value()},
        view=func.is_view,
        pointwise=torch.Tag.pointwise in func.tags,
        # transpose_ and the like change what the tensor is, not what it holds.
        in_place=kind.endswith("_")
        and bool(written)
        and schema.arguments[0].name == written[0]
        and bool(schema.returns)
        and torch.Tag.inplace_view not in func.tags,
        written=frozenset(written),
        lists=kind.startswith("_foreach_") and not schema.returns,
        decomposes=composite,
    )


_AS_THEY_ARE = frozenset((int, float, bool, str, complex, type(None)))


def signature_of(function: Function, args: Any, kwargs: Any) -> Signature:
    """The signature of one call, its results not yet known."""
    roles: list[str] = []
    attrs: dict[str, Any] = {}
    given = dict(zip(function.names, args, strict=False)) | kwargs
    for name, value in given.items():
        kind = type(value)
        if kind in _AS_THEY_ARE:
            attrs[name] = value
        elif kind is list and value and type(value[0]) is int:  # sizes and strides: never tensors
            attrs[name] = tuple(value)
        elif isinstance(value, torch.Tensor):
            roles.append(name)
        elif isinstance(value, (list, tuple)) and any(isinstance(item, torch.Tensor) for item in value):
            roles.extend(name for item in value if isinstance(item, torch.Tensor))
        else:
            attrs[name] = _plain(value)
    for name, value in function.defaults.items():
        if name not in given:
            attrs[name] = _plain(value)
    return Signature(function, tuple(roles), attrs, None, False)


def _plain(value: Any) -> Any:
    """An argument as torch-free data."""
    if isinstance(value, (list, tuple)):
        return tuple(_plain(item) for item in value)
    return value if isinstance(value, (int, float, bool, str, complex, type(None))) else str(value)


_MEMO_LIMIT = 50_000
Signatures = dict[Any, Signature]
_signatures: dict[str, Signatures] = {"cpu": {}, "cuda": {}}


def signatures_for(device: str) -> Signatures:
    """The memo of a device: what its kernels return is not everywhere the same."""
    return _signatures[device]


def remember(signatures: Signatures, key: Any, signature: Signature) -> None:
    """Keep a signature for every later call with the same key, within bounds."""
    if len(signatures) >= _MEMO_LIMIT:
        signatures.clear()
    signatures[key] = signature


_default_dtype = torch.float32


def forget_other_default(dtype: torch.dtype) -> None:
    """Empty the memo when the default dtype is another than before: results of integers depend on it."""
    global _default_dtype
    if dtype != _default_dtype:
        _default_dtype = dtype
        forget()


def forget() -> None:
    """Empty the memos, as in a new process."""
    for signatures in _signatures.values():
        signatures.clear()


def with_results(signature: Signature, results: Sequence[Meta | Holding | None], many: bool) -> Signature:
    """The signature with metadata and bytes of the new tensors that its calls return."""
    return Signature(*signature[:3], tuple([each and _result(each) for each in results]), many)


def _result(result: Meta | Holding) -> tuple[int, Meta, int]:
    if type(result) is Holding:
        return intern(result.meta), result.meta, result.bytes
    number = intern(result)  # type: ignore[arg-type]
    return number, METAS[number], BYTES[number]
