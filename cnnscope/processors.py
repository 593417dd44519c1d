"""The CPU of this machine, as far as the memory of its kernels depends on it; read without loading torch."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .analyses.kernels import Cpu

_CPUINFO = Path("/proc/cpuinfo")
_CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")


def this_cpu(threads: int | None = None) -> Cpu:
    """Its instruction set and level-2 cache; where they cannot be read, those of a common server.

    threads: of one operator; by default one for each core that this process may use, as PyTorch has it.
    """
    flags = _read(_CPUINFO)
    isa = "avx2" if flags and " avx512vl" not in flags else "avx512"
    size = re.match(r"(\d+)K", _read(_CACHE))
    return Cpu(isa, threads or _threads(), int(size[1]) * 1024 if size else Cpu().cache)


def _threads() -> int:
    """PyTorch takes OMP_NUM_THREADS, else the physical cores."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked):
        return int(asked)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = set(re.findall(r"^physical id\s*: (\d+)$(?:.*?)^core id\s*: (\d+)$", _read(_CPUINFO), re.M | re.S))
    return min(usable, len(cores) or usable)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
