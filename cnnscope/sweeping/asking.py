"""The side that asks: a server process for each thread of a worker, kept from one portion to the next."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UnusableTarget
from .journals import stamp
from .requests import Item, Request
from .rows import Figures

# Not with -m: that would put the current folder, and whatever is called torch.py in it, before everything else.
_PROGRAM = """
import sys
sys.path += [place for place in sys.argv[1:] if place not in sys.path]
from cnnscope.sweeping.serving import main
main()
"""


_MATTER = ("CNNSCOPE_", "PYTORCH_", "TIMM_", "TORCH")


class Surroundings(NamedTuple):
    """Where the one who asks runs: what a server elsewhere needs to find the same files and make the same choices."""

    folder: str
    variables: Mapping[str, str]


def surroundings() -> Surroundings:
    """Those of this process."""
    return Surroundings(os.getcwd(), {name: text for name, text in os.environ.items() if name.startswith(_MATTER)})


class Server:
    """A process that examines models; see ``serving``."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        home = str(Path(__file__).parents[2])
        others = {name: text for name, text in os.environ.items() if not name.startswith(_MATTER)}
        with tempfile.TemporaryFile() as said:  # open as long as the process has it
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, home, *filter(None, sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                cwd=around.folder if os.path.isdir(around.folder) else None,
                env={**others, **around.variables},
                start_new_session=True,
            )

    def ask(self, task: Mapping[str, Any], count: int) -> list[Any]:
        """So many answers to a request; fewer if the server ends."""
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps(task).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # it is gone, or was closed
            return []
        lines = (self._process.stdout.readline() for _ in range(count))
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    @property
    def alive(self) -> bool:
        """Whether it can be asked again."""
        return self._process.poll() is None

    def close(self) -> None:
        """End it, and what it is doing."""
        assert self._process.stdin and self._process.stdout
        self._process.terminate()  # not killed: it ends its child first
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.stdout.close()


_own = threading.local()  # a worker of Dask may have several threads


def _server(around: Surroundings) -> Server:
    found: Server | None = getattr(_own, "server", None)
    if found is None or found.around != around or not found.alive:
        close()
        found = _own.server = Server(around)
        atexit.register(found.close)
    return found


def close() -> None:
    """End the server of this thread."""
    found: Server | None = getattr(_own, "server", None)
    if found is not None:
        found.close()
        atexit.unregister(found.close)
        _own.server = None


def answered(target: str, items: Sequence[Item], request: Request, around: Surroundings) -> list[tuple[Item, Figures]]:
    """The figures of each item of one target, asked of this thread's server; ``passing``: another time it may do."""
    settings = [item.setting for item in items]
    task = {"target": target, "settings": settings, "request": request._asdict(), "stamp": stamp()}
    found: list[Figures] = _asked(around, task, len(items))
    lost = {"error": "the process that examines models was killed, perhaps for want of memory", "passing": True}
    return list(zip(items, [*found, *[lost] * (len(items) - len(found))], strict=True))


def names_of(library: str, around: Surroundings) -> list[str]:
    """All models of a library, by its own list.

    Raises:
        UnusableTarget: the library is not installed, or cannot be imported.
    """
    (found,) = _asked(around, {"list": library}, 1) or ({"error": f"{library} cannot be imported"},)
    if "error" in found:
        raise UnusableTarget(found["error"])
    return list(found["names"])


def _asked(around: Surroundings, task: Mapping[str, Any], count: int) -> list[Any]:
    """The answers; a server that was interrupted while it gave them, or that died, is not asked again."""
    found: list[Any] = []
    try:
        found = _server(around).ask(task, count)
        return found
    finally:
        if len(found) < count:
            close()
