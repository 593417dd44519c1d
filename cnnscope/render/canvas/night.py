"""The colours of a picture at night: what was light is dark and the other way round, hue by hue."""

from __future__ import annotations

import colorsys
from functools import cache

_SLATE = 0.61  # hue of surfaces that have none of their own
_DARKEST, _RANGE = 0.085, 0.85


@cache
def night(colour: str) -> str:
    """The counterpart of ``#rrggbb`` for a dark ground: its lightness is turned round, its hue stays."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    hue, light, full = colorsys.rgb_to_hls(red, green, blue)
    if light > 0.85 and full > 0.9:
        full = 0.55  # a pale tint is a dull shade, not a glaring one
    if light > 0.995:
        hue, full = _SLATE, 0.3
    turned = colorsys.hls_to_rgb(hue, _DARKEST + (1 - light) * _RANGE, full)
    return "#" + "".join(f"{round(255 * part):02x}" for part in turned)
