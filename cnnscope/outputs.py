"""Writing results to files, never half of one."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from pathlib import Path

from .errors import UnwritableOutput


def write(path: str | os.PathLike[str], data: str | bytes) -> None:
    """Write a file: beside it first, then renamed, so that nobody sees half of it and a failure leaves what was there.

    Raises:
        UnwritableOutput: the reason is the operating system's.
    """
    content = data.encode() if isinstance(data, str) else data
    if "\0" in os.fspath(path):
        raise UnwritableOutput(f"cannot write {os.fspath(path)!r}: no file can have that name; choose another with -o")
    try:
        if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
            Path(path).write_bytes(content)  # a device or pipe is written to, never replaced
        else:
            _replace(Path(os.path.realpath(path)), content)  # a link stays, and the file that it leads to is replaced
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UnwritableOutput(f"cannot write {os.fspath(path)!r}: {reason}; choose another place with -o") from error


_LEFT_BEHIND = 3600  # seconds after which a file half written belongs to nobody that still runs


def _replace(target: Path, content: bytes) -> None:
    # Two threads may write the same file, and a name may be as long as a name can be.
    start = f".{target.name[:100]}."
    beside = target.with_name(f"{start}{os.getpid()}.{os.urandom(4).hex()}.part")
    try:
        with beside.open("xb") as file:
            file.write(content)
        if target.exists():
            if not os.access(target, os.W_OK):
                raise PermissionError(13, os.strerror(13))
            shutil.copymode(target, beside)
        os.replace(beside, target)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
    _tidy(target.parent, start)


def _tidy(folder: Path, start: str) -> None:
    """Remove what a writer of the same file left when it was killed."""
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            part = entry.name.startswith(start) and entry.name.endswith(".part")
            if part and time.time() - entry.stat().st_mtime > _LEFT_BEHIND:
                os.unlink(entry.path)
