"""How cost grows with the network: from 100 to 10,000 layers, trace, graph, and every analysis.

    python benchmarks/growth.py --quick
    python benchmarks/growth.py -o reports/scaling.md

CPU seconds of one thread, the best of several, so that a busy machine does not matter much. The exponent is the slope
on logarithmic axes from 1,000 layers on: 1 is linear, 1.1 is what n log n gives here, and what no longer fits into
the CPU's caches takes longer too.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import cnnscope
from cnnscope import comparing, differences, encoding, fusing, reconciling, render
from cnnscope.analyses.holding import held
from cnnscope.analyses.sizing import size
from cnnscope.graph import ModelGraph
from cnnscope.tracing import trace

SIZES = (100, 300, 1_000, 3_000, 10_000)
FROM = 1_000  # the exponent is the slope from here to the largest
LIMIT = 1.3
SHAPE = (1, 4, 16, 16)


class Residual(nn.Module):
    """Blocks of convolution, batch norm, ReLU and addition."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()) for _ in range(layers // 3)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = x + block(x)
        return x


class Fan(nn.Module):
    """One tensor read by all branches, which one concatenation joins."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(4, 1, 1) for _ in range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class Writes(nn.Module):
    """In-place writes through two views of one tensor, in turn."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        parts = y[:, :2], y[:, 2:]
        for number in range(self.layers):
            parts[number % 2].add_(1)
        return y


def chain(layers: int) -> nn.Module:
    """Convolutions and ReLUs, one after the other."""
    return nn.Sequential(*[m for _ in range(layers // 2) for m in (nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())])


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "chain": chain,
    "residual": Residual,
    "fan": Fan,
    "writes": Writes,
}
ANALYSES: dict[str, Callable[[ModelGraph], Any]] = {
    **{name: getattr(cnnscope, name) for name in ("layers", "cost", "params", "shapes", "depth", "receptive_field")},
    "memory": lambda graph: cnnscope.memory(graph).total.peak,
    "held at the peak": held,
    "size": size,
    "fused": fusing.fused,
    "compare": lambda graph: comparing.compare([graph]),
    "diff": lambda graph: differences.diff(graph, _SMALLER[id(graph)]),
    "reconcile": reconciling.reconcile,
    "dag": lambda graph: graph.dag,
    "encode": encoding.encoded,
    "decode": lambda graph: encoding.decoded(_ENCODED[id(graph)]),
    "table as text": lambda graph: render.text(cnnscope.layers(graph), width=100),
    "table as JSON": lambda graph: render.json(cnnscope.layers(graph)),
    "dot": render.dot,
}
_ENCODED: dict[int, bytes] = {}
_SMALLER: dict[int, ModelGraph] = {}  # the same network with a tenth fewer layers


def _seconds(rounds: int, run: Callable[..., Any], *args: Any, **kwargs: Any) -> float:
    best = math.inf
    for _ in range(rounds):
        gc.collect()
        start = time.process_time()
        run(*args, **kwargs)
        best = min(best, time.process_time() - start)
    return best


def measure(network: str, sizes: tuple[int, ...], rounds: int) -> tuple[list[int], dict[str, list[float]]]:
    """Operators at each size, and seconds by what was done."""
    operators: list[int] = []
    found: dict[str, list[float]] = {}
    for layers in sizes:
        again = rounds if layers <= 3_000 else max(1, rounds // 2)
        model = NETWORKS[network](layers)
        found.setdefault("trace", []).append(_seconds(again, trace, model, SHAPE))
        if network != "writes":  # which has nothing to learn
            seconds = _seconds(1, trace, model, SHAPE, train=True, optimizer="sgd")
            found.setdefault("trace, training", []).append(seconds)
        graph = trace(model, SHAPE)
        _ENCODED[id(graph)] = encoding.encoded(graph)
        _SMALLER[id(graph)] = trace(NETWORKS[network](layers - layers // 10), SHAPE, name="smaller")
        operators.append(len(graph))
        for name, analysis in ANALYSES.items():
            found.setdefault(name, []).append(_seconds(again, _anew, analysis, graph))
        print(network, layers, len(graph), file=sys.stderr)
    return operators, found


def _anew(analysis: Callable[[ModelGraph], Any], graph: ModelGraph) -> None:
    """The analysis of a graph without what one before may have left on it."""
    for name in ("positions", "producers", "dag", "types"):
        graph.__dict__.pop(name, None)
    analysis(graph)


def exponent(seconds: list[float], operators: list[int], sizes: tuple[int, ...]) -> float:
    """The slope from ``FROM`` layers to the largest."""
    start = sizes.index(FROM)
    return math.log(seconds[-1] / seconds[start]) / math.log(operators[-1] / operators[start])


def report(results: dict[str, tuple[list[int], dict[str, list[float]]]], sizes: tuple[int, ...], load: float) -> str:
    """The Markdown page."""
    cpus = os.cpu_count() or 1
    lines = [
        "# How cost grows with the network",
        "",
        f"Milliseconds of CPU of one thread, on {cpus} CPUs ({platform.machine()}), torch {torch.__version__}, "
        f"Python {platform.python_version()}; load {load:.1f} when it began.",
        f"The exponent is the slope from {FROM:,} to {sizes[-1]:,} layers: 1 is linear.",
        "",
    ]
    steep = []
    for network, (operators, found) in results.items():
        what = (NETWORKS[network].__doc__ or "").strip()
        lines += [f"## {network}: {what[0].lower()}{what[1:-1]}", ""]
        lines.append("| | " + " | ".join(f"{each:,}" for each in sizes) + " | exponent |")
        lines.append("|---|" + "---:|" * (len(sizes) + 1))
        lines.append("| operators, a number | " + " | ".join(f"{each:,}" for each in operators) + " | |")
        for name, seconds in found.items():
            slope = exponent(seconds, operators, sizes)
            cells = " | ".join(f"{each * 1e3:,.1f}" for each in seconds)
            lines.append(f"| {name} | {cells} | {slope:.2f} |")
            if slope > LIMIT:
                steep.append(f"- MISSED: {name} of {network}: {slope:.2f}")
        lines.append("")
    lines += [f"## Bar: nothing above {LIMIT}, where n log n gives 1.1", "", *(steep or ["- met by all"])]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(NETWORKS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="one round, up to 3,000 layers")
    parser.add_argument("-o", "--output", type=Path, help="write the page to this file too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes, rounds = (SIZES[:-1], 1) if options.quick else (SIZES, 3)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    results = {name: measure(name, sizes, rounds) for name in options.networks or NETWORKS}
    page = report(results, sizes, load)
    print(page)
    if options.output:
        options.output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
