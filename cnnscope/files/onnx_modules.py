"""Which modules an ONNX graph's nodes came from, as torch's exporters note it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .programs import Frame

NORMS = ("BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization")
OWNERS = ("Conv", "ConvTranspose", "Gemm", "PRelu", *NORMS)  # what a module of torch with weights becomes


class Modules:
    """The modules around each node of a graph."""

    def __init__(self, nodes: Iterable[Any]) -> None:
        self._containers = {path for node in nodes for path, _ in list(_noted(node))[:-1]}

    def around(self, node: Any, owners: Mapping[str, str] | None = None) -> tuple[Frame, ...]:
        """From the outermost in; none where nothing is noted. owners: the module that each weight is of."""
        found = list(_noted(node))
        if any(not all(path.split(".")) for path, _ in found):
            return ()
        found = _owned(found, node, owners or {})
        return tuple(
            Frame(path, path, kind or ("Module" if path in self._containers else node.op_type)) for path, kind in found
        )


def _noted(node: Any) -> Iterator[tuple[str, str]]:
    """Path and class of each module; the class is '' where it is not noted."""
    properties = {each.key: each.value for each in node.metadata_props}
    scopes = _texts(properties.get("pkg.torch.onnx.name_scopes"))
    classes = _texts(properties.get("pkg.torch.onnx.class_hierarchy"))
    if scopes and len(scopes) == len(classes):
        yield from ((scope, kind) for scope, kind in zip(scopes[:-1], classes[:-1], strict=True) if scope)
    elif node.name.startswith("/"):
        yield from ((path, "") for path in _paths(node.name.split("/")[1:-1]))


def _paths(parts: Iterable[str]) -> Iterator[str]:
    """``layer1``, ``layer1.0``, ``layer1.0.conv1`` for the parts of the name ``/layer1/layer1.0/conv1/Conv``."""
    path = ""
    for part in parts:
        # A part is the module's name, or repeats that of the module above it where that one is a sequence.
        last = path.rpartition(".")[2]
        path = path[: len(path) - len(last)] + part if last and part.startswith(f"{last}.") else f"{path}.{part}"
        path = path.removeprefix(".")
        yield path


def _owned(found: list[tuple[str, str]], node: Any, owners: Mapping[str, str]) -> list[tuple[str, str]]:
    """A convolution that took its norm in is of the module that its weight is of, not of the norm's."""
    owner = owners.get(node.input[1], "") if node.op_type in OWNERS and len(node.input) > 1 else ""
    if not found or not owner or f"{found[-1][0]}.".startswith(f"{owner}."):
        return found
    return [*(each for each in found[:-1] if owner.startswith(f"{each[0]}.")), (owner, node.op_type)]


def _texts(text: str | None) -> list[str]:
    """A list of texts, written as Python's literal."""
    try:
        found = ast.literal_eval(text or "[]")
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return []
    return found if isinstance(found, list) and all(isinstance(each, str) for each in found) else []
