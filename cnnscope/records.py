"""``Measurement``: what one run of a model on a device took, as plain data that is kept in a JSON file.

Seconds, bytes, watts and joules are raw numbers. What could not be measured is None and never zero, and ``missing``
says why, by the dotted path of the field or of the part that it stands in; a record that breaks this cannot be made.
Rows (layers, kernels, holders) are arrays in the file; its ``columns`` names their fields.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .errors import UnusableInput, UnusableRecord

SCHEMA = 1
DTYPES = ("fp32", "tf32", "fp16", "bf16", "amp")
OPTIMIZERS = ("sgd", "sgd-momentum", "adam", "adamw", "adagrad", "rmsprop")
DEVICES = ("cuda", "cpu")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What was asked for. dtype: one of ``DTYPES``; amp is autocast, to fp16 on a GPU and bf16 on a CPU, without
    loss scaling. optimizer: '' in inference. seconds: how long the whole model is timed, after its warm-up.

    Raises:
        UnusableInput: a value that there is not, or that the device does not have.
    """

    device: str = "cpu"
    dtype: str = "fp32"
    train: bool = False
    optimizer: str = ""
    channels_last: bool = False
    compile: bool = False
    seed: int = 0
    seconds: float = 2.0
    power: bool = True

    def __post_init__(self) -> None:
        for name, value, known in (
            ("device", self.device, DEVICES),
            ("dtype", self.dtype, DTYPES),
            ("optimizer", self.optimizer, OPTIMIZERS if self.train else ("",)),
        ):
            if value not in known:
                choice = ", ".join(known) if any(known) else "none, because inference has none: add --train"
                raise UnusableInput(f"no {name} {value!r} to measure with; it is one of {choice}")
        if self.dtype == "tf32" and self.device == "cpu":
            raise UnusableInput("tf32 is a way to multiply of NVIDIA GPUs; on a CPU measure with fp32 or bf16")


@dataclasses.dataclass(frozen=True)
class Environment:
    """Where and when.

    name: of the GPU or CPU; date: ISO 8601, UTC; capability: ``sm_90`` or the CPU's instruction set; memory, cache:
    bytes of the device and of its last cache; core_cache: of a CPU core's level 2; load: processes that wanted a CPU in
    the minute before (Unix load average); clocks in MHz are the highest that the GPU may take.
    """

    device: str
    name: str
    date: str
    cnnscope: str
    torch: str
    python: str
    system: str
    capability: str
    processor: str
    threads: int
    load: float | None
    memory: int | None
    cache: int | None
    core_cache: int | None
    cuda: str | None
    cudnn: str | None
    cudnn_benchmark: bool | None
    driver: str | None
    sm_clock_mhz: int | None
    memory_clock_mhz: int | None
    power_limit_watts: float | None
    default_power_limit_watts: float | None


@dataclasses.dataclass(frozen=True)
class Samples:
    """Times of single calls in seconds, some of them kept; median, interquartile range and least are of all ``count``.

    On a machine that others use too, ``least`` is nearer to what the model itself takes.
    """

    median: float
    least: float
    iqr: float
    count: int
    seconds: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Time:
    """The whole model. first: the first call of all, which chooses kernels and fills caches. rule: when warm-up counted
    as steady, and ``steady`` whether it got there. buffers: inputs taken in turn, ``buffer_bytes`` all together;
    images_per_second: over the whole time of sampling. graph: the same call replayed as a CUDA graph, without launches.
    """

    first: float
    warm_up_calls: int
    warm_up_seconds: float
    steady: bool
    rule: str
    buffers: int
    buffer_bytes: int
    whole: Samples
    images_per_second: float
    graph: Samples | None


class LayerTime(NamedTuple):
    """One layer as in ``cnnscope.layers``. Seconds are medians over passes, of forward and of backward; kernel_seconds
    are those of its kernels in the profiler; kernels: their places in ``Kernels.rows``."""

    name: str
    type: str
    seconds: float | None
    backward_seconds: float | None
    kernel_seconds: float | None = None
    kernels: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Layers:
    """Layer by layer, in a pass of its own. total: of all rows; difference: total less the median of the whole model,
    which holds what a pass with a clock between the operators costs, and what lies between them without it."""

    passes: int
    clock: str
    total: float
    difference: float | None
    rows: tuple[LayerTime, ...]


class KernelTime(NamedTuple):
    """All launches of one kernel in one call of the model; layers: how many layers have it."""

    name: str
    calls: int
    seconds: float
    layers: int


@dataclasses.dataclass(frozen=True)
class Kernels:
    """From ``torch.profiler``: on a GPU its kernels and copies, on a CPU the operators' own time. unattributed: seconds
    of those that no layer started."""

    source: str
    total: float
    unattributed: float
    rows: tuple[KernelTime, ...]


class Holder(NamedTuple):
    """Bytes alive at the peak that operators of one layer allocated; workspace: those freed by the same operator."""

    name: str
    phase: str
    bytes: int
    workspace: int


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes in a steady call with one input. base: parameters, buffers, the input and the optimizer's state, which are
    there before; gradients are not, a step lets go of them first. The peaks contain it: requested is that of
    tensors, as they were asked for; allocated is that of everything, with what kernels took for themselves, and on a
    GPU as its caching allocator rounds it; reserved is what that allocator took from the GPU. peak_op: the operator
    during which most was allocated; workspace: what operators took and gave back themselves, alive then;
    library_workspace: what cuBLAS keeps; context: used on the GPU beside the allocator's, by every process; process:
    what NVML counts to this one."""

    base: int
    peak_requested: int | None
    peak_allocated: int | None
    peak_reserved: int | None
    peak_op: str | None
    workspace: int | None
    library_workspace: int | None
    context: int | None
    process: int | None
    source: str
    holders: tuple[Holder, ...] | None


@dataclasses.dataclass(frozen=True)
class Power:
    """A window of steady calls on a GPU. energy_joules: by the GPU's counter between its first and last tick in the
    window, ``counter_seconds`` apart; integral_joules: of the sampled watts over the whole window. joules_per_image is
    by the counter where there is one, see ``joules_by``. reading: what the watts are. idle_watts: before, with the
    context open; not subtracted."""

    window_seconds: float
    images: int
    energy_joules: float | None
    counter_ticks: int | None
    counter_seconds: float | None
    joules_per_image: float | None
    joules_by: str
    integral_joules: float | None
    samples: int
    reading: str
    watts: float | None
    watts_max: float | None
    instant_watts: float | None
    idle_watts: float | None
    sm_clock_mhz: float | None
    sm_clock_min_mhz: int | None
    memory_clock_mhz: float | None
    temperature_c: int | None
    utilization_percent: float | None
    throttled_by: tuple[str, ...] | None


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One record. target: what names the model on the command line, '' for an object; inputs: by name of the argument,
    as the command line takes them, ``1x3x224x224`` or ``1x128:int64``; complete: everything that this device can give
    is here, else ``stopped`` says what happened.

    Raises:
        UnusableRecord: a field is None without a reason in ``missing``, or has both a value and a reason.
    """

    model: str
    target: str
    batch: int
    inputs: Mapping[str, str]
    settings: Settings
    environment: Environment
    time: Time | None
    layers: Layers | None
    kernels: Kernels | None
    memory: Memory | None
    power: Power | None
    missing: Mapping[str, str]
    notes: tuple[str, ...] = ()
    complete: bool = True
    stopped: str = ""
    schema_version: int = SCHEMA

    def __post_init__(self) -> None:
        empty = set(unmeasured(self))
        unexplained = sorted(path for path in empty if not any(part in self.missing for part in _within(path)))
        if unexplained:
            raise UnusableRecord(f"the record of {self.model} has no value and no reason for {unexplained[0]}")
        idle = sorted(path for path in self.missing if path not in empty)
        if idle:
            raise UnusableRecord(f"the record of {self.model} has a reason for {idle[0]}, which is not empty")
        if self.complete != (not self.stopped):
            raise UnusableRecord(f"the record of {self.model} is complete, or it says what stopped it; not both")

    @property
    def mode(self) -> str:
        """``inference, fp32`` or ``training with adamw, amp, channels last, compiled``."""
        what = f"training with {self.settings.optimizer}" if self.settings.train else "inference"
        layout = ["channels last"] if self.settings.channels_last else []
        return ", ".join([what, self.settings.dtype, *layout, *(["compiled"] if self.settings.compile else [])])

    @property
    def input_text(self) -> str:
        """As the command line writes it: ``1x3x224x224``, several joined by a comma."""
        return ", ".join(self.inputs.values())

    def reason(self, path: str) -> str:
        """Why a field is None; '' where it is not."""
        return next((self.missing[part] for part in _within(path) if part in self.missing), "")

    def to_json(self) -> str:
        """The record as its file holds it: one line for each part."""
        import msgspec

        parts = {"schema_version": self.schema_version, **msgspec.to_builtins(self), "columns": _COLUMNS}
        lines = [f'"{name}": {msgspec.json.encode(part).decode()}' for name, part in parts.items()]
        return "{" + ",\n".join(lines) + "}\n"


_COLUMNS = {
    "layers": LayerTime._fields,
    "kernels": KernelTime._fields,
    "holders": Holder._fields,
}


def parse(text: str | bytes, where: str = "the text") -> Measurement:
    """A record from JSON; ``where`` names it in errors.

    Raises:
        UnusableRecord: it is no record, or one of another schema.
    """
    import msgspec

    try:
        head = msgspec.json.decode(text)
        version = head.get("schema_version") if isinstance(head, dict) else None
        if type(version) is not int or "environment" not in head:
            raise UnusableRecord(f"{where} is no record of cnnscope: make one with 'cnnscope measure MODEL -o FILE'")
        if version != SCHEMA:
            way = "upgrade cnnscope" if version > SCHEMA else "measure again with 'cnnscope measure'"
            raise UnusableRecord(f"{where} has schema {version}, and this cnnscope reads {SCHEMA}: {way}")
        return msgspec.convert(head, Measurement)
    except msgspec.MsgspecError as error:
        raise UnusableRecord(f"{where} is no record that can be read: {error}") from error


def read(path: str | os.PathLike[str]) -> Measurement:
    """A record from its file.

    Raises:
        UnusableRecord: there is no such file, it is no record, or one of another schema.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UnusableRecord(f"cannot read the record {os.fspath(path)!r}: {reason}") from error
    return parse(content, os.fspath(path))


def folder(path: str | os.PathLike[str]) -> dict[str, Measurement]:
    """All records below a folder, by path from there, sorted.

    Raises:
        UnusableRecord: one of the files is no record.
    """
    root = Path(path)
    return {str(file.relative_to(root)): read(file) for file in sorted(root.rglob("*.json"))}


def device_beside(path: str | os.PathLike[str], name: str) -> str | None:
    """The file ``device.toml`` that 'cnnscope calibrate' made where a record of ``folder(path)`` was made; if kept."""
    file = (Path(path) / name).with_name("device.toml")
    return str(file) if file.is_file() else None


def samples(seconds: Sequence[float], kept: int = 40) -> Samples:
    """Median and interquartile range of times, with at most ``kept`` of them, evenly chosen in their order."""
    step = max(1, -(-len(seconds) // kept))
    quarters = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else [0.0, 0.0, 0.0]
    some = tuple(rounded(each) for each in seconds[::step])
    middle, iqr = statistics.median(seconds), quarters[2] - quarters[0]
    return Samples(rounded(middle), rounded(min(seconds)), rounded(iqr), len(seconds), some)


def rounded(number: float) -> float:
    """To five significant digits, far below what repeats."""
    return float(f"{number:.5g}")


def unmeasured(part: Any, path: str = "") -> Iterator[str]:
    """Dotted paths of all fields that are None; of rows without their place: ``layers.rows.seconds``."""
    if part is None:
        yield path
    elif dataclasses.is_dataclass(part):
        for field in dataclasses.fields(part):
            yield from unmeasured(getattr(part, field.name), f"{path}.{field.name}" if path else field.name)
    elif isinstance(part, tuple) and hasattr(part, "_asdict"):
        for name, value in part._asdict().items():
            yield from unmeasured(value, f"{path}.{name}")
    elif isinstance(part, tuple):
        for item in part:
            yield from unmeasured(item, path)


def _within(path: str) -> Iterator[str]:
    """The path and the parts that it stands in: ``a.b.c``, ``a.b``, ``a``."""
    while path:
        yield path
        path = path.rpartition(".")[0]
