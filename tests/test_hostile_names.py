"""Names of modules, classes, models and files may hold anything; what is drawn or printed of them does no harm."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import re
import xml.etree.ElementTree as ET

import pytest
from click.testing import CliRunner
from torch import nn

from cnnscope import budgets, render
from cnnscope.analyses.liveness import timeline
from cnnscope.analyses.memory import memory
from cnnscope.cli import main
from cnnscope.render.memories import picture
from cnnscope.render.timeline_drawings import drawing
from cnnscope.tracing import trace
from cnnscope.views import by_layer, by_op

NAMES = {
    "tag": "<script>alert(1)</script>",
    "attribute": "\" onload='alert(1)' x=\"",
    "quotes": "\"'`\\\"\\",
    "lines": "a\nb\r\nc\td\x0b\x0c\x85\u2028\u2029",
    "long": "x" * 10_000,
    "right to left": "\u202eabc\u2066d\u200f",
    "terminal": "\x1b[31mred\x1b]0;title\x07\x9b2J",
    "markdown": "a|b|*c*_d_[e](javascript:f)![g](h)~~i~~`j`<!--",
    "control": "a\0b\x08\x7f",
    "half a pair": "a\ud800b",
    "cdata": "]]>&amp;&lt;<![CDATA[",
    "formula": "=HYPERLINK(1)",
    "template": "{{7*7}}${x}%s{0}",
    "no characters": "\ufffe\uffff",
    "other letters": "شبكة 网络 é",
}  # fmt: skip
HARM = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def net(name):
    """A module under that name, of a class of that name, in another of that name; and a plain one."""
    try:
        kind = type(name, (nn.Linear,), {})
    except (ValueError, UnicodeEncodeError):  # Python itself refuses the class
        kind = nn.Linear
    inner = nn.Sequential()
    inner.add_module(name, kind(4, 4))
    outer = nn.Sequential()
    outer.add_module(name, inner)
    outer.add_module("plain", nn.ReLU())
    return outer


@pytest.fixture(scope="module")
def graphs():
    return {key: trace(net(name), (1, 4), name=name) for key, name in NAMES.items()}


def tables(graph):
    return by_layer(graph), by_op(graph), memory(graph), budgets.budget(graph, {"params": 0, "peak": 0})


class Tags(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.add(tag)
        self.attributes.update(name for name, _ in attributes)


@pytest.mark.parametrize("key", NAMES)
class TestName:
    @pytest.mark.parametrize("width", [0, 80, 120])
    def test_text(self, key, width, graphs):
        for table in tables(graphs[key]):
            text = render.text(table, width=width)
            assert not HARM.search(text.replace("\n", "")) and text.encode()
            lines = text.split("\n")
            rule = next(number for number, line in enumerate(lines) if line.startswith("---"))
            assert all(lines[rule + 1 : rule + 1 + len(table)]), "a row is a line"
            if width:  # a word is not cut in a sentence, but nothing is endless
                assert max(map(len, lines[rule - 1 : rule + 1 + len(table)])) <= width
                assert max(map(len, lines)) <= 12 * width

    def test_markdown(self, key, graphs):
        for table in tables(graphs[key]):
            text = render.markdown(table)
            assert not HARM.search(text.replace("\n", "")) and text.encode()
            lines = [line for line in text.split("\n") if line.startswith("|")]
            assert len(lines) >= len(table) + 2
            assert len({len(re.sub(r"\\.", "", line).split("|")) for line in lines}) == 1
            assert not re.search(r"[<*`\[\]~]", re.sub(r"\\.|\*\*", "", text)), "all that Markdown reads is escaped"

    def test_csv(self, key, graphs):
        for table in tables(graphs[key]):
            text = render.csv(table)
            rows = list(csv.reader(io.StringIO(text)))
            assert len({len(row) for row in rows}) == 1 and len(rows) in (len(table) + 1, len(table) + 2)
            assert text.count("\n") == len(rows), "a row is a line"
            assert not HARM.search(text.replace("\n", "")) and text.encode()
            assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row), "no formula"

    def test_json(self, key, graphs):
        for table in tables(graphs[key]):
            text = render.json(table)
            assert text.isascii() and not HARM.search(text.replace("\n", ""))
            assert [row["name"] for row in json.loads(text)["rows"]] == list(table)

    def test_html(self, key, graphs):
        for table in tables(graphs[key]):
            text = render.html(table)
            tags = Tags(text)
            assert tags.found <= {
                "style",
                "table",
                "caption",
                "thead",
                "tbody",
                "tfoot",
                "tr",
                "th",
                "td",
                "p",
                "br",
                "ul",
                "li",
                "div",
            }
            assert tags.attributes <= {"class", "colspan"} and not HARM.search(text.replace("\n", "")) and text.encode()
            assert text.count("<tr>") in (len(table) + 1, len(table) + 2)

    def test_svg(self, key, graphs):
        graph = graphs[key]
        for text in (render.svg(graph), drawing(picture(timeline(graph), f"{graph.name}: live memory"))):
            assert not HARM.search(text.replace("\n", "")) and "]]>" not in text
            root = ET.fromstring(text.encode())
            assert float(root.get("width")) < 2500
            for element in root.iter():
                assert element.tag.rpartition("}")[2] not in ("script", "foreignObject", "a", "image")
                assert not any(name.rpartition("}")[2].startswith("on") for name in element.attrib)

    def test_dot(self, key, graphs):
        text = render.dot(graphs[key])
        assert not HARM.search(text.replace("\n", "")) and text.encode()
        left = re.sub(r'"(?:\\.|[^"\\\n])*"', "S", text)
        words = r"[\w.#]+|->|[{}\[\]=;,]|S"
        assert '"' not in left and "<" not in left and not re.sub(words, "", left).strip()
        assert len(re.findall(r"^\tc?\d* ?->|^\t\w+ -> \w+", text, re.M)) >= 2

    def test_a_file_of_that_name(self, key, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        name = NAMES[key]
        for target in (
            f"{name}.py:Net",
            f"{name}:Net",
            name,
            f"net.py:{name}",
            f"{name}.pt2",
            f"timm:{name}",
            f"vgg16({name})",
        ):
            result = CliRunner().invoke(main, ["table", target, "--input", "1x4"])
            assert result.exit_code == 2 and result.stdout == "" and "internal error" not in result.stderr
            assert len(result.stderr.splitlines()) <= 3 and not HARM.search(result.stderr.replace("\n", ""))
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["tag", "quotes", "lines", "right to left", "terminal", "markdown", "formula"])
def test_a_real_file_of_that_name(key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = NAMES[key].replace("/", "").replace(":", "")
    (tmp_path / f"{name}.py").write_text("from torch import nn\nnet = nn.Linear(4, 4)\n")
    target = f"{name}.py:net"
    for arguments in (["table"], ["graph", "-o", "-"], ["memory"], ["check", "--max-params", "1"], ["compare"]):
        result = CliRunner().invoke(main, [arguments[0], target, "--input", "1x4", *arguments[1:]])
        assert result.exit_code in (0, 1), result.stderr
        assert not HARM.search((result.stdout + result.stderr).replace("\n", ""))
