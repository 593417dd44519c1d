"""``cnnscope devices`` and ``cnnscope calibrate``: for what time is predicted, and what that rests on."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import click

from .common import colored, deliver

if TYPE_CHECKING:
    from ..calibrating import Calibration


@click.command()
@click.option("--columns", metavar="A,B,C", help="The columns to show behind the name: fp16,sheet,url,aliases ...")
@click.option(
    "--format", "format_", type=click.Choice(["text", "md", "csv", "json"]), default="text", show_default=True
)
@click.option("--output", "-o", metavar="FILE", help="Write there and not to the terminal.")
@click.option("--traceback", is_flag=True, expose_value=False, hidden=True)
def devices(columns: str | None, format_: str, output: str | None) -> None:
    """List the devices that time can be predicted for, with what their sheets promise."""
    from .. import render
    from ..devices import catalog

    names = [name for name in columns.split(",") if name.strip()] if columns else None
    found = catalog()
    if format_ == "text":
        text = render.text(found, columns=names, width=0 if output else None, color=colored(output))
    else:
        text = {"md": render.markdown, "csv": render.csv, "json": render.json}[format_](found, columns=names)
    deliver(text, output)


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
