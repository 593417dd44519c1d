"""Predicted against published throughputs of timm's models, with every family held out in turn.

    python benchmarks/throughput.py FOLDER --cache kernels.jsonl.gz --quick
    python benchmarks/throughput.py FOLDER --cache kernels.jsonl.gz -o reports/time.md

FOLDER holds files of timm's results/ as published (benchmark-infer-amp-nhwc-pt240-cu124-rtx4090.csv ...): inference,
automatic mixed precision, eager, one GPU, large batches. Each net is traced at the size and batch of its row; nothing
is run. What is fitted are parts of peaks by kind of kernel, and the time of a launch: no model is known by its name,
and a family is a file of timm's, so that all of its variants are held out together.

The cache keeps the kernels of each traced net (tracing takes minutes, fitting seconds). --check: exit 1 when a bar is
missed.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fitting
import numpy as np
from comparisons import FORMS, Result, Sample, across, result, sample, shipped
from fitting import Score
from published import Cache, settings

from cnnscope.efficiencies import KINDS, written

BAR = ("RTX 4090", "channels-last", 0.07, 0.98)  # median error at most, Spearman at least
STEPS = 8


def page(cnns: list[Result], every: list[Result], steps: list[Sample], efficiencies: dict[str, Any]) -> str:
    lines = [
        "# Predicted time",
        "",
        "Held against the throughputs that timm publishes (Apache-2.0; inference, automatic mixed precision, eager,",
        "saturating batches). Each net is traced at the size and batch of its row. Numbers are fitted on four fifths",
        "of the families and judged on the fifth, in turn; a family is a file of timm's, with all variants and sizes.",
        "Errors are absolute and relative, in time; ranks are of the time an image.",
        "",
        *_grid("Convolutional nets (most multiply-adds in convolutions, no attention)", cnns),
        *_grid("All nets", every),
        *_transfer([each.sample for each in cnns]),
        *_training(steps, efficiencies),
        *_worst(cnns),
        *_numbers(efficiencies),
        "## Bar",
        "",
        *(line for _, line in verdicts(cnns)),
    ]
    return "\n".join(lines) + "\n"


def _grid(title: str, results: list[Result]) -> list[str]:
    lines = [
        f"## {title}",
        "",
        "| form (numbers fitted) | " + " | ".join(r.sample.setting.name for r in results) + " |",
    ]
    lines.append("|---|" + "---|" * len(results))
    fitted = dict(zip(FORMS, (1, 2, 0, 1, 2 * 8 + 1), strict=True))
    for form in FORMS:
        cells = [_cell(each.scores[form]) for each in results]
        lines.append(f"| {form} ({fitted[form]}) | " + " | ".join(cells) + " |")
    sizes = [f"{len(r.sample.rows)} in {len(set(r.sample.families))} of {len(r.sample.setting.rows)}" for r in results]
    lines.append("| nets in families, of rows | " + " | ".join(sizes) + " |")
    return [*lines, "", "Median / 90th percentile of the error, Spearman, Kendall.", ""]


def _cell(score: Score) -> str:
    return f"{score.median:.1%} / {score.ninetieth:.0%}, {score.spearman:.3f}, {score.kendall:.3f}"


def _transfer(samples: list[Sample]) -> list[str]:
    pairs = [(a, b) for a in samples for b in samples if a is not b and a.setting.layout == b.setting.layout]
    if not pairs:
        return []
    lines = ["## From one GPU to another (fit on the first, predict the second from its sheet)", ""]
    for one, other in pairs:
        lines.append(f"- {one.setting.gpu} to {other.setting.name}: {_cell(across(one, other))}")
    return [*lines, ""]


def _training(steps: list[Sample], efficiencies: dict[str, Any]) -> list[str]:
    """Training steps, predicted with the numbers of inference."""
    lines = [f"## Training steps (every {STEPS}th row of CNNs; nothing is fitted on them, another PyTorch)", ""]
    for found in steps:
        numbers = fitting.numbers_of(efficiencies[found.setting.layout])
        times = fitting.seconds(numbers, found.work)
        middle = float(np.median(found.measured / times))
        named = f"- {found.setting.name}, {found.work.nets} nets: "
        lines.append(
            f"{named}{_cell(fitting.score(times, found.measured, found.images))}; measured {middle:.2f} x predicted"
        )
        scaled = fitting.score(times * middle, found.measured, found.images)
        lines.append(f"  times one scalar, fitted on all of them: {_cell(scaled)}")
    return [*lines, ""] if steps else []


def _worst(results: list[Result]) -> list[str]:
    """The families that are predicted worst: what the form does not know."""
    lines = ["## Families that are off most (measured over predicted, median, at least three nets)", ""]
    for found in results:
        ratios: dict[str, list[float]] = {}
        for family, measured, predicted in zip(
            found.sample.families, found.sample.measured, found.predicted, strict=True
        ):
            ratios.setdefault(family, []).append(measured / predicted)
        medians = {family: float(np.median(each)) for family, each in ratios.items() if len(each) >= 3}
        far = sorted(medians, key=lambda family: -abs(np.log(medians[family])))[:6]
        lines.append(f"- {found.sample.setting.name}: " + ", ".join(f"{each} {medians[each]:.2f}" for each in far))
    return [*lines, ""]


def _numbers(efficiencies: dict[str, Any]) -> list[str]:
    lines = ["## The efficiencies that are shipped", "", "| kind | " + " | ".join(efficiencies) + " |"]
    lines.append("|---|" + "---|" * len(efficiencies))
    for kind in KINDS:
        parts = [
            f"{each.compute[kind]:.2f} of the rate, {each.bandwidth[kind]:.2f} of the bandwidth"
            if kind in each.compute
            else f"{each.bandwidth[kind]:.2f} of the bandwidth"
            for each in efficiencies.values()
        ]
        lines.append(f"| {kind} | " + " | ".join(parts) + " |")
    lines.append("| launch | " + " | ".join(f"{each.launch * 1e6:.1f} µs" for each in efficiencies.values()) + " |")
    ranges = [f"{each.spread[0]:.2f} to {each.spread[1]:.2f}" for each in efficiencies.values()]
    lines.append("| measured over predicted, 10th to 90th percentile | " + " | ".join(ranges) + " |")
    ranges = [f"{each.training[0]:.2f} to {each.training[1]:.2f}" for each in efficiencies.values()]
    lines.append("| the same, training steps | " + " | ".join(ranges) + " |")
    return [*lines, ""]


def verdicts(results: list[Result]) -> Iterator[tuple[bool, str]]:
    gpu, layout, error, rank = BAR
    for found in results:
        if (found.sample.setting.gpu, found.sample.setting.layout) == (gpu, layout):
            got = found.scores["ours"]
            met = got.median <= error and got.spearman >= rank
            aim = f"at most {error:.0%} and Spearman at least {rank}"
            word = "met" if met else "MISSED"
            yield met, f"- {word}: {found.sample.setting.name}: {got.median:.1%}, {got.spearman:.3f} ({aim})"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with timm's benchmark-infer-amp-*.csv and benchmark-train-amp-*.csv")
    parser.add_argument("--cache", type=Path, metavar="FILE", help="keep the traced kernels there (.jsonl.gz)")
    parser.add_argument("--quick", action="store_true", help="every twelfth row")
    parser.add_argument("--check", action="store_true", help="exit 1 when a bar is missed")
    parser.add_argument("--efficiencies", type=Path, metavar="FILE", help="write the fitted numbers to this file")
    parser.add_argument("-o", "--output", type=Path, help="write the page to this file too")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    published = settings(options.folder)
    if not published:
        parser.error(f"{options.folder} has no file of the form benchmark-infer-amp-nhwc-pt240-cu124-rtx4090.csv")
    if options.quick:
        published = [each._replace(rows=each.rows[::12]) for each in published]
    published = [each._replace(rows=each.rows[:: STEPS if each.train else 1]) for each in published]
    cache = Cache(options.cache)
    cache.fill(published)
    cnns = [sample(each, cache, cnn=True) for each in published if not each.train]
    steps = [sample(each, cache, cnn=True) for each in published if each.train]
    results = [result(each) for each in cnns]
    every = [result(sample(each, cache, cnn=False)) for each in published if not each.train]
    efficiencies = shipped(cnns, steps)
    text = page(results, every, steps, efficiencies)
    print(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    if options.efficiencies:
        parts = [written(each, layout.replace("-", "_")) for layout, each in efficiencies.items()]
        options.efficiencies.write_text("\n".join([HEADING, *parts]), encoding="utf-8")
    return int(options.check and not all(met for met, _ in verdicts(results)))


HEADING = """# How near kernels come to a device's peaks; written by benchmarks/throughput.py, see reports/time.md.
# compute: part of the peak rate (for products; depthwise: of the fp32 rate of the plain cores); bandwidth: part of the
# peak bandwidth; launch_us: microseconds for each kernel; spread: measured time over predicted for nets of families
# that were not fitted, 10th to 90th percentile; training: for training steps, with the same numbers.
"""


if __name__ == "__main__":
    sys.exit(main())
