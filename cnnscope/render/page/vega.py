"""From a Vega-Lite specification to an SVG that may stand in a page: tidy, themed, and tied to the rows of a table."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from ...errors import CnnscopeError
from .theming import Palette, brief, parsed, written

Spec = dict[str, Any]
ROW = "row "  # what a mark is described by, before the number of its row


def drawn(spec: Spec, *, label: str, prefix: str, palette: Palette) -> str:
    """The chart as SVG for a page: ids with the prefix, colours of the palette, one description instead of hundreds.

    Raises:
        CnnscopeError: the library that draws is not installed.
    """
    try:
        import vl_convert
    except ImportError as failure:
        raise CnnscopeError("drawing charts needs vl-convert: pip install 'cnnscope[png]'") from failure
    schema = {"$schema": "https://vega.github.io/schema/vega-lite/v5.json"}
    root = parsed(vl_convert.vegalite_to_svg({**schema, **spec}))
    for each in root.iter():
        _tidy(each, prefix)
    root.attrib = {"viewBox": root.get("viewBox", ""), "class": "chart", "role": "img", "aria-label": label}
    _prune(root)
    palette.take(root)
    return written(root)


def _tidy(each: ElementTree.Element, prefix: str) -> None:
    """Without what only Vega's runtime reads; marks say which row they belong to."""
    label = each.attrib.pop("aria-label", "") if each.get("role") == "graphics-symbol" else ""
    for name in [name for name in each.attrib if name.startswith("aria-") or name in _DROPPED]:
        del each.attrib[name]
    if each.get("opacity") == "1":
        del each.attrib["opacity"]
    if "id" in each.attrib:
        each.set("id", f"{prefix}-{each.attrib['id']}")
    for name, value in each.attrib.items():
        if "url(#" in value:
            each.set(name, value.replace("url(#", f"url(#{prefix}-"))
    if label.startswith(ROW):
        each.set("data-row", label.removeprefix(ROW))
    for name in ("d", "transform"):
        if name in each.attrib:
            each.set(name, brief(each.attrib[name]))


_DROPPED = ("role", "pointer-events", "class", "stroke-miterlimit", "font-family")


def _prune(root: ElementTree.Element) -> None:
    """Without what is not seen: empty groups and paths."""
    for each in list(root):
        _prune(each)
        shape = each.tag in ("path", "line") and (each.get("display") == "none" or _flat(each))
        if shape or (each.tag == "g" and not len(each)):
            root.remove(each)


def _flat(each: ElementTree.Element) -> bool:
    if each.tag != "path" or each.get("data-row"):
        return False
    path = each.get("d", "")
    return not path or path == "M0,0h0v0h0Z" or (each.get("fill") is None and each.get("stroke") is None)
