"""``confirm --all``: every record beside its prediction, and how the errors are distributed."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .analyses.layering import layers
from .confirming import error_of, measured_value, percent
from .graph import ModelGraph
from .predicting import QUANTITIES, prediction
from .records import Measurement
from .table import Table, column, table


def _error(title: str) -> Any:
    return column(title, default=None)


@dataclasses.dataclass(frozen=True, slots=True)
class Reckoned:
    """One record. The errors are predicted over measured less 1; ``errors`` has them as numbers, by quantity."""

    name: str = column("record")
    module: str = column("module", hidden=True, default="")
    model: str = column("model", default="")
    device: str = column("device", hidden=True, default="")
    how: str = column("how", default="")
    batch: int = column("batch", "count", default=0)
    time: float | None = column("time", "second", default=None)
    time_error: str | None = _error("time error")
    requested: float | None = column("requested", "byte", default=None)
    requested_error: str | None = _error("requested error")
    allocated: float | None = column("allocated", "byte", default=None)
    allocated_error: str | None = _error("allocated error")
    reserved: float | None = column("reserved", "byte", default=None)
    reserved_error: str | None = _error("reserved error")
    rate: float | None = column("achieved", "FLOP/s", default=None)
    errors: tuple[tuple[str, float], ...] = column("errors", hidden=True, default=())
    stopped: str = column("stopped", hidden=True, default="")
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


@dataclasses.dataclass(frozen=True, slots=True)
class Distribution:
    """The errors of one quantity on one device: of their absolute values median and 90th percentile, the worst with its
    sign and record, how many predictions were too low."""

    name: str = column("quantity")
    module: str = column("module", hidden=True, default="")
    count: int = column("records", "count", default=0)
    exact: int = column("exact", "count", default=0)
    median: str = column("median", default="")
    p90: str = column("90th percentile", default="")
    worst: str = column("worst", default="")
    where: str = column("in", default="")
    under: int = column("predicted too low", "count", default=0)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


def reckon(
    pairs: Iterable[tuple[str, Measurement, ModelGraph | None]], devices: Mapping[str, str] | None = None
) -> Table[Reckoned]:
    """One row for each record; name, record, and the graph of the same program, None where there is none.

    devices: by the record's name, for what its time is predicted, where that is not its own device.
    """
    found, devices = list(pairs), devices or {}
    rows = [_row(name, record, graph, devices.get(name)) for name, record, graph in found]
    notes = [f"{row.name}: {row.stopped}" for row in rows if row.stopped]
    notes += [f"times are predicted for the device of {device}" for device in dict.fromkeys(devices.values())]
    busy = sum(any(note.startswith("other work ran") for note in record.notes) for _, record, _ in found)
    if busy:
        notes.append(f"other work ran on the machine during {busy} of {len(rows)}: their times are upper limits")
    return table("records and predictions", rows, Reckoned, notes=tuple(notes))


def _row(name: str, record: Measurement, graph: ModelGraph | None, device: str | None) -> Reckoned:
    values = {quantity: measured_value(record, quantity) for quantity in QUANTITIES}
    ranges = prediction(graph, record, device).ranges if graph is not None else {}
    errors = {quantity: error_of(ranges.get(quantity), values[quantity]) for quantity in QUANTITIES}
    macs = layers(graph).total.macs if graph is not None else None
    time = values["time"]
    return Reckoned(
        name.removesuffix(".json"),
        model=record.model,
        device=record.environment.name,
        how=record.mode,
        batch=record.batch,
        time=time,
        time_error=percent(errors["time"]),
        requested=values["peak_requested"],
        requested_error=percent(errors["peak_requested"]),
        allocated=values["peak_allocated"],
        allocated_error=percent(errors["peak_allocated"]),
        reserved=values["peak_reserved"],
        reserved_error=percent(errors["peak_reserved"]),
        rate=2 * macs / time if macs and time else None,
        errors=tuple((quantity, error) for quantity, error in errors.items() if error is not None),
        stopped=record.stopped,
    )


def distributions(rows: Sequence[Reckoned]) -> Table[Distribution]:
    """How the errors of each quantity are spread, device by device, inference and training apart."""
    groups: dict[str, list[tuple[float, str]]] = {}
    for row in rows:
        for quantity, error in row.errors:
            kind = "training" if row.how.startswith("training") else "inference"
            groups.setdefault(f"{_TITLES[quantity]}, {kind}, {row.device}", []).append((error, row.name))
    return table("errors", [_distribution(name, errors) for name, errors in groups.items()], Distribution)


_TITLES = {
    "time": "time",
    "base": "memory before the call",
    "peak_requested": "peak requested",
    "peak_allocated": "peak allocated",
    "peak_reserved": "peak reserved",
    "upper_bound": "upper bound (too low: exceeded)",
}


def _distribution(name: str, errors: Sequence[tuple[float, str]]) -> Distribution:
    sizes = sorted(abs(error) for error, _ in errors)
    worst, where = max(errors, key=lambda each: abs(each[0]))
    return Distribution(
        name,
        count=len(errors),
        exact=sum(error == 0 for error, _ in errors),
        median=f"{statistics.median(sizes):.2%}",
        p90=f"{sizes[min(len(sizes) - 1, -(-9 * len(sizes) // 10) - 1)]:.2%}",
        worst=percent(worst) or "",
        where=where,
        under=sum(error < 0 for error, _ in errors),
    )


def page(found: Table[Reckoned], names: Sequence[str], pictures: Mapping[str, str]) -> str:
    """``reports/confirm.md``. names: all of the zoo; pictures: file by caption, beside the page."""
    from .render import markdown

    rows = list(found.values())
    devices = list(dict.fromkeys(row.device for row in rows))
    gpu = any(row.reserved is not None for row in rows)
    lines = [
        "# Predicted and measured",
        "",
        "Made by `cnnscope confirm --all -o reports/confirm.md` from the records in",
    ]
    lines += ["`reports/measured/`. An error is predicted over measured, less 1: below 0 is predicted too low. One of"]
    lines += ["0.0% is a few bytes: a Python number in arithmetic is a tensor of 8 bytes for a moment.", ""]
    if not gpu:
        lines += [
            "**No GPU has been measured yet.** What a GPU does is predicted elsewhere and not confirmed here.",
            "",
        ]
    lines += ["## Distribution of errors", "", _body(markdown(distributions(rows))), ""]
    for device in devices:
        own = {name: row for name, row in found.rows.items() if row.device == device}
        part = dataclasses.replace(found, rows=own, notes=())
        lines += [f"## {device}", "", _body(markdown(part)), ""]
    lines += [*(f"- {note}" for note in found.notes), ""]
    for caption, file in pictures.items():
        lines += [f"## {caption}", "", f"![{caption}]({file})", ""]
    measured = {row.model for row in rows}
    left = [name for name in names if name not in measured]
    if left:
        lines += [f"## Not measured yet ({len(left)} of {len(names)})", "", ", ".join(left) + "."]
    return "\n".join(lines).rstrip() + "\n"


def _body(text: str) -> str:
    """A table without its heading, which the page has in another place."""
    return text[text.index("|") :].strip() if "|" in text else text.strip()
