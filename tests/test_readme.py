"""What the README shows is what the program prints, and its pictures are what the program draws.

``python tests/test_readme.py`` puts the present output into the README and draws the pictures again.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from cnnscope.cli import main

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
WIDTH = "100"
# A block of output: the command behind "$", and a line "..." where output is left out.
BLOCK = re.compile(r"```console\n\$ cnnscope (?P<command>[^\n]*)\n(?P<shown>.*?)```", re.DOTALL)
# The command that draws a picture stands in the line before it.
PICTURE = re.compile(r"`cnnscope (?P<command>[^`]+)`[^\n]*\n\n!\[[^\]]*\]\((?P<file>docs/pictures/[^)]+\.svg)\)")


def printed(command: str) -> str:
    result = CliRunner().invoke(main, shlex.split(command), env={"COLUMNS": WIDTH, "NO_COLOR": "1"})
    assert result.exit_code == 0, result.output
    return result.output


def blocks() -> list[re.Match[str]]:
    return list(BLOCK.finditer(README.read_text(encoding="utf-8")))


def pictures() -> list[re.Match[str]]:
    return list(PICTURE.finditer(README.read_text(encoding="utf-8")))


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block["command"])
def test_output_in_the_readme_is_real(block: re.Match[str]) -> None:
    real = printed(block["command"])
    start = 0
    for piece in re.split(r"(?m)^\.\.\.\n", block["shown"]):
        found = real.find(piece.rstrip("\n"), start)
        assert found >= 0, f"the program does not print, or not there:\n{piece}"
        start = found + len(piece.rstrip("\n"))


@pytest.mark.parametrize("picture", pictures(), ids=lambda picture: picture["file"])
def test_pictures_in_the_readme_are_real(picture: re.Match[str]) -> None:
    assert printed(f"{picture['command']} -o -").rstrip() == (ROOT / picture["file"]).read_text("utf-8").rstrip()


def test_the_readme_shows_something() -> None:
    assert len(blocks()) >= 3 and len(pictures()) >= 2


def refresh() -> None:
    """Write the present output and pictures. A block with left-out lines keeps as many before and after them."""

    def renewed(block: re.Match[str]) -> str:
        lines = printed(block["command"]).rstrip("\n").split("\n")
        if "..." in (shown := block["shown"].rstrip("\n").split("\n")):
            before, after = shown.index("..."), len(shown) - shown.index("...") - 1
            lines = [*lines[:before], "...", *lines[len(lines) - after :]]
        return f"```console\n$ cnnscope {block['command']}\n" + "\n".join(lines) + "\n```"

    README.write_text(BLOCK.sub(renewed, README.read_text(encoding="utf-8")), encoding="utf-8")
    for picture in pictures():
        (ROOT / picture["file"]).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / picture["file"]).write_text(printed(f"{picture['command']} -o -"), encoding="utf-8")


if __name__ == "__main__":
    refresh()
