"""Names that may hold anything, in TikZ, in figures as papers draw them, in pixels, and in tables of several models."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from test_hostile_names import HARM, NAMES, net
from torch import nn

from cnnscope import comparing, differences, records, render
from cnnscope.render import measured
from cnnscope.tracing import trace

LATEX = r"\input{/etc/passwd}\write18{id}%$#&_^~{}"
ALL = {**NAMES, "latex": LATEX, "shell": "$(id)`id`;|&", "percent": "%n%s%d", "path": "../../etc/passwd"}


def chain(name):
    """A chain of maps under that name, as a figure takes it."""
    layers = nn.Sequential()
    layers.add_module("first", nn.Conv2d(1, 4, 3))
    layers.add_module(name.replace(".", ""), nn.Conv2d(4, 8, 3))
    return layers


@pytest.fixture(scope="module")
def graphs():
    return {key: trace(net(name.replace(".", "")), (1, 4), name=name) for key, name in ALL.items()}


def commands(text):
    """What TeX would run: not in comments."""
    return set(re.findall(r"\\[A-Za-z]+", re.sub(r"^%.*", "", text, flags=re.M)))


def plain_tikz(text, harmless):
    """No control character, every brace has its other, and no command but those under a plain name and for letters."""
    assert not HARM.search(text.replace("\n", "")) and text.encode()
    bare = re.sub(r"^%.*|\\[\\{}]", "", text, flags=re.M)
    assert bare.count("{") == bare.count("}")
    assert all(command.startswith("\\text") or command == "\\dots" for command in commands(text) - commands(harmless))


def plain_svg(text):
    assert not HARM.search(text.replace("\n", ""))
    for element in ET.fromstring(text.encode()).iter():
        assert element.tag.rpartition("}")[2] not in ("script", "foreignObject", "a", "image")
        assert not any(attribute.rpartition("}")[2].startswith("on") for attribute in element.attrib)


@pytest.mark.parametrize("key", ALL)
class TestName:
    def test_tikz(self, key, graphs):
        plain_tikz(render.tikz(graphs[key]), render.tikz(trace(net("plain_name"), (1, 4), name="plain")))

    @pytest.mark.parametrize("style", ["volumes", "sheets"])
    def test_figures(self, key, style):
        graph = trace(chain(ALL[key]), (1, 1, 16, 16), name=ALL[key])
        plain_svg(render.figure(graph, style, title=ALL[key]))
        plain = trace(chain("second"), (1, 1, 16, 16), name="plain")
        drawn = [render.figure(each, style, kind="tikz", title=each.name) for each in (graph, plain)]
        plain_tikz(*drawn)

    def test_pixels(self, key, graphs):
        assert render.png(render.svg(graphs[key])).startswith(b"\x89PNG")

    def test_a_measurement(self, key):
        name = next((Path(__file__).parents[1] / "reports" / "measured").rglob("*.json"))
        record = dataclasses.replace(records.read(str(name)), model=ALL[key], notes=(ALL[key],))
        assert not HARM.search(measured.summary(record).replace("\n", ""))

    def test_several_models(self, key, graphs):
        graph, other = graphs[key], graphs["quotes" if key != "quotes" else "tag"]
        for table in (comparing.compare([graph, other]), differences.diff(graph, other)):
            for form in (render.text, render.markdown, render.csv, render.html):
                assert not HARM.search(form(table).replace("\n", ""))
            assert "<script>" not in render.html(table) and not re.search(r"^[=+@]", render.csv(table), re.M)
