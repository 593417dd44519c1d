"""Thousands of random networks, each traced and held against its real run on the CPU.

    nice python benchmarks/reliability.py --networks 5000 -o reports/reliability.md

A number is a network, the same one every time (``tests/fuzzing/nets.py``). What is found of each is a line in a file of
JSON lines, which a later run goes on from, as long as neither cnnscope nor the networks have changed meanwhile. A
difference is shrunk to the fewest steps that show it; ``examined(Recipe(...))`` shows it again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import torch
from fuzzing.drawing import STEPS
from fuzzing.holding import examined, smaller
from fuzzing.nets import recipe

ROOT = Path(__file__).parents[1]
Record = dict[str, Any]


def record(seed: int) -> Record:
    """What becomes of one network."""
    start = time.perf_counter()
    drawn = recipe(seed)
    try:
        found = examined(drawn)
    except Exception as error:  # a defect of ours or of the fuzzing, which the report shows
        return {"seed": seed, "used": [], "how": "failed", "differences": [f"{type(error).__name__}: {error}"[:300]]}
    line = {"seed": seed, **found._asdict(), "seconds": round(time.perf_counter() - start, 4)}
    if found.differences:
        line["recipe"] = repr(smaller(drawn, lambda other: bool(examined(other).differences)))
    else:
        del line["recipe"]
    return line


def source() -> str:
    """A digest of what the records depend on."""
    files = sorted([*(ROOT / "cnnscope").rglob("*.py"), *(ROOT / "tests" / "fuzzing").glob("*.py")])
    contents = [torch.__version__.encode(), *[path.read_bytes() for path in files]]
    return hashlib.sha256(b"\0".join(contents)).hexdigest()[:16]


def recorded(path: Path, of: str) -> dict[int, Record]:
    """What is known already of this source; of a line that a killed run left half written, nothing."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            known = json.loads(line)
        except ValueError:
            continue
        if known["source"] == of:
            found[known["seed"]] = known
    return found


def run(seeds: Iterable[int], path: Path, minutes: float) -> dict[int, Record]:
    """Examine what is not recorded, until the minutes are over."""
    end, of = time.monotonic() + 60 * minutes, source()
    known = recorded(path, of)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for seed in seeds:
            if seed in known:
                continue
            if time.monotonic() > end:
                break
            known[seed] = {**record(seed), "source": of}
            file.write(json.dumps(known[seed]) + "\n")
            file.flush()
            if known[seed]["differences"]:
                print(f"{seed}: {known[seed]['differences'][0]}", flush=True)
    return {seed: known[seed] for seed in seeds if seed in known}


# -- the report -------------------------------------------------------------------------------------------------------

HOW = {
    "traced": "traced without data",
    "cpu": "traced in a real run on the CPU, because they ask for numbers",
    "refused": "that PyTorch cannot run, refused by the trace too, with a sentence of at most three lines",
    "no kernel": "traced, and without a real run: the CPU has no kernel for the type",
    "failed": "that ended in a defect",
}


def report(records: dict[int, Record]) -> str:
    """The Markdown page."""
    lines = list(records.values())
    differing = [line for line in lines if line["differences"]]
    compared = sum(line["how"] in ("traced", "cpu") and not line["differences"] for line in lines)
    numbers = Counter(line["how"] for line in lines if line["how"] != "refused" or not line["differences"])
    steps = Counter(name for line in lines for name in set(line["used"]))
    operators = sum(line.get("operators", 0) for line in lines)
    missing = Counter(kind for line in lines for kind in line.get("missing", ()))
    versions = f"Python {platform.python_version()}, torch {version('torch')}, one thread, {platform.machine()}"
    page = [
        "# Reliability",
        "",
        f"Random networks, numbers {min(records)} to {max(records)} of `tests/fuzzing/nets.py`, each traced and run "
        f"for real on the CPU ({versions}): `python benchmarks/reliability.py --networks {len(lines)}`. Compared are "
        "every operator in order with shape, type and strides of each result, the bytes alive after each, outputs, "
        "parameters, multiply-adds (half the FLOPs of `torch.utils.flop_counter`), every third network also in a whole "
        "training step of a random kind; the model, its inputs and the random state are as before; the graph comes "
        "back from the cache as it was; tables, drawings and fused graphs are made of it.",
        "",
        "| | |",
        "|---|---:|",
        f"| networks | {len(lines):,} |",
        *[f"| {text} | {numbers[how]:,} |" for how, text in HOW.items() if numbers[how]],
        f"| training steps compared | {sum(line.get('trained', False) for line in lines):,} |",
        f"| operators | {operators:,} |",
        f"| equal to the real run in all that is compared | {compared:,} |",
        f"| differing | {len(differing):,} |",
        f"| seconds | {sum(line.get('seconds', 0) for line in lines):,.0f} |",
        "",
        "## Not compared",
        "",
        *[f"- {each}" for each in APART],
    ]
    page += _section("Differing", _differing(differing))
    page += _section("Known, and not yet as on the CPU", KNOWN)
    page += _section(
        "Operators without a count, in so many networks", [f"`{k}`: {n}" for k, n in missing.most_common()]
    )
    drawn = ", ".join(f"{name} {steps[name]:,}" for name in sorted(STEPS))
    return "\n".join([*page, "", f"## Steps, and in how many networks ({len(STEPS)} kinds)", "", drawn]) + "\n"


KNOWN = (
    "A transposed convolution that ATen's own kernel for three dimensions computes (dilated, for one) keeps memory of "
    "the input's size when its result is smaller; which kernel it is, is decided at run time.",
    "A transposed convolution whose result has no elements: oneDNN takes some shapes, other kernels and the trace "
    "refuse it.",
    "Batch norm of a half with parameters of the other half: the CPU refuses it, a trace does not.",
)
APART = (
    "Operators and bytes inside of recurrent layers: the CPU runs oneDNN's single kernel, or multiplies the inputs of "
    "all steps at once; a trace takes them apart step by step, as other devices do. Shapes, parameters and "
    "multiply-adds are compared.",
    "The transformer's fast path, which is off in the real run: a trace takes it apart.",
    "Reads of one number, which make nothing.",
    "Strides along dimensions of size 1, which lead nowhere; strides of Fourier transforms of tensors that are not "
    "row-major (these are not drawn).",
    "A bias that is trained while its weight is not: oneDNN makes the weight's gradient all the same (not drawn).",
)


def _differing(records: list[Record]) -> Iterator[str]:
    for line in records:
        yield f"{line['seed']}: {'; '.join(line['differences'])}" + (f" `{line['recipe']}`" if "recipe" in line else "")


def _section(title: str, items: Iterable[str]) -> list[str]:
    found = list(items)
    return ["", f"## {title}", "", *[f"- {item}" for item in found]] if found else []


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--networks", type=int, metavar="N", default=1000, help="so many (default 1000)")
    parser.add_argument("--first", type=int, metavar="N", default=0, help="begin with this number (default 0)")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no further network after so many")
    parser.add_argument("--records", type=Path, default=Path("build/reliability.jsonl"), help="what is known of each")
    parser.add_argument("-o", "--output", type=Path, help="write the page to this file too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    records = run(range(options.first, options.first + options.networks), options.records, options.minutes)
    page = report(records)
    print(page)
    if options.output:
        options.output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
