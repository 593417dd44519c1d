"""Device memory that no tensor of the program holds, as far as anyone can say before a run.

None of it can be known exactly: libraries choose algorithms when they run. What is fixed in a source is stated, and
for the rest a bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..graph import ModelGraph, Op

_PRODUCTS = frozenset(("mm", "bmm", "addmm", "baddbmm", "addbmm", "mv", "addmv", "dot", "linear"))
_CONVOLUTIONS = frozenset(("convolution", "convolution_backward", "cudnn_convolution"))
# ATen's CUDABlas.cpp, getChosenWorkspaceSize: 2 buffers of 4 MiB and 8 of 16 KiB; 32 MiB on Hopper and Blackwell.
CUBLAS_WORKSPACE = 2 * 4096 * 1024 + 8 * 16 * 1024
CUBLAS_WORKSPACE_HOPPER = 4096 * 8 * 1024

# An assumption: a process that has loaded cuBLAS and cuDNN holds 300 to 800 MiB outside PyTorch's allocator.
CONTEXT_BOUND = 1024 * 2**20

_GRANULE = 20 * 2**20  # the largest segment that one small request can make the allocator reserve


class Overheads(NamedTuple):
    """Bytes. cublas: its workspaces, allocated at the first matrix product of each thread; convolutions: a bound on the
    workspace of the one that needs most; context: a bound on what lies outside the allocator."""

    cublas: int
    convolutions: int
    context: int

    @property
    def total(self) -> int:
        return sum(self)


def overheads(graph: ModelGraph, capability: str | None = None) -> Overheads:
    """The lines of a CUDA device beside the tensors; ``capability`` is the device's compute capability, ``"9.0"``."""
    products = {op.phase == "backward" for op in graph if op.kind in _PRODUCTS}
    hopper = capability is not None and float(capability) >= 9 and float(capability) < 11
    workspace = CUBLAS_WORKSPACE_HOPPER if hopper else CUBLAS_WORKSPACE
    largest = max((convolution_bound(op) for op in graph if op.kind in _CONVOLUTIONS), default=0)
    # The backward pass runs in a thread of its own, which has a cuBLAS handle and a workspace of its own.
    return Overheads(len(products) * workspace, largest and largest + _GRANULE, CONTEXT_BOUND)


def convolution_bound(op: Op) -> int:
    """An assumed bound on cuDNN's workspace: two copies of every operand, for a change of layout and a transform."""
    return 2 * sum(value.bytes for value in (*op.inputs, *op.outputs))


def described(found: Overheads) -> Mapping[str, int]:
    """The lines under the names that JSON has."""
    return {
        "cublas_workspace": found.cublas,
        "convolution_workspace_bound": found.convolutions,
        "context_bound": found.context,
    }
