"""Predicted peak memory against the allocations of real CPU runs, with a peer beside it, in one run.

    python benchmarks/memory.py --quick
    python benchmarks/memory.py -o reports/memory.md      # an hour or more; Ctrl-C ends it with a page of what is done

Truth is ``torch.profiler``: the peak of the running sum of what PyTorch's CPU allocator was asked for, parameters,
buffers and input included, of one inference and of a steady training step (SGD with momentum; the loss is the sum of
the outputs). Predicted is ``memory(graph, "cpu").total.peak_allocated``. The peer is torchinfo's "Estimated Total
Size", which knows one figure for both. ``batch`` tells whether the graph drawn from traces at batch 2 and 3 equals the
direct one.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import time
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import torch
import torchinfo
from cpu_truth import inference_peak, training_peak
from real_steps import summed, weighted
from torch import nn

import cnnscope
from cnnscope.analyses.batches import Batches, agrees
from cnnscope.analyses.memory import PeakMemory, peak_memory
from cnnscope.errors import CnnscopeError
from cnnscope.papers import main_nets
from cnnscope.targets import load
from cnnscope.training import OPTIMIZERS
from cnnscope.units import binary

STEP: dict[str, Any] = {"train": True, "optimizer": "sgd-momentum"}
TORCHVISION = (
    "alexnet", "vgg11", "vgg16", "vgg16_bn", "resnet18", "resnet34", "resnet50", "resnet101", "resnext50_32x4d",
    "wide_resnet50_2", "densenet121", "densenet169", "squeezenet1_0", "squeezenet1_1", "googlenet", "inception_v3",
    "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "shufflenet_v2_x1_0", "mnasnet1_0", "efficientnet_b0",
    "efficientnet_b1", "efficientnet_v2_s", "regnet_y_400mf", "regnet_x_400mf", "convnext_tiny", "vit_b_32", "swin_t",
    "maxvit_t",
)  # fmt: skip
QUICK = ("lenet5", "alexnet", "googlenet", "resnet18", "densenet121", "squeezenet", *(
    f"torchvision:{name}" for name in (
        "resnet18", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x1_0", "squeezenet1_1", "efficientnet_b0",
        "regnet_y_400mf", "mnasnet1_0", "vit_b_32", "convnext_tiny",
    )
))  # fmt: skip


class Row(NamedTuple):
    """One run: bytes; ``batch`` None where it was not tried; seconds of the trace with its memory."""

    net: str
    train: bool
    size: int
    truth: int
    predicted: PeakMemory
    peer: int | None
    batch: bool | None
    seconds: float

    @property
    def error(self) -> float:
        return (self.predicted.peak_allocated or 0) / self.truth - 1


def rows(names: tuple[str, ...], sizes: tuple[int, ...], limit: int) -> Iterator[Row | str]:
    """A row, or a sentence for what was not run."""
    for name in names:
        found = load(name)
        shape = (found.default_input or ((1, 3, 224, 224),))[0][1:]
        model = weighted(found.model)
        for train in (False, True):
            batches = _batches(model, shape, train)
            for size in sizes:
                what = f"{name}, {'training' if train else 'inference'}, batch {size}"
                try:
                    yield row(name, model, (size, *shape), train, batches, limit)
                except Skipped as reason:
                    yield f"{what}: {reason}"
                except (CnnscopeError, RuntimeError, ValueError) as error:
                    yield f"{what}: {str(error).splitlines()[0]}"
        del model, found
        gc.collect()


class Skipped(Exception):
    """Too large for this machine."""


def row(name: str, model: nn.Module, shape: tuple[int, ...], train: bool, batches: Batches | None, limit: int) -> Row:
    begin = time.perf_counter()
    graph = cnnscope.trace(model, shape, **(STEP if train else {}))
    predicted = peak_memory(graph, "cpu")
    seconds = time.perf_counter() - begin
    if (predicted.peak_allocated or 0) > limit:
        raise Skipped(f"{binary(predicted.peak_allocated or 0)} are more than the limit of {binary(limit)}")
    x = torch.rand(shape)
    truth = training_peak(model, (x,), OPTIMIZERS["sgd-momentum"], summed) if train else inference_peak(model, x)
    model.zero_grad()
    same = agrees(batches.at(shape[0]), graph) if batches else None
    return Row(name, train, shape[0], truth, predicted, _torchinfo(model, shape), same, seconds)


def _batches(model: nn.Module, shape: tuple[int, ...], train: bool) -> Batches | None:
    try:
        traces = [cnnscope.trace(model, (b, *shape), **(STEP if train else {})) for b in (2, 3)]
        return Batches(traces[0], 2, traces[1], 3)
    except CnnscopeError:
        return None


def _torchinfo(model: nn.Module, shape: tuple[int, ...]) -> int | None:
    try:
        found = torchinfo.summary(model, input_size=shape, verbose=0)
    except Exception:  # whatever a peer raises is the peer's
        return None
    return found.total_input + found.total_output_bytes + found.total_param_bytes


def report(done: list[Row], skipped: list[str], seconds: float, command: str) -> str:
    lines = [
        "# Peak memory, predicted and real",
        "",
        f"One run of {seconds / 60:.0f} minutes on {os.cpu_count()} CPUs, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}, capability {torch.backends.cpu.get_cpu_capability()}; float32, contiguous. Truth: "
        f"allocations of `torch.profiler`. `python {command}` makes this page. "
        "No GPU was there: allocated and reserved bytes of CUDA are not confirmed yet.",
        "",
        "| | runs | exact | median error | worst | too low | bound exceeded | torchinfo: median, worst |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *(_summary(mode, found) for mode, train in _MODES if (found := [each for each in done if each.train is train])),
        "",
        "Too low by a few bytes: autograd keeps the number of `x * 0.5` in 8 bytes of its own, which no operator has.",
        "",
        *_batched(done),
        "",
        "| net | run | batch | real | predicted | error | torchinfo | trace |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
        *map(_line, sorted(done, key=lambda each: (each.net, each.train, each.size))),
    ]
    if skipped:
        lines += ["", "Not run:", "", *(f"- {sentence}" for sentence in skipped)]
    return "\n".join(lines) + "\n"


def _batched(done: list[Row]) -> list[str]:
    tried = [each for each in done if each.batch is not None]
    other = [
        f"{each.net}, {'training' if each.train else 'inference'}, batch {each.size}"
        for each in tried
        if not each.batch
    ]
    told = f"Graphs drawn from batch 2 and 3 that equal the direct trace: {len(tried) - len(other)} of {len(tried)}."
    return [told, *(["", f"There PyTorch runs other operators: {'; '.join(other)}."] if other else [])]


_MODES = (("inference", False), ("training step", True))


def _summary(mode: str, found: list[Row]) -> str:
    errors = [each.error for each in found]
    peers = [each.peer / each.truth - 1 for each in found if each.peer is not None]
    worst = max(errors, key=abs)
    over = sum(each.truth > (each.predicted.upper_bound or 0) for each in found)
    low = sum(each.truth > (each.predicted.peak_allocated or 0) for each in found)
    exact = sum(error == 0 for error in errors)
    return (
        f"| {mode} | {len(found)} | {exact} | {statistics.median(map(abs, errors)):.3%} | "
        f"{worst:+.3%} | {low} | {over} | {statistics.median(map(abs, peers)):.0%}, {max(peers, key=abs):+.0%} |"
    )


def _line(each: Row) -> str:
    peer = "?" if each.peer is None else f"{each.peer / each.truth - 1:+.1%}"
    error = "exact" if each.error == 0 else f"{each.error:+.3%}"
    return (
        f"| {each.net} | {'training' if each.train else 'inference'} | {each.size} | {binary(each.truth)} | "
        f"{binary(each.predicted.peak_allocated or 0)} | {error} | {peer} | {each.seconds * 1e3:.0f} ms |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="16 nets at batch 1 and 4: minutes")
    parser.add_argument("--nets", nargs="*", help="targets instead of the list")
    parser.add_argument("--limit", type=float, default=4.0, help="GiB that a run may take")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    names = QUICK if options.quick else (*main_nets(), *(f"torchvision:{name}" for name in TORCHVISION))
    passes = ((1, 4),) if options.quick else ((1, 4), (16,))  # the large ones behind all others
    begin = time.perf_counter()
    done: list[Row] = []
    skipped: list[str] = []
    try:
        found: Row | str
        for found in chain(
            *[rows(tuple(options.nets or names), sizes, int(options.limit * 2**30)) for sizes in passes]
        ):
            (skipped if isinstance(found, str) else done).append(found)  # type: ignore[arg-type]
            print(found if isinstance(found, str) else _line(found), file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        skipped.append("what comes behind the last row: the run was stopped there")
    page = report(done, skipped, time.perf_counter() - begin, " ".join(sys.argv))
    if options.output:
        options.output.write_text(page, encoding="utf-8")
    else:
        print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
