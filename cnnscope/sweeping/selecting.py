"""Which targets are meant: names, shell-like patterns over the zoo and the libraries' lists, and files of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from .. import zoo
from ..errors import CnnscopeError, UnusableTarget

LIBRARIES = ("torchvision", "timm")


def selected(asked: Iterable[str], list_of: Callable[[str], Sequence[str]]) -> list[str]:
    """The targets in the order of the request, each once; ``all`` is the zoo.

    list_of: the names of all models of a library.

    Raises:
        UnusableTarget: a pattern that nothing matches, or nothing is asked for.
    """
    found = list(dict.fromkeys(_canonical(target) for each in asked for target in _expanded(each, list_of)))
    if not found:
        raise UnusableTarget("no model is named; give some: vgg16 'torchvision:resnet*' net.py:Net, or all for the zoo")
    return found


def _expanded(asked: str, list_of: Callable[[str], Sequence[str]]) -> Iterable[str]:
    if asked == "all":
        return zoo.names()
    where, colon, pattern = asked.partition(":")
    listed = colon and where in LIBRARIES
    # An argument may hold such a letter: net(sizes=[1, 2]) is no pattern, and neither is a path.
    if "(" in asked or not set(asked) & set("*?[") or not (listed or zoo.meant(asked)):
        return [asked]
    names = [f"{where}:{name}" for name in list_of(where)] if listed else zoo.names()
    found = [name for name in names if fnmatchcase(name, f"{where}:{pattern}" if listed else asked.lower())]
    if not found:
        whose = f"'{where}:*'" if listed else "'cnnscope list' shows what there is; all"
        raise UnusableTarget(f"no model matches {asked!r}; {whose} is every one")
    return found


def _canonical(target: str) -> str:
    """An architecture of ours under its own name, whatever it was called; anything else as it is."""
    if not zoo.meant(target):
        return target
    try:
        return str(zoo.entry(target)["name"])
    except CnnscopeError:
        return target  # its row will say so


def listed_in(path: str) -> Iterator[str]:
    """The targets in a file, one a line; blank lines and what follows a ``#`` at a line's start are left out.

    Raises:
        UnusableTarget: the file cannot be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or "it is no text").lower()
        raise UnusableTarget(f"cannot read the list of models {path!r}: {reason}; write one model a line") from error
    for line in lines:
        if (target := line.strip()) and not target.startswith("#"):
            yield target
