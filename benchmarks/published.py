"""Published throughputs of timm's models, and the kernels of each net at the size and batch that was measured."""

from __future__ import annotations

import csv
import gzip
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

# The published runs set timm's fast norm, which keeps these in half precision (timm.layers.fast_norm): with autocast's
# own float32 for them, nets full of them would have run faster than their bytes allow.
FAST_NORM = {"native_layer_norm": "half", "native_group_norm": "half"}
FILE = re.compile(r"benchmark-infer-amp-(nhwc|nchw)-pt(\d+)-cu\d+-rtx(\d+)\.csv")


class Row(NamedTuple):
    """A measured net: what was run, and the seconds that a batch took."""

    model: str
    size: int
    batch: int
    seconds: float
    params: float


class Setting(NamedTuple):
    """One published file."""

    gpu: str
    layout: str
    torch: str
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        return f"{self.gpu}, {self.layout}"


class Net(NamedTuple):
    """A traced net at one batch: family, parameters (M), MACs, elements that products write, whether it is a CNN, and
    its kernels as (kind, precision, padded FLOPs, bytes)."""

    family: str
    params: float
    macs: float
    activations: float
    cnn: bool
    kernels: list[tuple[str, str, float, float]]


def settings(folder: Path) -> list[Setting]:
    """The published files of a folder."""
    found = []
    for path in sorted(folder.glob("*.csv")):
        if match := FILE.fullmatch(path.name):
            layout = "channels-last" if match[1] == "nhwc" else "contiguous"
            with path.open(newline="") as file:
                rows = tuple(_row(line) for line in csv.DictReader(file))
            torch = f"{match[2][0]}.{match[2][1:-1]}"
            found.append(Setting(f"RTX {match[3]}", layout, torch, rows))
    return found


def _row(line: dict[str, str]) -> Row:
    batch = int(line["infer_batch_size"])
    seconds = batch / float(line["infer_samples_per_sec"])
    return Row(line["model"], int(line["infer_img_size"]), batch, seconds, float(line["param_count"]))


# -- tracing ----------------------------------------------------------------------------------------------------------


class Cache:
    """Traced nets by (model, size, batch), in a file of JSON lines that grows while it works."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.nets: dict[tuple[str, int, int], Net | None] = {}
        self._model: tuple[str, Any] = ("", None)
        if path and path.exists():
            with gzip.open(path, "rt") as file:
                for line in file:
                    key, net = json.loads(line)
                    self.nets[tuple(key)] = net and Net(*net)

    def fill(self, wanted: Sequence[tuple[str, int, int]]) -> None:
        """Trace what is not there yet."""
        new = sorted(set(wanted) - self.nets.keys())
        for i, key in enumerate(new):
            net = self.nets[key] = self._traced(*key)
            if self.path:
                with gzip.open(self.path, "at") as file:
                    file.write(json.dumps([key, net]) + "\n")
            if i % 100 == 0:
                print(f"traced {i} of {len(new)}", file=sys.stderr, flush=True)

    def _traced(self, name: str, size: int, batch: int) -> Net | None:
        """The net, or None where timm has it no longer or it does not take that size."""
        from cnnscope.errors import CnnscopeError
        from cnnscope.targets import load
        from cnnscope.tracing import trace

        for target in (f"timm:{name}", f"timm:{name}(img_size={size})"):
            try:
                if self._model[0] != target:
                    self._model = (target, load(target).model)
                return _net(self._model[1], trace(self._model[1], (batch, 3, size, size)))
            except CnnscopeError:
                continue
        return None


def _net(model: Any, graph: Any) -> Net:
    from cnnscope.analyses.costs import cost
    from cnnscope.kernels import kernels
    from cnnscope.precisions import program

    costs = cost(graph)
    macs = {op.name: costs[op.name].macs or 0 for op in graph}
    convolved = sum(macs[op.name] for op in graph if "convolution" in op.kind)
    batched = any(op.kind in ("bmm", "baddbmm") or "scaled_dot_product" in op.kind for op in graph)
    total = sum(macs.values())
    return Net(
        type(model).__module__.rpartition(".")[2],
        sum(each.numel for each in graph.parameters if each.role != "buffer") / 1e6,
        total,
        sum(op.outputs[0].numel for op in graph if macs[op.name]),
        not batched and convolved > total / 2,
        [(k.kind, k.precision, k.padded, k.bytes) for k in kernels(program(graph, "amp", policies=FAST_NORM))],
    )
