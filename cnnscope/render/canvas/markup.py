"""Pieces of XML text: everything that comes from outside goes through here."""

from __future__ import annotations

from html import escape as _escape

from .metrics import clean

_LONGEST = 300


def escape(text: str) -> str:
    """Text as it may stand in XML, also inside an attribute; without characters that XML forbids."""
    return text if text.isalnum() else _escape(clean(text))


def short(text: str) -> str:
    """At most a few hundred characters."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def num(value: float) -> str:
    """A coordinate with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))


def element(name: str, content: str = "", **attributes: object) -> str:
    """One element; ``stroke_width=2`` becomes ``stroke-width="2"``, None is left out."""
    parts = [name]
    for key, value in attributes.items():
        if value is not None:
            text = num(value) if isinstance(value, int | float) else escape(str(value))
            parts.append(f'{key.rstrip("_").replace("_", "-")}="{text}"')
    head = " ".join(parts)
    return f"<{head}>{content}</{name}>" if content else f"<{head}/>"
