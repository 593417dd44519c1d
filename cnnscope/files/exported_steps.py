"""The steps of an exported program: what each calls, and where its arguments come from."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from ..errors import UnusableTarget
from .programs import Frame, Step

DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16, 7: torch.float32,
    8: torch.float64, 9: torch.complex32, 10: torch.complex64, 11: torch.complex128, 12: torch.bool,
    13: torch.bfloat16, 28: torch.uint16, 29: torch.float8_e4m3fn, 30: torch.float8_e5m2, 31: torch.float8_e4m3fnuz,
    32: torch.float8_e5m2fnuz, 33: torch.float8_e8m0fnu, 34: torch.uint32, 35: torch.uint64,
}  # fmt: skip
_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d, 4: torch.preserve_format}
_OPERATOR = (
    "add", "sub", "mul", "floordiv", "truediv", "mod", "pow", "neg", "pos", "eq", "ne", "lt", "le", "gt", "ge", "and_",
    "or_", "not_", "lshift", "rshift",
)  # fmt: skip
_ARITHMETIC: dict[str, Callable[..., Any]] = {
    **{f"_operator.{name}": getattr(operator, name) for name in _OPERATOR},
    **{f"math.{name}": getattr(math, name) for name in ("ceil", "floor", "trunc", "sqrt")},
    **{f"torch.sym_{name}": getattr(torch, f"sym_{name}") for name in ("float", "int", "max", "min", "not")},
}
_GRADIENTS = "torch.ops.higher_order.wrap_with_set_grad_enabled"  # its graph runs as part of the one around it
_CHECKS = ("torch.ops.aten._assert", "torch.ops.aten.sym_constrain_range")  # the model itself has no such steps


def steps_of(nodes: Sequence[Mapping[str, Any]]) -> list[Step]:
    """The steps that a graph's nodes stand for.

    Raises:
        UnusableTarget: one of them calls what is neither an operator nor arithmetic, or with what is no plain data.
    """
    return [_step(node) for node in _flat(nodes, {}, "")]


def _flat(nodes: Sequence[Mapping[str, Any]], names: Mapping[str, Any], prefix: str) -> Iterator[dict[str, Any]]:
    """The nodes in order, with those of graphs that are called in their places; ``names``: what their inputs are."""
    for node in nodes:
        target = node["target"]
        inputs = [{**each, "arg": _renamed(each["arg"], names, prefix)} for each in node["inputs"]]
        outputs = [_renamed(each, names, prefix) for each in node["outputs"]]
        if target.startswith(_CHECKS):
            continue
        if target != _GRADIENTS:
            yield {**node, "inputs": inputs, "outputs": outputs}
            continue
        graph = node["inputs"][1]["arg"]["as_graph"]["graph"]
        inner = f"{prefix}{node['name']}/"
        given = dict(zip(_places(graph["inputs"]), [each["arg"] for each in inputs[2:]], strict=True))
        # What the graph gives gets the name by which the node gives it on.
        given |= dict(zip(_places(graph["outputs"]), _spread(outputs), strict=True))
        yield from _flat(graph["nodes"], given, inner)


def _places(arguments: Sequence[Mapping[str, Any]]) -> list[str]:
    return [name for each in arguments for name in names_in(each)]


def _spread(arguments: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"as_tensor": {"name": name}} for each in arguments for name in names_in(each)]


_NAME_KEYS = {"as_tensor": "name", "as_sym_int": "as_name", "as_sym_bool": "as_name", "as_sym_float": "as_name"}


def _renamed(argument: Any, names: Mapping[str, Any], prefix: str) -> Any:
    """An argument of an inner graph in the names of the outer one."""
    if not prefix:
        return argument
    if isinstance(argument, list):
        return [_renamed(item, names, prefix) for item in argument]
    if not isinstance(argument, dict):
        return argument
    if len(own := names_in(argument)) == 1 and own[0] in names and next(iter(argument)) in _NAME_KEYS:
        return names[own[0]]
    return {
        key: prefix + value if key in ("name", "as_name") and isinstance(value, str) else _renamed(value, names, prefix)
        for key, value in argument.items()
    }


def names_in(argument: Mapping[str, Any]) -> list[str]:
    """The names of values in an argument."""
    ((kind, value),) = argument.items()
    if kind in _NAME_KEYS:
        return [value[_NAME_KEYS[kind]]] if _NAME_KEYS[kind] in value else []
    if kind == "as_optional_tensor":
        return names_in(value)
    if kind in ("as_tensors", "as_nested_tensors"):
        return [
            name
            for each in value
            for name in (names_in({"as_tensors": each}) if isinstance(each, list) else [each["name"]])
        ]
    if kind == "as_optional_tensors":
        return [name for each in value for name in names_in(each)]
    if kind in ("as_sym_ints", "as_sym_bools", "as_sym_floats"):
        return [each["as_name"] for each in value if "as_name" in each]
    return []


def _step(node: Mapping[str, Any]) -> Step:
    function = _function(node["target"])
    places = [(each.get("name", ""), each.get("kind", 1), _read(each["arg"])) for each in node["inputs"]]
    outputs = node["outputs"]
    writes = tuple(_places(outputs))
    several = len(outputs) > 1 or (bool(outputs) and next(iter(outputs[0])) in ("as_tensors", "as_optional_tensors"))

    def run(values: dict[str, Any]) -> Sequence[Any]:
        args = [read(values) for _, kind, read in places if kind == 1]
        kwargs = {name: read(values) for name, kind, read in places if kind != 1}
        result = function(*args, **kwargs)
        if not several:
            return (result,) if writes else ()
        return [item for item in result if item is not None][: len(writes)]

    return Step(run, tuple(_places([each["arg"] for each in node["inputs"]])), writes, _frames(node))


_NAMESPACES = ("aten", "prims", "torchvision")


def _function(target: str) -> Callable[..., Any]:
    """What a step calls: an operator on tensors, or arithmetic.

    Raises:
        UnusableTarget: it is something else.
    """
    if target in _ARITHMETIC:
        return _ARITHMETIC[target]
    parts = target.split(".")
    found = None
    if parts[:2] == ["torch", "ops"] and len(parts) == 5 and parts[2] in _NAMESPACES:
        with contextlib.suppress(AttributeError, RuntimeError):
            found = getattr(getattr(getattr(torch.ops, parts[2]), parts[3]), parts[4])
    if not isinstance(found, torch._ops.OpOverload) or not _harmless(found):
        raise UnusableTarget(f"the program calls {target}, which is no operator on tensors that comes with torch")
    return found


def _harmless(operator_: torch._ops.OpOverload) -> bool:
    """Whether it only computes. Some write or map files; they take a name, or the dispatcher does not know them."""
    named = [argument.name for argument in operator_._schema.arguments]
    return torch._C._dispatch_has_kernel(operator_.name()) and "filename" not in named


def _read(argument: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Any]:
    """A function from all values to this argument."""
    ((kind, value),) = argument.items()
    if kind in _NAME_KEYS:
        name = value.get(_NAME_KEYS[kind])
        constant = next(iter(value.values()))
        return (lambda values: values[name]) if name is not None else (lambda values: constant)
    if kind == "as_optional_tensor":
        return _read(value)
    if kind in ("as_tensors", "as_sym_ints", "as_sym_bools", "as_sym_floats", "as_optional_tensors"):
        single = {"as_tensors": "as_tensor", "as_optional_tensors": "as_optional_tensor"}.get(kind, kind[:-1])
        items = [_read({single: each}) for each in value]
        return lambda values: [item(values) for item in items]
    if kind in _LITERALS:
        literal = _LITERALS[kind](value)
        return lambda values: literal
    raise UnusableTarget(f"the program has an argument of kind {kind[3:].replace('_', ' ')}, which is not plain data")


_LITERALS: dict[str, Callable[[Any], Any]] = {
    **{
        f"as_{name}": lambda value: value for name in ("int", "ints", "bool", "bools", "string", "strings", "int_lists")
    },
    "as_none": lambda value: None,
    "as_float": float,
    "as_floats": lambda value: [float(each) for each in value],
    "as_complex": lambda value: complex(value["real"], value["imag"]),
    "as_scalar_type": DTYPES.__getitem__,
    "as_memory_format": _FORMATS.__getitem__,
    "as_layout": lambda value: torch.strided if value == 7 else None,
    "as_device": lambda value: torch.device("cpu"),  # of the machine that exported it; the trace has no other
}


def _frames(node: Mapping[str, Any]) -> tuple[Frame, ...]:
    """The modules in whose forward the step ran; none where the program does not say."""
    stack = node.get("metadata", {}).get("nn_module_stack", "")
    entries = [entry.split(",") for entry in stack.split(";")] if stack else []
    if any(len(entry) != 3 or (entry[1] and not all(entry[1].split("."))) for entry in entries):
        return ()
    return tuple(Frame(*entry) for entry in entries if entry[1] and not entry[0].startswith("_empty_nn_module_stack"))
