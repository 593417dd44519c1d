"""The nets that claims name, traced when they are first asked for, each once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import caching
from ..errors import CnnscopeError, UntraceableModel
from ..graph import ModelGraph
from .subjects import Net


class Nets:
    """``nets("vgg16")``, ``nets("wrn(depth=40, k=8)")``, ``nets("timm:resnet50", (1, 3, 224, 224))``."""

    def __init__(self, *, cached: bool = True) -> None:
        self._cached = cached
        self._known: dict[tuple[str, tuple[int, ...] | None], Net | CnnscopeError] = {}

    def __call__(self, model: str, input: Sequence[int] | None = None) -> Net:
        """The net on this input, or on its own where none is given.

        Raises:
            UnknownArchitecture: the zoo has no net of that name.
            UnusableTarget: the library is not installed, or the net has no such parameters.
            UntraceableModel: it cannot be run.
        """
        key = model, tuple(input) if input else None
        if key not in self._known:
            try:
                self._known[key] = Net(self.graph(*key))
            except CnnscopeError as error:  # once: the next claim on it need not try again
                self._known[key] = error
        found = self._known[key]
        if isinstance(found, CnnscopeError):
            raise found
        return found

    def graph(self, model: str, input: tuple[int, ...] | None) -> ModelGraph:
        """The graph, from the cache or freshly traced."""
        key = None
        if self._cached:
            given = None if input is None else [(input, "float32", "")]
            key = caching.key(model, given, cut_short=input is not None)
        return caching.cached(key, lambda: _traced(model, input)).renamed(model)

    def step(self, model: str, input: Sequence[int], optimizer: str) -> ModelGraph:
        """A training step on this input, with CUDA's operators."""
        run: dict[str, Any] = {"train": True, "optimizer": optimizer, "device": "cuda"}
        key = caching.key(model, [(tuple(input), "float32", "")], **run) if self._cached else None
        return caching.cached(key, lambda: _traced(model, tuple(input), run))


def _traced(model: str, input: tuple[int, ...] | None, run: Mapping[str, Any] | None = None) -> ModelGraph:
    from ..targets import load  # torch, which nothing else here needs
    from ..tracing import trace

    found = load(model)
    if run:
        return trace(found.model, input, name=found.name, **run)
    try:
        return trace(found.model, input or (found.default_input or ((),))[0], name=found.name)
    except UntraceableModel as error:
        # Asked for with another input than its own, a net may run only down to the layer that refuses the size.
        if input is None or error.graph is None:
            raise
        return error.graph
