"""The architectures that cnnscope brings along: their names, their papers, and how to build them.

Only ``build`` needs torch; the catalogue is data (``architectures/catalog.toml``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import UnknownArchitecture, UnusableTarget
from .literals import literal_call

if TYPE_CHECKING:
    from torch import nn


def names() -> list[str]:
    """Names of all architectures, in the order of the lecture."""
    return [model["name"] for model in _models()]


def meant(target: str) -> bool:
    """Whether a target is a name of ours, and not a file or something of another module."""
    return ":" not in target and not target.endswith((".py", ".pt2", ".onnx"))


def catalog() -> tuple[Mapping[str, Any], ...]:
    """The papers in the order of the lecture: key, chapter, title, authors, venue, year, arxiv, and ``model``.

    Each of ``paper["model"]`` has name, build, input, summary, and where someone states them the figures params,
    weights, macs and depth.
    """
    return tuple(_data("catalog.toml")["paper"])


def entry(name: str) -> Mapping[str, Any]:
    """The catalogue's entry of one architecture. Letters and digits count, whatever their case and what is between
    them, so the papers' ``ResNet-50`` is ``resnet50``; aliases lead there too.

    A family takes its parameters as a call, ``wrn(depth=28, k=10)``, and its defaults without one; what the entry
    then states is the build alone.

    Raises:
        UnknownArchitecture: there is none of that name; the message has the closest ones.
        UnusableTarget: the architecture has no such parameters.
    """
    plain, paren, _ = name.partition("(")
    wanted = _plain(plain)
    by_name = {_plain(each): model for model in _models() for each in (*model.get("aliases", ()), model["name"])}
    if wanted in by_name:
        found = by_name[wanted]
        return _with_parameters(found, name) if paren or "parameters" in found else found
    import difflib

    close = [by_name[each]["name"] for each in difflib.get_close_matches(wanted, by_name, n=6, cutoff=0.6)]
    nearest = ", ".join(repr(each) for each in list(dict.fromkeys(close))[:3])
    raise UnknownArchitecture(
        f"no architecture {name!r}; " + (f"closest: {nearest}" if nearest else "'cnnscope list' shows what there is")
    )


def _with_parameters(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The entry of one member of a family."""
    defaults = found.get("parameters")
    if defaults is None:
        families = ", ".join(model["name"] for model in _models() if "parameters" in model)
        raise UnusableTarget(f"{found['name']!r} takes no parameters, as {name!r} has them; these do: {families}")
    example = _spelled(found["name"], defaults)
    _, paren, parameters = name.strip().partition("(")
    try:
        call = literal_call(f"{found['name']}{paren}{parameters}")  # as written, 'densenet-bc(3)' is a subtraction
    except ValueError:
        raise UnusableTarget(f"cannot read {name!r}; write {example}") from None
    if call.what != found["name"]:
        raise UnusableTarget(f"cannot read {name!r}; write {example}")
    if len(call.args) > len(defaults):
        raise UnusableTarget(f"{found['name']!r} takes {len(defaults)} parameters, not {len(call.args)}: {example}")
    by_place = dict(zip(defaults, call.args, strict=False))
    if odd := call.kwargs.keys() - defaults.keys():
        raise UnusableTarget(f"{found['name']!r} has no parameter {', '.join(sorted(odd))}; write {example}")
    if twice := by_place.keys() & call.kwargs.keys():
        raise UnusableTarget(f"{name!r} gives {', '.join(sorted(twice))} twice; write {example}")
    given = by_place | call.kwargs
    args = {**defaults, **given}
    if not given:
        return {**found, "args": args}
    spelled = _spelled(found["name"], args)
    figures = ("params", "weights", "macs", "depth")
    return {**{key: value for key, value in found.items() if key not in figures}, "name": spelled, "args": args}


def _spelled(family: str, args: Mapping[str, Any]) -> str:
    return f"{family}({', '.join(f'{key}={value!r}' for key, value in args.items())})"


def build(name: str) -> nn.Module:
    """The architecture as a real ``nn.Module`` with freshly initialised weights.

    Raises:
        UnknownArchitecture: there is none of that name.
        UnusableTarget: its builder does not accept these parameters.
    """
    found = entry(name)
    file, _, function = found["build"].partition(":")
    module = import_module(f"{__package__}.architectures.{file}")
    try:
        return getattr(module, function)(**found.get("args", {}))
    except Exception as error:  # torch has many for sizes that cannot be
        if "parameters" not in found:
            raise
        reason = str(error).partition("\n")[0]
        raise UnusableTarget(f"{found['name']} cannot be built: {reason}") from error


def identity(name: str) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """What a name builds, the same however it is written: the builder and all its arguments.

    Raises:
        UnknownArchitecture: there is none of that name.
        UnusableTarget: the architecture has no such parameters.
    """
    found = entry(name)
    of_build = (each["parameters"] for each in _models() if each["build"] == found["build"] and "parameters" in each)
    return found["build"], tuple(sorted({**next(of_build, {}), **found.get("args", {})}.items()))


def slide(name: str) -> Mapping[str, Any] | None:
    """What the lecture prints about an architecture's memory and parameters, or None where it has no such table."""
    return next((each for each in _data("slides.toml")["slide"] if each["model"] == name), None)


def _models() -> Iterator[Mapping[str, Any]]:
    for paper in catalog():
        yield from paper.get("model", ())


@cache
def _data(file: str) -> dict[str, Any]:
    import tomllib
    from importlib.resources import files

    return tomllib.loads((files(__package__) / "architectures" / file).read_text(encoding="utf-8"))


def _plain(name: str) -> str:
    return re.sub(r"[-_. ]", "", name.lower())
