"""How long a diagram takes, beside Graphviz's dot on the same graph: one run, the same cards, panels and edges.

    python benchmarks/layout.py --quick
    python benchmarks/layout.py --busy --check -o reports/layout.md

Timed is what a user waits for after the trace. "content" is common to both: which cards and panels the picture has.
"own" places and draws them with the layered layout, "dot" places them with Graphviz's program (its start and its JSON
included) and draws them in the same way; between two calls of one the other has its turn. Where dot is absent, the
page says so and has no figures for it.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cnnscope import build, trace
from cnnscope.collecting import without_collection
from cnnscope.errors import CnnscopeError
from cnnscope.graph import ModelGraph
from cnnscope.render.canvas.svg_writer import svg
from cnnscope.render.diagram.composing import compose
from cnnscope.render.diagram.drawing import Drawing
from cnnscope.render.diagram.external import lay_out_with_dot
from cnnscope.render.diagram.page import lay_out
from cnnscope.render.diagram.plan import Plan
from cnnscope.render.diagram.scene import Scene
from cnnscope.zoo import entry

NETWORKS = ("vgg16", "resnet152", "googlenet", "densenet201", "nasnet_a_large")
BAR = 0.5  # seconds for content and own layout and drawing together, of the first call


class Timing(NamedTuple):
    """Seconds. own and dot: layout and drawing, dot None where there is none or it took too long."""

    network: str
    folded: bool
    cards: int
    edges: int
    first: float
    content: float
    own: float
    dot: float | None
    why: str = ""


def _clock(busy: bool) -> float:
    """CPU seconds of this process and its children, or of the clock."""
    if not busy:
        return time.perf_counter()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _timed(busy: bool, function: Callable[[], Any]) -> tuple[float, Any]:
    gc.collect()
    start = _clock(busy)
    answer = function()
    return _clock(busy) - start, answer


def _draw(scene: Scene, place: Callable[[], Plan]) -> str:
    with without_collection():
        return svg(Drawing(place(), scene.heat).picture("net", "facts"), "p")


def _compose(graph: ModelGraph, fold: bool) -> Scene:
    with without_collection():
        return compose(graph, fold=fold)


def measure(networks: Sequence[str], rounds: int, limit: float, busy: bool) -> Iterator[Timing]:
    """Timings of each network, folded and complete, as they are ready."""
    for network in networks:
        graph = trace(build(network).eval(), tuple(entry(network)["input"]), name=network)
        for fold in (True, False):
            yield _measured(network, graph, fold, rounds, limit, busy)


def _measured(network: str, graph: ModelGraph, fold: bool, rounds: int, limit: float, busy: bool) -> Timing:
    first_content, scene = _timed(busy, lambda: _compose(graph, fold))
    first_own, _ = _timed(busy, lambda: _draw(scene, lambda: lay_out(scene)))
    content, own, dot, why = [], [], [], ""
    for _ in range(rounds):
        content.append(_timed(busy, lambda: _compose(graph, fold))[0])
        own.append(_timed(busy, lambda: _draw(scene, lambda: lay_out(scene)))[0])
        if why:
            continue
        try:
            dot.append(_timed(busy, lambda: _draw(scene, lambda: lay_out_with_dot(scene, limit=limit)))[0])
        except CnnscopeError as failure:
            why = f"> {limit:g} s" if "more than" in str(failure) else str(failure).splitlines()[0]
    cards = sum(1 for _ in scene.root.cards())
    median = statistics.median
    return Timing(
        network, fold, cards, len(scene.edges), first_content + first_own, median(content), median(own),
        median(dot) if dot and not why else None, why,
    )  # fmt: skip


def report(timings: Sequence[Timing], rounds: int, busy: bool, load: float) -> str:
    """The Markdown page. load: how many processes wanted a CPU when the run began."""
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"
    clock = "CPU seconds of the process and its child" if busy else "seconds of the clock"
    lines = [
        "# Time to a diagram",
        "",
        f"Medians of {rounds} rounds in one run, {clock}, on {machine}; {_dot_version()}.",
    ]
    if load > (os.cpu_count() or 1) / 4 and not busy:
        lines += ["", f"**Not on an idle machine** (load {load:.1f}). Do not quote these figures."]
    lines += [
        "",
        "| network | cards | edges | content | own layout + drawing | dot layout + drawing | whole first call |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for each in timings:
        name = f"{each.network}, {'folded' if each.folded else 'complete'}"
        dot = each.why or "absent" if each.dot is None else f"{each.dot * 1e3:.0f} ms ({each.dot / each.own:.1f}×)"
        own = f"{each.content * 1e3:.0f} ms | {each.own * 1e3:.0f} ms"
        lines.append(f"| {name} | {each.cards} | {each.edges} | {own} | {dot} | {each.first * 1e3:.0f} ms |")
    lines += ["", "## Bars", ""]
    lines += [f"- {'met' if met else 'MISSED'}: {text}" for met, text in _verdicts(timings)]
    return "\n".join(lines) + "\n"


def _dot_version() -> str:
    program = shutil.which("dot")
    if program is None:
        return "dot is absent (`apt-get install graphviz`)"
    told = subprocess.run([program, "-V"], capture_output=True, text=True, check=True)
    return (told.stderr or told.stdout).strip().replace("graphviz version", "Graphviz")


def _verdicts(timings: Sequence[Timing]) -> Iterator[tuple[bool, str]]:
    for each in timings:
        name = f"{each.network}, {'folded' if each.folded else 'complete'}"
        yield each.first < BAR, f"{name} under {BAR:g} s in the first call: {each.first:.2f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("networks", nargs="*", help=f"of 'cnnscope list'; by default {' '.join(NETWORKS)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--busy", action="store_true", help="on a machine that others use: CPU seconds")
    parser.add_argument("--limit", type=float, default=120.0, metavar="S", help="seconds that dot may take")
    parser.add_argument("--check", action="store_true", help="exit 1 when a bar is missed")
    parser.add_argument("-o", "--output", type=Path, help="write the page to this file too")
    options = parser.parse_args()
    rounds = 3 if options.quick else 7
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    timings = list(measure(options.networks or NETWORKS, rounds, options.limit, options.busy))
    page = report(timings, rounds, options.busy, load)
    print(page)
    if options.output:
        options.output.write_text(page, encoding="utf-8")
    return int(options.check and not all(met for met, _ in _verdicts(timings)))


if __name__ == "__main__":
    sys.exit(main())
