"""Where a measurement is made: the device, its driver, the libraries, the clocks."""

from __future__ import annotations

import datetime
import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..records import Environment
from .power import Gpu

# Field of the record -> NVML's reading.
_BY_NVML = {
    "driver": "driver",
    "sm_clock_mhz": "highest_sm_clock",
    "memory_clock_mhz": "highest_memory_clock",
    "power_limit_watts": "power_limit",
    "default_power_limit_watts": "default_power_limit",
}


def environment(device: str, gpu: Gpu | str, reasons: dict[str, str]) -> Environment:
    """The environment of a measurement; what is not known gets its reason in ``reasons``, by path.

    gpu: what NVML shows of the GPU, or why it shows nothing.
    """
    own = _cuda(reasons) if device == "cuda" else _cpu(reasons)
    values = {**own, **_by_nvml(gpu, reasons)}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    if load is None:
        reasons["environment.load"] = "this system keeps no load average"
    return Environment(
        device=device,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        cnnscope=__version__,
        torch=str(torch.__version__),
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        processor=processor(),
        threads=torch.get_num_threads(),
        load=load,
        **values,
    )


def _cuda(reasons: dict[str, str]) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties()
    cudnn = torch.backends.cudnn.version()
    if cudnn is None:
        reasons["environment.cudnn"] = "this torch has no cuDNN"
    cache = getattr(properties, "L2_cache_size", None)
    if cache is None:
        reasons["environment.cache"] = "this torch does not say"
    reasons["environment.core_cache"] = "measured on a GPU"
    return {
        "name": properties.name,
        "capability": f"sm_{properties.major}{properties.minor}",
        "memory": properties.total_memory,
        "cache": cache,
        "core_cache": None,
        "cuda": torch.version.cuda,
        "cudnn": None if cudnn is None else str(cudnn),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }


def _cpu(reasons: dict[str, str]) -> dict[str, Any]:
    memory, cache, core_cache = _physical_memory(), cache_bytes(), cache_bytes(2)
    for name, value in (("memory", memory), ("cache", cache), ("core_cache", core_cache)):
        if value is None:
            reasons[f"environment.{name}"] = "this system does not say"
    for name in ("cuda", "cudnn", "cudnn_benchmark"):
        reasons[f"environment.{name}"] = "measured on a CPU"
    found: dict[str, Any] = {"name": processor(), "capability": torch.backends.cpu.get_cpu_capability()}
    found |= {"memory": memory, "cache": cache, "core_cache": core_cache}
    return {**found, "cuda": None, "cudnn": None, "cudnn_benchmark": None}


def _by_nvml(gpu: Gpu | str, reasons: dict[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field, reading in _BY_NVML.items():
        values[field] = None if isinstance(gpu, str) else gpu.read(reading)
        if values[field] is None:
            reasons[f"environment.{field}"] = gpu if isinstance(gpu, str) else gpu.reasons[reading]
    return values


def processor() -> str:
    """The CPU's name and its cores that this process may use: ``AMD EPYC, 2 cores``."""
    name = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(errors="replace"), re.MULTILINE)
        name = found[1].strip() if found else ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{name or platform.processor() or platform.machine()}, {cores} cores"


def cache_bytes(level: int | None = None) -> int | None:
    """Bytes of the CPU's last cache, or of one of this level, as Linux tells."""
    sizes = []
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = file.read_text().strip()
        wanted = level is None or file.with_name("level").read_text().strip() == str(level)
        if wanted and text.endswith(("K", "M")):
            sizes.append(int(text[:-1]) * (1024 if text.endswith("K") else 1024**2))
    return max(sizes, default=None)


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
