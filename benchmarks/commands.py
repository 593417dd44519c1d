"""How long whole commands take: traced anew (torch is imported), and with the trace in the cache (it is not).

    python benchmarks/commands.py --quick
    python benchmarks/commands.py -o reports/commands.md

Each command runs in a process of its own, Python's start included, with a cache folder of its own; the first run of
each, which fills the cache and the bytecode, is not counted. CPU seconds are those of the process and say what the
clock would on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

COMMANDS = (
    "--version",
    "list",
    "table vgg16",
    "table densenet201",
    "table torchvision:resnet50",
    "table resnet152 --by op --format json",
    "graph vgg16 -o -",
    "graph googlenet -o -",
    "memory resnet50",
    "memory resnet50 --train --optimizer adam",
    "compare vgg16 resnet50 googlenet",
    "size squeezenet1_0 --bits 6",
    "check vgg16 --max-macs 16G --max-peak 1GiB",
    "claims vgg16",
)
BAR = 0.25  # seconds, for tables and graphs of a net seen before
BOUND = ("table", "graph")


class Cost(NamedTuple):
    """Medians of the seconds of one command, and whether it imported torch."""

    clock: float
    cpu: float
    torch: bool


class Timing(NamedTuple):
    """A command without and with its trace in the cache."""

    anew: Cost
    again: Cost


def _run(command: str, env: dict[str, str], *options: str) -> tuple[float, float]:
    """Seconds of the clock and of the CPU."""
    line = [sys.executable, "-m", "cnnscope", *command.split(), *options]
    start = time.perf_counter()
    with subprocess.Popen(line, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        clock = time.perf_counter() - start
        if process.returncode and process.stderr:
            raise SystemExit(f"{command}: {process.stderr.read().decode()}")
    return clock, usage.ru_utime + usage.ru_stime


def _imports_torch(command: str, env: dict[str, str], *options: str) -> bool:
    line = [sys.executable, "-X", "importtime", "-m", "cnnscope", *command.split(), *options]
    return b"| torch\n" in subprocess.run(line, env=env, capture_output=True, check=False).stderr


def _cost(command: str, env: dict[str, str], rounds: int, *options: str) -> Cost:
    torch = _imports_torch(command, env, *options)  # the run that is not counted
    runs = [_run(command, env, *options) for _ in range(rounds)]
    return Cost(statistics.median(clock for clock, _ in runs), statistics.median(cpu for _, cpu in runs), torch)


def measure(commands: Sequence[str], rounds: int) -> dict[str, Timing]:
    """The timing of each command."""
    with tempfile.TemporaryDirectory() as folder:
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        env |= {"CNNSCOPE_CACHE_DIR": f"{folder}/traces", "PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}
        env["CNNSCOPE_NO_CACHE"] = "0"
        found = {}
        for command in commands:
            traces = command.split()[0] not in ("--version", "list")
            anew = _cost(command, {**env, "CNNSCOPE_NO_CACHE": "1"} if traces else env, rounds)
            _run(command, env)
            found[command] = Timing(anew, _cost(command, env, rounds))
            print(command, found[command], file=sys.stderr)
        return found


def report(timings: dict[str, Timing], rounds: int, load: float) -> str:
    """The Markdown page. load: how many processes wanted a CPU when the run began."""
    cpus = os.cpu_count() or 1
    lines = [
        "# Time of whole commands",
        "",
        f"Medians of {rounds} runs, seconds, Python's start included, on {cpus} CPUs ({platform.machine()}), "
        f"torch {version('torch')}, Python {platform.python_version()}.",
        "",
        "- anew: the model is traced (`CNNSCOPE_NO_CACHE=1`); again: its trace is in the cache",
        "- CPU: seconds of all threads of the process",
    ]
    if load > cpus / 4:
        lines.append(f"- **Not on an idle machine** (load {load:.1f}): there the clock shows about the CPU seconds")
    lines += [
        "",
        "| command | anew, clock | anew, CPU | again, clock | again, CPU | torch imported again |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for command, (anew, again) in timings.items():
        seconds = " | ".join(f"{value:.2f}" for value in (anew.clock, anew.cpu, again.clock, again.cpu))
        lines.append(f"| `{command}` | {seconds} | {'yes' if again.torch else 'no'} |")
    lines += ["", f"## Bar: a table or graph of a net seen before within {BAR} s", ""]
    for command, (_, again) in timings.items():
        if command.split()[0] in BOUND:
            met = min(again.clock, again.cpu) <= BAR and not again.torch
            lines.append(f"- {'met' if met else 'MISSED'}: `{command}` {again.clock:.2f} s, {again.cpu:.2f} s of CPU")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("commands", nargs="*", help="each in quotes; by default a list of usual ones")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("-o", "--output", type=Path, help="write the page to this file too")
    options = parser.parse_args()
    rounds = 3 if options.quick else 9
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    page = report(measure(options.commands or COMMANDS, rounds), rounds, load)
    print(page)
    if options.output:
        options.output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
