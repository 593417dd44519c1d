"""What a trace depends on, without importing any of it: our own source, torch's build, the libraries as installed."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from . import zoo

# Folders of ours that only see a graph that is there, or a device.
APART = frozenset(("analyses", "claiming", "cli", "measuring", "render", "sweeping"))


def origin(target: str) -> list[str] | None:
    """What says how the model is made, beside our own source; None where that cannot be told."""
    if zoo.meant(target):
        return []
    where = target.partition(":")[0]
    if where not in ("torchvision", "timm"):
        return None
    return [text for each in ("torchvision", where) for text in (release(each), stamps(each))]  # timm uses the other


@cache
def own_source(apart: frozenset[str] = APART) -> str:
    """A digest of our own files and the zoo's, but for some folders: by default those that only see a graph."""
    home = os.path.dirname(__file__)
    digest = hashlib.sha256()
    for path in (*sorted(python_files(home, apart)), f"{home}/architectures/catalog.toml"):
        digest.update(path.removeprefix(home).encode())
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


@cache
def release(package: str) -> str:
    """The version of a package and how it was built, without importing it; '' where it is not installed."""
    home = _home(package)
    if home is None:
        return ""
    try:
        return Path(home, "version.py").read_text(encoding="utf-8")
    except OSError:
        from importlib import metadata  # slower by 30 ms

        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            return ""


@cache
def stamps(package: str) -> str:
    """A digest of the names, sizes and times of a package's files: it may be one that somebody works on."""
    digest = hashlib.sha256()
    for path in sorted(python_files(_home(package) or "")):
        status = os.stat(path)
        digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def switches() -> list[tuple[str, str]]:
    """Variables that may change what a library runs, such as TIMM_FUSED_ATTN; not those that say where files are.

    torch itself sets TORCHINDUCTOR_CACHE_DIR while it runs.
    """
    found = [each for each in os.environ.items() if each[0].startswith(("PYTORCH_", "TIMM_", "TORCH"))]
    return sorted(each for each in found if not each[0].endswith(("_DIR", "_HOME")))


def _home(package: str) -> str | None:
    """The folder of an installed package."""
    import importlib.util

    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    return os.path.dirname(found.origin) if found and found.origin else None


def python_files(place: str, apart: frozenset[str] = frozenset()) -> Iterator[str]:
    """The source files in a folder and those below, but for the folders right in it that are named."""
    with contextlib.suppress(FileNotFoundError), os.scandir(place) as found:
        for entry in found:
            if entry.is_dir() and entry.name not in apart and entry.name != "__pycache__":
                yield from python_files(entry.path)
            elif entry.name.endswith(".py"):
                yield entry.path
