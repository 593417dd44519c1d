"""The page about a model in a real Chromium: what it shows, what one can do with it, and what must never happen."""

from __future__ import annotations

import dataclasses
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Browser, Page, program
from test_diagram import UNet, traced
from test_diagram_output import EVIL
from torch import Tensor, nn

import cnnscope
from cnnscope import claims
from cnnscope.graph import ModelGraph
from cnnscope.papers import paper
from cnnscope.render.page.index import index
from cnnscope.reporting import Report, report, under_roof
from cnnscope.table import Table, column, table

pytest.importorskip("vl_convert", reason="charts need the extra png")
pytestmark = pytest.mark.skipif(program() is None, reason="needs chromium: apt-get install chromium")

DARK = {"prefers_color_scheme": "dark"}


class Hostile(nn.Module):
    """A name of 10,000 letters with a script in it, one that turns the direction, and one in quotes."""

    def __init__(self) -> None:
        super().__init__()
        long = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
        self.add_module(EVIL.replace(".", "_"), long)
        self.add_module("<img src=x onerror=pwned=1>", nn.Conv2d(4, 4, 1))
        self.add_module("'\"><script>pwned=2</script>", nn.Conv2d(4, 4, 1))
        self.add_module("\u05d0\u05d1\u202e</svg></style></title>{{7*7}}", nn.Conv2d(4, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        for child in self.children():
            x = child(x)
        return x.cumsum(1)


@dataclasses.dataclass(frozen=True)
class Compared:
    """What a confirmation says of one quantity."""

    name: str = column("quantity")
    module: str = column("module", hidden=True, default="")
    predicted: str | None = column("predicted", default=None)
    measured: str | None = column("measured", default=None)
    deviation: str | None = column("error", default=None)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


def measured() -> Table[Compared]:
    row = Compared("time of one call", "", "2.1 ms", "2.4 ms", "-12.5 %")
    return table("predicted and measured", [row], Compared, notes=("measured on a device of this test",))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    verdicts = claims.tabled(claims.verdicts(claims.on_net("resnet50")))
    googlenet = traced("googlenet")
    step = cnnscope.trace(cnnscope.build("lenet5_modern"), (2, 1, 32, 32), name="step", train=True, optimizer="adam")
    return {
        "resnet50": report(traced("resnet50"), target="resnet50", paper=paper("resnet50"), claims=verdicts),
        "googlenet": report(googlenet, roof=under_roof(googlenet, "RTX 4090"), confirmed=[measured()]),
        "densenet121": report(traced("densenet121")),
        "unet": report(cnnscope.trace(UNet(), (1, 3, 32, 32), name="unet")),
        "hostile": report(cnnscope.trace(Hostile(), (1, 1, 16, 16), name=EVIL), target=EVIL),
        "step": report(step),
    }


@pytest.fixture(scope="module")
def pages(reports: dict[str, Report], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, each in reports.items():
        each.save(str(folder / f"{name}.html"))
    return {name: folder / f"{name}.html" for name in reports}


@pytest.fixture
def opened(browser: Browser, pages: dict[str, Path]):
    """Opens a page; whatever a test does there, nothing may go wrong in it or leave it."""
    made: list[tuple[Page, Path]] = []

    def open_(name: str, width: int = 1280, height: int = 900, **media: str) -> Page:
        page = browser.page(width, height, **media)
        made.append((page, pages[name]))
        page.open(pages[name])
        page.wait("document.documentElement.dataset.ready !== undefined")
        return page

    yield open_
    for page, path in made:
        assert page.troubles == []
        assert page.requests == [path.resolve().as_uri()]
        page.close()


def text(page: Page, selector: str) -> str:
    return page(f"document.querySelector({json.dumps(selector)}).textContent")


def texts(page: Page, selector: str) -> list[str]:
    return page(f"[...document.querySelectorAll({json.dumps(selector)})].map((each) => each.textContent)")


def rows(page: Page) -> list[str]:
    return texts(page, "#table tbody tr:not([hidden]) th")


# -- opening ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet50", "googlenet", "densenet121", "unet", "hostile", "step"])
def test_a_page_opens_alone_without_errors_and_without_the_network(opened, name: str) -> None:
    page = opened(name)
    assert page("document.querySelectorAll('.drawing .card').length") > 5
    doubles = [key for key, count in Counter(page("[...document.querySelectorAll('[id]')].map((e) => e.id)")).items()
               if count > 1]  # fmt: skip
    assert doubles == []


def test_the_page_of_resnet50_is_small(pages: dict[str, Path]) -> None:
    assert pages["resnet50"].stat().st_size < 1_000_000


def test_the_page_says_what_the_report_knows(opened, reports: dict[str, Report]) -> None:
    page = opened("resnet50")
    figures = dict(zip(texts(page, ".tiles dt"), texts(page, ".tiles dd"), strict=True))
    assert figures["parameters"] == "25.56 M" and figures["MACs"] == "3.858 G" and figures["depth"] == "50"
    assert [each.strip() for each in rows(page)] == list(reports["resnet50"].layers)
    peak = reports["resnet50"].memory.total
    assert f"peak {peak.peak / 2**20:.1f} MiB: {peak.peak_op}" in texts(page, "#memory .chart text")
    assert "Deep Residual Learning" in text(page, ".paper")
    assert "3,857,973,248" in text(page, "#claims") and "reproduced" in text(page, ".verdict")
    assert "Not measured yet" in text(page, "#measured")


def test_what_is_measured_stands_beside_what_was_predicted(opened) -> None:
    page = opened("googlenet")
    assert texts(page, "#measured thead th") == ["quantity", "predicted", "measured", "error"]
    assert texts(page, "#measured tbody tr:first-child td") == ["time of one call", "2.1 ms", "2.4 ms", "-12.5 %"]
    assert texts(page, "#measured .note") == ["measured on a device of this test"]


def test_layers_stand_under_the_roof_of_a_device(opened, reports: dict[str, Report]) -> None:
    page = opened("googlenet")
    layers, times = reports["googlenet"].layers, reports["googlenet"].roof.times  # type: ignore[union-attr]
    assert sum(row.seconds for row in layers.values()) == pytest.approx(times.total.seconds)
    dots = "[...document.querySelectorAll('#roofline [data-row]')].map((each) => +each.dataset.row)"
    computing = {name for name, kernel in times.items() if kernel.flops}
    wanted = {i for i, row in enumerate(layers.values()) if computing.intersection(row.ops)}
    assert set(page(dots)) <= wanted and len(wanted) / 3 < len(page(dots)) < len(wanted)  # equal layers are one dot
    assert text(page, "#roofline h2") == "Time on RTX 4090, fp32"
    assert "seconds" in page("[...document.querySelector('#heat').options].map((each) => each.value)")
    page.click("#roofline [data-row='0']")
    assert "conv1" in text(page, "#picked") and "· time " in text(page, "#picked")


# -- the drawing ------------------------------------------------------------------------------------------------------

CLOSE = """(() => {
  const open = [...document.querySelectorAll('.drawing .panel:not(.away)')];
  return open.map((each) => each.id);
})()"""

# What is seen: boxes of cards and of closed frames, and the ends of lines.
SEEN = """(() => {
  const box = (each) => { const b = each.getBBox(), m = each.getCTM(), p = (x, y) => [m.a * x + m.e, m.d * y + m.f];
    return [...p(b.x, b.y), ...p(b.x + b.width, b.y + b.height)]; };
  const frames = [...document.querySelectorAll('.drawing .panel:not(.away)')];
  const last = (each) => [...each.querySelectorAll('.frame')].at(-1);
  const lines = [...document.querySelectorAll('.drawing path[data-edges]:not(.away)')].map((each) => {
    const m = each.getCTM(), far = each.getTotalLength();
    return [0, far].map((at) => each.getPointAtLength(at)).map((p) => [m.a * p.x + m.e, m.d * p.y + m.f]); });
  return {
    unit: document.querySelector('.drawing').getScreenCTM().a,
    cards: [...document.querySelectorAll('.drawing .card:not(.away) .body')].map(box),
    shut: frames.filter((each) => each.classList.contains('shut')).map((each) => box(last(each))),
    frames: frames.map((each) => box(last(each))),
    lines,
  };
})()"""


def click_toggle(page: Page, panel: str) -> None:
    page(f"document.getElementById({json.dumps(panel)}).querySelector('.toggle').dispatchEvent("
         "new MouseEvent('click', {bubbles: true}))")  # fmt: skip


def assert_lawful(page: Page) -> None:
    """No two cards or closed frames overlap, and every line begins and ends at something that is seen."""
    seen = page(SEEN)
    unit, boxes = seen["unit"], seen["cards"] + seen["shut"]
    for i, (left, top, right, bottom) in enumerate(boxes):
        for a, b, c, d in boxes[i + 1 :]:
            assert right <= a + unit / 2 or c <= left + unit / 2 or bottom <= b + unit / 2 or d <= top + unit / 2
    places = seen["cards"] + seen["frames"]
    ends = Counter((round(x), round(y)) for line in seen["lines"] for x, y in line)
    for x, y in (end for line in seen["lines"] for end in line):
        met = ends[round(x), round(y)] > 1  # lines go on in one another, as from column to column
        near = [each for each in places if each[0] - 3 * unit <= x <= each[2] + 9 * unit
                and min(abs(y - each[1]), abs(y - each[3])) <= 13 * unit]  # fmt: skip
        assert met or near, (x, y)


@pytest.mark.parametrize("name", ["resnet50", "googlenet", "densenet121", "unet", "hostile"])
@pytest.mark.parametrize("repeats", [False, True])
def test_whatever_is_closed_nothing_overlaps_and_no_line_ends_in_nothing(opened, name: str, repeats: bool) -> None:
    page = opened(name)
    if repeats:
        if not page("!!document.getElementById('unfold')"):
            return  # nothing is folded in it
        page.click("#unfold")
        page.wait("!!document.querySelector('#u-c0')")
    assert_lawful(page)
    drawing = """document.querySelector('.drawing').innerHTML.replaceAll(' class=""', '')"""
    before = page(drawing)
    chance = random.Random(name)
    for _ in range(5):
        panels = page(CLOSE)
        for panel in chance.sample(panels, k=min(len(panels), chance.randint(1, 4))):
            click_toggle(page, panel)
        assert_lawful(page)
    page.click("#close-all")
    assert_lawful(page)
    assert page("document.querySelectorAll('.drawing .panel:not(.away):not(.shut)').length") == 0
    page.click("#open-all")
    assert page(drawing) == before


def test_a_closed_frame_hides_its_cards_and_makes_the_picture_smaller(opened) -> None:
    page = opened("resnet50")
    whole = page("document.querySelectorAll('.drawing .card:not(.away)').length")
    page.click("#d-p1 .toggle")
    left = page("document.querySelectorAll('.drawing .card:not(.away)').length")
    assert left < whole and "conv2_x.block1 collapsed" in text(page, "#picked")
    page.click("#d-p1 .frame")
    assert page("document.querySelectorAll('.drawing .card:not(.away)').length") == whole


def test_repeats_are_drawn_when_asked_for(opened, reports: dict[str, Report]) -> None:
    page = opened("resnet50")
    page.click("#table tbody tr:nth-child(60) button")
    name = rows(page)[59].strip()
    page.click("#unfold")
    page.wait("!!document.querySelector('#u-c0')")
    assert page("document.querySelectorAll('.drawing .card').length") == 75
    assert name in text(page, "#picked") and page("document.querySelectorAll('.drawing .chosen').length") == 1
    page.click("#unfold")
    page.wait("!!document.querySelector('#d-c0')")


def test_the_drawing_is_moved_and_zoomed_by_mouse_and_keys(opened) -> None:
    page = opened("resnet50")
    where = "document.querySelector('.drawing').getAttribute('viewBox').split(' ').map(Number)"
    x, y, wide, _ = page(where)
    page("document.querySelector('#stage').scrollIntoView({block: 'center', behavior: 'instant'})")
    page.mouse("mousePressed", 600, 400)
    for step in (620, 660, 700):
        page.mouse("mouseMoved", step, 430, buttons=1, button="left")
    page.mouse("mouseReleased", 700, 430)
    assert page(where)[0] < x and page(where)[1] < y and page(where)[2] == wide
    assert page("document.querySelectorAll('.chosen').length") == 0
    page.mouse("mouseWheel", 600, 400, deltaX=0, deltaY=-200, modifiers=2)
    assert page(where)[2] < wide
    page("document.querySelector('#stage').focus()")
    left, _, narrow, _ = page(where)
    page.press("ArrowRight")
    page.press("-")
    assert page(where)[0] != left and page(where)[2] > narrow
    page.press("0")
    assert page(where)[2] >= 1697


def test_the_drawing_is_moved_and_zoomed_by_fingers(opened) -> None:
    page = opened("resnet50", 400, 800)
    where = "document.querySelector('.drawing').getAttribute('viewBox').split(' ').map(Number)"
    page("document.querySelector('#stage').scrollIntoView({block: 'center', behavior: 'instant'})")
    x, _, wide, _ = page(where)
    page.touch("touchStart", (200, 400))
    page.touch("touchMove", (180, 400))
    page.touch("touchMove", (120, 400))
    page.touch("touchEnd")
    assert page(where)[0] > x and page(where)[2] == wide
    page.touch("touchStart", (180, 400), (220, 400))
    page.touch("touchMove", (170, 400), (230, 400))
    page.touch("touchMove", (120, 400), (280, 400))
    page.touch("touchEnd")
    assert page(where)[2] < 0.6 * wide


def test_the_keyboard_is_enough(opened) -> None:
    page = opened("resnet50")
    page.press("Tab")
    assert page("document.activeElement.className") == "skip"
    page("document.querySelector('#stage').focus()")
    for _ in range(4):
        page.press("n")
    assert "conv2_x.block1.conv1" in text(page, "#picked")
    page.press("c")
    assert "conv2_x.block1 collapsed" in text(page, "#picked")
    page.press("c")
    assert "conv2_x.block1 expanded" in text(page, "#picked")
    page.press("Enter")
    assert page("document.activeElement.textContent").strip() == "conv2_x.block1.conv1"
    page.press("Enter")
    assert "conv2_x.block1.conv1" in text(page, "#picked")


def test_a_search_finds_cards_and_leads_from_one_to_the_next(opened) -> None:
    page = opened("googlenet")
    page("document.querySelector('#find').focus()")
    page.type("4e.5x5")
    assert text(page, "#found").startswith("2 of ")
    assert page("document.querySelectorAll('.drawing .hit').length") == 2
    page.press("Enter")
    first = text(page, "#picked")
    page.press("Enter")
    assert "inception4e.5x5" in first and "inception4e.5x5" in text(page, "#picked") != first
    page.press("Escape")
    assert page("document.querySelectorAll('.drawing .hit').length") == 0 and text(page, "#found") == ""


def test_heat_follows_any_column(opened, reports: dict[str, Report]) -> None:
    page = opened("resnet50")
    keys = page("[...document.querySelector('#heat').options].map((each) => each.value)")[1:]
    assert {"params", "macs", "flops", "activation", "bytes_read", "intensity", "depth"} <= set(keys)
    hottest = {}
    for key in keys:
        page(f"(() => {{ const heat = document.querySelector('#heat'); heat.value = {json.dumps(key)};"
             "heat.dispatchEvent(new Event('change')); })()")  # fmt: skip
        hottest[key] = page(
            "[...document.querySelectorAll('.card')].filter((each) => each.style.getPropertyValue('--heat') === "
            "'100.0%').map((each) => each.querySelector('title').textContent)"
        )
        assert hottest[key], key
    assert "conv1" in hottest["macs"][0] and all("conv5_x" in each for each in hottest["params"])


# -- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["macs", "params", "activation", "depth", "name", "type", "window"])
def test_the_table_sorts_by_every_column(opened, reports: dict[str, Report], key: str) -> None:
    page, layers = opened("googlenet"), list(reports["googlenet"].layers.values())
    start = [each.strip() for each in rows(page)]
    by_name = {row.name: getattr(row, key) for row in layers}
    page.click(f"th[data-key={key}] button")
    once = [by_name[each.strip()] for each in rows(page)]
    page.click(f"th[data-key={key}] button")
    twice = [by_name[each.strip()] for each in rows(page)]
    number = key in ("macs", "params", "activation", "depth")
    known = [value for value in once if value is not None] if number else [value or "" for value in once]
    if number:
        assert known == sorted(known, reverse=True) and once[len(known) :] == [None] * (len(once) - len(known))
        assert [value for value in twice if value is not None] == known[::-1]
    else:
        assert known[0] <= known[-1] and Counter(once) == Counter(by_name.values())
        assert page(f"document.querySelector('th[data-key={key}]').ariaSort") == "descending"
    page.click(f"th[data-key={key}] button")
    assert [each.strip() for each in rows(page)] == start


def test_the_table_is_filtered_by_words_and_by_type(opened, reports: dict[str, Report]) -> None:
    page, layers = opened("googlenet"), reports["googlenet"].layers
    page.click("#filter")
    page.type("inception4a conv2d")
    wanted = [name for name, row in layers.items() if "inception4a" in name and row.type == "Conv2d"]
    assert [each.strip() for each in rows(page)] == wanted
    assert text(page, "#count") == f"{len(wanted)} of {len(layers)} layers"
    page("document.querySelector('#filter').value = ''")
    page("(() => { const type = document.querySelector('#type'); type.value = 'MaxPool2d';"
         "type.dispatchEvent(new Event('change')); })()")  # fmt: skip
    assert [each.strip() for each in rows(page)] == [n for n, row in layers.items() if row.type == "MaxPool2d"]


def test_a_row_leads_to_its_card_a_card_to_its_row_and_a_bar_to_both(opened) -> None:
    page = opened("resnet50")
    page.click("#close-all")
    page("document.querySelector('#layers').scrollIntoView({behavior: 'instant'})")
    row = [each.strip() for each in rows(page)].index("conv4_x.block3.conv2")
    page.click(f"#table tbody tr:nth-child({row + 1})")
    card = "document.querySelector('.drawing .chosen .body').getBoundingClientRect().toJSON()"
    stage = page("document.querySelector('#stage').getBoundingClientRect().toJSON()")
    found = page(card)
    assert stage["left"] < found["left"] < found["right"] < stage["right"]
    assert stage["top"] < found["top"] < found["bottom"] < stage["bottom"] and 0 <= found["top"] < 900
    assert "conv4_x.block2" in page("document.querySelector('.drawing .chosen title').textContent")  # stands for it
    assert "drawn once, with its equals" in text(page, "#picked")
    page.click("#open-all")
    page.click("#d-c1")
    assert text(page, "#table tr.chosen th").strip() == "conv1" and "118.01" in text(page, "#picked")
    page.click(f".chart [data-row='{row}']")
    assert text(page, "#table tr.chosen th").strip() == "conv4_x.block3.conv2"
    assert page("document.activeElement.textContent").strip() == "conv4_x.block3.conv2"


# -- how it looks -----------------------------------------------------------------------------------------------------

# The least contrast (WCAG) of letters on cards.
CONTRAST = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const light = (colour) => { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((c) => c / 255)
      .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05; };
  const fill = (each) => light(getComputedStyle(each).fill);
  return [...document.querySelectorAll('.card')].flatMap((card) => [...card.querySelectorAll('.words')].map((words) => {
    const [a, b] = [fill(words), fill(card.querySelector('.body'))];
    return Math.max(a, b) / Math.min(a, b); })).reduce((a, b) => Math.min(a, b));
})()"""


@pytest.mark.parametrize("name", ["resnet50", "googlenet"])
def test_letters_can_be_read_by_day_by_night_and_in_heat(opened, name: str) -> None:
    page = opened(name)
    for heat in ("", "macs"):
        page(f"(() => {{ const heat = document.querySelector('#heat'); heat.value = {json.dumps(heat)};"
             "heat.dispatchEvent(new Event('change')); })()")  # fmt: skip
        for scheme in ("light", "dark"):
            page.emulate(prefers_color_scheme=scheme)
            assert page(CONTRAST) > 3, (scheme, heat)


def test_dark_as_the_system_has_it_or_as_the_reader_wants(opened) -> None:
    page = opened("resnet50", **DARK)
    colour = "getComputedStyle(document.body).backgroundColor"
    dark, card = page(colour), page("getComputedStyle(document.querySelector('.card .body')).fill")
    page.click("#theme")
    light = page(colour)
    assert dark != light and page("getComputedStyle(document.querySelector('.card .body')).fill") != card
    page.emulate(prefers_color_scheme="light")
    assert page(colour) == light
    page.click("#theme")
    assert page(colour) == dark
    page("localStorage.clear()")


@pytest.mark.parametrize("name", ["resnet50", "googlenet", "unet", "hostile", "step"])
def test_a_phone_shows_it_without_scrolling_sideways(opened, name: str) -> None:
    page = opened(name, 400, 800)
    assert page("document.documentElement.scrollWidth") == 400
    wide = page(
        "[...document.querySelectorAll('section, header, .tools, .stage, h1')].filter((each) =>"
        " each.getBoundingClientRect().right > 400.5).map((each) => each.id || each.tagName)"
    )
    assert wide == []


def test_on_paper_there_is_the_whole_drawing_and_no_tool(opened) -> None:
    page = opened("resnet50", **DARK)
    assert page.pdf().startswith(b"%PDF")
    page.emulate(media="print", **DARK)
    page("dispatchEvent(new Event('beforeprint'))")
    _, _, wide, high = page("document.querySelector('.drawing').getAttribute('viewBox').split(' ').map(Number)")
    assert wide > 1600 and high > 1200
    assert page("[...document.querySelectorAll('.tools, nav, #theme')].every((e) => !e.offsetParent)")
    assert page("getComputedStyle(document.body).colorScheme") == "light"


# -- names of others --------------------------------------------------------------------------------------------------


def test_hostile_names_stay_names(opened, pages: dict[str, Path]) -> None:
    page = opened("hostile")
    assert page("typeof window.pwned") == "undefined"
    assert page("document.scripts.length") == page("document.querySelectorAll('body > script').length") == 2
    assert page("document.querySelectorAll('img').length") == 0
    assert "<script>alert" in text(page, "h1") and "49" not in "".join(rows(page))
    assert any("{{7*7}}" in each for each in rows(page))
    assert max(map(len, rows(page))) < 300
    page.click("#table tbody tr:nth-child(4) button")
    assert "<img src=x onerror=pwned=1>" in text(page, "#picked")
    assert "\u202e" not in pages["hostile"].read_text(encoding="utf-8")


def test_two_reports_in_one_notebook_do_not_touch_each_other(
    browser: Browser, reports: dict[str, Report], tmp_path: Path
) -> None:
    cells = [reports[name]._repr_mimebundle_()["text/html"] for name in ("resnet50", "resnet50", "hostile")]
    notebook = tmp_path / "notebook.html"
    notebook.write_text("<!doctype html><meta charset=utf-8><p id=stage>" + "<hr>".join(cells), encoding="utf-8")
    page = browser.page(1280, 2400)
    page.open(notebook)
    assert page("[...document.querySelectorAll('[id]')].map((each) => each.id)") == ["stage"]
    assert page("[...document.querySelectorAll('iframe')].map((each) => each.contentDocument)") == [None] * 3  # apart
    assert page("typeof window.pwned") == "undefined"
    seen = "document.querySelectorAll('.card:not(.away)').length"
    frames = list(page.frames().values())
    first, second, hostile = sorted(frames, key=lambda frame: not frame("document.title").startswith("resnet50"))
    whole = first(seen)
    assert whole == second(seen) > 20 and hostile(seen) > 5
    first("document.querySelector('#close-all').click()")
    assert first(seen) < whole == second(seen)
    assert hostile("document.querySelector('#theme').click(); document.documentElement.dataset.theme") == "dark"
    assert hostile("typeof window.pwned") == "undefined"
    assert page.troubles == [] and page.requests == [notebook.resolve().as_uri()]
    page.close()


def test_a_page_without_anything_to_compute_still_opens(browser: Browser, tmp_path: Path) -> None:
    class Nothing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    graph: ModelGraph = cnnscope.trace(Nothing(), (1, 3), name="nothing")
    report(graph).save(str(tmp_path / "nothing.html"))
    page = browser.page()
    page.open(tmp_path / "nothing.html")
    assert page.troubles == []
    page.close()


def test_the_index_leads_to_every_page_and_sorts(browser: Browser, reports: dict[str, Report], tmp_path: Path) -> None:
    names = ("resnet50", "googlenet", "densenet121", "hostile")
    file = tmp_path / "index.html"
    file.write_text(index([(f"pages/{name}.html", reports[name].summary()) for name in names]), encoding="utf-8")
    page = browser.page(400, 800)
    page.open(file)
    assert page("[...document.querySelectorAll('tbody a')].map((each) => each.getAttribute('href'))") == [
        f"pages/{name}.html" for name in names
    ]
    assert page("document.documentElement.scrollWidth") == 400
    assert text(page, "tbody tr td:last-child").endswith("reproduced")
    page.click("th[data-key=parameters] button")
    assert [each[:9] for each in texts(page, "tbody th a")][:3] == ["resnet50", "densenet1", "googlenet"]
    page.click("#filter")
    page.type("densely connected")
    assert texts(page, "tbody tr:not([hidden]) th a") == []  # this report has no paper
    assert text(page, "#count") == "0 of 4 networks"
    assert page.troubles == [] and page.requests == [file.resolve().as_uri()]
    page.close()
