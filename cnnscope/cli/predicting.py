"""``cnnscope devices``, ``calibrate`` and ``fit``: what time is predicted for, what that rests on, the prediction."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from .common import deliver, takes_model, takes_run, traced
from .peaks import Bytes, by_batch
from .viewing import View, takes_view

if TYPE_CHECKING:
    from ..calibrating import Calibration
    from ..devices import Device
    from ..graph import ModelGraph
    from ..table import Table


@click.command()
@takes_view(strict=False)
@click.option("--traceback", is_flag=True, expose_value=False, hidden=True)
def devices(view: View) -> int:
    """List the devices that time can be predicted for, with what their sheets promise.

    --columns has more of them: sheet, url, aliases, fp8, int8 ...
    """
    from ..devices import catalog

    return view.deliver(catalog())


@click.command()
@click.option("--device", "on", type=click.Choice(["cuda", "cpu"]), help="[default: the GPU where there is one]")
@click.option(
    "--dtype", type=click.Choice(["fp32", "tf32", "fp16", "bf16"]), help="[default: fp16 on a GPU, fp32 on a CPU]"
)
@click.option("--channels-last", is_flag=True, help="Weights and images in NHWC order.")
@click.option("--quick", is_flag=True, help="Smaller and shorter, in some seconds: a rough figure.")
@click.option("--output", "-o", metavar="FILE", help="Keep the device there, for --device FILE.  [default: print it]")
@click.option("--traceback", is_flag=True, expose_value=False, hidden=True)
def calibrate(on: str | None, dtype: str | None, channels_last: bool, quick: bool, output: str | None) -> None:
    """Time a few kernels and networks on this machine, once, and keep what they reach as a device.

    The file, my.toml, is what 'cnnscope fit MODEL --device my.toml' then predicts with.
    """
    if output and output != "-" and not output.endswith(".toml"):
        raise click.UsageError(f"-o {output}: the name of a device file ends in .toml, for --device to know it")
    with contextlib.redirect_stdout(sys.stderr):
        from .. import calibrating

        found = calibrating.calibrate(on, dtype=dtype, channels_last=channels_last, quick=quick)
    deliver(found.to_toml(), output)
    if output and output != "-":
        click.echo(_checked(found, output))


def _checked(found: Calibration, output: str) -> str:
    """How the networks come out that were measured beside the kernels."""
    from ..units import duration

    lines = [
        f"{name:<14} {duration(real):>8} measured  {duration(told):>8} predicted  {told / real - 1:+.0%}"
        for name, (real, told) in found.nets.items()
    ]
    return "\n".join([*lines, f"{found.device.name}: kept in {output}"])


@click.command()
@takes_model
@takes_run
@click.option("--device", metavar="NAME", required=True, help="Of 'cnnscope devices', or a device file.")
@click.option("--budget", type=Bytes(), metavar="BYTES", help="24GiB.  [default: the device's memory]")
@click.option("--tf32", is_flag=True, help="Products of float32 tensors on tensor cores.")
@click.option("--compile", "compiled", is_flag=True, help="Fused, as torch.compile does.")
@click.option("--kernels", is_flag=True, help="Instead the time of each kernel, in a batch of -b N.")
@takes_view()
def fit(
    model: str,
    inputs: tuple[str, ...],
    batch_size: int | None,
    run: dict[str, Any],
    device: str,
    budget: int | None,
    tf32: bool,
    compiled: bool,
    kernels: bool,
    view: View,
) -> int:
    """Show the largest batch of MODEL that fits into a device, and how long it is going to take there."""
    from ..devices import device as known

    on = known(device)
    run["device"] = "cpu" if on.capability == "cpu" else "cuda"
    asked = _Asked(on, device, "tf32" if tf32 else "fp32", compiled)
    if kernels:
        if batch_size is None:
            raise click.UsageError("--kernels takes the batch size to predict for: -b 32")
        found = asked.kernels(traced(model, inputs, batch_size, **run).graph)
    elif batch_size is not None:
        raise click.UsageError("the largest batch is looked for; leave out --batch-size, or add --kernels for its time")
    else:
        found = asked.capacity(model, inputs, run, budget if budget is not None else on.memory)
    code = view.deliver(found)
    return code if kernels or any(row.batch for row in found.values()) else 1


class _Asked(NamedTuple):
    """What to predict for: the device, how it was called, and the way to run there."""

    device: Device
    called: str
    dtype: str
    compiled: bool

    def kernels(self, graph: ModelGraph) -> Table[Any]:
        from ..analyses.rooflines import roofline

        return roofline(graph, self.device, dtype=self.dtype, compiled=self.compiled)

    def capacity(self, model: str, inputs: tuple[str, ...], run: dict[str, Any], budget: int | None) -> Table[Any]:
        from ..analyses.capacities import capacity
        from ..analyses.fitting import Peaks

        if budget is None:
            raise click.UsageError(f"how much memory {self.called} has is not known; give it: --budget 24GiB")
        low = traced(model, inputs, 2, **run)
        graph_at = by_batch(model, inputs, run, low)
        peaks = Peaks(graph_at, "cpu" if self.device.capability == "cpu" else self.called)
        found = capacity(graph_at, peaks, self.device, budget, dtype=self.dtype, compiled=self.compiled)
        return dataclasses.replace(found, model=low.name, title=f"{self.device.name}: {found.title}")
