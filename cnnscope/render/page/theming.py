"""Colours of pictures as CSS variables, so that a page shows the same picture by day and by night.

The dark counterpart of a colour follows from the colour itself: surfaces become dark, lines and stripes keep their
hue, letters become light. A picture that gains a colour needs no change here.
"""

from __future__ import annotations

import colorsys
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

SVG = "http://www.w3.org/2000/svg"
_NAMED = {"white": "#ffffff", "black": "#000000", "gray": "#808080", "grey": "#808080"}
_LOOKS = ("fill", "stroke", "stroke-width", "stroke-dasharray", "font-size", "font-weight")
_LONG = re.compile(r"-?\d+\.\d+")
_COLOUR = re.compile(r"#[0-9a-f]{3}(?:[0-9a-f]{3})?")


def parsed(svg_text: str) -> ElementTree.Element:
    """The picture as a tree whose elements are written without namespace prefixes, as in HTML."""
    root = ElementTree.fromstring(svg_text)
    for each in root.iter():
        each.tag = each.tag.removeprefix(f"{{{SVG}}}")
    return root


def written(root: ElementTree.Element) -> str:
    """The tree as text for an HTML page."""
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def brief(numbers: str) -> str:
    """Coordinates with one decimal, which is finer than a screen shows."""
    return _LONG.sub(lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), numbers)


class Palette:
    """The colours of all pictures on a page, and the looks that are made of them."""

    def __init__(self) -> None:
        self._pairs: dict[str, tuple[str, str]] = {}
        self._looks: dict[str, str] = {}

    def take(self, root: ElementTree.Element) -> None:
        """Replace the colours in a picture by variables of this palette, and what an element looks like by a class."""
        for each in root.iter():
            look = []
            for attribute in _LOOKS:
                value = each.attrib.pop(attribute, None)
                colour = _hexadecimal(value or "") if attribute in ("fill", "stroke") else ""
                if colour:
                    value = f"var({self._variable(colour, letters=each.tag == 'text')})"
                elif attribute == "font-size" and value and value[-1].isdigit():
                    value += "px"
                if value is not None:
                    look.append(f"{attribute}:{value}")
            if look:
                name = self._looks.setdefault(";".join(look), f"k{len(self._looks)}")
                each.set("class", f"{each.get('class', '')} {name}".strip())

    def css(self) -> str:
        """The variables, light and dark, and the classes."""
        colours = "".join(f"{name}:light-dark({day},{night});" for name, (day, night) in sorted(self._pairs.items()))
        return f":root{{{colours}}}\n" + "".join(f".{name}{{{look}}}\n" for look, name in self._looks.items())

    def _variable(self, colour: str, letters: bool) -> str:
        name = f"--{'t' if letters else 's'}{colour[1:]}"
        self._pairs[name] = colour, dark(colour, letters=letters)
        return name


def dark(colour: str, *, letters: bool = False) -> str:
    """What stands for ``#rrggbb`` on a dark page.

    White surfaces are the raised ones and stay the lightest of the surfaces; light letters stand on solid colour,
    which is solid by night too.
    """
    hue, light, saturation = colorsys.rgb_to_hls(*_channels(colour))
    if letters:
        light = light if light > 0.75 else 0.62 + (0.75 - light) * 0.45
    elif light == 1:
        hue, light, saturation = 0.59, 0.15, 0.22
    elif light > 0.85 or (light > 0.6 and saturation < 0.5):
        light, saturation = 0.085 + (1 - light) * 1.2, min(saturation, 0.4)
    else:
        light = max(light + 0.05, 0.46)
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue, light, saturation))


def _hexadecimal(colour: str) -> str:
    """``#rrggbb``; empty for what is no colour, as ``none``."""
    colour = _NAMED.get(colour, colour.lower())
    if not _COLOUR.fullmatch(colour):
        return ""
    return colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])


def _channels(colour: str) -> Iterator[float]:
    return (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
