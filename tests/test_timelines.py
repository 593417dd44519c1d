"""Memory over time as characters and as SVG: laws of the thinning, of the widths and of the stack."""

from __future__ import annotations

import re
import unicodedata
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnnscope.render.canvas.metrics import width as pixels
from cnnscope.render.timeline_charts import ASCII, BLOCKS, chart
from cnnscope.render.timeline_drawings import _COLORS, _INKS, drawing
from cnnscope.render.timelines import KINDS, Timeline, scale
from cnnscope.units import binary

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▼v"), max_size=90)
LAWS = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def timelines(draw: st.DrawFn, longest: int = 300) -> Timeline:
    many = draw(st.one_of(st.integers(1, 12), st.integers(1, longest)))
    dice = draw(st.randoms(use_true_random=False))
    kinds = draw(st.lists(st.sampled_from([*KINDS, "mystery", '<&">']), unique=True, max_size=6))
    most = draw(st.sampled_from([0, 1, 900, 10**6, 2**31, 10**14]))
    series = {kind: [dice.randrange(most + 1) for _ in range(many)] for kind in kinds}
    names = draw(st.lists(NAMES, min_size=1, max_size=5))
    labels = [f"{names[i % len(names)]}{i}" for i in range(many)]
    phases = sorted(dice.choices(["1 forward", "2 backward", "3 optimizer"], k=many))
    lines = {"reserved": [dice.randrange(most + 1) for _ in range(many)]} if draw(st.booleans()) else {}
    peak = draw(st.one_of(st.none(), st.integers(0, many - 1)))
    return Timeline(draw(NAMES), labels, series, phases if draw(st.booleans()) else (), peak, lines)


def columns_of(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line)


# Thinning


@LAWS
@given(timelines(), st.integers(1, 400))
def test_columns_go_on_in_time_and_keep_the_peak(timeline: Timeline, count: int):
    shown = timeline.columns(count)
    assert len(shown) == count
    assert shown == sorted(shown)
    assert shown[timeline.column(timeline.top, count)] == timeline.top
    if len(timeline.labels) <= count:
        assert set(shown) == set(range(len(timeline.labels)))
        assert all(shown.index(op) == timeline.column(op, count) for op in set(shown))
    elif timeline.peak is None:
        assert max(timeline.totals[op] for op in shown) == max(timeline.totals)


@LAWS
@given(timelines(), st.integers(1, 400))
def test_phases_share_the_columns_among_them(timeline: Timeline, count: int):
    spans = timeline.spans(count)
    assert [column for span in spans for column in range(span.first, span.end)] == (
        list(range(count)) if timeline.phases else []
    )
    names = [name for i, name in enumerate(timeline.phases) if not i or name != timeline.phases[i - 1]]
    assert [span.phase for span in spans] == names or count < len(names), "a short phase has a column too"
    if len(timeline.labels) <= count and timeline.phases:
        shown = timeline.columns(count)
        assert all(timeline.phases[shown[c]] == span.phase for span in spans for c in range(span.first, span.end))


@given(st.integers(0, 10**15), st.integers(2, 8))
def test_axis_has_few_round_numbers_that_hold_everything(largest: int, about: int):
    ticks = scale(largest, about)
    assert ticks[0].bytes == 0 and ticks[-1].bytes >= largest
    assert 2 <= len(ticks) <= about + 2
    steps = {round(b.bytes - a.bytes, 3) for a, b in pairwise(ticks)}
    assert max(steps) - min(steps) <= 1e-6 * max(steps)
    assert len({tick.text for tick in ticks}) == len(ticks)


def test_ten_thousand_operators_with_one_short_peak():
    bytes_ = [100] * 10_000
    bytes_[7_777] = 5_000_000
    timeline = Timeline("long", [f"op{i}" for i in range(10_000)], {"activation": bytes_})
    text, picture = chart(timeline, 80), drawing(timeline)
    assert "4.768 MiB at op7777" in text
    assert "at op7777" in picture and len(picture) < 40_000
    (at,) = [line.index("▼") for line in text.splitlines() if "▼" in line]
    bars = [line for line in text.splitlines() if "│" in line or "┤" in line]
    assert all(line[at] == "█" for line in bars[1:]) and bars[0][at] in BLOCKS.parts, "one column over all rows"


# Characters


@LAWS
@given(timelines(), st.integers(40, 140), st.integers(4, 30), st.sampled_from([BLOCKS, ASCII]))
def test_no_line_is_wider_than_asked(timeline: Timeline, width: int, height: int, signs):
    lines = chart(timeline, width, height, signs=signs).split("\n")
    assert max(map(columns_of, lines)) <= width
    assert all(line == line.rstrip() for line in lines)
    assert len(lines) <= 1.6 * height + 12
    if signs is ASCII:
        assert "\n".join(lines).isascii()


@LAWS
@given(timelines(), st.integers(40, 140))
def test_the_mark_stands_over_a_bar_that_is_as_high_as_its_bytes_say(timeline: Timeline, width: int):
    lines = chart(timeline, width).split("\n")
    wall = next(i for i, line in enumerate(lines) if "▼" in line)
    bars = [line for line in lines[wall + 1 :] if "│" in line or "┤" in line]
    margin = min(line.index(sign) for line in bars for sign in "│┤" if sign in line) + 1
    at = columns_of(lines[wall][: lines[wall].index("▼")])
    assert timeline.columns(width - margin)[at - margin] == timeline.top
    assert binary(timeline.totals[timeline.top]) in lines[wall]
    for column, op in enumerate(timeline.columns(width - margin), margin):
        filled = sum(line.ljust(width)[column] != " " for line in bars)
        expected = timeline.totals[op] / max(max(timeline.totals), 1) * len(bars)
        assert filled - 1.5 <= expected <= filled + 1.5 or not timeline.totals[op]
        assert bool(filled) == bool(timeline.totals[op]), "what is not zero does not look like it"


def test_a_small_chart_by_hand():
    """Bars of 4, 8, 12 and 6 MiB in rows of 2.5: 8 is 3 rows and 0.2, 12 is 4 and 0.8, 6 is 2 and 0.4.

    The weights' 4 MiB end in the upper half of the second row, so that row is theirs.
    """
    mib = 1 << 20
    series = {"param": [4 * mib] * 4, "activation": [0, 4 * mib, 8 * mib, 2 * mib]}
    timeline = Timeline("net", ["a", "b", "c", "d"], series, ["forward", "forward", "forward", "backward"])
    assert chart(timeline, 48, 5).splitlines() == [
        "net",
        "",
        "             12.00 MiB at c ▼",
        "       │                    ▆▆▆▆▆▆▆▆▆▆",
        "10 MiB ┤          ▂▂▂▂▂▂▂▂▂▂██████████",
        "       │          ████████████████████▃▃▃▃▃▃▃▃▃▃",
        " 5 MiB ┤░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░",
        "       │░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░",
        "     0 └──────────────────────────────┴─────────",
        "                    forward            backward",
        "        █ activations   ░ parameters",
    ]


# SVG


def texts(root: ElementTree.Element) -> list[tuple[float, float, float, str]]:
    """Left and right end, baseline and words of every line of text."""
    found = []
    for element in root.iter("{http://www.w3.org/2000/svg}text"):
        words = element.text or ""
        wide = pixels(words, float(element.get("font-size", 0)), bold=element.get("font-weight") == "bold")
        share = {"middle": 0.5, "end": 1.0}.get(element.get("text-anchor", ""), 0.0)
        left = float(element.get("x", 0)) - wide * share
        found.append((left, left + wide, float(element.get("y", 0)), words))
    return found


@LAWS
@given(timelines(longest=2000))
def test_drawing_is_xml_whose_words_stand_inside_and_apart(timeline: Timeline):
    root = ElementTree.fromstring(drawing(timeline, prefix="here"))
    wide, high = float(root.get("width", 0)), float(root.get("height", 0))
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(set(ids)) == len(ids) and all(str(each).startswith("here") for each in ids)
    lines = texts(root)
    for left, right, y, words in lines:
        assert left >= 0 and right <= wide and 0 < y < high, words
    for a, b in ((a, b) for i, a in enumerate(lines) for b in lines[:i]):
        assert a[1] <= b[0] + 0.1 or b[1] <= a[0] + 0.1 or abs(a[2] - b[2]) >= 11, (a[3], b[3])


@LAWS
@given(timelines())
def test_areas_are_stacked_to_the_sum(timeline: Timeline):
    """Read back from the paths, above every operator, to a tenth of a pixel for each kind."""
    root = ElementTree.fromstring(drawing(timeline))
    areas = [element.get("d", "") for element in root.iter() if element.get("fill") and element.tag.endswith("path")]
    areas = [path for path in areas if path.endswith("Z")]
    assert len(areas) == len(timeline.stack)
    top = scale(timeline.largest)[-1].bytes
    for i in range(len(timeline.labels)):
        x = 84 + (i + 0.5) / len(timeline.labels) * 852
        for path, (kind, values) in zip(areas, timeline.stack.items(), strict=True):
            upper, lower = (level(part, x) for part in path.split("L", 1))
            assert lower - upper == pytest.approx(values[i] / top * 300, abs=0.21), kind
    drawn = [element.get("fill") for element in root.iter() if (element.get("d") or "").endswith("Z")]
    assert len({*drawn}) == len(drawn) or {"param", "parameter"} <= {*timeline.stack}


def level(path: str, x: float) -> float:
    """The height of a path of steps at a place."""
    here, y, left = 0.0, 0.0, 0.0
    for sign, numbers in re.findall(r"([MLHV])([-\d. ]+)", "M" + path if path[0].isdigit() else path):
        values = [float(number) for number in numbers.split()]
        left = here
        if sign in "ML":
            here, y = values
        elif sign == "V":
            (y,) = values
        else:
            (here,) = values
            if min(left, here) - 0.1 <= x <= max(left, here) + 0.1:
                return y
    raise AssertionError(f"nothing is drawn at {x}")


def test_dark_ground_recolours_all_that_depends_on_it():
    timeline = Timeline("net", ["a", "b"], {kind: [1, 2] for kind in KINDS}, ["f", "b"], None, {"reserved": [30, 30]})
    picture = drawing(timeline, prefix="p")
    used = set(re.findall(r'class="(\w+)"', picture))
    assert used == set(_INKS)
    dark = picture[picture.index("@media (prefers-color-scheme:dark)") :]
    assert all(f"#p .{name}{{" in dark for name in used)
    assert set(_COLORS) == set(KINDS)


def test_words_from_outside_are_escaped():
    timeline = Timeline("<b>&", ["</svg>"], {"<i>": [5]}, ["<p>"])
    picture = drawing(timeline)
    assert "<b>" not in picture and "<i>" not in picture and picture.count("</svg>") == 1
    assert "&lt;b&gt;&amp;" in picture


def test_the_same_content_has_the_same_ids_and_other_content_others():
    one, two = (Timeline("net", ["a"], {"input": [n]}) for n in (1, 2))
    assert drawing(one) == drawing(one)
    first, second = (set(re.findall(r'id="([^"]+)"', drawing(each))) for each in (one, two))
    assert not first & second


def test_drawing_becomes_pixels():
    from cnnscope.render import png

    assert png(drawing(Timeline("net", ["a", "b"], {"input": [1, 2]})), scale=1).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("t", [], {}), "at least one operator"),
        (("t", ["a", "b"], {"input": [1]}), "input: 1 entries for 2 operators"),
        (("t", ["a"], {}, ["f", "b"]), "phases: 2 entries for 1 operators"),
        (("t", ["a"], {}, (), 1), "peak 1 is none of the 1 operators"),
        (("t", ["a"], {}, (), None, {"reserved": [1, 2]}), "reserved: 2 entries for 1 operators"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments, words: str):
    with pytest.raises(ValueError, match=words):
        Timeline(*arguments)
