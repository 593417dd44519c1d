"""``cnnscope list``."""

from __future__ import annotations

import click

from .common import deliver
from .viewing import View, takes_output


@click.command("list")
@takes_output()
@click.option("--traceback", is_flag=True, expose_value=False, hidden=True)
def list_(view: View) -> None:
    """List the architectures that cnnscope brings along."""
    from .. import zoo
    from ..render import listings

    deliver(listings.FORMATS[view.format](zoo.catalog()), view.output)
