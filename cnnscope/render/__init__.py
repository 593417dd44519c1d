"""Tables and graphs as text, Markdown, CSV, JSON, HTML, DOT, SVG and PNG; no torch.

Every name is loaded on first use. The modules bear other names than the functions, because importing a submodule
binds its name in the package and would hide the function.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .canvas.raster import pdf, png
    from .columnar import parquet
    from .diagram import svg, tikz
    from .diagram.dots import dot
    from .figures import figure
    from .interchange import csv, json
    from .markup import html, markdown
    from .texts import text

__all__ = ["csv", "dot", "figure", "html", "json", "markdown", "parquet", "pdf", "png", "svg", "text", "tikz"]

_HOMES = {
    "csv": "interchange",
    "dot": "diagram.dots",
    "figure": "figures",
    "html": "markup",
    "json": "interchange",
    "markdown": "markup",
    "parquet": "columnar",
    "pdf": "canvas.raster",
    "png": "canvas.raster",
    "svg": "diagram",
    "text": "texts",
    "tikz": "diagram",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # the next use finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
