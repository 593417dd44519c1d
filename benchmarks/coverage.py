"""How many models of torchvision and timm get a full table, and whether its figures are those of others.

    python benchmarks/coverage.py --sample 100
    nice python benchmarks/coverage.py --all --minutes 25      # and again: it goes on where it stopped
    python benchmarks/coverage.py --report -o reports/coverage.md

Each model is examined in a process of its own, with a limit on time and memory: none can end the run. What is found is
a line in a file of JSON lines; a model that stands in it is not examined again, unless ``--again`` says so.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # processes are forked, and threads are not

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

import cnnscope
from cnnscope.arguments import arguments_of
from cnnscope.errors import CnnscopeError, UntraceableModel
from cnnscope.libraries import imported
from cnnscope.standins import stand_in
from cnnscope.targets import Target, load

Record = dict[str, Any]
GROUPS = ("classification", "segmentation", "video", "optical_flow", "quantization", "detection", "timm")
# Why torchvision prints other figures. The first is computed: with the auxiliary classifier the figures are equal.
UNLIKE = {
    "segmentation": "printed is the model with its weights, which has an auxiliary classifier that runs too",
    "optical_flow": "printed at a size that is not stated; there is no default one",
    "detection": "how many boxes are looked at depends on the numbers, which are random here",
}
AIMED_AT = ("classification", "segmentation", "video")
_FUSED = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


# -- one model --------------------------------------------------------------------------------------------------------


def examined(name: str) -> Record:
    """What becomes of one model: ``how`` is meta, cpu (a real run) or refused; then ``why`` is the one sentence."""
    record: Record = {"name": name}
    try:
        graph, target, where, seconds = _traced(name)
    except CnnscopeError as error:
        return {**record, "how": "refused", "why": str(error).splitlines()[0]}
    table = cnnscope.layers(graph)
    expected = sum(each.numel() for each in target.model.parameters())
    theirs, why = _counted(target, where)
    return {
        **record,
        "how": where,
        "operators": len(graph),
        "missing": dict(table.missing),
        "params": table.total.params,
        "params_equal": table.total.params == expected,
        "macs": table.total.macs,
        "counter": theirs,
        "counter_why": why,
        "seconds": round(seconds, 3),
    }


def _traced(name: str) -> tuple[cnnscope.ModelGraph, Target, str, float]:
    """The graph as the command line gets it, its model, where it ran, and seconds from the built model to the graph."""
    target = load(name)
    try:
        return _timed(target, "meta")
    except UntraceableModel as error:
        if not error.needs_data:
            raise
    return _timed(load(name, "cpu"), "cpu")


def _timed(target: Target, where: str) -> tuple[cnnscope.ModelGraph, Target, str, float]:
    if target.default_input is None:
        raise CnnscopeError("nobody says which input it takes")
    start = time.perf_counter()
    graph = cnnscope.trace(target.model, tuple(target.default_input), device_trace=where, name=target.name)
    return graph, target, where, time.perf_counter() - start


def _counted(target: Target, where: str) -> tuple[int | None, str]:
    """Multiply-adds by torch's own counter, half its FLOPs; or why it cannot count."""
    model, originals = stand_in(target.model, where)
    args, keywords = arguments_of(model, tuple(target.default_input or ()), {}, originals)
    model.requires_grad_(False)  # the counter's hooks stumble over views of what could have a gradient
    formulas = {_FUSED: lambda q, k, v, *rest, **out: sdpa_flop_count(q, k, v)}
    try:
        with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=formulas) as counter:
            model.eval()(*args, **keywords)
    except Exception as error:
        return None, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:200]
    return counter.get_total_flops() // 2, ""


# -- all models -------------------------------------------------------------------------------------------------------


def names_of(library: str) -> dict[str, list[str]]:
    """The models of a library by group, as targets."""
    if library == "timm":
        return {"timm": [f"timm:{name}" for name in imported("timm", "timm").list_models()]}
    models = imported("torchvision.models", "torchvision")
    kinds = {kind: getattr(models, kind, models) for kind in GROUPS if kind != "timm"}
    return {kind: [f"torchvision:{name}" for name in models.list_models(kinds[kind])] for kind in kinds}


def sampled(names: Sequence[str], count: int | None) -> list[str]:
    """So many of them, evenly over the alphabet and so over the families; all if None."""
    if count is None or count >= len(names):
        return list(names)
    return [names[i * len(names) // count] for i in range(count)]


def apart(name: str, seconds: float, memory: int) -> Record:
    """A model in a process of its own, which ends with it, at the limit of its time, or when memory runs out."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    worker = context.Process(target=_work, args=(name, theirs, memory))
    worker.start()
    theirs.close()
    try:
        found: Record = ours.recv() if ours.poll(seconds) else {"how": "refused", "why": f"more than {seconds:.0f} s"}
    except EOFError:
        found = {"how": "refused", "why": f"the process died (signal {-(worker.exitcode or 0)})"}
    worker.kill()
    worker.join()
    return {"name": name, **found}


def _work(name: str, answer: Any, memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    warnings.simplefilter("ignore")
    try:
        answer.send(examined(name))
    except MemoryError:
        answer.send({"how": "refused", "why": f"more than {memory / 2**30:.0f} GiB of memory"})
    except Exception as error:  # a defect of ours, which the report shows
        answer.send({"how": "failed", "why": f"{type(error).__name__}: {error}"[:300]})


def recorded(path: Path) -> dict[str, Record]:
    """What is known already; of a line that a killed run left half written, nothing."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        found[record["name"]] = record
    return found


def run(names: Iterable[str], path: Path, options: argparse.Namespace) -> None:
    """Examine what is not recorded, until the minutes are over."""
    end = time.monotonic() + 60 * options.minutes
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {name for name, record in recorded(path).items() if not (options.again and _faulty(record))}
    with path.open("a", encoding="utf-8") as file:
        for name in names:
            if name in known:
                continue
            if time.monotonic() > end:
                return
            record = apart(name, options.seconds, int(options.memory * 2**30))
            file.write(json.dumps(record) + "\n")
            file.flush()
            print(f"{name}: {_told(record)}", flush=True)


def _faulty(record: Record) -> bool:
    return (
        "why" in record
        or bool(record["missing"])
        or not record["params_equal"]
        or _differs(record)
        or not record["counter"]
    )


def _differs(record: Record) -> bool:
    return record.get("counter") is not None and record["counter"] != record["macs"]


def _told(record: Record) -> str:
    if "why" in record:
        return f"{record['how']}: {record['why']}"
    gaps = f", without {', '.join(record['missing'])}" if record["missing"] else ""
    counted = "no counter" if record["counter"] is None else "differs" if _differs(record) else "equal"
    return f"{record['how']}, {record['operators']} operators{gaps}, MACs {counted}, {record['seconds']:.2f} s"


# -- the report -------------------------------------------------------------------------------------------------------


def report(records: dict[str, Record], groups: dict[str, list[str]]) -> str:
    """The Markdown page."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "timm"))
    lines = [
        "# Coverage",
        "",
        f"Models at the input that their library states, batch 1, each in a fresh process on {os.cpu_count()} CPUs "
        f"({platform.machine()}), {versions}. A real run, on the CPU with random weights, is for forwards that ask for "
        "numbers. MACs are held against half the FLOPs of `torch.utils.flop_counter`, parameters against "
        "`sum(p.numel())`, and MACs also against the GFLOPs that torchvision prints beside its weights; seconds are "
        "those of the trace.",
        "",
        "| models | there are | tried | traced | real run | no | nothing missing | parameters equal | MACs equal "
        "| as printed | seconds, median | longest |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [_row(group, names, records) for group, names in groups.items()]
    every = [name for names in groups.values() for name in names]
    tried = [records[name] for name in every if name in records]
    lines += ["", *_aims(groups, records)]
    lines += _section("No table, and why", [f"{r['name']}: {r['why']}" for r in tried if "why" in r])
    lines += _section("Operators without a rule", _gaps(tried))
    lines += _section("Parameters that differ", [r["name"] for r in tried if not r.get("params_equal", True)])
    lines += _section(
        "MACs that differ", [f"{r['name']}: {r['macs']:,}, and {r['counter']:,}" for r in tried if _differs(r)]
    )
    lines += _section("Not what torchvision prints", _unlike(groups, records))
    silent = Counter(r["counter_why"] for r in tried if r.get("counter_why"))
    lines += _section("Where torch's counter does not run", [f"{count} x {why}" for why, count in silent.most_common()])
    return "\n".join(lines) + "\n"


def _row(group: str, names: list[str], records: dict[str, Record]) -> str:
    tried = [records[name] for name in names if name in records]
    fine = [record for record in tried if "why" not in record]
    counted = [record for record in fine if record["counter"] is not None]
    seconds = sorted(record["seconds"] for record in fine) or [0.0]
    cells = [
        len(names),
        len(tried),
        sum(record["how"] == "meta" for record in tried),
        sum(record["how"] == "cpu" for record in tried),
        len(tried) - len(fine),
        sum(not record["missing"] for record in fine),
        sum(record["params_equal"] for record in fine),
        f"{sum(not _differs(record) for record in counted)} of {len(counted)}",
        "" if group == "timm" else f"{sum(_is_printed(record) for record in fine)} of {len(fine)}",
        f"{statistics.median(seconds):.2f}",
        f"{seconds[-1]:.1f}",
    ]
    return f"| {group} | " + " | ".join(map(str, cells)) + " |"


def printed(name: str) -> list[float]:
    """Billions of multiply-adds that torchvision states for a model, once for each of its weights."""
    models = imported("torchvision.models", "torchvision")
    return [weights.meta["_ops"] for weights in models.get_model_weights(name.partition(":")[2])]


def _is_printed(record: Record) -> bool:
    return any(abs(record["macs"] / 1e9 - each) < 1.5e-3 for each in printed(record["name"]))


def _unlike(groups: dict[str, list[str]], records: dict[str, Record]) -> list[str]:
    """Models whose MACs torchvision prints otherwise, with both figures and the reason."""
    return [
        f"{name}: {records[name]['macs'] / 1e9:.3f} G, and {printed(name)[-1]:.3f} G: {UNLIKE.get(group, 'not known')}"
        for group, names in groups.items()
        for name in names
        if group != "timm" and "macs" in records.get(name, ()) and not _is_printed(records[name])
    ]


def _aims(groups: dict[str, list[str]], records: dict[str, Record]) -> Iterator[str]:
    """The bars of the project: all that are aimed at of torchvision, 99.5% of timm's that were tried."""
    for group, names in groups.items():
        tried = [records[name] for name in names if name in records]
        good = sum("why" not in record and not record["missing"] for record in tried)
        aim = 1.0 if group in AIMED_AT else 0.995 if group == "timm" else None
        if aim is not None and tried:
            met = "met" if good >= aim * len(tried) else "MISSED"
            share = good / len(tried)
            yield f"- {met}: {group} {aim:.1%}: {good} of {len(tried)} tried have a full table ({share:.1%})"


def _gaps(tried: Iterable[Record]) -> list[str]:
    found: dict[str, list[str]] = {}
    for record in tried:
        for kind in record.get("missing", ()):
            found.setdefault(kind, []).append(record["name"])
    return [f"`{kind}`: {len(names)} models, {names[0]}" for kind, names in sorted(found.items())]


def _section(title: str, items: list[str]) -> list[str]:
    return ["", f"## {title}", "", *(f"- {item}" for item in items)] if items else []


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", help="these alone: torchvision:resnet50, timm:resnet50")
    parser.add_argument("--sample", type=int, metavar="N", default=100, help="so many of timm's (default 100)")
    parser.add_argument("--all", action="store_true", help="all of timm's")
    parser.add_argument("--again", action="store_true", help="also those that did not come out well the last time")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no further model after so many")
    parser.add_argument("--seconds", type=float, default=120, help="limit for one model (default 120)")
    parser.add_argument("--memory", type=float, default=8, help="limit for one model in GiB of addresses (default 8)")
    parser.add_argument(
        "--records", type=Path, default=Path("build/coverage.jsonl"), help="what is known of each model"
    )
    parser.add_argument("--report", action="store_true", help="examine nothing")
    parser.add_argument("-o", "--output", type=Path, help="write the page to this file too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    groups = {**names_of("torchvision"), **names_of("timm")}
    if not options.report:
        rest = sampled(groups["timm"], None if options.all else options.sample)
        chosen = options.models or [*(name for group in GROUPS[:-1] for name in groups[group]), *rest]
        run(chosen, options.records, options)
    page = report(recorded(options.records), groups)
    print(page)
    if options.output:
        options.output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
