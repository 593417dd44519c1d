"""The copy of a model and its inputs in another type or memory format, as ``model.to(...)`` and ``x.to(...)`` do it."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from .arguments import changed
from .errors import UnusableInput
from .graph import Run

DEVICES = ("cpu", "cuda")
_PRECISIONS = ("float16", "bfloat16", "float32", "float64")
_SHORT = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32", "fp64": "float64", "half": "float16"}
_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def converting_run(
    run: Run, device: str, dtype: Any, autocast: Any, channels_last: bool, traced_on: str = "meta"
) -> Run:
    """A run for a device, in a type, with mixed precision, in a memory format, with or without numbers.

    Raises:
        UnusableInput: an option is not one of those there are, or the operators of CUDA are to run on the CPU.
    """
    if traced_on not in ("meta", "cpu"):
        raise UnusableInput(f"device_trace={traced_on!r} is no place to run; one of meta, cpu")
    if traced_on == "cpu" and device != "cpu":
        raise UnusableInput(f"the operators of {device} cannot run on the CPU; leave out device_trace or the device")
    if device not in DEVICES:
        raise UnusableInput(f"device={device!r} has no operators to record; one of {', '.join(DEVICES)}")
    return run._replace(
        device=device,
        dtype=_precision("dtype", dtype, _PRECISIONS),
        autocast=_precision("autocast", autocast, _PRECISIONS[:2]),
        channels_last=bool(channels_last),
        traced_on=traced_on,
    )


def _precision(option: str, given: Any, known: tuple[str, ...]) -> str:
    if given is None:
        return ""
    name = str(given).removeprefix("torch.") if isinstance(given, torch.dtype) else _SHORT.get(given, given)
    if name not in known:
        raise UnusableInput(f"{option}={given!r} is no precision for it; one of {', '.join(known)}")
    return str(name)


def autocast_of(run: Run) -> contextlib.AbstractContextManager[Any]:
    """The context in which forward and loss run."""
    if not run.autocast:
        return contextlib.nullcontext()
    return torch.autocast(run.device, dtype=getattr(torch, run.autocast))


def convert(twin: nn.Module, run: Run) -> None:
    """Turn the parameters and buffers of a copy into the type and memory format of the run."""
    if not (run.dtype or run.channels_last):
        return
    for module in twin.modules():
        for tensors in (module._parameters, module._buffers):
            for tensor in tensors.values():
                if tensor is not None and not is_lazy(tensor):
                    # The object stays: ties, optimizers and what else holds it see the same.
                    tensor.data = _converted(tensor.data, run)


def converted_inputs(inputs: Any, run: Run) -> Any:
    """A structure of arguments with its tensors in the type and memory format of the run."""
    if not (run.dtype or run.channels_last):
        return inputs
    return changed(inputs, lambda tensor: _converted(tensor, run))


def _converted(tensor: torch.Tensor, run: Run) -> torch.Tensor:
    changes: dict[str, Any] = {}
    if run.dtype and (tensor.is_floating_point() or tensor.is_complex()):
        changes["dtype"] = getattr(torch, run.dtype)
    if run.channels_last and tensor.dim() in _FORMATS:
        changes["memory_format"] = _FORMATS[tensor.dim()]
    if not changes:
        return tensor
    with torch.no_grad():
        return tensor.to(**changes).requires_grad_(tensor.requires_grad)
