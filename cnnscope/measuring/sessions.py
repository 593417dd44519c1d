"""``measure``: run a model on a device, part by part, and keep what was measured whatever happens."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..errors import CnnscopeError, UnmeasurableModel, UnusableInput, UnusableTarget
from ..records import Kernels, Layers, Measurement, Memory, Power, Settings, Time, rounded, samples
from ..surroundings import random_state_kept
from . import power as power_
from .clocks import clock_of, kept_busy, sampled, warmed_up
from .environments import environment
from .layers import layer_times
from .neighbours import Neighbours
from .peaks import cuda_there, peaks
from .profiling import kernel_times
from .progress import Session
from .replays import NotCaptured, replays
from .subjects import Subject, precision, subject

_COMPILED = "a compiled model is one program: its operators belong to no layer"


def measure(
    model: nn.Module, input: Any = None, *, kwargs: Mapping[str, Any] | None = None, name: str = "", **settings: Any
) -> Measurement:
    """Run a copy of the model and measure time, layer times, kernels, memory, and on a GPU power and energy.

    The model itself, the random state and the flags of torch are left as they were. A model on meta gets random
    weights.

    Args:
        model, input, kwargs: as in ``trace``; tensors with data are used as they are, others are random.
        name: what to call the model; by default its class.
        settings: fields of ``records.Settings``: device ('cuda', 'cpu'; by default the GPU where there is one), dtype,
            train, optimizer, channels_last, compile, seed, seconds, power.

    Raises:
        UnusableInput: the input does not fit the forward, or a setting is none.
        UnusableDevice: there is no such device.
        UnmeasurableModel: the model's own code raised; the message leads with its exception.

    Out of memory, a lost GPU and an interrupt raise nothing: the record has what was measured before, ``complete`` is
    false, and ``stopped`` says what happened and what to do.
    """
    if not isinstance(model, nn.Module):
        raise UnusableInput(f"measure() takes an nn.Module, not {type(model).__name__}; call a class or factory first")
    chosen = settings_of(**settings)
    with random_state_kept():
        return session(lambda: (model, False), input, kwargs or {}, chosen, name=name or type(model).__name__)


def measure_target(target: str, input: Any, kwargs: Mapping[str, Any], settings: Settings, *, name: str) -> Measurement:
    """The same for what ``targets.load`` finds; the model is made on the device with the seed."""
    from ..targets import load

    def made() -> tuple[nn.Module, bool]:
        model = load(target, settings.device).model
        if not isinstance(model, nn.Module):
            raise UnusableTarget(f"{target} is a graph without weights; measure the model that it was made from")
        return model, True

    with random_state_kept():
        return session(made, input, kwargs, settings, name, target)


def settings_of(**given: Any) -> Settings:
    """Settings with what goes without saying: the GPU where there is one, sgd in training.

    Raises:
        UnusableInput: there is no such setting.
        UnusableDevice: there is no such device.
    """
    known = [field.name for field in dataclasses.fields(Settings)]
    if odd := given.keys() - set(known):
        raise UnusableInput(f"no setting {', '.join(sorted(odd))} to measure with; there are {', '.join(known)}")
    device = given.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
    optimizer = given.get("optimizer") or ("sgd" if given.get("train") else "")
    found = Settings(**{**given, "device": device, "optimizer": optimizer})
    if found.device == "cuda":
        cuda_there()
    return found


def session(
    make: Callable[[], tuple[nn.Module, bool]],
    input: Any,
    kwargs: Mapping[str, Any],
    settings: Settings,
    name: str,
    target: str = "",
) -> Measurement:
    """Measure what ``make`` gives: a model, and whether it is ours to change."""
    run = Session(settings)
    with precision(settings), _seeded(settings), _nvml(settings) as gpu:
        where = environment(settings.device, gpu, run.missing)
        others = Neighbours(where.load)
        found = run.part("the model", lambda: _prepared(make, input, kwargs, settings, run))
        if found is not None:
            _measured(run, found[0], found[1], gpu)
        run.found.pop("the model", None)
        run.notes += [others.note] if others.note else []
    inputs = {} if found is None else {path: _input_text(tensor) for path, tensor in found[0].named}
    return Measurement(
        model=name,
        target=target,
        batch=0 if found is None else found[0].batch,
        inputs=inputs,
        settings=settings,
        environment=where,
        time=run.found.get("time"),
        layers=run.found.get("layers"),
        kernels=run.found.get("kernels"),
        memory=run.found.get("memory"),
        power=run.found.get("power"),
        missing=run.reasons(),
        notes=tuple(run.notes),
        complete=not run.stopped,
        stopped=run.stopped,
    )


def _prepared(
    make: Callable[[], tuple[nn.Module, bool]], input: Any, kwargs: Mapping[str, Any], settings: Settings, run: Session
) -> tuple[Subject, float]:
    """The model on the device, called once; and how long that call took."""
    model, own = make()
    ready, notes = subject(model, input, kwargs, settings, own=own)
    run.notes += notes
    clock = clock_of(ready.device)
    clock.wait()
    start = time.perf_counter()
    try:
        ready.call(0)
        clock.wait()
    except (CnnscopeError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and run.of_device("the first call", error):
            raise
        raise _unmeasurable(error, ready) from error
    return ready, rounded(time.perf_counter() - start)


def _input_text(tensor: torch.Tensor) -> str:
    """As ``--input`` takes it; a floating point type follows from the settings."""
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    return shape if tensor.is_floating_point() else f"{shape}:{str(tensor.dtype).removeprefix('torch.')}"


def _unmeasurable(error: Exception, ready: Subject) -> UnmeasurableModel:
    text = (str(error).strip().splitlines() or ["(no message)"])[0]
    shapes = ", ".join(_input_text(tensor) for _, tensor in ready.named)
    settings = ready.settings
    return UnmeasurableModel(
        f"{type(error).__name__}: {text}\n"
        f"in the first call on {settings.device} with {shapes or 'no input'}, {settings.dtype}\n"
        "run the model once by itself with the same input, type and device"
    )


def _measured(run: Session, ready: Subject, first: float, gpu: power_.Gpu | str) -> None:
    """Every part, in an order in which none disturbs the next: memory before there are more inputs."""
    settings = ready.settings
    clock = clock_of(ready.device)
    process = _process_memory(run, gpu)
    run.part("memory", lambda: _memory(run, ready, process))
    spent = run.part("time", lambda: _time(run, ready, first))
    whole = spent.whole.median if spent else None
    if settings.compile:
        run.missing["layers"] = _COMPILED
        run.missing["kernels"] = _COMPILED
    else:
        layers = run.part("layers", lambda: layer_times(ready, clock, whole, settings.seconds / 2))
        run.part("kernels", lambda: _kernels(run, ready, layers))
    _explain_rows(run)
    if isinstance(gpu, str) or not settings.power:
        run.missing["power"] = gpu if isinstance(gpu, str) else "not asked for"
    else:
        run.part("power", lambda: _power(run, ready, gpu, whole or 0.01))


def _memory(run: Session, ready: Subject, process: int | None) -> Memory:
    return peaks(ready, process, run.missing)


def _process_memory(run: Session, gpu: power_.Gpu | str) -> int | None:
    if isinstance(gpu, str):
        run.missing["memory.process"] = gpu
        return None
    found = gpu.read("process_memory")
    if found is None:
        run.missing["memory.process"] = gpu.reasons["process_memory"]
    return found


def _time(run: Session, ready: Subject, first: float) -> Time:
    """The whole model, with as many inputs as twice the last cache holds, 2 to 16."""
    settings = ready.settings
    clock = clock_of(ready.device)
    ready.add_inputs(_buffers(ready))
    warm = warmed_up(ready.call, clock, first, 2 * settings.seconds)
    times, rate = sampled(ready.call, clock, warm.seconds, settings.seconds)
    whole = samples(times)
    if not warm.steady:
        run.notes.append("the warm-up never got steady: other work, changing clocks, or a very short call")
    graph = None
    try:
        graph = replays(ready, clock, whole.median, settings.seconds / 4)
    except NotCaptured as reason:
        run.missing["time.graph"] = str(reason)
    return Time(
        first, warm.calls, rounded(warm.spent), warm.steady, warm.rule, len(ready.buffers),
        len(ready.buffers) * ready.input_bytes, whole, rounded(rate * ready.batch), graph,
    )  # fmt: skip


def _buffers(ready: Subject) -> int:
    from .environments import cache_bytes

    if ready.device.type == "cuda":
        cache = getattr(torch.cuda.get_device_properties(), "L2_cache_size", 0)
    else:
        cache = cache_bytes() or 0
    return max(2, min(16, math.ceil(2 * cache / max(1, ready.input_bytes))))


def _kernels(run: Session, ready: Subject, layers: Layers | None) -> Kernels:
    kernels, joined = kernel_times(ready, layers)
    if joined is not None:
        run.found["layers"] = joined
    return kernels


def _explain_rows(run: Session) -> None:
    """Reasons for what single layers cannot have."""
    layers: Layers | None = run.found.get("layers")
    if layers is None:
        return
    reasons = {
        "difference": run.stopped or "the whole model was not timed",
        "rows.seconds": "the layer runs in the backward pass only",
        "rows.backward_seconds": "inference" if not run.settings.train else "no gradient flows into it",
        "rows.kernel_seconds": run.stopped or "the profiled call did not run it",
    }
    for field, reason in reasons.items():
        values = [layers.difference] if field == "difference" else [
            getattr(row, field.removeprefix("rows.")) for row in layers.rows
        ]  # fmt: skip
        if None in values:
            run.missing[f"layers.{field}"] = reason


def _power(run: Session, ready: Subject, gpu: power_.Gpu, expected: float) -> Power:
    def work(seconds: float) -> int:
        return kept_busy(ready.call, clock_of(ready.device), expected, seconds) * ready.batch

    return power_.power(gpu, work, _idle_watts(gpu), run.missing)


_idle: dict[str, float | None] = {}


def _idle_watts(gpu: power_.Gpu) -> float | None:
    """Measured once in a process, because it takes seconds and a GPU does not change."""
    key = str(torch.cuda.get_device_properties().uuid)
    if key not in _idle:
        torch.cuda.synchronize()
        _idle[key] = power_.idle_watts(gpu)
    return _idle[key]


@contextmanager
def _seeded(settings: Settings) -> Iterator[None]:
    """The seed, on every device, for the time of a measurement."""
    before = torch.cuda.get_rng_state_all() if settings.device == "cuda" else []
    torch.manual_seed(settings.seed)
    try:
        yield
    finally:
        if before:
            torch.cuda.set_rng_state_all(before)


@contextmanager
def _nvml(settings: Settings) -> Iterator[power_.Gpu | str]:
    if settings.device != "cuda":
        yield "a CPU has no NVML"
        return
    with power_.gpu(str(torch.cuda.get_device_properties().uuid)) as found:
        yield found
