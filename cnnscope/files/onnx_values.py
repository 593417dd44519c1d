"""The values of an ONNX graph: tensors, and numpy arrays of what is known without running the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

_TYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 4: torch.uint16, 5: torch.int16, 6: torch.int32, 7: torch.int64,
    9: torch.bool, 10: torch.float16, 11: torch.float64, 12: torch.uint32, 13: torch.uint64, 14: torch.complex64,
    15: torch.complex128, 16: torch.bfloat16, 17: torch.float8_e4m3fn, 18: torch.float8_e4m3fnuz,
    19: torch.float8_e5m2, 20: torch.float8_e5m2fnuz, 24: torch.float8_e8m0fnu,
}  # fmt: skip


class Node(NamedTuple):
    """An operator with its attributes, and how many results somebody asks for."""

    kind: str
    attributes: Mapping[str, Any]
    results: int

    def get(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)


def dtype(number: int) -> torch.dtype:
    """The type that ONNX gives this number.

    Raises:
        ValueError: torch has no such type.
    """
    if number not in _TYPES:
        import onnx

        raise ValueError(f"torch has no type {onnx.TensorProto.DataType.Name(number)}")
    return _TYPES[number]


def tensor(value: Any) -> Any:
    """A value as torch's functions take it; what is known and is one number stays a number."""
    if value is None or isinstance(value, Tensor):
        return value
    array = np.asarray(value)
    return array.item() if array.ndim == 0 else torch.from_numpy(array.copy())


def full(value: Any) -> Tensor:
    """A value as a tensor in any case."""
    found = tensor(value)
    return found if isinstance(found, Tensor) else torch.tensor(found)


def known(value: Any, what: str) -> Any:
    """Numbers that must be known without the data.

    Raises:
        ValueError: they come from the data.
    """
    if isinstance(value, Tensor):
        raise ValueError(f"{what} depends on the values of a tensor, which a trace does not have")
    return None if value is None else np.asarray(value).tolist()
