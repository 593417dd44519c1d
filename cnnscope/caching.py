"""Traces on disk, so that a graph seen before comes without importing torch.

An entry is named by a digest of everything that the trace depends on: what makes the model (the zoo's files, or the
files of torchvision or timm as they are installed), the input, the options, torch's build, Python's version and our own
source. Nothing is ever wrong for being old; it is only no longer asked for. A model in a file or module of yours is not
kept: nobody can tell what its code depends on.

An entry is written beside and renamed, carries a checksum, and a damaged one counts as absent. What cannot be read or
written is no error: the model is traced. The folder is bounded; what was not used for longest goes first.

    CNNSCOPE_CACHE_DIR    another folder than the platform's own
    CNNSCOPE_NO_CACHE     neither read nor write
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import origins, outputs
from .errors import UnwritableOutput
from .graph import ModelGraph

LIMIT = 128 * 2**20
_ENDING = ".graph"
_LEFT_BEHIND = 3600  # seconds after which a file half written belongs to nobody that still runs

Given = Sequence[tuple[Any, ...]]


class Contents(NamedTuple):
    """What the folder holds; ``writable``: new entries can be kept."""

    folder: Path
    entries: int
    bytes: int
    limit: int
    writable: bool


def folder() -> Path:
    """Where the entries are."""
    if named := os.environ.get("CNNSCOPE_CACHE_DIR"):
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("cnnscope", appauthor=False) / "graphs"


def wanted() -> bool:
    """Whether the environment lets us."""
    return os.environ.get("CNNSCOPE_NO_CACHE", "") in ("", "0")


def key(
    target: str, inputs: Given | None, *, batch: int | None = None, cut_short: bool = False, **options: Any
) -> str | None:
    """What the trace of a target is kept under; None for one that is not kept.

    Args:
        inputs: shape, dtype and keyword ('' for none) of each; None for those that the zoo or the library states.
        batch: instead of the first size of each.
        cut_short: a net that refuses the input is kept down to the layer that does.
        options: of the trace, as JSON has them.
    """
    made_by = origins.origin(target) if wanted() else None
    if made_by is None:
        return None
    import json

    python = [sys.implementation.cache_tag, sys.byteorder]
    asked = [target, inputs, batch, cut_short, sorted(options.items())]
    parts = [origins.own_source(), origins.release("torch"), python, origins.switches(), made_by, asked]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


def cached(name: str | None, make: Callable[[], ModelGraph]) -> ModelGraph:
    """The graph kept under a key, else the one made now, which is kept."""
    graph = recall(name)
    if graph is None:
        graph = make()
        keep(name, graph)
    return graph


def has(name: str) -> bool:
    """Whether an entry of that key is there, readable or not."""
    return (folder() / (name + _ENDING)).exists()


def recall(name: str | None) -> ModelGraph | None:
    """The graph kept under a key, None where there is none that can be read."""
    if name is None:
        return None
    from .encoding import decoded

    path = folder() / (name + _ENDING)
    try:
        graph = decoded(path.read_bytes())
    except (OSError, ValueError):
        return None
    with contextlib.suppress(OSError):  # it may be another's, for us to read only
        os.utime(path)  # used now
    return graph


def keep(name: str | None, graph: ModelGraph) -> None:
    """Keep a graph under a key, if the folder takes it."""
    if name is None:
        return
    from .encoding import encoded

    with contextlib.suppress(OSError, UnwritableOutput):
        place = folder()
        place.mkdir(parents=True, exist_ok=True)
        outputs.write(place / (name + _ENDING), encoded(graph))
        _shrink(place, LIMIT)


def contents() -> Contents:
    """What there is."""
    place = folder()
    found = [entry.stat().st_size for entry in _entries(place) if entry.name.endswith(_ENDING)]
    there = next(each for each in (place, *place.parents) if each.exists())
    return Contents(place, len(found), sum(found), LIMIT, there.is_dir() and os.access(there, os.W_OK))


def clear() -> int:
    """Remove every entry, and nothing else that may be in the folder; how many there were.

    Raises:
        UnwritableOutput: the folder does not let them go.
    """
    count = 0
    for entry in list(_entries(folder())):
        try:
            os.unlink(entry.path)
        except FileNotFoundError:
            continue  # by someone else, at the same time
        except OSError as error:
            raise UnwritableOutput(f"cannot remove {entry.path!r}: {(error.strerror or str(error)).lower()}") from error
        count += entry.name.endswith(_ENDING)
    return count


def _shrink(place: Path, limit: int) -> None:
    """Down to four fifths of the limit once it is passed, the least recently used first."""
    found = []
    for entry in _entries(place):
        status = entry.stat()
        if entry.name.endswith(_ENDING):
            found.append((status.st_mtime_ns, status.st_size, entry.path))
        elif time.time() - status.st_mtime > _LEFT_BEHIND:
            os.unlink(entry.path)
    total = sum(size for _, size, _ in found)
    if total <= limit:
        return
    for _, size, path in sorted(found):
        if total <= limit * 4 // 5:
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        total -= size


def _entries(place: Path) -> Iterator[os.DirEntry[str]]:
    """The files of ours, also those half written."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(place) as found:
        for entry in found:
            stem = entry.name.removeprefix(".").partition(_ENDING)[0]
            ours = len(stem) == 40 and not set(stem) - set("0123456789abcdef")
            if ours and entry.name.endswith((_ENDING, ".part")) and entry.is_file(follow_symlinks=False):
                yield entry
