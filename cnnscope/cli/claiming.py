"""``cnnscope claims``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ..claiming.ledger import SOURCES
from .common import cached, deliver, say, without_cache
from .viewing import View, takes_output

if TYPE_CHECKING:
    from ..claims import Verdict


@click.command()
@click.argument("model", required=False)
@click.option(
    "--source",
    type=click.Choice(("lecture", *SOURCES)),
    help="Only what they state; lecture: slides and their figures.",
)
@click.option("--contradicted", is_flag=True, help="Only what the graphs or other sources contradict.")
@takes_output()
@without_cache
@click.option("--traceback", is_flag=True, expose_value=False, hidden=True)
def claims(model: str | None, source: str | None, contradicted: bool, view: View) -> int:
    """Hold what the lecture, papers and libraries print against the graphs.

    MODEL is an architecture or one of its nets, as in 'cnnscope list'; all without it. Exits 1 if a verdict is not
    the one that the ledger has.
    """
    from ..claiming import listing
    from ..claims import tabled

    found = _decided(model, source)
    different = [row for row in found if row.differs]
    shown = [row for row in found if not contradicted or row.verdict == "contradicted"]
    table = tabled(shown, model or "")
    deliver(view.rendered(table) if view.format == "html" else listing.FORMATS[view.format](table), view.output)
    for row in different:
        say(f"{row.name}: {row.verdict}, expected {row.recorded}")
    return 1 if different else 0


def _decided(model: str | None, source: str | None) -> list[Verdict]:
    """The verdicts, with a progress bar where stderr is a terminal."""
    from ..claiming.nets import Nets
    from ..claims import chosen, verdicts

    wanted = chosen(model, source)
    found = verdicts(wanted, Nets(cached=cached()))
    if not sys.stderr.isatty():
        return list(found)
    with click.progressbar(found, length=len(wanted), label="claims", file=sys.stderr) as bar:
        return list(bar)
