"""Writing results to files, never half of one."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path

from .errors import UnwritableOutput


def write(path: str | os.PathLike[str], data: str | bytes) -> None:
    """Write a file: beside it first, then renamed, so that nobody sees half of it and a failure leaves what was there.

    Raises:
        UnwritableOutput: the reason is the operating system's.
    """
    content = data.encode() if isinstance(data, str) else data
    target = Path(os.path.realpath(path))  # through a symbolic link: the file it leads to is replaced, not the link
    try:
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            target.write_bytes(content)  # a device or pipe is written to, never replaced
        else:
            _replace(target, content)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UnwritableOutput(f"cannot write {os.fspath(path)!r}: {reason}; choose another place with -o") from error


def _replace(target: Path, content: bytes) -> None:
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
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
