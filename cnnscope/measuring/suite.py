"""The whole zoo on one device, as records in a folder; run it again for what is missing.

    python -m cnnscope.measuring.suite --device cuda --out reports/measured/h200
    python -m cnnscope.measuring.suite --device cpu --out reports/measured/epyc --names resnet18,vgg16 --batch 1

Records that are complete are left alone. The nets with a cited accuracy come first, with power and energy on a GPU,
then the rest of the zoo without power, then those of the lecture's Comparison at other batch sizes. The time that is
left decides how long each is timed. Ctrl-C keeps what there is.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import torch

from .. import records, zoo
from ..comparing import accuracies
from ..errors import CnnscopeError, UnusableRecord
from ..outputs import write
from .power import WINDOW
from .sessions import measure_target, settings_of

BATCHES = (1, 8, 64)


class Job(NamedTuple):
    """One measurement of the suite."""

    model: str
    batch: int
    train: bool
    power: bool

    @property
    def file(self) -> str:
        """What its record is called."""
        plain = "".join(c if c.isalnum() or c in "_-" else "_" for c in self.model)
        return f"{plain}-b{self.batch}{'-train' if self.train else ''}.json"


def jobs(names: Sequence[str], batch: int, train: bool) -> Iterator[Job]:
    """The measurements in the order of their worth. names: '' for the whole zoo."""
    if names:
        yield from (Job(name, batch, train, True) for name in names)
        return
    cited = [each["model"] for each in accuracies()["network"]]
    charted = [each["model"] for each in accuracies()["network"] if each.get("chart")]
    families = {model["name"] for paper in zoo.catalog() for model in paper.get("model", ()) if "parameters" in model}
    others = [name for name in zoo.names() if name not in cited]
    yield from (Job(name, batch, train, True) for name in cited)
    yield from (Job(name, batch, train, False) for name in others if name not in families)
    yield from (Job(name, batch, train, False) for name in others if name in families)
    yield from (Job(name, other, train, True) for name in charted for other in BATCHES if other != batch)


def complete(path: Path, device: str) -> bool:
    """Whether there is a record that needs no other run."""
    try:
        found = records.read(path)
    except UnusableRecord:
        return False
    return found.complete and found.settings.device == device


def run(job: Job, path: Path, device: str, dtype: str, seconds: float) -> str:
    """Measure one and keep its record; in a line, what came of it."""
    shape = (job.batch, *zoo.entry(job.model)["input"][1:])
    settings = settings_of(device=device, dtype=dtype, train=job.train, power=job.power, seconds=seconds)
    found = measure_target(job.model, shape, {}, settings, name=zoo.entry(job.model)["name"])
    write(path, found.to_json())
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    return f"{found.time.whole.median * 1e3:10.2f} ms" if found.time else found.stopped


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--device", type=click.Choice(records.DEVICES), required=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="FOLDER")
@click.option("--names", default="", metavar="A,B", help="These of the zoo only.")
@click.option("--batch", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--dtype", type=click.Choice(records.DTYPES), default="fp32", show_default=True)
@click.option("--train", is_flag=True, help="Training steps.")
@click.option("--budget", type=float, default=520.0, show_default=True, metavar="S", help="For all together.")
def main(device: str, out: Path, names: str, batch: int, dtype: str, train: bool, budget: float) -> None:
    """Measure the zoo and leave a record of each net in FOLDER."""
    start = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    wanted = list(jobs([zoo.entry(name)["name"] for name in names.split(",") if name], batch, train))
    left = [job for job in wanted if not complete(out / job.file, device)]
    click.echo(f"{len(wanted) - len(left)} of {len(wanted)} are there; {len(left)} to measure in {budget:.0f} s")
    failed = 0
    for number, job in enumerate(left):
        remaining = budget - (time.perf_counter() - start)
        windows = WINDOW * sum(each.power for each in left[number:]) if device == "cuda" else 0.0
        if remaining < 2 + (WINDOW if job.power and device == "cuda" else 0):
            click.echo(f"the time is over: {len(left) - number} are left; run this again for them")
            sys.exit(1)
        share = (remaining - windows) / (len(left) - number)
        try:
            line = run(job, out / job.file, device, dtype, min(2.0, max(0.1, share / 6)))
        except CnnscopeError as error:
            failed += 1
            line = str(error).replace("\n", "; ")
        click.echo(f"{time.perf_counter() - start:6.1f} s  {job.file:<44}  {line}")
        if line.startswith(("interrupted", "the GPU", "NVML: the GPU")):
            sys.exit(130 if line.startswith("interrupted") else 1)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
