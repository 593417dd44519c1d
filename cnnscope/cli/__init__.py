"""The command line. Commands parse, call and echo; everything else is elsewhere and is imported when it is needed."""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Sequence
from typing import Any

import click

from .. import __version__
from ..errors import CnnscopeError
from . import (
    budgeting,
    caching,
    claiming,
    comparing,
    figuring,
    graphing,
    listing,
    measuring,
    peaks,
    predicting,
    reconciling,
    reporting,
    sizing,
    sweeping,
    tabling,
)
from .common import say

HELP = """What a neural network costs, before it runs.

MODEL is one of

\b
  vgg16                          an architecture of 'cnnscope list'
  torchvision:resnet50           a model of torchvision; timm:resnet50 one of timm
  path/to/file.py:Net            a class, a function that makes a model, or a model
  package.module:net(classes=10) the same in a module, with literal arguments
  path/to/net.pt2, net.onnx      what torch.export.save or an ONNX exporter wrote

The model runs on tensors without data: no weights, no arithmetic, no GPU. Naming a Python file or a module runs its
code.
"""

# Under the help of every command that takes a model.
SAFETY = """A .py file or a module named as MODEL is imported, and what it names is called: its code runs, with your
rights, as 'python file.py' would. Name only code that you trust. Arguments in parentheses are read as literals and
never evaluated. Names of the zoo, .pt2 and .onnx files run no code of theirs; no weights file is ever unpickled."""


class _Closed(io.TextIOBase):
    """What stands for a standard output that is closed."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "the standard output is closed")


class Program(click.Group):
    """The group of commands, with errors as one to three plain lines and the contract's exit codes."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, and say under its help what naming a model means."""
        if any(parameter.name == "inputs" for parameter in cmd.params) and not cmd.epilog:
            cmd.epilog = SAFETY
        super().add_command(cmd, name)

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> Any:
        """Run the command and exit: 0 good, 1 a check failed, 2 wrong usage or a model that cannot be analysed."""
        arguments = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        if sys.stdout is None:  # closed by whoever started us
            sys.stdout = _Closed()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # where there is no letter for a name, a question mark will do
                stream.reconfigure(errors="replace")
        try:
            code = super().main(arguments, prog_name or "cnnscope", **extra)
            sys.stdout.flush()
        except SystemExit as error:  # click's answer to a reader that is gone, which is no failed check
            code = 0 if type(sys.stdout).__name__.endswith("PacifyFlushWrapper") else error.code
        except Exception as error:
            code = failed(error, traceback="--traceback" in arguments)
        sys.exit(code if isinstance(code, int) else 0)


def failed(error: Exception, *, traceback: bool) -> int:
    """Say what went wrong; the exit code."""
    if isinstance(error, BrokenPipeError):  # the reader has seen enough
        _drop_output()
        return 0
    if isinstance(error, click.Abort):
        return 130
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        say("cannot write the output: no space left on the device")
        _drop_output()
        return 2
    if isinstance(error, OSError) and isinstance(sys.stdout, _Closed):
        say("cannot write the output: it is closed; write to a file with -o")
        return 2
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return 2
    if traceback and not isinstance(error, click.ClickException):
        sys.excepthook(type(error), error, error.__traceback__)
    elif isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        say(error.format_message() + (f"\n'{context.command_path} --help' shows the usage" if context else ""))
    elif isinstance(error, CnnscopeError):
        say(str(error))
    else:
        lines = str(error).strip().splitlines()
        say(f"internal error: {type(error).__name__}: {lines[0] if lines else ''}; run again with --traceback")
    return 2


def _drop_output() -> None:
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=Program, help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="cnnscope", message="%(prog)s %(version)s")
@click.option("--traceback", is_flag=True, expose_value=False, help="Show Python's traceback of an error.")
def main() -> None:
    """The program."""


main.add_command(listing.list_)
main.add_command(tabling.table)
main.add_command(graphing.graph)
main.add_command(peaks.memory)
main.add_command(figuring.figure)
main.add_command(sizing.size)
main.add_command(comparing.compare)
main.add_command(comparing.diff)
main.add_command(reconciling.reconcile)
main.add_command(claiming.claims)
main.add_command(reporting.report)
main.add_command(caching.cache)
main.add_command(budgeting.check)
main.add_command(predicting.devices)
main.add_command(predicting.calibrate)
main.add_command(predicting.fit)
main.add_command(sweeping.sweep)
main.add_command(measuring.measure)
main.add_command(measuring.confirm)
