"""What is alive at the peak, storage by storage: of which kind and layer, and who keeps it."""

from __future__ import annotations

import dataclasses

from ..graph import ModelGraph, Storage, Value
from ..table import Table, column, table
from .liveness import Timeline, timeline


@dataclasses.dataclass(frozen=True)
class Held:
    """Memory that is alive at one moment. layer: dotted path of the module that made or owns it; bytes: of the storage;
    keeper: why it is still there."""

    name: str = column("tensor")
    module: str = column("layer", default="")
    kind: str = column("kind", default="")
    shape: tuple[int, ...] | None = column("shape", "shape", default=None)
    dtype: str = column("dtype", hidden=True, default="")
    bytes: int = column("bytes", "byte", fold="sum", default=0)
    keeper: str = column("kept by", default="")
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


def held(graph: ModelGraph, at: int | None = None) -> Table[Held]:
    """Every storage that is alive when operator ``at`` has just returned, the largest first; by default at the peak.

    Their bytes add up to the live bytes of that moment.
    """
    line = timeline(graph)
    at = line.peak_at if at is None else at
    rows = _Holding(graph, line, at).rows()
    name = graph.ops[at].name if at >= 0 else "the run"
    return table(f"alive at {name}", rows, Held, model=graph.name, input=graph.input_text)


class _Holding:
    """Names and keepers of storages at one operator."""

    def __init__(self, graph: ModelGraph, line: Timeline, at: int) -> None:
        self.graph, self.line, self.at = graph, line, at
        self.values: dict[int, Value] = {value.storage: value for value in reversed(graph.inputs)}
        self.names = {parameter.storage: parameter for parameter in reversed(graph.parameters)}
        self.uses: dict[int, list[int]] = {}
        for index, op in enumerate(graph.ops):
            for value in (*op.outputs, *op.inputs):
                self.values.setdefault(value.storage, value)
                uses = self.uses.setdefault(value.storage, [])
                if not uses or uses[-1] != index:
                    uses.append(index)

    def rows(self) -> list[Held]:
        found: dict[str, Held] = {}
        for storage in self.line.alive(self.at):
            row = self.row(storage)
            # Two storages may be born under one name: a value and the gradient of an equal one.
            name = row.name if row.name not in found else f"{row.name} ({storage.id})"
            found[name] = dataclasses.replace(row, name=name)
        return list(found.values())

    def row(self, storage: Storage) -> Held:
        parameter = self.names.get(storage.id)
        value = parameter or self.values.get(storage.id)
        if parameter is not None:
            module = parameter.module
        else:
            module = self.graph.ops[storage.born].module if storage.born >= 0 else ""
        return Held(
            name=value.name if value else f"storage {storage.id}",
            module=module,
            kind=storage.kind,
            shape=value.shape if value else None,
            dtype=value.dtype if value else "",
            bytes=storage.bytes,
            keeper=self.keeper(storage),
        )

    def keeper(self, storage: Storage) -> str:
        """Autograd before the program: what a backward will read stays whoever else holds it."""
        if storage.kind in _OWNERS:
            return _OWNERS[storage.kind]
        if storage.savers and self.graph.ops[self.at].phase != "optimizer":
            first, *others = storage.savers
            op, _, what = first.rpartition(":")
            return f"backward of {op} ({what})" + (f", {len(others)} more" if others else "")
        later = [use for use in self.uses.get(storage.id, ()) if use > self.at]
        if self.at in self.uses.get(storage.id, ()):
            return f"in use by {self.graph.ops[self.at].name}"
        if later:
            return f"{self.graph.ops[later[0]].name}, which uses it next"
        return self.frame(storage)

    def frame(self, storage: Storage) -> str:
        """Nothing will use it: a variable of the innermost forward that was running at its birth and still is."""
        if storage.born < 0:
            return "the caller"
        calls = self.graph.calls
        now = set(self._stack(self.graph.ops[self.at].call))
        owner = next((call for call in self._stack(self.graph.ops[storage.born].call) if call in now), 0)
        if storage.dies is None or self.graph.ops[self.at].phase != "forward":
            return (
                "the training loop, as part of the output" if self.graph.train else "the caller, as part of the output"
            )
        path = calls[owner].module
        return f"a variable in the forward of {path or calls[owner].type}"

    def _stack(self, call: int) -> list[int]:
        found = []
        while call >= 0:
            found.append(call)
            call = self.graph.calls[call].parent
        return found


_OWNERS = {
    "param": "the model",
    "buffer": "the model",
    "gradient": "its parameter, until zero_grad",
    "optimizer": "the optimizer",
}
