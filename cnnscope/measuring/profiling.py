"""``torch.profiler`` around one call: which kernels ran for which layer, and every allocation of a CPU."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from ..records import Kernels, KernelTime, Layers, LayerTime, rounded
from .operators import Operator, followed
from .replaying import Event
from .subjects import Subject

_RANGE = "cnnscope:"


@contextlib.contextmanager
def profiled(device: torch.device, *, memory: bool = False) -> Iterator[Any]:
    """A profile of what runs inside, on the host and the device."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    running = profile(activities=activities, profile_memory=memory, acc_events=True)
    with _quiet():
        running.__enter__()
    try:
        yield running
        if device.type == "cuda":
            torch.cuda.synchronize()
    finally:
        with _quiet():
            running.__exit__(None, None, None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The profiler's library writes two lines to stderr each time, at a level that cannot be turned off."""
    try:
        kept = os.dup(2)
    except OSError:  # closed
        yield
        return
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def kernel_times(subject: Subject, layers: Layers | None) -> tuple[Kernels, Layers | None]:
    """The kernels of one call, and the layers with those that each started."""
    with profiled(subject.device) as profile_, followed(subject, _range) as operators:
        subject.call(0)
    launches = _launches(profile_.events(), subject.device)
    return _kernels(launches, operators, subject.device), _joined(layers, launches, operators)


def _range(number: int) -> Any:
    return record_function(f"{_RANGE}{number}")


Launch = tuple[str, float, int]  # kernel, seconds, number of the operator that started it or -1


def _launches(events: Any, device: torch.device) -> list[Launch]:
    found: list[Launch] = []
    for event in events:
        number = _operator_of(event)
        if device.type == "cuda":
            # A range of ours has a shadow among the kernels.
            kernels = (kernel for kernel in event.kernels if not kernel.name.startswith(_RANGE))
            found += [(kernel.name, kernel.duration / 1e6, number) for kernel in kernels]
        elif number >= 0 and event.name.startswith("aten::") and event.self_cpu_time_total > 0:
            found.append((event.name, event.self_cpu_time_total / 1e6, number))
    return found


def _operator_of(event: Any) -> int:
    while event is not None:
        if event.name.startswith(_RANGE):
            return int(event.name[len(_RANGE) :])
        event = event.cpu_parent
    return -1


def _kernels(launches: list[Launch], operators: list[Operator], device: torch.device) -> Kernels:
    rows: dict[str, list[Any]] = {}
    for name, seconds, number in launches:
        row = rows.setdefault(name, [0, 0.0, set()])
        row[0] += 1
        row[1] += seconds
        if number >= 0:
            row[2].add(operators[number].layer)
    source = "torch.profiler: " + ("kernels and copies of the GPU" if device.type == "cuda" else "operators' own time")
    return Kernels(
        source,
        rounded(sum(seconds for _, seconds, _ in launches)),
        rounded(sum(seconds for _, seconds, number in launches if number < 0)),
        tuple(KernelTime(_short(name), calls, rounded(s), len(found)) for name, (calls, s, found) in rows.items()),
    )


def _short(name: str) -> str:
    """A kernel's name without return type and arguments, at most 120 characters of it."""
    name = name.removeprefix("void ")
    return name if len(name) <= 120 else name[:119] + "…"


def _joined(layers: Layers | None, launches: list[Launch], operators: list[Operator]) -> Layers | None:
    """The layers with the seconds and the places of their kernels."""
    if layers is None:
        return None
    places = {name: place for place, name in enumerate(dict.fromkeys(name for name, _, _ in launches))}
    seconds: dict[str, float] = {operator.layer: 0.0 for operator in operators}
    kernels: dict[str, set[int]] = {}
    for name, spent, number in launches:
        if number >= 0:
            layer = operators[number].layer
            seconds[layer] += spent
            kernels.setdefault(layer, set()).add(places[name])

    def joined(row: LayerTime) -> LayerTime:
        if row.name not in seconds:
            return row
        return row._replace(kernel_seconds=rounded(seconds[row.name]), kernels=tuple(sorted(kernels.get(row.name, ()))))

    return Layers(layers.passes, layers.clock, layers.total, layers.difference, tuple(map(joined, layers.rows)))


def allocations(subject: Subject, *, follow: bool) -> tuple[list[Event], list[Operator]]:
    """What one call allocates and frees on the CPU, in order; with ``follow`` also for which operator."""
    with profiled(subject.device, memory=True) as profile_:
        if follow:
            with followed(subject, _range) as operators:
                subject.call(0)
        else:
            operators = []
            subject.call(0)
    events: list[tuple[int, Event]] = []
    stack = [(node, -1) for node in profile_.profiler.kineto_results.experimental_event_tree()]
    while stack:
        node, number = stack.pop()
        fields = node.extra_fields
        if node.name == "[memory]" and fields.device.type == "cpu":
            events.append((node.start_time_ns, Event(fields.alloc_size, fields.ptr, number)))
        if node.name.startswith(_RANGE):
            number = int(node.name[len(_RANGE) :])
        stack += [(child, number) for child in node.children]
    events.sort(key=lambda each: each[0])
    return [event for _, event in events], operators
