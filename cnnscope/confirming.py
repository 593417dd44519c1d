"""``confirm``: predicted | measured | signed error, for a record and the graph of the same program."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from .analyses.layering import Layer, layers
from .devices import device as known
from .graph import ModelGraph
from .predicting import Prediction, Range, device_of, prediction
from .records import LayerTime, Measurement
from .table import Table, column, table
from .units import binary, duration, si


@dataclasses.dataclass(frozen=True, slots=True)
class Confirmed:
    """One quantity. error: predicted over measured less 1, so below 0 is predicted too low; of a range its middle."""

    name: str = column("quantity")
    module: str = column("module", hidden=True, default="")
    predicted: str | None = column("predicted", default=None)
    measured: str | None = column("measured", default=None)
    deviation: str | None = column("error", default=None)
    note: str | None = column("note", default=None)
    unit: str = column("unit", hidden=True, default="")
    predicted_low: float | None = column("predicted, low", "ratio", hidden=True, default=None)
    predicted_high: float | None = column("predicted, high", "ratio", hidden=True, default=None)
    measured_value: float | None = column("measured, raw", "ratio", hidden=True, default=None)
    error: float | None = column("error, raw", "ratio", hidden=True, default=None)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


def _rate(values: Mapping[str, float | None]) -> float | None:
    """FLOPs in a second of all rows together; rows without a time do not count."""
    flops, seconds = values.get("timed_flops"), values.get("measured")
    return flops / seconds if flops and seconds else None


@dataclasses.dataclass(frozen=True, slots=True)
class ConfirmedLayer:
    """One layer, forward and backward together. kernels: seconds of its kernels in the profiler; rate: FLOPs in a
    second of the measured time; held: bytes of its results alive at the measured peak."""

    name: str = column("layer")
    module: str = column("module", hidden=True, default="")
    type: str = column("type", default="")
    macs: int | None = column("MACs", "MAC", fold="sum", default=None)
    predicted: float | None = column("predicted", "second", fold="sum", default=None)
    measured: float | None = column("measured", "second", fold="sum", default=None)
    deviation: str | None = column("error", default=None)
    kernels: float | None = column("in kernels", "second", fold="sum", default=None)
    timed_flops: int | None = column("FLOPs with a time", "FLOP", fold="sum", hidden=True, default=None)
    rate: float | None = column("achieved", "FLOP/s", fold=_rate, default=None)
    held: int | None = column("held at peak", "byte", fold="sum", default=None)
    error: float | None = column("error, raw", "ratio", hidden=True, default=None)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


def confirm(graph: ModelGraph, record: Measurement, device: str | None = None) -> Table[Confirmed]:
    """Time, memory and work in total. The graph must be of the model and the inputs of the record.

    device: predict the time for this device, by name or file; by default for that of the record.
    """
    predicted = prediction(graph, record, device)
    rows = [_quantity(name, title, unit, predicted, record) for name, title, unit in _TOTALS]
    rows = [row for row in rows if row.measured or row.predicted]
    notes = [
        *_unknown(predicted, record),
        *_elsewhere(predicted, record, device),
        f"measured on {record.environment.name}, {record.environment.date}: {record.mode}",
        *record.notes,
    ]
    if not record.complete:
        notes.append(f"the record is not complete: {record.stopped}")
    notes.append("error: predicted over measured, less 1; below 0 is predicted too low")
    return table(
        "predicted and measured",
        [*rows, _work(graph, record)],
        Confirmed,
        model=record.model,
        input=record.input_text,
        notes=tuple(notes),
    )


# Field of the prediction, how people call it, unit.
_TOTALS = (
    ("time", "time", "second"),
    ("base", "memory before the call", "byte"),
    ("peak_requested", "peak memory, requested", "byte"),
    ("peak_allocated", "peak memory, allocated", "byte"),
    ("peak_reserved", "peak memory, reserved", "byte"),
    ("upper_bound", "memory, upper bound", "byte"),
)


def measured_value(record: Measurement, name: str) -> float | None:
    """A quantity of a prediction as it was measured; None where it was not."""
    if name == "time":
        return None if record.time is None else record.time.whole.median
    memory = record.memory
    if memory is None:
        return None
    if name == "upper_bound" and record.settings.device == "cpu":
        return memory.peak_allocated
    if name == "upper_bound":  # of everything on the device
        known = memory.peak_reserved is not None and memory.context is not None
        return (memory.peak_reserved or 0) + (memory.context or 0) if known else None
    return getattr(memory, name)


def error_of(predicted: Range | None, measured: float | None) -> float | None:
    """Predicted over measured less 1, of the range's middle."""
    return predicted.middle / measured - 1 if predicted and measured else None


def _quantity(name: str, title: str, unit: str, predicted: Prediction, record: Measurement) -> Confirmed:
    value, guess = measured_value(record, name), predicted.ranges.get(name)
    if name == "peak_reserved" and record.settings.device == "cpu":
        return Confirmed(title)  # nothing that a CPU could have
    error = error_of(guess, value)
    return Confirmed(
        title,
        predicted=_range(guess, unit) if guess else "not predicted",
        measured=_shown(value, unit) if value is not None else "not measured",
        deviation=percent(error),
        note=_note(name, guess, value),
        unit=unit,
        predicted_low=guess.low if guess else None,
        predicted_high=guess.high if guess else None,
        measured_value=value,
        error=error,
    )


def _unknown(predicted: Prediction, record: Measurement) -> Iterator[str]:
    """Why something has no prediction or no measurement; what a CPU cannot have goes without saying."""
    for name, title, _ in _TOTALS:
        if record.settings.device == "cpu" and name == "peak_reserved":
            continue
        if name in predicted.reasons:
            yield f"{title} is not predicted: {predicted.reasons[name]}"
        if measured_value(record, name) is None:
            part = {"time": "time", "upper_bound": "memory.context"}.get(name, f"memory.{name}")
            yield f"{title} was not measured: {record.reason(part)}"


def _elsewhere(predicted: Prediction, record: Measurement, device: str | None) -> Iterator[str]:
    """Whose time was predicted, where that is another device than the one that was measured."""
    if "time" in predicted.ranges and (device or device_of(record) == "cpu"):
        found = known(device or "cpu")
        what = f"{found.name}: {found.sheet}" if device is None and found.sheet else found.name
        yield f"time is predicted for {what}"
    if "time" in predicted.ranges and device is None and device_of(record) == "cpu":
        yield "'cnnscope calibrate --device cpu -o my.toml' measures this machine; then add --predict-for my.toml"


def _note(name: str, guess: Range | None, value: float | None) -> str | None:
    """Whether a range held what was measured, or a bound."""
    if guess is None or value is None or (name != "upper_bound" and guess.low == guess.high):
        return None
    if name == "upper_bound":
        return "held" if value <= guess.high else "exceeded"
    return "in the range" if guess.low <= value <= guess.high else "outside of the range"


def _work(graph: ModelGraph, record: Measurement) -> Confirmed:
    """MACs are counted and not measured: beside them stands how fast they were done."""
    total = layers(graph).total
    time = measured_value(record, "time")
    rate = 2 * total.macs / time if total.macs and time else None
    return Confirmed(
        "work",
        predicted=f"{si(total.macs)}MACs" if total.macs is not None else "not known",
        measured=f"{si(rate, 3)}FLOP/s achieved" if rate else "not measured",
        note="2 x MACs in the measured time",
        unit="FLOP/s",
        predicted_low=total.macs,
        predicted_high=total.macs,
        measured_value=rate,
        missing=total.missing,
    )


def _range(found: Range, unit: str) -> str:
    if found.low == found.high:
        return _shown(found.low, unit)
    return f"{_shown(found.low, unit)} to {_shown(found.high, unit)}"


def _shown(value: float, unit: str) -> str:
    return duration(value) if unit == "second" else binary(int(value))


def percent(error: float | None) -> str | None:
    """``+3.2%``; what is exact says so."""
    if error is None:
        return None
    return "exact" if error == 0 else f"{error:+.1%}"


# -- layer by layer ---------------------------------------------------------------------------------------------------


def confirm_layers(graph: ModelGraph, record: Measurement, device: str | None = None) -> Table[ConfirmedLayer]:
    """Every layer of the graph beside its measured time, then what was measured and is no layer of the graph.

    device: as in ``confirm``.
    """
    predicted = prediction(graph, record, device).layer_seconds
    times = {row.name: row for row in record.layers.rows} if record.layers else {}
    found = layers(graph)
    holders = record.memory.holders if record.memory else None
    held = {} if holders is None else dict.fromkeys(found, 0)
    for holder in holders or ():
        held[holder.name] = held.get(holder.name, 0) + holder.bytes
    rows = [_layer(layer, times.get(layer.name), predicted.get(layer.name), held) for layer in found.values()]
    rows += [_beyond(name, times.get(name), held) for name in [*times, *held] if name not in found]
    notes = [] if record.layers else [f"layers not measured: {record.reason('layers')}"]
    if record.layers and record.layers.difference is not None:
        way = "more" if record.layers.difference > 0 else "less"
        notes.append(f"all layers together take {duration(abs(record.layers.difference))} {way} than the whole model")
    return table(
        "predicted and measured, layer by layer",
        list({row.name: row for row in rows}.values()),
        ConfirmedLayer,
        model=record.model,
        input=record.input_text,
        notes=tuple(notes),
    )


def _layer(layer: Layer, time: LayerTime | None, guess: Range | None, held: Mapping[str, int]) -> ConfirmedLayer:
    seconds = _both(time)
    error = error_of(guess, seconds)
    return ConfirmedLayer(
        layer.name,
        module=layer.module,
        type=layer.type,
        macs=layer.macs,
        predicted=guess.middle if guess else None,
        measured=seconds,
        deviation=percent(error),
        kernels=time.kernel_seconds if time else None,
        timed_flops=layer.flops if seconds else None,
        rate=layer.flops / seconds if seconds and layer.flops else None,
        held=held.get(layer.name),
        error=error,
        missing=layer.missing,
    )


def _beyond(name: str, time: LayerTime | None, held: Mapping[str, int]) -> ConfirmedLayer:
    """Something that was measured and that the graph has no layer for: loss, optimizer, memory from before."""
    kernels = time.kernel_seconds if time else None
    return ConfirmedLayer(
        name, type=time.type if time else "", measured=_both(time), kernels=kernels, held=held.get(name)
    )


def _both(time: LayerTime | None) -> float | None:
    """Forward and backward together."""
    known = [each for each in (time.seconds, time.backward_seconds) if each is not None] if time else []
    return sum(known) if known else None
