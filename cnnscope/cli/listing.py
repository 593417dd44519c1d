"""``cnnscope list``."""

from __future__ import annotations

import click

from .common import deliver


@click.command("list")
@click.option("--format", "format_", type=click.Choice(["text", "md", "json"]), default="text", show_default=True)
@click.option("--output", "-o", metavar="FILE", help="Write there and not to the terminal.")
@click.option("--traceback", is_flag=True, expose_value=False, hidden=True)
def list_(format_: str, output: str | None) -> None:
    """List the architectures that cnnscope brings along."""
    from .. import zoo
    from ..render import listings

    deliver(listings.FORMATS[format_](zoo.catalog()), output)
