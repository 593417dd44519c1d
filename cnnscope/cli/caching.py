"""``cnnscope cache``."""

from __future__ import annotations

import click


@click.group()
def cache() -> None:
    """Show or empty the folder where traces are kept.

    The trace of a zoo model, or of one of torchvision or timm, is kept after the first time, so that the next command
    on it need not load torch. An entry holds for these very files, this input and these versions; any change makes a
    new one. A model in a file or module of yours is traced each time, because its code may depend on anything.

    --no-cache of a command neither reads nor writes it; so does CNNSCOPE_NO_CACHE=1 in the environment.
    CNNSCOPE_CACHE_DIR names another folder.
    """


@cache.command()
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--traceback", is_flag=True, expose_value=False, hidden=True)
def info(format_: str) -> None:
    """Show where the traces are, how many and how large."""
    from .. import caching
    from ..units import binary

    found = caching.contents()
    used = found.writable and caching.wanted()
    if format_ == "json":
        import json

        plain = {**found._asdict(), "folder": str(found.folder), "used": used}
        click.echo(json.dumps({"schema_version": 1, **plain}, indent=2))
        return
    click.echo(f"folder   {found.folder}")
    click.echo(f"traces   {found.entries:,}, {binary(found.bytes)} of at most {binary(found.limit)}")
    if not used:
        reason = "CNNSCOPE_NO_CACHE is set" if not caching.wanted() else "the folder cannot be written"
        click.echo(f"not used: {reason}")


@cache.command()
@click.option("--traceback", is_flag=True, expose_value=False, hidden=True)
def clear() -> None:
    """Remove all traces that are kept."""
    from .. import caching

    count = caching.clear()
    click.echo(f"removed {count} trace{'' if count == 1 else 's'} from {caching.folder()}")
