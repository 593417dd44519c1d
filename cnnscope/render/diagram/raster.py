"""SVG text as PNG, by a library that is a plain wheel (resvg): no browser, no system library.

resvg leaves text out without a word when it finds no font for it. So the font is looked for here first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from ...errors import CnnscopeError

# Sans-serif fonts by the file of their regular face, those with Helvetica's widths first.
_FONTS = {
    "liberationsans-regular": "Liberation Sans",
    "arial": "Arial",
    "helvetica": "Helvetica",
    "arimo-regular": "Arimo",
    "nimbussans-regular": "Nimbus Sans",
    "freesans": "FreeSans",
    "dejavusans": "DejaVu Sans",
    "notosans-regular": "Noto Sans",
    "opensans-regular": "Open Sans",
    "roboto-regular": "Roboto",
    "segoeui": "Segoe UI",
    "ubuntu-r": "Ubuntu",
}


def png(svg_text: str, scale: float = 2.0) -> bytes:
    """The picture as PNG, ``scale`` pixels for each pixel of the SVG.

    Raises:
        CnnscopeError: resvg is not installed, or no sans-serif font is on this machine.
    """
    try:
        import resvg_py
    except ImportError as failure:
        raise CnnscopeError("drawing PNG needs resvg: pip install 'cnnscope[png]'") from failure
    found = _font()
    if found is None:
        raise CnnscopeError(
            "no sans-serif font on this machine, so the picture would have no text\n"
            "install one, for instance with: apt-get install fonts-liberation"
        )
    family, file = found
    try:
        return bytes(
            resvg_py.svg_to_bytes(
                svg_string=svg_text,
                zoom=scale,
                skip_system_fonts=not _needs_more_fonts(svg_text),
                font_files=[str(each) for each in sorted(file.parent.glob(f"{file.stem.split('-')[0]}*{file.suffix}"))],
                font_family=family,
                sans_serif_family=family,
            )
        )
    except ValueError as failure:
        raise CnnscopeError(f"this SVG cannot be drawn as PNG: {failure}") from failure


def _needs_more_fonts(text: str) -> bool:
    """Whether a name in the picture is in a script that one Latin font may lack: reading all fonts takes its time."""
    return any("\u0370" <= char < "\u2000" or char >= "\u2e80" for char in text)


def _font() -> tuple[str, Path] | None:
    """Family and file of the best font found."""
    best: tuple[int, str, Path] | None = None
    ranks = {stem: rank for rank, stem in enumerate(_FONTS)}
    for folder in _folders():
        for file in folder.rglob("*.[tTo][tTo][fFcC]"):
            rank = ranks.get(file.stem.lower())
            if rank is not None and (best is None or rank < best[0]):
                best = rank, _FONTS[file.stem.lower()], file
    return best and best[1:]


def _folders() -> Iterator[Path]:
    """Where fonts lie: the system's and the user's folders, and matplotlib's own."""
    places = ["/usr/share/fonts", "/usr/local/share/fonts", "/System/Library/Fonts", "/Library/Fonts"]
    places += [os.path.expanduser(each) for each in ("~/.fonts", "~/.local/share/fonts", "~/Library/Fonts")]
    places.append(os.path.join(os.environ.get("WINDIR", "C:\\Windows"), "Fonts"))
    if (spec := find_spec("matplotlib")) and spec.origin:
        places.append(os.path.join(os.path.dirname(spec.origin), "mpl-data", "fonts", "ttf"))
    return (Path(each) for each in places if os.path.isdir(each))
