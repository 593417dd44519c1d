"""What NVML says of a GPU: power, energy, clocks, temperature. The only module that loads it.

Every reading may be missing, on some GPUs, some drivers, inside containers and in MIG: it is then None, with a reason.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Any, NamedTuple

import pynvml

from ..errors import UnusableDevice
from ..records import Power, rounded

WINDOW = 5.0
_INTERVAL = 0.02
_AVERAGED = "power averaged over one second (nvmlDeviceGetPowerUsage on Ampere, but for GA100, and later)"
_INSTANT = "instantaneous power (nvmlDeviceGetPowerUsage before Ampere, and on GA100)"
_UNKNOWN = "nvmlDeviceGetPowerUsage; averaged over one second or not, this driver does not say"
_NO_DRIVER = "no NVML: libnvidia-ml.so.1, which comes with the NVIDIA driver, is not there"
_FATAL = {
    pynvml.NVML_ERROR_GPU_IS_LOST: "the GPU was lost (fell off the bus): see dmesg, reset it or restart the machine",
    pynvml.NVML_ERROR_RESET_REQUIRED: "the GPU needs a reset before it can be used again",
}
_REASONS = {
    pynvml.NVML_ERROR_NOT_SUPPORTED: "this GPU does not report it",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "the driver is too old to report it",
    pynvml.NVML_ERROR_NO_PERMISSION: "only an administrator may read it here",
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: _NO_DRIVER,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "NVML is there, but the NVIDIA driver is not loaded",
}
_THROTTLES = {
    pynvml.nvmlClocksEventReasonApplicationsClocksSetting: "application clocks",
    pynvml.nvmlClocksEventReasonSwPowerCap: "power cap",
    pynvml.nvmlClocksEventReasonHwSlowdown: "hardware slowdown",
    pynvml.nvmlClocksEventReasonSyncBoost: "sync boost",
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "temperature (software)",
    pynvml.nvmlClocksEventReasonHwThermalSlowdown: "temperature (hardware)",
    pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "power brake",
    pynvml.nvmlClocksEventReasonDisplayClockSetting: "display clocks",
}


def _field(handle: Any, number: int) -> float:
    """One of NVML's numbered fields, whose type it states itself."""
    (value,) = pynvml.nvmlDeviceGetFieldValues(handle, [number])
    if value.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(value.nvmlReturn)
    members = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
    return getattr(value.value, members[value.valueType])


def _process_memory(handle: Any) -> int:
    """Bytes that NVML counts to this process."""
    for each in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
        if each.pid == os.getpid() and each.usedGpuMemory is not None:
            return each.usedGpuMemory
    raise LookupError("NVML lists no process of our number: in a container it counts others than we see")


_READINGS: dict[str, Callable[[Any], Any]] = {
    "name": pynvml.nvmlDeviceGetName,
    "driver": lambda _: pynvml.nvmlSystemGetDriverVersion(),
    "energy": lambda handle: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3,
    "watts": lambda handle: pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
    "instant_watts": lambda handle: _field(handle, pynvml.NVML_FI_DEV_POWER_INSTANT) / 1e3,
    "architecture": pynvml.nvmlDeviceGetArchitecture,
    "sm_clock": lambda handle: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
    "memory_clock": lambda handle: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
    "highest_sm_clock": lambda handle: pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM),
    "highest_memory_clock": lambda handle: pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_MEM),
    "temperature": lambda handle: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
    "utilization": lambda handle: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu,
    # The function's older name: every driver has it.
    "throttles": pynvml.nvmlDeviceGetCurrentClocksThrottleReasons,
    "power_limit": lambda handle: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3,
    "default_power_limit": lambda handle: pynvml.nvmlDeviceGetPowerManagementDefaultLimit(handle) / 1e3,
    "process_memory": _process_memory,
}


class Gpu:
    """One GPU as NVML sees it. ``reasons``: why a reading is None, by its name."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.reasons: dict[str, str] = {}
        self._never: set[str] = set()

    def read(self, name: str) -> Any:
        """A reading, or None with its reason in ``reasons``; what this GPU does not have is not asked for again.

        Raises:
            UnusableDevice: the GPU was lost.
        """
        if name in self._never:
            return None
        try:
            found = _READINGS[name](self._handle)
            self.reasons.pop(name, None)
            return found
        except LookupError as error:
            self.reasons[name] = str(error)
        except pynvml.NVMLError as error:
            if error.value in _FATAL:
                raise UnusableDevice(f"NVML: {_FATAL[error.value]}") from error
            self.reasons[name] = _REASONS.get(error.value, f"NVML: {error}")
            if error.value in _REASONS:  # others, a timeout, may pass
                self._never.add(name)
        return None

    def reading(self) -> str:
        """What the watts are: NVML's default reading is another one since Ampere."""
        architecture = self.read("architecture")
        if architecture is None:
            return _UNKNOWN
        name = self.read("name") or ""
        ga100 = architecture == pynvml.NVML_DEVICE_ARCH_AMPERE and any(each in name for each in ("A100", "A30", "A800"))
        return _INSTANT if architecture < pynvml.NVML_DEVICE_ARCH_AMPERE or ga100 else _AVERAGED


@contextmanager
def gpu(uuid: str) -> Iterator[Gpu | str]:
    """The GPU with this UUID while inside, or the reason why NVML does not show it."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        yield _REASONS.get(error.value, f"NVML: {error}")
        return
    try:
        found = _found(uuid)
        yield found
    finally:
        with suppress(pynvml.NVMLError):  # there is nothing left to do with it
            pynvml.nvmlShutdown()


def _found(uuid: str) -> Gpu | str:
    name = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
    try:
        return Gpu(pynvml.nvmlDeviceGetHandleByUUID(name))
    except pynvml.NVMLError as error:
        return _FATAL.get(error.value) or f"NVML has no GPU {name}: {error}"


# -- a window of work -------------------------------------------------------------------------------------------------


class Sample(NamedTuple):
    """Readings at one time, in seconds of ``time.perf_counter``."""

    time: float
    energy: float | None
    watts: float | None
    instant_watts: float | None
    sm_clock: int | None
    memory_clock: int | None
    utilization: int | None
    throttles: int | None


def _sample(gpu: Gpu) -> Sample:
    now = time.perf_counter()
    return Sample(now, *(gpu.read(name) for name in Sample._fields[1:]))


class Sampler(threading.Thread):
    """Samples a GPU until it is stopped; ``failure`` is what ended it before."""

    def __init__(self, gpu: Gpu) -> None:
        super().__init__(daemon=True)
        self._gpu = gpu
        self._stop_now = threading.Event()
        self.samples: list[Sample] = []
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            while not self._stop_now.is_set():
                self.samples.append(_sample(self._gpu))
                self._stop_now.wait(_INTERVAL)
        except Exception as failure:
            self.failure = failure

    def __enter__(self) -> Sampler:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_now.set()
        self.join()


def idle_watts(gpu: Gpu, seconds: float = 1.5) -> float | None:
    """Median watts of a GPU that does nothing: the last third of the time, after the average has settled."""
    with Sampler(gpu) as sampler:
        time.sleep(seconds)
    if sampler.failure:
        raise sampler.failure
    watts = [each.watts for each in sampler.samples if each.watts is not None]
    return rounded(statistics.median(watts[-max(1, len(watts) // 3) :])) if watts else None


def power(
    gpu: Gpu, work: Callable[[float], int], idle: float | None, reasons: dict[str, str], window: float = WINDOW
) -> Power:
    """Power and energy of steady work. work: does it for at least so many seconds and gives the number of images.

    What cannot be read gets its reason in ``reasons``, by the path of the field in the record.

    Raises:
        UnusableDevice: the GPU was lost.
    """
    with Sampler(gpu) as sampler:
        start = time.perf_counter()
        images = work(window)
        seconds = time.perf_counter() - start
    if sampler.failure:
        raise sampler.failure
    found = summarized(sampler.samples, start, seconds, images)
    result = Power(**found, idle_watts=idle, reading=gpu.reading(), temperature_c=gpu.read("temperature"))
    for field, reading in _SOURCES.items():
        if getattr(result, field) is None:
            reasons[f"power.{field}"] = gpu.reasons.get(reading, "too few readings in the window")
    return result


# Field of the record -> the reading that it needs.
_SOURCES = {
    "energy_joules": "energy", "counter_ticks": "energy", "counter_seconds": "energy", "joules_per_image": "energy",
    "integral_joules": "watts", "watts": "watts", "watts_max": "watts", "idle_watts": "watts",
    "instant_watts": "instant_watts", "sm_clock_mhz": "sm_clock", "sm_clock_min_mhz": "sm_clock",
    "memory_clock_mhz": "memory_clock", "temperature_c": "temperature", "utilization_percent": "utilization",
    "throttled_by": "throttles",
}  # fmt: skip


def summarized(samples: Sequence[Sample], start: float, seconds: float, images: int) -> dict[str, Any]:
    """The fields of ``Power`` that follow from samples of a window; None for what has too few readings."""
    inside = [each for each in samples if start <= each.time <= start + seconds]
    energy, ticks, between = _counted([(each.time, each.energy) for each in inside if each.energy is not None])
    watts = [(each.time, each.watts) for each in inside if each.watts is not None]
    integral = _mean(watts) * seconds if len(watts) > 1 else None
    joules = energy / between * seconds if energy is not None and between else integral

    def known(name: str) -> list[Any]:
        return [value for each in inside if (value := getattr(each, name)) is not None]

    def median(name: str) -> float | None:
        return statistics.median(known(name)) if known(name) else None

    reasons = known("throttles")
    return {
        "window_seconds": rounded(seconds),
        "images": images,
        "energy_joules": energy and rounded(energy),
        "counter_ticks": ticks,
        "counter_seconds": between and rounded(between),
        "joules_per_image": rounded(joules / images) if joules is not None and images else None,
        "joules_by": "counter" if energy is not None and between else "integral" if joules is not None else "",
        "integral_joules": integral and rounded(integral),
        "samples": len(inside),
        "watts": rounded(_mean(watts)) if len(watts) > 1 else None,
        "watts_max": max((value for _, value in watts), default=None),
        "instant_watts": rounded(statistics.fmean(known("instant_watts"))) if known("instant_watts") else None,
        "sm_clock_mhz": median("sm_clock"),
        "sm_clock_min_mhz": min(known("sm_clock"), default=None),
        "memory_clock_mhz": median("memory_clock"),
        "utilization_percent": median("utilization"),
        "throttled_by": _throttles(reasons) if reasons else None,
    }


def _counted(readings: Sequence[tuple[float, float]]) -> tuple[float | None, int | None, float | None]:
    """Joules between the first and the last tick of the counter, the ticks, and the seconds between those two.

    From tick to tick the counter's own rhythm does not matter; from edge to edge of the window it would.
    """
    changes = [(later, value) for (_, before), (later, value) in pairwise(readings) if value != before]
    if len(changes) < 2:
        return None, None, None
    (first, low), (last, high) = changes[0], changes[-1]
    return high - low, len(changes), last - first


def _mean(readings: Sequence[tuple[float, float]]) -> float:
    """Mean over time, by trapezoids."""
    area = sum((b - a) * (x + y) / 2 for (a, x), (b, y) in pairwise(readings))
    return area / (readings[-1][0] - readings[0][0])


def _throttles(masks: Sequence[int]) -> tuple[str, ...]:
    return tuple(words for bit, words in _THROTTLES.items() if any(mask & bit for mask in masks))
