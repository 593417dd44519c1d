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

from cnnscope.analyses.costs import cost
from cnnscope.errors import CnnscopeError
from cnnscope.kernels import kernels
from cnnscope.libraries import imported
from cnnscope.precisions import program
from cnnscope.targets import load
from cnnscope.tracing import trace

FILE = re.compile(r"benchmark-(infer|train)-amp-(nhwc|nchw)-pt\d+-cu\d+-rtx(\d+)\.csv")


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
    rows: tuple[Row, ...]
    train: bool = False

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
            run, order, gpu = match.groups()
            layout = "channels-last" if order == "nhwc" else "contiguous"
            with path.open(newline="") as file:
                rows = tuple(_row(line, run) for line in csv.DictReader(file))
            found.append(Setting(f"RTX {gpu}", layout, rows, run == "train"))
    return found


def _row(line: dict[str, str], run: str) -> Row:
    batch = int(line[f"{run}_batch_size"])
    seconds = batch / float(line[f"{run}_samples_per_sec"])
    return Row(line["model"], int(line[f"{run}_img_size"]), batch, seconds, float(line["param_count"]))


Key = tuple[str, int, int, str, bool]


def key(setting: Setting, row: Row) -> Key:
    """Under which a net is cached: what its kernels depend on."""
    return row.model, row.size, row.batch, setting.layout, setting.train


# -- tracing ----------------------------------------------------------------------------------------------------------


class Cache:
    """Traced nets by ``key``, in a file of JSON lines that grows while it works."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.nets: dict[Key, Net | None] = {}
        self._model: tuple[str, Any] = ("", None)
        if path and path.exists():
            with gzip.open(path, "rt") as file:
                for line in file:
                    each, net = json.loads(line)
                    self.nets[tuple(each)] = net and Net(*net)

    def fill(self, published: Sequence[Setting]) -> None:
        """Trace what is not there yet."""
        wanted = [key(setting, row) for setting in published for row in setting.rows]
        new = sorted(set(wanted) - self.nets.keys())
        for i, each in enumerate(new):
            net = self.nets[each] = self._traced(*each)
            if self.path:
                with gzip.open(self.path, "at") as file:
                    file.write(json.dumps([each, net]) + "\n")
            if i % 100 == 0:
                print(f"traced {i} of {len(new)}", file=sys.stderr, flush=True)

    def _traced(self, name: str, size: int, batch: int, layout: str, train: bool) -> Net | None:
        """The net, or None where timm has it no longer or it does not take that size."""
        for target in (f"timm:{name}", f"timm:{name}(img_size={size})"):
            try:
                if self._model[0] != target:
                    self._model = (target, _loaded(target))
                last = layout == "channels-last"
                options: dict[str, Any] = {"device": "cuda", "autocast": "float16", "channels_last": last}
                if train:  # timm's benchmark trains with cross-entropy and momentum
                    options |= {"train": True, "optimizer": "sgd-momentum"}
                return _net(self._model[1], trace(self._model[1], (batch, 3, size, size), **options))
            except CnnscopeError:
                continue
        return None


def _loaded(target: str) -> Any:
    """With timm's fast norm, as in the published runs: norms over layers and groups stay in half precision.

    Without it, nets full of them would have run faster than their bytes allow.
    """
    imported("timm", "timm")
    import timm.layers

    timm.layers.set_fast_norm(True)
    return load(target).model


def _net(model: Any, graph: Any) -> Net:
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
        [(k.kind, k.precision, k.padded, k.bytes) for k in kernels(program(graph, "amp"))],
    )
