"""The report and its command: what goes into a page, without a browser."""

from __future__ import annotations

import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from test_diagram import traced
from torch import Tensor, linalg, nn

import cnnscope
from cnnscope import devices, papers, zoo
from cnnscope.cli import main
from cnnscope.errors import CnnscopeError, UnusableInput
from cnnscope.papers import main_nets, paper
from cnnscope.records import folder
from cnnscope.render.page import tables
from cnnscope.render.page.drawings import sheet
from cnnscope.render.page.theming import Palette, dark
from cnnscope.reporting import report, under_roof
from cnnscope.units import duration

MEASURED = Path(__file__).parent.parent / "reports" / "measured"
needs_charts = pytest.mark.skipif(not find_spec("vl_convert"), reason="charts need the extra png")


def light(colour: str) -> float:
    """Relative luminance, as WCAG defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


COLOURS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


@given(COLOURS)
def test_a_dark_colour_is_a_colour_and_letters_stay_legible(colour: str) -> None:
    assert re.fullmatch("#[0-9a-f]{6}", dark(colour))
    page = light(dark("#ffffff"))
    assert (light(dark(colour, letters=True)) + 0.05) / (page + 0.05) > 3


@given(st.floats(0.86, 0.999))
def test_surfaces_become_dark(grey: float) -> None:
    part = f"{round(255 * grey):02x}"
    assert light(dark(f"#{3 * part}")) < 0.08


@pytest.mark.parametrize("name", ["resnet50", "googlenet", "densenet121"])
@pytest.mark.parametrize("fold", [True, False])
def test_every_operator_that_is_drawn_leads_to_a_card(name: str, fold: bool) -> None:
    graph, palette = traced(name), Palette()
    found = sheet(graph, fold=fold, prefix="x", palette=palette)
    assert set(found.cards.values()) <= set(range(len(found.geometry["cards"])))
    assert {name for name, row in cnnscope.cost(graph).items() if row.macs} <= set(found.cards)
    assert fold or found.own == set(found.cards)
    assert not re.search("#[0-9a-f]{6}", found.svg), "a colour that knows no night"
    assert found.svg.count('class="card"') == len(found.geometry["cards"]) == found.svg.count('class="body ')


def test_raw_values_are_those_of_the_table() -> None:
    layers = report(traced("googlenet")).layers
    raw = tables.raw(layers)
    assert raw["macs"]["values"] == [row.macs for row in layers.values()]
    assert sum(raw["params"]["values"]) == layers.total.params
    assert {"macs", "params", "flops", "activation", "bytes_read"} <= set(tables.heats(layers))


@needs_charts
def test_what_is_not_counted_is_said() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return linalg.inv(x) @ x.T

    found = report(cnnscope.trace(Odd(), (4, 4), name="odd"))
    assert found.layers.missing
    page = found.html()
    assert "Not counted, for want of a rule: " + next(iter(found.layers.missing)) in page and ">≥ " in page


def test_papers_are_those_of_the_catalogue() -> None:
    assert paper("resnet50").link == "https://arxiv.org/abs/1512.03385"
    assert paper("wrn(depth=28, k=10)").year == 2016
    assert {paper(name).title for name in zoo.names()} == {
        each["title"] for each in zoo.catalog() if each.get("model")
    }  # fmt: skip


def test_main_nets_have_one_of_every_paper() -> None:
    names = main_nets()
    assert {paper(name).title for name in names} == {paper(name).title for name in zoo.names()}
    assert {"alexnet_grouped", "vgg16", "resnet50", "densenet121"} <= set(names) < set(zoo.names())


# -- the command ------------------------------------------------------------------------------------------------------


def run(*arguments: str | Path):
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


@needs_charts
def test_the_command_writes_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("lenet5_modern")
    assert result.exit_code == 0 and result.stderr == "wrote lenet5_modern.html\n"
    page = (tmp_path / "lenet5_modern.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "cnnscope report lenet5_modern" in page
    assert "reproduced</span>" in page and "Gradient-Based Learning" in page
    assert [each.name for each in tmp_path.iterdir()] == ["lenet5_modern.html"]


@needs_charts
def test_the_page_holds_all_that_it_needs(tmp_path: Path) -> None:
    assert run("torchvision:alexnet", "--no-claims", "-b", "2", "-o", tmp_path / "a.html").exit_code == 0
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    outside = re.findall(
        r"""(?:src|href)=["']?(?!#|data:)([^"'\s>]+)|url\((?!#)([^)]+)\)|@import|fetch\(|import\(""", page
    )
    assert outside == []
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])  # type: ignore[index]
    assert len(data["sheets"]["d"]["rows"]) == len(data["columns"]["macs"]["values"])
    assert "2×3×224×224" in page


@needs_charts
def test_records_of_the_net_stand_on_its_page(tmp_path: Path) -> None:
    records = [each for each in folder(MEASURED).values() if each.target == "resnet18"]
    for name, where in (("with", MEASURED), ("without", tmp_path)):
        result = run("resnet18", "--no-claims", "--measured", where, "-o", tmp_path / f"{name}.html")
        assert result.exit_code == 0, result.stderr
    page, other = ((tmp_path / f"{name}.html").read_text(encoding="utf-8") for name in ("with", "without"))
    assert len(records) > 1 and page.count("<details") - other.count("<details") == len(records)
    for record in records:
        assert f"{record.environment.name}: {record.mode}, {record.input_text}" in page
        assert record.time is not None and duration(record.time.whole.median) in page
    assert "Not measured yet" in other and "Not measured yet" not in page


@needs_charts
def test_all_writes_pages_and_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(papers, "main_nets", lambda: ["lenet5_modern", "vgg11"])  # all of them take minutes
    made = tmp_path / "new" / "reports"
    result = run("--all", "--no-claims", "--device", "RTX 4090", "-o", made)
    assert result.exit_code == 0 and result.stderr.startswith("wrote 2 pages")
    written = sorted(str(each.relative_to(made)) for each in made.rglob("*.*"))
    assert written == ["index.html", "pages/lenet5_modern.html", "pages/vgg11.html"]
    assert 'href="pages/vgg11.html"' in (made / "index.html").read_text(encoding="utf-8")
    page = (made / "pages/vgg11.html").read_text(encoding="utf-8")
    assert "132.9 M" in page and "Time on RTX 4090, fp32" in page and 'id="claims"' not in page


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["vgg16", "--all"],
        ["vgg16", "--every"],
        ["no_such_net"],
        ["lenet5", "-o", "/no/such/folder/x"],
        ["lenet5", "--device", "abacus"],
        ["--all", "--train"],
    ],
)
def test_wrong_use_is_told_in_a_line(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2 and result.stdout == "" and 1 <= len(result.stderr.splitlines()) <= 3


def test_without_the_charts_library_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(CnnscopeError, match=r"pip install 'cnnscope\[png\]'"):
        report(traced("lenet5_modern")).save(str(tmp_path / "x.html"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype, precision", [(None, "fp32"), ("fp16", "fp16")])
def test_the_roof_is_that_of_the_type_that_is_computed_in(dtype: str | None, precision: str) -> None:
    graph = cnnscope.trace(cnnscope.build("vgg11"), (1, 3, 224, 224), dtype=dtype)
    found, device = under_roof(graph, "RTX 4090"), devices.device("RTX 4090")
    assert found is not None and (found.device, found.rate) == (f"RTX 4090, {precision}", device.rates[precision])
    assert all(kernel.flops / kernel.seconds <= found.rate for kernel in found.times.values() if kernel.flops)
    layers = report(graph, roof=found).layers
    assert sum(row.seconds for row in layers.values()) == pytest.approx(found.times.total.seconds)


def test_without_arithmetic_or_a_rate_for_it_there_is_no_roof(tmp_path: Path) -> None:
    assert under_roof(cnnscope.trace(nn.Identity(), (1, 3)), "H200") is None
    (tmp_path / "half.toml").write_text('[[device]]\nname = "Half"\nrates = { fp16 = 1 }\nbandwidth = 1\n')
    with pytest.raises(UnusableInput, match="Half has no rate for fp32"):
        under_roof(traced("lenet5_modern"), str(tmp_path / "half.toml"))


@needs_charts
def test_a_notebook_gets_a_frame_and_a_line() -> None:
    bundle = report(traced("lenet5_modern"))._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    assert bundle["text/plain"].startswith("<Report on lenet5_modern: ")
    assert bundle["text/html"].startswith("<iframe srcdoc=") and "<script" not in bundle["text/html"]


@needs_charts
def test_the_same_report_gives_the_same_page() -> None:
    assert report(traced("googlenet")).html() == report(traced("googlenet")).html()
