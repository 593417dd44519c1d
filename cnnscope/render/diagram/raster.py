"""SVG text as PNG, by a library that is a plain wheel with fonts of its own: no browser, no system library."""

from __future__ import annotations

from ...errors import CnnscopeError


def png(svg_text: str, scale: float = 2.0) -> bytes:
    """The picture as PNG, ``scale`` pixels for each pixel of the SVG.

    Raises:
        CnnscopeError: the library is not installed, or the text is no SVG.
    """
    try:
        import vl_convert
    except ImportError as failure:
        raise CnnscopeError("drawing PNG needs vl-convert: pip install 'cnnscope[png]'") from failure
    try:
        return bytes(vl_convert.svg_to_png(svg_text, scale=scale))
    except (RuntimeError, ValueError) as failure:
        reason = (str(failure).strip().splitlines() or ["no reason given"])[0]
        raise CnnscopeError(f"this SVG cannot be drawn as PNG: {reason}") from failure
