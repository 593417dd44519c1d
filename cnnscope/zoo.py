"""The architectures that cnnscope brings along: their names, their papers, and how to build them.

Only ``build`` needs torch; the catalogue is data (``architectures/catalog.toml``).
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from .errors import UnknownArchitecture

if TYPE_CHECKING:
    from torch import nn


def names() -> list[str]:
    """Names of all architectures, in the order of the lecture."""
    return [model["name"] for model in _models()]


def catalog() -> tuple[Mapping[str, Any], ...]:
    """The papers in the order of the lecture: key, chapter, title, authors, venue, year, arxiv, and ``model``.

    Each of ``paper["model"]`` has name, build, input, summary, and where someone states them the figures params,
    weights, macs and depth.
    """
    return tuple(_data("catalog.toml")["paper"])


def entry(name: str) -> Mapping[str, Any]:
    """The catalogue's entry of one architecture. Case does not matter, '-' is '_', and aliases lead there too.

    Raises:
        UnknownArchitecture: there is none of that name; the message has the closest ones.
    """
    wanted = _plain(name)
    by_name = {_plain(each): model for model in _models() for each in (*model.get("aliases", ()), model["name"])}
    if wanted in by_name:
        return by_name[wanted]
    close = [by_name[each]["name"] for each in difflib.get_close_matches(wanted, by_name, n=6, cutoff=0.6)]
    nearest = ", ".join(repr(each) for each in list(dict.fromkeys(close))[:3])
    raise UnknownArchitecture(
        f"no architecture {name!r}; " + (f"closest: {nearest}" if nearest else "'cnnscope list' shows what there is")
    )


def build(name: str) -> nn.Module:
    """The architecture as a real ``nn.Module`` with freshly initialised weights.

    Raises:
        UnknownArchitecture: there is none of that name.
    """
    found = entry(name)
    file, _, function = found["build"].partition(":")
    module = import_module(f"{__package__}.architectures.{file}")
    return getattr(module, function)(**found.get("args", {}))


def slide(name: str) -> Mapping[str, Any] | None:
    """What the lecture prints about an architecture's memory and parameters, or None where it has no such table."""
    return next((each for each in _data("slides.toml")["slide"] if each["model"] == name), None)


def _models() -> Iterator[Mapping[str, Any]]:
    for paper in catalog():
        yield from paper.get("model", ())


@cache
def _data(file: str) -> dict[str, Any]:
    return tomllib.loads((files(__package__) / "architectures" / file).read_text(encoding="utf-8"))


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_")
