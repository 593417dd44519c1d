"""How far a measurement got: the parts that it has, why others are missing, and what stopped it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from ..errors import UnusableDevice
from ..records import Settings

T = TypeVar("T")
PARTS = ("time", "memory", "layers", "kernels", "power")


class Session:
    """The parts measured so far, the reasons for those that are missing, and what stopped it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.found: dict[str, Any] = {}
        self.missing: dict[str, str] = {}
        self.notes: list[str] = []
        self.stopped = ""

    def part(self, name: str, run: Callable[[], T]) -> T | None:
        """Run one part unless something stopped the session before; None when it did not come to its end."""
        if self.stopped:
            return None
        try:
            self.found[name] = result = run()
            return result
        except KeyboardInterrupt:
            self.stopped = f"interrupted while measuring {name}: measure again for the rest"
        except (torch.OutOfMemoryError, MemoryError) as error:
            self.stopped = self._no_memory(name, error)
        except UnusableDevice as error:
            self.stopped = f"{str(error).partition(chr(10))[0]} (while measuring {name})"
        except RuntimeError as error:
            self.stopped = self.of_device(name, error)
            if not self.stopped:
                raise
        return None

    def of_device(self, name: str, error: RuntimeError) -> str:
        """The sentence for an error of the device; '' for one of the model's own code."""
        text = str(error).strip().partition("\n")[0]
        if "can't allocate memory" in text:
            return self._no_memory(name, error)
        if "CUDA error" in text or isinstance(error, getattr(torch, "AcceleratorError", ())):
            way = "start a new process, see nvidia-smi and dmesg whether the GPU is still there"
            return f"the GPU failed while measuring {name}: {text}; {way}"
        return ""

    def _no_memory(self, name: str, error: BaseException) -> str:
        text = str(error).strip().partition("\n")[0].partition(". GPU")[0]
        return f"out of memory while measuring {name}: {text}; take a smaller batch, or fp16, bf16 or amp"

    def reasons(self) -> dict[str, str]:
        """Why each field of the record is None."""
        rest = {name: f"not reached: {self.stopped}" for name in PARTS if self.stopped and name not in self.found}
        whole = set(rest) | {path for path in self.missing if path in PARTS}
        return rest | {
            path: reason
            for path, reason in self.missing.items()
            if path in whole or path.partition(".")[0] not in whole
        }
