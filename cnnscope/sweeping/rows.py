"""The row of a sweep, from the graph of one model at one setting."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..analyses.depths import depth
from ..analyses.layering import layers
from ..analyses.liveness import timeline
from ..analyses.memory import peak_memory
from ..analyses.rooflines import roofline
from ..devices import device as known
from ..errors import CnnscopeError
from ..graph import ModelGraph
from ..table import Table, column, columns, table
from .requests import Item, Request

_UNNAMED = ("cpu", "cuda")  # devices of the memory analysis that have no sheet


@dataclasses.dataclass(frozen=True, slots=True)
class Swept:
    """One model at one setting; None is unknown, and then ``error`` says why or a device was not asked for.

    model: as it was asked for; batch, resolution: those asked for, a batch else that of the first input. activation:
    bytes that all layers write together. peak_requested ... upper_bound: as in ``memory``; low, high: predicted
    seconds, as in ``roofline``; fits: into the memory of the device. traced_on: ``meta``, or ``cpu`` for a real run;
    trace_seconds: how long this row took, from the model to its figures. missing: operators without a rule, which MACs,
    FLOPs and time are without.
    """

    name: str = column("model")
    module: str = column("module", hidden=True, default="")
    model: str = column("target", hidden=True, default="")
    batch: int | None = column("batch", "count", hidden=True, default=None)
    resolution: int | None = column("resolution", "count", hidden=True, default=None)
    input: str | None = column("input", rank=8, default=None)
    params: int | None = column("params", "count", rank=0, default=None)
    trainable: int | None = column("trainable", "count", hidden=True, default=None)
    macs: int | None = column("MACs", "MAC", rank=0, default=None)
    flops: int | None = column("FLOPs", "FLOP", rank=7, default=None)
    activation: int | None = column("activations", "byte", rank=6, default=None)
    peak_requested: int | None = column("peak", "byte", rank=0, default=None)
    peak_allocated: int | None = column("allocated", "byte", hidden=True, default=None)
    peak_reserved: int | None = column("reserved", "byte", rank=1, default=None)
    upper_bound: int | None = column("upper bound", "byte", hidden=True, default=None)
    fits: bool | None = column("fits", "flag", rank=5, default=None)
    low: float | None = column("time", "second", rank=0, default=None)
    high: float | None = column("up to", "second", rank=2, default=None)
    depth: int | None = column("depth", "count", rank=4, default=None)
    traced_on: str | None = column("traced on", hidden=True, default=None)
    trace_seconds: float | None = column("trace seconds", "second", hidden=True, default=None)
    error: str | None = column("error", hidden=True, default=None)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


_LONG = 300  # characters of an error that a person is shown; files have it whole

Figures = dict[str, Any]  # of a row, as JSON has them
_FIGURES = {field.name for field in columns(Swept)} - {"name", "module", "model", "resolution"}


def figures(graph: ModelGraph, device: str | None = None) -> Figures:
    """What is known of a graph, by column.

    Raises:
        UnknownDevice: nobody knows a device of that name.
    """
    total = layers(graph).total
    found: Figures = {
        "batch": graph.inputs[0].shape[0] if graph.inputs and graph.inputs[0].shape else None,
        "input": graph.input_text,
        **{name: getattr(total, name) for name in ("params", "trainable", "macs", "flops", "activation")},
        "depth": depth(graph).total.depth,
        "traced_on": graph.run.traced_on,
        "missing": list(total.missing),
    }
    if device is None:
        return {**found, "peak_requested": timeline(graph, host=True).peak}
    return {**found, **_on_device(graph, device, found["missing"])}


def _on_device(graph: ModelGraph, device: str, missing: list[str]) -> Figures:
    named = None if device.lower() in _UNNAMED else known(device)
    peak = peak_memory(graph, "cpu" if is_cpu(device) else device)
    found: Figures = {
        name: getattr(peak, name) for name in ("peak_requested", "peak_allocated", "peak_reserved", "upper_bound")
    }
    if named is None:
        return found
    if named.memory is not None:
        found["fits"] = peak.needed <= named.memory
    try:
        time = roofline(graph, named).total
    except CnnscopeError as error:
        return {**found, "error": sentence(error)}
    unknown = [kind for kind in time.missing if kind not in missing]
    return {**found, "low": time.low, "high": time.high, "missing": [*missing, *unknown]}


def is_cpu(device: str | None) -> bool:
    """Whether a device runs the operators of a CPU."""
    if device is None or device.lower() in _UNNAMED:
        return device is None or device.lower() == "cpu"
    return known(device).capability == "cpu"


def sentence(error: BaseException) -> str:
    """What went wrong, and where: the first two lines of an error as one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:2]) or type(error).__name__


def row(item: Item, found: Mapping[str, Any]) -> Swept:
    """The row of an item.

    Raises:
        ValueError: the figures are not those of a row.
    """
    if not found.keys() <= _FIGURES:
        raise ValueError(f"no columns of a sweep: {', '.join(sorted(found.keys() - _FIGURES))}")
    given = {**found, "missing": tuple(found.get("missing", ()))}
    if item.setting.batch is not None:
        given["batch"] = item.setting.batch
    return Swept(item.name, "", item.target, resolution=item.setting.resolution, **given)


def tabled(rows: Sequence[Swept], request: Request) -> Table[Swept]:
    """The rows with what is to be said of all of them."""
    notes = []
    if failed := [row for row in rows if row.error]:
        notes.append(f"{len(failed)} of {len(rows)} rows could not be analysed whole; their column 'error' says why")
    if request.run.get("train"):
        notes.append("MACs and FLOPs of a whole training step")
    if request.device:
        notes.append(f"{request.device}: eager, time between 'low' and 'high' for the central 80% of nets")
    return table("sweep", rows, Swept, notes=tuple(notes))


def with_errors(found: Table[Swept]) -> Table[Swept]:
    """The same for people: the errors stand under the table, those of one model that are alike once."""
    alike: dict[tuple[str, str], list[str]] = {}
    for row in found.values():
        if row.error:
            alike.setdefault((row.model, row.error), []).append(row.name)
    errors = [
        f"{names[0] if len(names) == 1 else f'{model} ({len(names)} rows)'}: {_short(error)}"
        for (model, error), names in alike.items()
    ]
    return dataclasses.replace(found, notes=(*errors, *found.notes))


def _short(error: str) -> str:
    return error if len(error) <= _LONG else f"{error[:_LONG]} ..."
