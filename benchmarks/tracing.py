"""How long a table takes, beside torchinfo, fvcore and ptflops: one run, the same networks, medians and ratios.

    python benchmarks/tracing.py --quick
    python benchmarks/tracing.py -o benchmarks/tracing.md

Timed is what a user of each tool waits for after its import: for cnnscope the trace, the graph with its networkx form
and the table of layers. "First" is the first call in a fresh process. "Again" are later calls in the same one, some in
a row after one that is not counted; the tools take turns, round after round, so that a busy machine does not favour
any. A later trace runs the model again, and where nothing was other than before gives the graph of before; "anew" is
the time when cnnscope has let go of that and keeps only what it knows of layers.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from cnnscope.libraries import imported

imported("torchvision", "torchvision")  # before ptflops, which imports it without help where its build does not match
import fvcore.nn  # noqa: E402
import networkx  # noqa: E402, F401  # which cnnscope imports where it is used
import ptflops  # type: ignore[import-untyped]  # noqa: E402
import torchinfo  # noqa: E402

from cnnscope import assembling  # noqa: E402
from cnnscope.analyses import layering  # noqa: E402
from cnnscope.targets import load  # noqa: E402
from cnnscope.tracing import trace  # noqa: E402

NETWORKS = ("vgg16", "resnet50", "resnet152", "densenet201")
SHAPE = (1, 3, 224, 224)
_IN_A_ROW = 3


class Tool(NamedTuple):
    """Something that counts a model. note: where it runs, and what its time contains beside counting."""

    package: str
    device: str
    note: str
    run: Callable[[nn.Module], Any]


class Timing(NamedTuple):
    """Seconds, each a median, by tool."""

    operators: int
    first: dict[str, float]
    again: dict[str, float]


class Bar(NamedTuple):
    """How many times faster than a peer cnnscope means to be."""

    peer: str
    times: float
    networks: Sequence[str]


def _cnnscope(model: nn.Module) -> int:
    graph = trace(model, SHAPE)
    assert graph.dag
    layering.layers(graph)
    return len(graph)


def _anew(model: nn.Module) -> int:
    assembling.forget()
    return _cnnscope(model)


def _torchinfo(model: nn.Module) -> Any:
    return torchinfo.summary(model, input_data=torch.empty(SHAPE, device="meta"), verbose=0)


def _fvcore(model: nn.Module) -> Any:
    analysis = fvcore.nn.FlopCountAnalysis(model, torch.zeros(SHAPE))
    return fvcore.nn.flop_count_table(analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False))


def _ptflops(model: nn.Module) -> Any:
    return ptflops.get_model_complexity_info(model, SHAPE[1:], as_strings=False, print_per_layer_stat=False)


TOOLS = {
    "cnnscope": Tool("cnnscope", "meta", "", _cnnscope),
    "anew": Tool("cnnscope", "meta", "", _anew),
    "torchinfo": Tool("torchinfo", "meta", "`summary(model, input_data=x)`, without making its text", _torchinfo),
    "fvcore": Tool(
        "fvcore",
        "cpu",
        "`flop_count_table(FlopCountAnalysis(model, x))`, its table; fails on meta, so it computes",
        _fvcore,
    ),
    "ptflops": Tool("ptflops", "meta", "`get_model_complexity_info`, its default engine", _ptflops),
}
BARS = (
    Bar("torchinfo", 3, ("resnet50", "resnet152", "densenet201")),
    Bar("torchinfo", 1, ("vgg16",)),
    Bar("fvcore", 20, NETWORKS),
)


# -- measuring --------------------------------------------------------------------------------------------------------


def _prepare(busy: bool) -> None:
    warnings.simplefilter("ignore")
    if busy:
        torch.set_num_threads(1)


def _model(network: str, device: str) -> nn.Module:
    """torchvision's network; on the CPU with zeros as weights, which costs the same time as any others."""
    model = load(f"torchvision:{network}").model.eval()
    if device != "meta":
        model.to_empty(device=device)
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.zero_()
    return model


def _seconds(tool: Tool, model: nn.Module, busy: bool) -> float:
    clock = time.process_time if busy else time.perf_counter
    start = clock()
    tool.run(model)
    return clock() - start


def _first(network: str, name: str, busy: bool) -> float:
    """The first call in this process."""
    _prepare(busy)
    model = _model(network, TOOLS[name].device)
    gc.collect()
    return _seconds(TOOLS[name], model, busy)


def _again(network: str, rounds: int, busy: bool) -> tuple[int, dict[str, list[float]]]:
    """Number of operators, and times of calls after the first."""
    _prepare(busy)
    models = {device: _model(network, device) for device in {tool.device for tool in TOOLS.values()}}
    operators = 0
    for name, tool in TOOLS.items():
        answer = tool.run(models[tool.device])
        operators = answer if name == "cnnscope" else operators
    times: dict[str, list[float]] = {name: [] for name in TOOLS}
    for _ in range(rounds):
        for name, tool in TOOLS.items():
            gc.collect()
            tool.run(models[tool.device])
            times[name] += [_seconds(tool, models[tool.device], busy) for _ in range(_IN_A_ROW)]
    return operators, times


def _in_new_process(function: Callable[..., Any], *args: Any) -> Any:
    """Run in a process that has imported everything and called nothing; a fork would copy each page that it touches."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, args)


def measure(networks: Sequence[str], first_rounds: int, rounds: int, busy: bool) -> Iterator[tuple[str, Timing]]:
    """Timings of each network as they are ready."""
    for network in networks:
        first: dict[str, list[float]] = {name: [] for name in TOOLS if name != "anew"}
        for _ in range(first_rounds):
            for name in first:
                first[name].append(_in_new_process(_first, network, name, busy))
        operators, again = _in_new_process(_again, network, rounds, busy)
        yield network, Timing(operators, _medians(first), _medians(again))


def _medians(times: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in times.items()}


# -- reporting --------------------------------------------------------------------------------------------------------


def report(timings: dict[str, Timing], first_rounds: int, rounds: int, busy: bool, load: float) -> str:
    """The Markdown page. load: how many processes wanted a CPU when the run began."""
    cpus = os.cpu_count() or 1
    machine = f"{cpus} CPUs ({platform.machine()}), torch {torch.__version__}, Python {platform.python_version()}"
    clock = "CPU seconds of one thread" if busy else "seconds of the clock"
    lines = [
        "# Time to a table",
        "",
        f"Medians of one run, {clock}, on {machine}; input {'x'.join(map(str, SHAPE))}.",
        "",
    ]
    for name, tool in TOOLS.items():
        if tool.note:
            lines.append(f"- {name} {version(tool.package)}, {tool.device}: {tool.note}")
    if load > cpus / 4 and not busy:
        slow = "where threads share a CPU, what computes (fvcore) waits many times longer than what does not"
        lines.append(f"- **Not on an idle machine** (load {load:.1f}): {slow}. Do not quote these figures.")
    lines += ["", f"## First call in a fresh process ({first_rounds} processes)", ""]
    lines += _grid({network: (timing.operators, timing.first) for network, timing in timings.items()})
    lines += ["", f"## Later calls ({rounds} rounds of {_IN_A_ROW} in a row)", ""]
    lines += ["anew: cnnscope without the graph of the call before, which it gives again where nothing is other", ""]
    lines += _grid({network: (timing.operators, timing.again) for network, timing in timings.items()})
    lines += ["", "## Bars", "", *(line for _, line in _verdicts(timings))]
    return "\n".join(lines) + "\n"


def _grid(times: dict[str, tuple[int, dict[str, float]]]) -> list[str]:
    peers = [name for name in next(iter(times.values()))[1] if name != "cnnscope"]
    lines = [
        "| network | operators | cnnscope | an operator | " + " | ".join(peers) + " |",
        "|---|---:|---:|---:|" + "---:|" * len(peers),
    ]
    for network, (operators, seconds) in times.items():
        own = seconds["cnnscope"]
        cells = [f"{seconds[peer] * 1e3:.1f} ms ({seconds[peer] / own:.1f}×)" for peer in peers]
        start = f"| {network} | {operators} | {own * 1e3:.1f} ms | {own / operators * 1e6:.0f} µs | "
        lines.append(start + " | ".join(cells) + " |")
    return lines


def _verdicts(timings: dict[str, Timing]) -> Iterator[tuple[bool, str]]:
    for peer, times, networks in BARS:
        for network in networks:
            if network in timings:
                again, first = (
                    each[peer] / each["cnnscope"] for each in (timings[network].again, timings[network].first)
                )
                words = {True: "met", False: "MISSED"}
                text = f"{words[again >= times]} again ({again:.1f}×), {words[first >= times]} first ({first:.1f}×)"
                yield min(again, first) >= times, f"- {network} {times:g}× {peer}: {text}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("networks", nargs="*", help=f"of torchvision; by default {' '.join(NETWORKS)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--busy", action="store_true", help="on a machine that others use: CPU seconds, one thread")
    parser.add_argument("--check", action="store_true", help="exit 1 when a bar is missed")
    parser.add_argument("-o", "--output", type=Path, help="write the page to this file too")
    options = parser.parse_args()
    first_rounds, rounds = (3, 5) if options.quick else (9, 21)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    timings = dict(measure(options.networks or NETWORKS, first_rounds, rounds, options.busy))
    page = report(timings, first_rounds, rounds, options.busy, load)
    print(page)
    if options.output:
        options.output.write_text(page, encoding="utf-8")
    return int(options.check and not all(met for met, _ in _verdicts(timings)))


if __name__ == "__main__":
    sys.exit(main())
