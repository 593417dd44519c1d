"""Holding off Python's garbage collector."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Hold off the collector while a graph or a table of a thousand small, cycle-free objects is made.

    Their sheer number would call it again and again to walk through all that the process holds. In a trace there is
    a second reason: reference counts free tensors at once, as in the real program, and a collection in the middle
    would make the lifetimes depend on what else is in memory.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
