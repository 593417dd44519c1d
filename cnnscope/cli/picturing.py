"""Which kinds of picture a command writes, and to which files: ``--svg --pdf -o net.pdf`` and the like."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePath
from typing import Any, NamedTuple, TypeVar

import click

from .common import deliver

F = TypeVar("F", bound=Callable[..., Any])
ENDINGS = {".svg": "svg", ".png": "png", ".pdf": "pdf", ".tikz": "tikz", ".tex": "tikz", ".dot": "dot", ".gv": "dot"}
_HELP = {
    "svg": "Scalable picture (the default); light or dark as its viewer prefers.",
    "png": "Picture of pixels.",
    "pdf": "One page, as large as the picture.",
    "tikz": "Source text for LaTeX: pdflatex compiles it, \\input takes it in.",
    "dot": "Source text for Graphviz.",
}


def takes_kinds(*kinds: str) -> Callable[[F], F]:
    """An option for each kind of picture, of which several may be given, and --output."""

    def decorated(command: F) -> F:
        command = click.option(
            "--output",
            "-o",
            metavar="FILE",
            help=f"By default MODEL.{kinds[0]}; its ending says what is drawn, '-' is stdout. Of several pictures, "
            "each gets its own ending.",
        )(command)
        for kind in reversed(kinds):
            command = click.option(f"--{kind}", "kinds", flag_value=kind, multiple=True, default=(), help=_HELP[kind])(
                command
            )
        return command

    return decorated


class Pictures(NamedTuple):
    """The files to write, each with what is drawn in it; ``-`` is stdout."""

    files: tuple[tuple[str, str], ...]

    @classmethod
    def wanted(cls, kinds: tuple[str, ...], output: str | None, model: str, possible: tuple[str, ...]) -> Pictures:
        """What is asked for, else what the file's ending says, else the first that is possible.

        Raises:
            click.UsageError: the two contradict each other, or several pictures are to go to stdout.
        """
        asked = tuple(dict.fromkeys(kinds))
        if output == "-":
            if len(asked) > 1:
                raise click.UsageError(f"-o - is one stream, and {len(asked)} pictures are asked for; give them a file")
            return cls((("-", asked[0] if asked else possible[0]),))
        path = PurePath(output or file_name(model))
        named = ENDINGS.get(path.suffix.lower()) if output else None
        if output and path.suffix and (named not in (asked or possible)):
            known = ", ".join(f".{kind}" for kind in asked or possible)
            raise click.UsageError(
                f"-o {output} does not name {' or '.join(asked) or 'a picture'}: use {known}, or -o -"
            )
        kinds = asked or (named or possible[0],)
        if output and (len(kinds) == 1 or not path.suffix):
            return cls(tuple((output if len(kinds) == 1 else f"{output}.{kind}", kind) for kind in kinds))
        if output:
            return cls(tuple((output if kind == named else str(path.with_suffix(f".{kind}")), kind) for kind in kinds))
        return cls(tuple((f"{path}.{kind}", kind) for kind in kinds))

    def deliver(self, drawn: Callable[[str], str | bytes]) -> None:
        """Draw all of them, and only then write."""
        made = [(path, drawn(kind)) for path, kind in self.files]
        for path, data in made:
            deliver(data, path)
            if path != "-":
                click.echo(f"wrote {path}", err=True)


def file_name(model: str) -> str:
    """``resnet50`` for ``torchvision:resnet50``; no character that a file name should not have."""
    name = model.rpartition(":")[2] or model
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "model"
