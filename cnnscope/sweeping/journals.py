"""What a sweep has found so far, in a file of JSON lines beside its output: the next run takes up from there.

A line is appended when its row is done, at once and down to the disk, so what kills a sweep costs the rows that were
being worked on. A line that was cut off counts for nothing. Each stands under a digest of all that the row depends on:
a row of another version, another setting or a changed file is not found, and is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from .. import origins
from ..errors import UnwritableOutput
from ..processors import this_cpu
from .requests import Item, Request


class Journal:
    """The answers that stand in a file, by key; without a path those of this run only.

    Raises:
        UnwritableOutput: the file cannot be read or appended to.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._known: dict[str, Any] = {}
        if path is not None:
            try:
                self._open(Path(path))
            except (OSError, ValueError) as error:
                reason = (getattr(error, "strerror", None) or str(error)).lower()
                raise UnwritableOutput(f"cannot keep rows in {path!r}: {reason}; choose another place") from error

    def _open(self, path: Path) -> None:
        self._file = file = path.open("a+b")
        file.seek(0)
        content = file.read()
        for line in content.splitlines():
            try:
                entry = json.loads(line)
                self._known[entry["key"]] = entry["found"]
            except (ValueError, KeyError, TypeError):
                continue  # half a line, or none of ours
        if content and not content.endswith(b"\n"):
            file.write(b"\n")

    def recall(self, key: str) -> Any:
        """What stands under a key; None where nothing does."""
        return self._known.get(key)

    def keep(self, key: str, found: Any) -> None:
        """Append what was found.

        Raises:
            UnwritableOutput: it cannot be written.
        """
        self._known[key] = found
        if self._file is None:
            return
        line = json.dumps({"key": key, "found": found}, allow_nan=False) + "\n"
        try:
            self._file.write(line.encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UnwritableOutput(f"cannot keep rows in {self.path!r}: {reason}") from error

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # of rows that could not be kept, which has been said
                self._file.close()


def stamp() -> list[str]:
    """Which cnnscope and which torch answer: two sides of a sweep have the same one."""
    return [origins.own_source(frozenset()), origins.release("torch"), str(sys.implementation.cache_tag)]


def keys(request: Request) -> Callable[[Item], str]:
    """The function that names an item's row by all that it depends on."""
    common: list[Any] = [stamp(), origins.switches(), request.inputs, sorted(request.run.items()), request.where]
    common += [request.device, _contents(request.device or "")]
    if (request.device or "").lower() == "cpu":
        common.append(this_cpu())
    made_by: dict[str, list[str]] = {}

    def key(item: Item) -> str:
        if item.target not in made_by:
            made_by[item.target] = _made_by(item.target)
        return digest(common, made_by[item.target], item)

    return key


def digest(*parts: Any) -> str:
    """A short name for some plain data."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _made_by(target: str) -> list[str]:
    """What a model depends on, as far as that can be told: of a file of yours, it and the sources beside it."""
    known = origins.origin(target)
    if known is not None:
        return known
    where = target.partition(":")[0]
    if where.endswith(".py"):
        beside = Path(where).parent.glob("*.py")
        return [str(Path(where).resolve()), *(f"{each.name} {_contents(str(each))}" for each in sorted(beside))]
    if where.endswith((".pt2", ".onnx")):
        return [str(Path(where).resolve()), _contents(where)]
    package = where.partition(".")[0]
    return [origins.release(package), origins.stamps(package)]


def _contents(path: str) -> str:
    """A digest of a file; '' where there is none."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except (OSError, ValueError):
        return ""
