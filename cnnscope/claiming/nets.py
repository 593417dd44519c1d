"""The nets that claims name, traced when they are first asked for, each once."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .. import zoo
from ..errors import UnknownArchitecture, UntraceableModel
from ..graph import ModelGraph
from .quantities import Net


class Nets:
    """``nets("vgg16")``, ``nets("wrn(depth=40, k=8)")``, ``nets("timm:resnet50", (1, 3, 224, 224))``."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[int, ...] | None], Net] = {}

    def __call__(self, model: str, input: Sequence[int] | None = None) -> Net:
        """The net on this input, or on its own where none is given.

        Raises:
            UnknownArchitecture: the zoo has no net of that name.
            UnusableTarget: the library of that name is not installed.
        """
        key = model, tuple(input) if input else None
        if key not in self._known:
            self._known[key] = Net(self.graph(*key))
        return self._known[key]

    def graph(self, model: str, input: tuple[int, ...] | None) -> ModelGraph:
        """The graph, freshly traced."""
        from ..targets import load  # torch, which nothing else here needs
        from ..tracing import trace

        target, known = located(model)
        found = load(target)
        try:
            return trace(found.model, input or known or (found.default_input or ((),))[0], name=model)
        except UntraceableModel as error:
            # Asked for with another input than its own, a net may run only down to the layer that refuses the size.
            if input is None or error.graph is None:
                raise
            return error.graph


def located(model: str) -> tuple[str, tuple[int, ...] | None]:
    """The target of a model, and its input where the catalogue has one.

    A name with arguments is that of a function of the zoo, as the catalogue's ``build`` has it.

    Raises:
        UnknownArchitecture: the zoo has no such function.
    """
    called = re.fullmatch(r"(\w+)\(.*\)", model)
    if not called:
        return model, None
    for paper in zoo.catalog():
        for each in paper.get("model", ()):
            file, _, function = each["build"].partition(":")
            if function == called[1]:
                return f"cnnscope.architectures.{file}:{model}", tuple(each["input"])
    raise UnknownArchitecture(f"no function {called[1]!r} in the zoo makes {model!r}; 'cnnscope list' shows what there is")
