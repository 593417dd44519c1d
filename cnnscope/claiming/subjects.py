"""What quantities are read off: a graph, and the part of it that a measure means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from ..analyses.costs import OpCost, cost
from ..graph import Call, ModelGraph, Op, Parameter
from ..table import Table

Options = Mapping[str, Any]
Patterns = tuple[str, ...]

MATRIX = ("convolution", "addmm", "mm", "bmm", "linear")  # the operators that have the weights of a layer
POOLS = ("max_pool2d_with_indices", "max_pool2d", "avg_pool2d", "_adaptive_avg_pool2d")


class Net:
    """A graph with what several quantities read from it."""

    def __init__(self, graph: ModelGraph) -> None:
        self.graph = graph
        self._meant: dict[tuple[Patterns, Patterns], frozenset[str]] = {}

    @cached_property
    def costs(self) -> Table[OpCost]:
        """Work of every operator."""
        return cost(self.graph)

    def ops(self, options: Options, kinds: Iterable[str] | None = None) -> list[Op]:
        """The operators of the modules that are meant."""
        meant = self.meant(options)
        return [op for op in self.graph if op.module in meant and (kinds is None or op.kind in kinds)]

    def parameters(self, options: Options) -> list[Parameter]:
        """The parameters and buffers of the modules that are meant."""
        meant = self.meant(options)
        return [each for each in self.graph.parameters if each.module in meant]

    def meant(self, options: Options) -> frozenset[str]:
        """Paths of the modules that ``of`` and ``without`` leave, with all that is in them."""
        key = several(options.get("of", "")), several(options.get("without", ()))
        if key not in self._meant:
            of, without = key
            kept = [path for path in self._paths if inside(path, of) and not inside(path, without)]
            self._meant[key] = frozenset(kept)
        return self._meant[key]

    @cached_property
    def _paths(self) -> tuple[str, ...]:
        owners = (each.module for each in self.graph.parameters)
        return tuple(dict.fromkeys([*(call.module for call in self.graph.calls), *owners]))

    def calls(self, options: Options) -> list[Call]:
        """The first calls of exactly the modules that ``of`` names, in execution order."""
        of = several(options.get("of", ""))
        names = {path for path in self._paths if matches(path, of)}
        found = [call for call in self.graph.calls if not call.repeat and call.module in names]
        if not found:
            raise LookupError(f"{self.graph.name} calls no module {' or '.join(map(repr, of))}")
        return found


def several(patterns: Any) -> Patterns:
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


def matches(module: str, patterns: Patterns) -> bool:
    """Whether a pattern describes the path, name by name: a star does not reach over a dot."""
    return any(module.count(".") == pattern.count(".") and inside(module, (pattern,)) for pattern in patterns)


def inside(module: str, patterns: Patterns) -> bool:
    """Whether a pattern describes the path or the beginning of it; the empty one is the whole net."""
    names = module.split(".")
    wanted = [pattern.split(".") if pattern else [] for pattern in patterns]
    return any(len(names) >= len(each) and all(map(fnmatchcase, names, each)) for each in wanted)
