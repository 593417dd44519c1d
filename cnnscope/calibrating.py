"""``calibrate``: a few kernels of each kind timed once on a device, and what part of its peaks they reach.

A device with a sheet keeps its figures as the peaks. One without (a CPU) gets the best that was measured: a large
matrix product, and the sum of large tensors. Then whole networks are timed: by how much they take longer than the sum
of their kernels moves all efficiencies, and by how much they differ in it is the spread.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from .analyses.rooflines import roofline
from .devices import Device, as_toml, device
from .efficiencies import KINDS, PRODUCTS, Efficiencies
from .errors import UnknownDevice, UnusableInput
from .kernels import Kernel, kernels
from .precisions import program
from .probes import Probe, Product, Sum, probes
from .tracing import trace
from .zoo import build, entry

_TYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_NETS = ("squeezenet", "resnet18", "googlenet", "densenet121")
_LEAST_SPREAD = 0.1  # a few nets say little about all others
_LIMITED = 1.2  # what takes so many times longer than its arithmetic at its best is limited by something else


class Timed(NamedTuple):
    """A kernel and the seconds that it took."""

    kernel: Kernel
    seconds: float


class Calibration(NamedTuple):
    """A device with what was measured on it; nets: seconds measured and predicted, by network."""

    device: Device
    nets: dict[str, tuple[float, float]]

    def to_toml(self) -> str:
        """The file that ``--device`` takes."""
        return as_toml(self.device)


class Bench(NamedTuple):
    """Where and how to time. seconds: how long one series of runs lasts about; there are three, or five if long."""

    place: torch.device
    dtype: str
    channels_last: bool
    batch: int
    seconds: float

    def __call__(self, model: nn.Module, shape: tuple[int, ...]) -> float:
        """Seconds of one inference in the fastest series: others on the machine can only make it slower."""
        layout: dict[str, Any] = {"memory_format": torch.channels_last} if self.channels_last else {}
        with torch.no_grad(), _precision(self.dtype):
            ready = model.eval().to(self.place, _TYPES[self.dtype], **layout)
            x = torch.randn(shape, device=self.place, dtype=_TYPES[self.dtype])
            x = x.contiguous(**layout) if x.ndim == 4 else x
            ready(x)
            once = self._series(lambda: ready(x), 1)
            times = max(1, round(self.seconds / max(once, 1e-7)))
            return min(self._series(lambda: ready(x), times) for _ in range(5 if self.seconds > 0.05 else 3))

    def _series(self, run: Callable[[], Any], times: int) -> float:
        """Seconds of one of so many runs; on a GPU by its own events."""
        if self.place.type != "cuda":
            start = time.perf_counter()
            for _ in range(times):
                run()
            return (time.perf_counter() - start) / times
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        for _ in range(times):
            run()
        last.record()
        last.synchronize()
        return first.elapsed_time(last) * 1e-3 / times


def calibrate(
    on: str | None = None, *, dtype: str | None = None, channels_last: bool = False, quick: bool = False
) -> Calibration:
    """Time kernels and networks on a device and derive its efficiencies; a minute or two, ``quick`` some seconds.

    Args:
        on: cuda or cpu; by default the GPU where there is one.
        dtype: fp32, tf32, fp16 or bf16; by default fp16 on a GPU and fp32 on a CPU.

    Raises:
        UnknownDevice: there is no GPU. UnusableInput: there is no such dtype.
    """
    place = torch.device(on or ("cuda" if torch.cuda.is_available() else "cpu"))
    if place.type == "cuda" and not torch.cuda.is_available():
        raise UnknownDevice("there is no GPU that PyTorch can use here; calibrate --device cpu measures the processor")
    dtype = dtype or ("fp16" if place.type == "cuda" else "fp32")
    if dtype not in _TYPES:
        raise UnusableInput(f"cannot calibrate in {dtype!r}; one of {', '.join(_TYPES)}")
    large = 2 if quick else 128 if place.type == "cuda" else 8
    bench = Bench(place, dtype, channels_last, large, 0.005 if quick else 0.1)
    found = _with_peaks(bench)
    timed = [_timed(bench, probe) for probe in probes(bench.batch)]
    reached = _reached(found, timed, _launch(bench), dtype)
    return _centred(dataclasses.replace(found, efficiencies=reached), bench, _NETS[:1] if quick else _NETS)


@contextlib.contextmanager
def _precision(dtype: str) -> Iterator[None]:
    """float32 products on tensor cores only where tf32 is asked for."""
    switches: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    for switch in switches:
        switch.allow_tf32 = dtype == "tf32"
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.allow_tf32 = value


# -- the device -------------------------------------------------------------------------------------------------------


def _with_peaks(bench: Bench) -> Device:
    """The device by its sheet, or with the best that it does here."""
    name = torch.cuda.get_device_name() if bench.place.type == "cuda" else _processor()
    with contextlib.suppress(UnknownDevice):
        return device(name)
    size = 2048 if bench.batch > 2 else 1024
    rates = {
        dtype: 2 * size**3 / bench._replace(dtype=dtype)(Product(), (size, size)) for dtype in {"fp32", bench.dtype}
    }
    elements = 2**22 * bench.batch
    moved = 1.5 * elements * _TYPES[bench.dtype].itemsize
    gpu = bench.place.type == "cuda"
    return Device(
        name,
        rates,
        bandwidth=moved / bench(Sum(), (2, elements // 2)),
        memory=torch.cuda.get_device_properties(0).total_memory if gpu else None,
        capability="{}.{}".format(*torch.cuda.get_device_capability()) if gpu else "cpu",
        sheet=f"measured: a product of {size}x{size} matrices, a sum of {elements:,} elements",
    )


def _processor() -> str:
    """What the processor calls itself, and how many threads PyTorch uses of it."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {torch.get_num_threads()} threads"


# -- its kernels ------------------------------------------------------------------------------------------------------


def _timed(bench: Bench, probe: Probe) -> Timed:
    """The one kernel of a probe, as the roofline would count it, and its time."""
    graph = trace(probe.model, probe.shape)
    (kernel,) = kernels(program(graph, bench.dtype))
    return Timed(kernel, bench(probe.model, probe.shape))


def _launch(bench: Bench) -> float:
    """Seconds of a kernel with nothing to do."""
    return bench(nn.ReLU(inplace=True), (1,))


def _reached(on: Device, timed: Sequence[Timed], launch: float, dtype: str) -> Efficiencies:
    """The best of each kind: no kernel is faster than its rate or its bandwidth allows.

    A bandwidth can be seen only where arithmetic does not limit; a kind of which that holds for no kernel has the
    bandwidth of elementwise ones. Attention is taken for a matrix product.
    """
    parts = [(each.kernel.kind, *_parts(each, on, launch)) for each in timed]
    compute = {kind: max((rate for each, rate, _ in parts if each == kind), default=0.0) for kind in PRODUCTS}
    bandwidth = {
        kind: max(
            (b for each, rate, b in parts if each == kind and rate * _LIMITED <= compute.get(kind, 4.0)), default=0.0
        )
        for kind in KINDS
    }
    compute["attention"] = compute["matmul"]
    bandwidth = {kind: value or bandwidth["pointwise"] for kind, value in bandwidth.items()}
    origin = f"measured on {on.name}, {dtype}, torch {torch.__version__}, {datetime.date.today().isoformat()}"
    return Efficiencies(compute, bandwidth, launch, (1.0, 1.0), origin)


def _parts(each: Timed, on: Device, launch: float) -> tuple[float, float]:
    """What part of the peak rate and of the peak bandwidth a kernel reached."""
    busy = max(each.seconds - launch, each.seconds / 2)
    rate, bandwidth = on.rate(each.kernel.precision), on.bandwidth
    return each.kernel.padded / rate / busy if rate else 0.0, each.kernel.bytes / bandwidth / busy if bandwidth else 0.0


# -- whole networks ---------------------------------------------------------------------------------------------------


def _centred(on: Device, bench: Bench, names: Sequence[str]) -> Calibration:
    """Efficiencies moved by what networks take beside the sum of their kernels, with the spread that is left."""
    assert on.efficiencies is not None
    nets = {}
    for name in names:
        model, shape = build(name), (bench.batch, *entry(name)["input"][1:])
        predicted = roofline(trace(model, shape), on, dtype=bench.dtype).total.seconds
        nets[name] = (bench(model, shape), predicted or 0.0)
    ratios = [measured / predicted for measured, predicted in nets.values()]
    middle = statistics.median(ratios)
    moved = Efficiencies(
        {kind: part / middle for kind, part in on.efficiencies.compute.items()},
        {kind: part / middle for kind, part in on.efficiencies.bandwidth.items()},
        on.efficiencies.launch * middle,
        (min(1 - _LEAST_SPREAD, min(ratios) / middle), max(1 + _LEAST_SPREAD, max(ratios) / middle)),
        on.efficiencies.origin,
    )
    after = {name: (measured, predicted * middle) for name, (measured, predicted) in nets.items()}
    return Calibration(dataclasses.replace(on, efficiencies=moved), after)
