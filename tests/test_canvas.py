"""SVG, TikZ, PNG and PDF are the same picture: every shape is in each, and LaTeX itself takes the TikZ."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_diagram import traced
from test_diagram_modes import shapes

from cnnscope.errors import CnnscopeError
from cnnscope.render.canvas import raster, svg_writer, tikz_writer
from cnnscope.render.canvas.shapes import Box, Disc, Group, Paint, Picture, Text, line
from cnnscope.render.canvas.shapes import Path as Line
from cnnscope.render.canvas.ways import corners, way
from cnnscope.render.diagram import picture, svg, tikz

NAMES = ["lenet5_modern", "googlenet", "unet", "attention"]
PDFLATEX = shutil.which("pdflatex")


@pytest.mark.parametrize("name", NAMES)
def test_every_shape_is_in_the_svg_and_in_the_tikz(name: str) -> None:
    made = picture(traced(name))
    drawn = [each for each in shapes(made.parts) if not isinstance(each, Group)]
    root = ElementTree.fromstring(svg_writer.svg(made, "p"))
    tags = {Text: "text", Box: "rect", Disc: "circle", Line: "path"}
    for kind, tag in tags.items():
        expected = sum(isinstance(each, kind) for each in drawn) + (kind is Box)  # the ground
        assert len(list(root.iter(f"{{http://www.w3.org/2000/svg}}{tag}"))) == expected
    text = tikz_writer.tikz(made)
    assert text.count("\\node[") == sum(isinstance(each, Text) for each in drawn)
    assert text.count("\\path[") == sum(not isinstance(each, Text) for each in drawn)


@pytest.mark.parametrize("name", NAMES)
def test_tikz_is_plain_text_in_which_all_is_defined_and_closed(name: str) -> None:
    text = tikz(traced(name), landscape=name == "googlenet")
    assert text.isascii()
    assert set(re.findall(r"(?:fill|draw|text)=(\w+)", text)) == set(re.findall(r"\\definecolor\{(\w+)\}", text))
    for row in text.splitlines():
        if row.startswith(("\\node", "\\path")):
            plain = row.replace("\\{", "").replace("\\}", "")
            assert plain.count("{") == plain.count("}") and row.endswith(";")


def compiled(text: str, folder: Path, name: str = "picture") -> str:
    """What pdflatex says; it stops at the first error."""
    (folder / f"{name}.tex").write_text(text, encoding="utf-8")
    command = [str(PDFLATEX), "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


@pytest.mark.skipif(not PDFLATEX, reason="needs pdflatex: apt-get install texlive-latex-base texlive-pictures")
def test_pdflatex_compiles_it_alone_and_as_a_part_of_a_document(tmp_path: Path) -> None:
    made = picture(traced("googlenet"), landscape=True)
    said = compiled("\\pdfobjcompresslevel=0\n" + tikz_writer.tikz(made), tmp_path)
    assert "(1 page" in said and "Overfull" not in said and "Warning" not in said
    box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", (tmp_path / "picture.pdf").read_bytes())
    assert box and abs(float(box[1]) - 0.75 * made.width) < 1 and abs(float(box[2]) - 0.75 * made.height) < 1
    start, end = "\\documentclass{article}\\usepackage{tikz}\\begin{document}", "\\end{document}"
    part = "\\resizebox{\\linewidth}{!}{\\input{picture}}"
    assert "(1 page" in compiled(f"{start}{part}\n\n{part}{end}", tmp_path, "paper")


@pytest.mark.skipif(not PDFLATEX, reason="needs pdflatex: apt-get install texlive-latex-base texlive-pictures")
def test_pdflatex_takes_every_character(tmp_path: Path) -> None:
    signs = "".join(map(chr, range(32, 127)))
    words = [signs, "×·–…−≥→²÷µ", "äÉñøß λ 日本 \u202e\x00", "}\\end{document}", "%", "^^M", "$"]
    made = Picture(400, 300, [Text(5, 20 * i + 20, each, 12) for i, each in enumerate(words)], "%\n\\x", "a\n\\b")
    assert "(1 page" in compiled(tikz_writer.tikz(made), tmp_path)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_words_make_well_formed_files(words: str, name: str) -> None:
    parts = [
        Group([Text(1, 2, words, 9)], "c0", words, {"module": words}),
        line([(0, 0), (3, 4)], Paint("none", "#000000")),
    ]
    made = Picture(10, 10, parts, words, words)
    root = ElementTree.fromstring(svg_writer.svg(made, name, dark=True))
    ids = [each.get("id") or "" for each in root.iter() if each.get("id") is not None]
    assert len(ids) == len(set(ids)) == 4
    text = tikz_writer.tikz(made)
    assert text.isascii() and text.count("\\begin{tikzpicture}") == text.count("\\end{tikzpicture}") == 1


def test_a_line_ends_where_it_should() -> None:
    points = [(0.0, 0.0), (0.0, 10.0), (30.0, 10.0), (30.0, 50.0)]
    for steps in (corners(points), way(points), way(points, across=True)):
        assert steps[0] == ("M", [points[0]]) and steps[-1][1][-1] == points[-1]
        assert all(len(each[1]) == {"M": 1, "L": 1, "C": 3}[each[0]] for each in steps)


def test_a_pdf_has_the_pictures_size_and_its_words() -> None:
    pytest.importorskip("vl_convert")
    made = picture(traced("lenet5_modern"))
    data = raster.pdf(svg_writer.svg(made, "p"))
    box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", data)
    assert data.startswith(b"%PDF") and box
    assert abs(float(box[1]) / float(box[2]) - made.width / made.height) < 0.01
    assert b"/Font" in data


def test_a_png_is_light_also_of_a_picture_that_can_be_dark() -> None:
    pytest.importorskip("vl_convert")
    graph = traced("one")
    assert raster.png(svg(graph, prefix="p", dark=True), scale=1) == raster.png(svg(graph, prefix="p"), scale=1)


def test_pdf_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(CnnscopeError, match=r"drawing PDF needs vl-convert: pip install 'cnnscope\[png\]'"):
        raster.pdf(svg(traced("one")))
