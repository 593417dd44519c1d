"""Exported programs, ``torch.export.save(program, "net.pt2")``: read as data.

``torch.export.load`` unpickles weights and example inputs, evaluates symbolic sizes as Python, and calls whatever
function of torch a file names. None of that happens here. The program itself is JSON; of the weights only shapes and
types are wanted, and they stand in it too. A step may call an operator that is registered with torch or do arithmetic
with sizes, nothing else.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from ..errors import UnusableTarget
from .exported_steps import DTYPES, names_in, steps_of
from .programs import Declared, program


class Exported(NamedTuple):
    """The module of an exported program, and the inputs that it was exported with."""

    model: nn.Module
    inputs: tuple[Declared, ...]


def exported(path: str) -> Exported:
    """The program in a file.

    Raises:
        UnusableTarget: there is no such file, it is none of ``torch.export.save``, or it has a step that is not run.
    """
    try:
        record = _record(path)
        return _program(record["graph_module"])
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise UnusableTarget(
            f"cannot read {path!r} as an exported program: {type(error).__name__}: {str(error).partition(chr(10))[0]}\n"
            "write it with torch.export.save(torch.export.export(model, inputs), 'net.pt2')"
        ) from error


def _record(path: str) -> Any:
    """The JSON of the program in the archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = [
                name
                for name in archive.namelist()
                if name.partition("/")[2].startswith("models/") or name == "serialized_exported_program.json"
            ]
            if len(found) != 1:
                raise ValueError(f"the archive holds {len(found)} programs instead of one")
            return json.loads(archive.read(found[0]))
    except FileNotFoundError as error:
        raise UnusableTarget(f"no file {path!r}; give its path from here") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(str(error)) from error


def _program(module: Mapping[str, Any]) -> Exported:
    graph, signature = module["graph"], module["signature"]
    tensors = graph["tensor_values"]
    inputs, weights = [], {}
    for spec in signature["input_specs"]:
        ((kind, entry),) = spec.items()
        if kind == "user_input" and "as_tensor" in entry["arg"]:
            inputs.append(_declared(entry["arg"]["as_tensor"]["name"], tensors))
        elif kind in ("parameter", "buffer", "tensor_constant"):
            name = entry["arg"]["name"]
            weights[name] = _weight(kind, entry, tensors[name])
        elif kind not in ("user_input", "constant_input"):
            raise UnusableTarget(f"the program takes {kind.replace('_', ' ')}, which is not plain data; export without")
    outputs = [
        name
        for spec in signature["output_specs"]
        if "user_output" in spec
        for name in names_in(spec["user_output"]["arg"])
    ]
    name = _class(graph["nodes"])
    return Exported(program(name, inputs, steps_of(graph["nodes"]), outputs, weights), tuple(inputs))


def _weight(kind: str, entry: Mapping[str, Any], meta: Mapping[str, Any]) -> tuple[str, torch.Tensor, str]:
    sizes = [_size(size)[1] for size in meta["sizes"]]
    strides = [_size(size)[1] for size in meta["strides"]]
    tensor = torch.empty_strided(sizes, strides, dtype=DTYPES[meta["dtype"]], device="meta")
    if kind == "parameter":
        can_learn = tensor.is_floating_point() or tensor.is_complex()
        return entry["parameter_name"], nn.Parameter(tensor, meta["requires_grad"] and can_learn), "param"
    if kind == "buffer":
        return entry["buffer_name"], tensor, "buffer"
    return entry["tensor_constant_name"], tensor, "constant"


def _declared(name: str, tensors: Mapping[str, Any]) -> Declared:
    meta = tensors[name]
    sizes = [_size(size) for size in meta["sizes"]]
    dtype = str(DTYPES[meta["dtype"]]).removeprefix("torch.")
    return Declared(name, tuple(size for size, _ in sizes), dtype, tuple(example for _, example in sizes))


def _size(size: Mapping[str, Any]) -> tuple[int | None, int]:
    """A size, None where it may be any, and the one that it was exported with."""
    if "as_int" in size:
        return size["as_int"], size["as_int"]
    return None, int(size["as_expr"]["hint"]["as_int"])


def _class(nodes: Sequence[Mapping[str, Any]]) -> str:
    """The class of the model that was exported, as the steps remember it."""
    for node in nodes:
        first = node.get("metadata", {}).get("nn_module_stack", "").partition(";")[0].split(",")
        if len(first) == 3 and not first[1]:
            return first[2]
    return "Program"
