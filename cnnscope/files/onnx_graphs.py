"""ONNX graphs: read as data, run by torch.

Weights are not read, only their shapes and types. What is known without running the model (shapes, and what is computed
from them and from constants) is computed by ONNX's own reference implementation, all else by ``onnx_operators``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from ..errors import UnusableTarget
from .onnx_modules import NORMS, OWNERS, Modules
from .programs import Declared, Frame, Step, program

_SMALL = 4096  # elements up to which whole numbers are read: shapes, axes, indices; not quantized weights
_SIZES = ("Shape", "Size")
_NUMBERS = {"Resize": (1, 2), "Upsample": (1,), "Clip": (1, 2), "Pad": (2,)}  # inputs of fractions that must be known
_ROLES = {1: "weight", 2: "bias", 3: "running_mean", 4: "running_var"}


class OnnxGraph(NamedTuple):
    """The module that runs a graph, and its inputs; None where the file leaves a size open that is no batch."""

    model: nn.Module
    inputs: tuple[Declared, ...] | None


def onnx_graph(path: str) -> OnnxGraph:
    """The graph in a file.

    Raises:
        UnusableTarget: onnx is not installed, there is no such file, it cannot be read, or it has operators that
            torch is not told how to run; the message names them all.
    """
    onnx = _onnx()
    try:
        model = onnx.load(path, load_external_data=False)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    except FileNotFoundError as error:
        raise UnusableTarget(f"no file {path!r}; give its path from here") from error
    except Exception as error:  # protobuf and onnx have many of their own
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UnusableTarget(f"cannot read {path!r} as an ONNX model: {reason}") from error
    graph = model.graph
    if not graph.output:
        raise UnusableTarget(f"cannot read {path!r} as an ONNX model: it has no graph")
    _refuse_unknown(graph, path)
    try:
        return _made(graph)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise UnusableTarget(f"cannot read {path!r} as an ONNX model: {type(error).__name__}: {error}") from error


def _onnx() -> Any:
    try:
        import onnx
        import onnx.inliner
        import onnx.reference
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "onnx":
            raise
        raise UnusableTarget("onnx is not installed; pip install 'cnnscope[onnx]'") from error
    return onnx


def _refuse_unknown(graph: Any, path: str) -> None:
    from .onnx_operators import OPERATORS

    known = {*OPERATORS, *_SIZES, "Constant", "ConstantOfShape", "Range"}
    unknown = Counter(
        node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}" for node in graph.node
    )
    for name in known:
        unknown.pop(name, None)
    if unknown:
        names = ", ".join(f"{name} x{count}" for name, count in sorted(unknown.items()))
        raise UnusableTarget(
            f"{path} has operators that are not read: {names}\nload the model that it was exported from"
        )


def _made(graph: Any) -> OnnxGraph:
    stored = {each.name: each for each in graph.initializer}
    inputs = [_declared(each) for each in graph.input if each.name not in stored]
    modules = Modules(graph.node)
    constants, weights = _weights(graph, stored, modules)
    steps = [_constant_step(name, value) for name, value in constants.items()]
    owners = {name: path.rpartition(".")[0] for name, (path, _, _) in weights.items()}
    steps += [_step(node, modules.around(node, owners)) for node in graph.node]
    outputs = [each.name for each in graph.output]
    name = graph.name if graph.name.isidentifier() else "Onnx"
    made = program(name, inputs, steps, outputs, weights)
    whole = all(0 not in each.example for each in inputs)
    return OnnxGraph(made, tuple(inputs) if whole else None)


def _declared(value: Any) -> Declared:
    from .onnx_values import dtype

    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise ValueError(f"the input {value.name!r} is no tensor")
    sizes = [each.dim_value if each.HasField("dim_value") and each.dim_value > 0 else None for each in kind.shape.dim]
    # An open first size is the batch; another one, nobody knows.
    example = tuple(size or (1 if place == 0 else 0) for place, size in enumerate(sizes))
    return Declared(value.name, tuple(sizes), str(dtype(kind.elem_type)).removeprefix("torch."), example)


# -- weights ----------------------------------------------------------------------------------------------------------

Weights = dict[str, tuple[str, torch.Tensor, str]]


def _weights(graph: Any, stored: Mapping[str, Any], modules: Modules) -> tuple[dict[str, Any], Weights]:
    """What is stored in the file: numbers that steps compute with by name, and tensors of which shapes are enough."""
    import onnx

    from .onnx_values import dtype

    constants: dict[str, Any] = {}
    weights: Weights = {}
    readers = {name: (node, place) for node in reversed(graph.node) for place, name in enumerate(node.input)}
    numbers = {
        node.input[place] for node in graph.node for place in _NUMBERS.get(node.op_type, ()) if place < len(node.input)
    }
    taken: set[str] = set()
    for name, stored_ in stored.items():
        size = math.prod(stored_.dims)
        type_ = dtype(stored_.data_type)
        apart = stored_.data_location == onnx.TensorProto.EXTERNAL
        if not apart and (name in numbers or not stored_.dims or (not type_.is_floating_point and size <= _SMALL)):
            constants[name] = onnx.numpy_helper.to_array(stored_)
            continue
        tensor = torch.empty(list(stored_.dims), dtype=type_, device="meta")
        node, place = readers.get(name, (None, 0))
        kind = "param" if type_.is_floating_point and not (node and node.op_type in NORMS and place > 2) else "buffer"
        path = _path(name, node, place, modules)
        while path in taken:
            path += "_"
        taken.add(path)
        weights[name] = (path, nn.Parameter(tensor) if kind == "param" else tensor, kind)
    return constants, weights


def _path(name: str, node: Any, place: int, modules: Modules) -> str:
    """Where a weight lives in the module tree: where its name says, else in the module of whoever reads it first."""
    parts = name.split(".")
    if all(part.isidentifier() or part.isdigit() for part in parts):
        return name
    frames = modules.around(node) if node is not None else ()
    leaf = _ROLES.get(place, "weight") if node is not None and node.op_type in OWNERS else name.replace(".", "_")
    return f"{frames[-1].module}.{leaf}" if frames else leaf


def _constant_step(name: str, value: Any) -> Step:
    return Step(lambda values: (value,), (), (name,))


# -- steps ------------------------------------------------------------------------------------------------------------


def _step(node: Any, frames: tuple[Frame, ...]) -> Step:
    import onnx

    from .onnx_operators import OPERATORS
    from .onnx_values import Node

    reads = tuple(name for name in node.input if name)
    attributes = {each.name: _attribute(onnx.helper.get_attribute_value(each)) for each in node.attribute}
    described = Node(node.op_type, attributes, sum(bool(name) for name in node.output))
    evaluate = _reference(node)

    def run(values: dict[str, Any]) -> Sequence[Any]:
        given = [values[name] if name else None for name in node.input]
        if node.op_type in _SIZES and isinstance(given[0], torch.Tensor):
            return (_sizes(described, given[0]),)
        if not any(isinstance(value, torch.Tensor) for value in given):
            return evaluate(given)
        if node.op_type not in OPERATORS:
            raise ValueError(f"the size of what {node.op_type} makes depends on the values of a tensor")
        result = OPERATORS[node.op_type](described, *given)
        found = tuple(result) if isinstance(result, (tuple, list)) else (result,)
        return found[: described.results]

    return Step(run, reads, tuple(name for name in node.output if name), frames)


def _attribute(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else list(value) if isinstance(value, (list, tuple)) else value


def _sizes(node: Any, x: torch.Tensor) -> Any:
    import numpy

    if node.kind == "Size":
        return numpy.array(x.numel())
    return numpy.array(list(x.shape)[node.get("start", 0) : node.get("end")], dtype=numpy.int64)


def _reference(node: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """The node as ONNX itself computes it, made when it is first needed."""
    made: list[Any] = []

    def evaluate(given: Sequence[Any]) -> Sequence[Any]:
        import onnx.reference

        if not made:
            made.append(onnx.reference.ReferenceEvaluator(node))
        inputs = {name: value for name, value in zip(node.input, given, strict=True) if name}
        return made[0].run(None, inputs)

    return evaluate
