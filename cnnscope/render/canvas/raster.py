"""SVG text as PNG and PDF, by a library that is a plain wheel with fonts of its own: no browser, no system library."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ...errors import CnnscopeError


def png(svg_text: str, scale: float = 2.0) -> bytes:
    """The picture as PNG, ``scale`` pixels for each pixel of the SVG.

    Raises:
        CnnscopeError: the library is not installed, or the text is no SVG.
    """
    return _made("PNG", "svg_to_png", svg_text, scale=scale)


def pdf(svg_text: str) -> bytes:
    """The picture as a PDF page of its size, with real text.

    Raises:
        CnnscopeError: the library is not installed, or the text is no SVG.
    """
    return _made("PDF", "svg_to_pdf", svg_text)


def library(kind: str) -> ModuleType:
    """The library that makes a ``kind`` of picture.

    Raises:
        CnnscopeError: it is not installed.
    """
    try:
        import vl_convert
    except ImportError as failure:
        raise CnnscopeError(f"drawing {kind} needs vl-convert: pip install 'cnnscope[png]'") from failure
    return vl_convert


def _made(kind: str, name: str, svg_text: str, **options: Any) -> bytes:
    make = getattr(library(kind), name)
    try:
        return bytes(make(svg_text, **options))
    except (RuntimeError, ValueError) as failure:
        reason = (str(failure).strip().splitlines() or ["no reason given"])[0]
        raise CnnscopeError(f"this SVG cannot be drawn as {kind}: {reason}") from failure
