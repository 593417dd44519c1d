"""How commands show their tables: the same options, the same formats and the same exit code everywhere."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from .common import F, colored, deliver

if TYPE_CHECKING:
    from ..table import Table

FORMATS = ("text", "md", "csv", "json", "html")


class View(NamedTuple):
    """How a table is shown and where to, as the options of ``takes_view`` say."""

    format: str
    output: str | None
    columns: list[str] | None = None
    sort: str | None = None
    strict: bool = False

    @property
    def chosen(self) -> bool:
        """Whether rows or columns were asked for by name."""
        return self.columns is not None or self.sort is not None

    @property
    def sorted_by(self) -> str:
        """The column of ``--sort``, without its direction."""
        return (self.sort or "").removesuffix(":asc").removesuffix(":desc")

    def ordered(self, found: Table[Any]) -> Table[Any]:
        """The rows in the order asked for."""
        if not self.sort:
            return found
        from ..views import ordered

        return ordered(found, self.sort)

    def rendered(self, found: Table[Any], **options: Any) -> str:
        """The table in the format, sorted, with the columns asked for; ``options`` are those of the text."""
        from .. import render

        found = self.ordered(found)
        if self.format == "text":
            kept = [self.sorted_by] if self.sort and self.columns is None else []
            width = 0 if self.output else None
            return render.text(
                found, columns=self.columns, width=width, color=colored(self.output), keep=kept, **options
            )
        renderers: dict[str, Callable[..., str]] = {
            "md": render.markdown, "csv": render.csv, "json": render.json, "html": render.html
        }  # fmt: skip
        if self.format in ("csv", "json"):  # these have field names, not titles
            options.pop("titles", None)
        return renderers[self.format](found, columns=self.columns, **options)

    def raw(self, *columns: str) -> View:
        """The same, as CSV with these columns unless others were asked for: a table for people may have words alone."""
        return self._replace(columns=list(columns)) if self.format == "csv" and self.columns is None else self

    def deliver(self, found: Table[Any], **options: Any) -> int:
        """Write the table; the exit code: 1 if ``--strict`` and an operator could not be counted."""
        deliver(self.rendered(found, **options), self.output)
        return self.code(found)

    def code(self, found: Table[Any]) -> int:
        """The exit code after this table."""
        return 1 if self.strict and found.missing else 0


def takes_output(*formats: str) -> Callable[[F], F]:
    """--format, of those that every table has and further ones, and --output, passed on as ``view``."""
    known = (*FORMATS, *formats)

    def decorated(command: F) -> F:
        @functools.wraps(command)
        def with_view(*args: Any, **kwargs: Any) -> Any:
            given = {name: kwargs.pop(name) for name in ("sort", "strict") if name in kwargs}
            names = _listed(kwargs.pop("columns", None))
            if given.get("sort") is not None and not given["sort"].strip():
                raise click.UsageError("--sort names no column; write --sort macs, for example")
            format_, output = kwargs.pop("format_"), kwargs.pop("output")
            return command(*args, view=View(ended(format_, output, known), output, names, **given), **kwargs)

        found: Any = with_view
        for option in (
            click.option("--output", "-o", metavar="FILE", help="Write there and not to the terminal."),
            click.option(
                "--format",
                "format_",
                type=click.Choice(known),
                help="By default what the ending of -o says, else text.",
            ),
        ):
            found = option(found)
        return found

    return decorated


def takes_view(*formats: str, strict: bool = True) -> Callable[[F], F]:
    """The same, and before them --columns, --sort and, unless it is not wanted, --strict."""

    def decorated(command: F) -> F:
        found = takes_output(*formats)(command)
        if strict:
            found = click.option("--strict", is_flag=True, help="Exit 1 if an operator could not be counted.")(found)
        for option in (
            click.option(
                "--sort", metavar="COL", help="Rows by this column, the largest first; COL:asc the other way."
            ),
            click.option("--columns", metavar="A,B,C", help="The columns to show behind the name, also hidden ones."),
        ):
            found = option(found)
        return found

    return decorated


def _listed(columns: str | None) -> list[str] | None:
    """The names in ``--columns a,b``."""
    if columns is None:
        return None
    names = [name for name in columns.split(",") if name.strip()]
    if not names:
        raise click.UsageError("--columns names no column; write --columns params,macs, for example")
    return names


def ended(format_: str | None, output: str | None, formats: Sequence[str] = FORMATS) -> str:
    """The format asked for, else what the ending of ``-o`` says, else text."""
    ending = PurePath(output or "").suffix[1:].lower()
    return format_ or (ending if ending in formats else "text")
