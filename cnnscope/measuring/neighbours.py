"""How much of the machine others use while something is measured."""

from __future__ import annotations

import os
import time
from pathlib import Path

_STAT = Path("/proc/stat")
ALLOWED = 0.1


class Neighbours:
    """Watches the machine from when it is made. Where the system does not tell, the load average before speaks."""

    def __init__(self, load: float | None) -> None:
        self.load = load
        self._begun = time.perf_counter()
        self._busy, self._own = _busy(), _own()

    @property
    def share(self) -> float | None:
        """What part of all cores' time others have taken, the hypervisor among them; None where nobody knows."""
        now = _busy()
        passed = (time.perf_counter() - self._begun) * (os.cpu_count() or 1)
        if now is None or self._busy is None or not passed:
            return None
        return max(0.0, (now - self._busy) - (_own() - self._own)) / passed

    @property
    def note(self) -> str | None:
        """What to say of it beside a measured time; None if others hardly did anything."""
        cores, share = os.cpu_count() or 1, self.share
        if share is None and self.load is not None and self.load > 0.5 * cores:
            return f"other work ran on this machine (load average {self.load:.1f} on {cores} cores): {_LIMITS}"
        if share is not None and share > ALLOWED:
            return f"other work ran on this machine ({share:.0%} of {cores} cores): {_LIMITS}"
        return None


_LIMITS = "times are upper limits"


def _own() -> float:
    """CPU seconds of this process and of its children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _busy() -> float | None:
    """Seconds since boot in which a core was busy, or taken by another virtual machine; of all cores together."""
    try:
        _, *ticks = _STAT.read_text(encoding="ascii").partition("\n")[0].split()
        user, nice, system, _, _, irq, softirq, steal = map(int, ticks[:8])
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
