"""A picture as TikZ: a file that pdflatex compiles, and that another document can take in with ``\\input``.

It needs the packages tikz and fix-cm alone. Words are in the document's sans-serif font; what that makes wider than it
is in the SVG is narrowed, so that it stays on its card.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from .markup import num
from .metrics import clean
from .shapes import PLAIN, Box, Disc, Group, Paint, Path, Picture, Shape, Step, Text

_PIXEL = 0.75  # big points in one pixel
_SIGNS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "×": r"$\times$", "·": r"$\cdot$", "–": "--", "…": r"\dots{}",
    "−": "$-$", "≥": r"$\geq$", "→": r"$\to$", "²": r"$^2$", "÷": r"$\div$", "µ": r"$\mu$",
}  # fmt: skip
_PLAINER = str.maketrans({"×": "x", "·": ";", "–": "-", "≥": ">="})  # for the comment at the top
_HEAD = r"""% Compile with pdflatex, or \input this file: its preamble counts only where no document has begun.
\makeatletter
\ifx\@nodocument\relax\else
  \RequirePackage{fix-cm}
  \documentclass{article}
  \usepackage{tikz}
  \pagestyle{empty}\parindent=0pt\topskip=0pt\parskip=0pt
  \hoffset=-1in\voffset=-1in\oddsidemargin=0pt\topmargin=0pt\headheight=0pt\headsep=0pt
  \paperwidth=@WIDEbp\paperheight=@HIGHbp\textwidth=@WIDEbp\textheight=@HIGHbp\hsize=@WIDEbp\vsize=@HIGHbp
  \pdfpagewidth=@WIDEbp\pdfpageheight=@HIGHbp
  \begin{document}\let\cnnscopeend\enddocument
\fi
\makeatother
\providecommand{\cnnscopetext}[4]{% size in pt, width in bp, weight, words
  \fontsize{#1}{#1}\sffamily#3\selectfont
  \setbox0=\hbox{#4}\ifdim\wd0>#2bp\resizebox{#2bp}{\height}{\box0}\else\box0\fi}
"""
_TAIL = r"""\ifdefined\cnnscopeend\expandafter\cnnscopeend\fi
"""
_ANCHORS = {"start": "base west", "middle": "base", "end": "base east"}


def tikz(picture: Picture) -> str:
    """The file; a pixel is 1/96 inch."""
    wide, high = (num(size * _PIXEL) for size in (picture.width, picture.height))
    lines: list[str] = []
    colours = _Colours()
    for shape in picture.parts:
        lines += _drawn(shape, PLAIN, colours)
    frame = f"({num(picture.width)},{num(picture.height)})"
    return "\n".join(
        [
            f"% {_latin(clean(picture.description or picture.title).translate(_PLAINER))[:300]}",
            _HEAD.replace("@WIDE", wide).replace("@HIGH", high).rstrip(),
            f"\\begin{{tikzpicture}}[x={_PIXEL}bp,y=-{_PIXEL}bp,line cap=butt,line join=round]",
            *colours.definitions(),
            f"\\useasboundingbox (0,0) rectangle {frame};",
            *lines,
            "\\end{tikzpicture}%",
            _TAIL.rstrip(),
            "",
        ]
    )


class _Colours:
    """The colours that occur, by name."""

    def __init__(self) -> None:
        self.used: dict[str, str] = {}

    def name(self, colour: str) -> str:
        return self.used.setdefault(colour, f"cnnscope{colour.removeprefix('#')}")

    def definitions(self) -> Iterator[str]:
        for colour, name in self.used.items():
            yield f"\\definecolor{{{name}}}{{HTML}}{{{colour.removeprefix('#').upper()}}}"


def _drawn(shape: Shape, paint: Paint, colours: _Colours) -> Iterator[str]:
    """The commands for a shape inside a group with that paint."""
    if isinstance(shape, Group):
        inner = _over(shape.paint, paint)
        for part in shape.parts:
            yield from _drawn(part, inner, colours)
    elif isinstance(shape, Text):
        yield _text(shape, colours)
    else:
        options = _options(_over(shape.paint, paint), colours)
        if options:
            rounded = f",rounded corners={num(shape.radius * _PIXEL)}bp" if isinstance(shape, Box) else ""
            yield f"\\path[{options}{rounded}] {_outline(shape)};"


def _over(own: Paint, around: Paint) -> Paint:
    return Paint(
        own.fill or around.fill,
        own.stroke or around.stroke,
        own.line if own.line is not None else around.line,
        own.dash or around.dash,
    )


def _options(paint: Paint, colours: _Colours) -> str:
    parts = []
    if paint.fill and paint.fill != "none":
        parts.append(f"fill={colours.name(paint.fill)}")
    if paint.stroke and paint.stroke != "none":
        parts.append(f"draw={colours.name(paint.stroke)},line width={num((paint.line or 1) * _PIXEL)}bp")
        if paint.dash:
            on, off = (float(each) * _PIXEL for each in paint.dash.split())
            parts.append(f"dash pattern=on {num(on)}bp off {num(off)}bp")
    return ",".join(parts)


def _outline(shape: Box | Disc | Path) -> str:
    if isinstance(shape, Box):
        return f"({num(shape.x)},{num(shape.y)}) rectangle ({num(shape.x + shape.width)},{num(shape.y + shape.height)})"
    if isinstance(shape, Disc):
        return f"({num(shape.x)},{num(shape.y)}) circle[radius={num(shape.radius * _PIXEL)}bp]"
    return "".join(_step(step) for step in shape.steps)


def _step(step: Step) -> str:
    letter, points = step
    pairs = [f"({num(x)},{num(y)})" for x, y in points]
    if letter == "C":
        return f" .. controls {pairs[0]} and {pairs[1]} .. {pairs[2]}"
    return {"M": "".join(pairs), "L": f" -- {''.join(pairs)}", "Z": " -- cycle"}[letter]


def _text(line: Text, colours: _Colours) -> str:
    turn = f",rotate={num(-line.turned)}" if line.turned else ""
    options = f"anchor={_ANCHORS[line.anchor]},inner sep=0pt,text={colours.name(line.ink)}{turn}"
    words = f"\\cnnscopetext{{{num(line.size * _PIXEL)}}}{{{num(line.width * _PIXEL)}}}"
    weight = "\\bfseries" if line.bold else ""
    return f"\\node[{options}] at ({num(line.x)},{num(line.y)}) {{{words}{{{weight}}}{{{_escaped(line.text)}}}}};"


def _escaped(text: str) -> str:
    return "".join(_SIGNS.get(char) or _latin(char) for char in clean(text))


def _latin(text: Sequence[str]) -> str:
    """Letters as pdflatex knows them: without their accents, and a question mark for other scripts."""
    plain = unicodedata.normalize("NFKD", "".join(text))
    return "".join(char if " " <= char <= "~" else "?" for char in plain if not unicodedata.combining(char))
