"""The renderers of tables: what is unknown, what is hostile, what does not fit."""

from __future__ import annotations

import csv
import dataclasses
import html.parser
import io
import json

import pytest

from cnnscope import render
from cnnscope.errors import UnknownColumn
from cnnscope.table import column, table

HOSTILE = "=cmd|'<script>alert(1)</script>`x`*b*\n\x1b[31m[a](javascript:1)"


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    name: str = column("layer")
    module: str = column("module", hidden=True, default="")
    type: str = column("type", default="Conv2d")
    output: tuple[int, ...] | None = column("output", "shape", default=None)
    kernel: tuple[int, ...] | None = column("kernel", "shape", default=None)
    params: int = column("params", "count", fold="sum", default=0)
    macs: int | None = column("MACs", "MAC", fold="sum", default=None)
    flops: int | None = column("FLOPs", "FLOP", fold="sum", default=None)
    weights: int = column("weights", "count", fold="sum", hidden=True, default=0)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


def small(*rows, **options):
    return table("layers", rows, Row, **{"model": "net", "input": "1x3x8x8", **options})


KNOWN = Row("conv", output=(1, 8, 8, 8), kernel=(3, 3), params=1792, macs=4_089_184_256, flops=8_178_368_512)
UNKNOWN = Row("roi", type="RoIAlign", output=(1, 8), macs=None, flops=None, missing=("roi_align", "roi_align"))
PARTLY = Row("head", type="Head", output=(1, 8), macs=1_000_000, flops=2_000_000, missing=("nms",))


def lines_of(text):
    return [line.rstrip() for line in text.splitlines()]


def test_text_has_units_in_its_head_numbers_at_the_right_and_a_total():
    lines = lines_of(render.text(small(KNOWN, Row("relu", type="ReLU", macs=0, flops=1)), width=0))
    assert lines[0] == "net (1x3x8x8): layers"
    assert lines[2].split() == ["layer", "type", "output", "kernel", "params", "MACs", "FLOPs"]
    assert lines[3].split() == ["G", "G"]
    assert lines[5].split() == ["conv", "Conv2d", "1x8x8x8", "3x3", "1,792", "4.09", "8.18"]
    assert lines[6].split() == ["relu", "ReLU", "0", "0", "<0.01"]
    assert lines[8].split() == ["total", "1,792", "4.09", "8.18"]
    assert len({len(line) for line in (lines[2], lines[5], lines[6], lines[8])}) == 1, "numbers end in one column"


RENDERERS = {"text": render.text, "md": render.markdown, "csv": render.csv, "html": render.html, "json": render.json}


@pytest.mark.parametrize("form", RENDERERS)
def test_what_is_missing_is_said_in_every_format(form):
    found = small(KNOWN, UNKNOWN, PARTLY)
    output = RENDERERS[form](found)
    if form == "json":
        assert json.loads(output)["missing"] == {"roi_align": 2, "nms": 1}
        return
    output = html_text(output) if form == "html" else output
    assert "roi_align x2" in output.replace("\\_", "_") and "nms x1" in output
    assert "MACs >= 4.090 G" in output
    assert "?" in output


def test_unknown_is_a_question_mark_and_not_applicable_is_empty():
    rows = list(csv.reader(io.StringIO(render.csv(small(KNOWN, UNKNOWN, PARTLY)))))
    head, *body = rows
    by_name = {row[0]: dict(zip(head, row, strict=True)) for row in body}
    assert by_name["roi"]["macs"] == "?" and by_name["roi"]["kernel"] == ""
    assert by_name["roi"]["missing"] == "roi_align roi_align"
    assert by_name["head"]["macs"] == "1000000", "CSV has raw numbers; the column `missing` says that it is a part"
    assert by_name["total"]["macs"] == "4090184256" and "roi_align x2" in by_name["total"]["missing"]
    text = render.text(small(KNOWN, UNKNOWN, PARTLY), width=0)
    assert ">=4.09" in next(line for line in text.splitlines() if line.startswith("total"))
    assert ">=" in next(line for line in text.splitlines() if line.startswith("head"))


def test_json_is_the_contract():
    plain = json.loads(render.json(small(KNOWN, UNKNOWN)))
    assert plain["schema_version"] == 1 and plain["model"] == "net" and plain["input"] == "1x3x8x8"
    assert plain["total"] == {"params": 1792, "macs": 4089184256, "flops": 8178368512, "weights": 0}
    assert [row["name"] for row in plain["rows"]] == ["conv", "roi"]
    assert plain["rows"][0]["output"] == [1, 8, 8, 8] and plain["rows"][1]["macs"] is None
    chosen = json.loads(render.json(small(KNOWN), columns=["macs"]))
    assert chosen["rows"] == [{"name": "conv", "macs": 4089184256}]
    assert json.loads(render.json(small()))["rows"] == []


# -- hostile names ----------------------------------------------------------------------------------------------------


class Cells(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.texts = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, text):
        self.texts.append(text)


def html_text(fragment):
    parser = Cells()
    parser.feed(fragment)
    return "\n".join(parser.texts)


def test_a_hostile_name_stays_text_in_html():
    parser = Cells()
    parser.feed(render.html(small(dataclasses.replace(KNOWN, name=HOSTILE), input="<b>")))
    assert {"script", "b", "a"}.isdisjoint(parser.tags)
    assert any("<script>alert(1)</script>" in text for text in parser.texts)


def test_a_hostile_name_stays_text_in_markdown():
    output = render.markdown(small(dataclasses.replace(KNOWN, name=HOSTILE, type="__init__")))
    (row,) = (line for line in output.splitlines() if "cmd" in line)
    assert row.count("|") - row.count("\\|") == 8, "seven cells"
    for written in (r"\|", r"\<script>", r"\`x\`", r"\*b\*", r"\[a\]", r"\_\_init\_\_"):
        assert written in row


def test_a_hostile_name_is_no_formula_in_csv():
    output = render.csv(small(dataclasses.replace(KNOWN, name=HOSTILE)))
    assert "\x1b" not in output and len(output.splitlines()) == 3
    assert list(csv.reader(io.StringIO(output)))[1][0].startswith("'=cmd|'<script>")


def test_a_hostile_name_commands_no_terminal():
    output = render.text(small(dataclasses.replace(KNOWN, name=HOSTILE)), width=0)
    assert "\x1b" not in output and "\\n\\x1b[31m" in output


# -- what fits, what is heavy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 50, 40, 30, 20])
def test_what_does_not_fit_is_left_out_and_named(width):
    output = render.text(small(KNOWN), width=width)
    body = output.split("hidden for width: ")[0]
    assert max(map(len, body.splitlines())) <= max(width, len("net (1x3x8x8): layers"))
    named = output.split("hidden for width: ")[1].split("\n\n")[0] if "hidden" in output else ""
    left_out = [name.strip() for name in named.split(",") if name]
    head = next(line for line in output.splitlines() if line.startswith("layer  ")).split()
    assert sorted([*head, *left_out]) == sorted(["layer", "type", "output", "kernel", "params", "MACs", "FLOPs"])


def test_the_less_important_columns_go_first():
    output = render.text(small(KNOWN), width=40)
    assert output.splitlines()[2].split() == ["layer", "type", "output", "params", "MACs"]


def test_asked_for_columns_are_never_left_out():
    output = render.text(small(KNOWN), width=10, columns=["MACs", "weights", "output", "macs"])
    assert ["layer", "MACs", "weights", "output"] in [line.split() for line in output.splitlines()]


def test_columns_are_found_by_name_and_title():
    head = render.text(small(KNOWN), columns=[" macs ", "PARAMS", "type"]).splitlines()[2].split()
    assert head == ["layer", "MACs", "params", "type"]
    with pytest.raises(UnknownColumn, match=r"no column 'colour'; there are: name, module, type"):
        render.csv(small(KNOWN), columns=["colour"])


def test_bold_is_what_is_heavy_and_only_on_request():
    found = small(KNOWN, Row("light", params=10, macs=10, flops=10))
    assert "\x1b" not in render.text(found, width=0)
    colored = render.text(found, width=0, color=True)
    assert colored.replace("\x1b[1m", "").replace("\x1b[0m", "") == render.text(found, width=0)
    light = next(line for line in colored.splitlines() if line.startswith("light"))
    heavy = next(line for line in colored.splitlines() if line.startswith("\x1b[1mconv"))
    assert heavy.count("\x1b[1m") > 1 and "\x1b" not in light


def test_a_column_in_which_no_row_has_anything_is_not_shown():
    assert "kernel" not in render.text(small(dataclasses.replace(KNOWN, kernel=None)), width=0)


def test_sentences_stand_under_the_table():
    sentence = "leaves out everything that is not a convolution, a matrix product or attention"
    lines = lines_of(render.text(small(dataclasses.replace(KNOWN, type=sentence)), width=60))
    assert "type" not in lines[2]
    assert any(line.startswith("conv  type: leaves out") for line in lines)
    assert max(map(len, lines)) <= 60


def test_a_table_without_rows_is_no_accident():
    for renderer in RENDERERS.values():
        assert renderer(small())
