"""In a process of its own: one target made once, traced at each of its settings, and the figures of each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import caching
from ..errors import CnnscopeError, UntraceableModel
from ..inputs import arguments, chosen
from .requests import Request, Setting
from .rows import figures, is_cpu, sentence

if TYPE_CHECKING:
    from ..graph import ModelGraph
    from ..targets import Target


def examined(target: str, settings: list[Setting], request: Request, tell: Callable[[Any], None]) -> None:
    """Tell the figures of each setting in order; first, None: the model is made, or comes from the cache."""
    try:
        examination = Examination(target, request)
        if not all(map(examination.is_kept, settings)):
            examination.made("meta" if request.where != "cpu" else "cpu")
    except Exception as error:
        for _ in settings:
            tell({"error": _told(error)})
        return
    tell(None)
    for setting in settings:
        start = time.perf_counter()
        try:
            found = figures(examination.graph(setting), request.device)
        except Exception as error:
            found = {"error": _told(error)}
        tell({**found, "trace_seconds": round(time.perf_counter() - start, 4)})


def _told(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "out of memory"
    return sentence(error) if isinstance(error, CnnscopeError) else f"{type(error).__name__}: {sentence(error)}"


class Examination:
    """One target, made when it is first needed, and its graphs by setting, as the other commands get them."""

    def __init__(self, target: str, request: Request) -> None:
        self.target = target
        self.request = request
        self._run: dict[str, Any] = dict(request.run)
        if not is_cpu(request.device):
            self._run["device"] = "cuda"  # its operators are not quite the CPU's
        self._made: dict[str, Target] = {}

    def made(self, device: str) -> Target:
        """The model with its tensors on a device."""
        if device not in self._made:
            from ..targets import load

            self._made[device] = load(self.target, device)
        return self._made[device]

    def is_kept(self, setting: Setting) -> bool:
        """Whether the cache seems to have the graph, so that torch may not be needed."""
        key = self._key(setting)
        return key is not None and caching.has(key)

    def graph(self, setting: Setting) -> ModelGraph:
        """The graph at a setting.

        Raises:
            CnnscopeError: it cannot be made or traced.
        """
        return caching.cached(self._key(setting), lambda: self._trace(setting))

    def _key(self, setting: Setting) -> str | None:
        if not self.request.cache:
            return None
        batch, resolution = setting
        given = chosen(self.request.inputs, None, batch, self.target) if self.request.inputs else None
        options: dict[str, Any] = {**self._run}
        if self.request.where != "auto":
            options["device_trace"] = self.request.where
        if resolution is not None:
            options["resolution"] = resolution
        return caching.key(self.target, given, batch=batch, **options)

    def _trace(self, setting: Setting) -> ModelGraph:
        from ..targets import has_room

        if self.request.where == "cpu":
            return self._traced("cpu", setting, device_trace="cpu")
        try:
            return self._traced("meta", setting)
        except UntraceableModel as error:
            real = self.request.where != "meta" and is_cpu(self.request.device) and error.needs_data
            if not real or not has_room(self.made("meta").model):
                raise
        return self._traced("cpu", setting, device_trace="cpu")

    def _traced(self, device: str, setting: Setting, **options: Any) -> ModelGraph:
        from ..tracing import trace

        found = self.made(device)
        inputs = chosen(
            self.request.inputs, found.default_input, setting.batch, self.target, found.dtypes, setting.resolution
        )
        args, kwargs = arguments(inputs)
        return trace(found.model, args or None, kwargs=kwargs, name=found.name, **self._run, **options)
