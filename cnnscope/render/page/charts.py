"""The charts of a page: plain data becomes a Vega-Lite specification, which ``vega`` draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, floor, log10
from typing import Any, NamedTuple

from ..canvas.metrics import FONT, clean
from .vega import ROW, Spec

INK, FAINT, GRID, PEAK = "#475569", "#64748b", "#e2e8f0", "#c2410c"
KINDS = {
    "param": "#3b76b5", "buffer": "#8592a3", "constant": "#9a7a5e", "input": "#0f8f99", "activation": "#dd972b",
    "saved": "#b4508a", "gradient": "#cf5c5c", "optimizer": "#7e57c2", "temporary": "#43963f",
}  # fmt: skip
BOUNDS = {"compute": "#7e57c2", "memory": "#3b76b5", "launch": "#8592a3"}
WIDTH = 1080
MEBI = 2**20
_CONFIG = {
    "font": FONT,
    "background": None,
    "view": {"stroke": None},
    "axis": {
        "labelColor": FAINT, "titleColor": INK, "gridColor": GRID, "domainColor": "#b4c0d0", "tickColor": "#b4c0d0",
        "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "domain": False, "ticks": False,
        "labelPadding": 6,
    },
    "legend": {
        "labelColor": INK, "titleColor": INK, "labelFontSize": 11, "orient": "top", "title": None,
        "symbolType": "square",
    },
}  # fmt: skip


class Bar(NamedTuple):
    """One layer in a bar chart. row: its number in the table, which the page leads to."""

    row: int
    stage: str
    values: Mapping[str, int | float]
    family: str
    colour: str


def costs(bars: Sequence[Bar], titles: Mapping[str, str]) -> Spec:
    """Bars of all layers in their order, one row of them for each quantity of ``titles``."""
    families = {bar.family: bar.colour for bar in bars}
    rows = [
        {"i": i, "what": title, "value": bar.values[key], "family": bar.family, "words": f"{ROW}{bar.row}"}
        for i, bar in enumerate(bars)
        for key, title in titles.items()
    ]
    marks = [_panel(title, families, first=i == 0) for i, title in enumerate(titles.values())]
    return {"data": {"values": rows}, "vconcat": [*marks, _stages(bars)], "spacing": 14, "config": _CONFIG}


def _panel(title: str, families: Mapping[str, str], *, first: bool) -> Spec:
    legend: Spec | None = {} if first and len(families) > 1 else None
    return {
        "width": WIDTH,
        "height": 130,
        "transform": [{"filter": {"field": "what", "equal": title}}],
        "mark": "bar",
        "encoding": {
            "x": {"field": "i", "type": "ordinal", "axis": None, "scale": {"paddingInner": 0.15}},
            "y": {
                "field": "value", "type": "quantitative", "title": title,
                "axis": {"format": "~s", "tickCount": 4},
            },
            "color": {"field": "family", "type": "nominal", "legend": legend, "scale": _scale(families)},
            "description": {"field": "words"},
        },
    }  # fmt: skip


def _stages(bars: Sequence[Bar]) -> Spec:
    """Names of the stages under the bars that belong to them, where there is room."""
    runs: list[list[int]] = []
    for i, bar in enumerate(bars):
        if runs and bars[runs[-1][0]].stage == bar.stage:
            runs[-1][1] = i
        else:
            runs.append([i, i])
    step = WIDTH / max(len(bars), 1)
    texts = [
        {"at": (first + last + 1) / 2, "name": clean(bars[first].stage)}
        for first, last in runs
        if 5.8 * len(bars[first].stage) < step * (last - first + 1)
    ]
    edges = [{"edge": first} for first, _ in runs[1:]]
    scale = {"domain": [0, max(len(bars), 1)], "nice": False}
    return {
        "width": WIDTH,
        "height": 16,
        "layer": [
            {
                "data": {"values": edges},
                "mark": {"type": "rule", "color": "#b4c0d0"},
                "encoding": {"x": {"field": "edge", "type": "quantitative", "scale": scale, "axis": None}},
            },
            {
                "data": {"values": texts},
                "mark": {"type": "text", "color": FAINT, "fontSize": 11, "baseline": "middle"},
                "encoding": {
                    "x": {"field": "at", "type": "quantitative", "scale": scale, "axis": None},
                    "text": {"field": "name"},
                },
            },
        ],
    }


def memory(kinds: Mapping[str, Sequence[int]], peak: int, words: str) -> Spec:
    """Bytes live at each operator, stacked by kind, with the peak marked and ``words`` beside it."""
    order = [kind for kind in KINDS if kind in kinds] + [kind for kind in kinds if kind not in KINDS]
    rows, low = [], [0] * max(map(len, kinds.values()))
    for kind in order:
        high = [below + value for below, value in zip(low, kinds[kind], strict=True)]
        rows += _steps(kind, low, high)
        low = high
    last = max(len(low) - 1, 1)
    area = {
        "data": {"values": rows},
        "mark": {"type": "area", "interpolate": "step-after"},
        "encoding": {
            "x": {"field": "i", "type": "quantitative", "title": "operator, in order of execution",
                  "scale": {"domain": [0, last], "nice": False}, "axis": {"grid": False, "tickMinStep": 1}},
            "y": {"field": "high", "type": "quantitative", "title": "MiB", "axis": {"tickCount": 5},
                  "scale": {"domain": [0, 1.14 * max(low) / MEBI], "nice": False}},
            "y2": {"field": "low"},
            "color": {"field": "kind", "type": "nominal", "scale": _scale({k: KINDS.get(k, FAINT) for k in order}),
                      "legend": {}},
        },
    }  # fmt: skip
    layers = [area, *_mark(peak, low[peak] / MEBI, words, right=peak > last / 2)]
    return {"width": WIDTH, "height": 220, "layer": layers, "config": _CONFIG}


def _steps(kind: str, low: Sequence[int], high: Sequence[int]) -> list[dict[str, Any]]:
    """One band as far as it changes."""
    bands = list(zip(low, high, strict=True))
    kept = [i for i, band in enumerate(bands) if i in (0, len(bands) - 1) or band != bands[i - 1]]
    return [{"i": i, "kind": kind, "low": bands[i][0] / MEBI, "high": bands[i][1] / MEBI} for i in kept]


def _mark(x: float, y: float, words: str, *, right: bool) -> list[Spec]:
    """A point with words, which stand towards the side where there is room."""
    data = {"values": [{"x": x, "y": y, "words": clean(words)[:90]}]}
    spot = {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}}
    text = {
        "type": "text", "color": PEAK, "fontSize": 12, "fontWeight": "bold", "dy": -11,
        "align": "right" if right else "left", "dx": 6 if right else -6,
    }  # fmt: skip
    return [
        {
            "data": data,
            "mark": {"type": "point", "color": PEAK, "filled": True, "size": 60, "opacity": 1},
            "encoding": spot,
        },
        {"data": data, "mark": text, "encoding": {**spot, "text": {"field": "words"}}},
    ]


class Point(NamedTuple):
    """Equal layers under a roof.

    row: number of the first one in the table; intensity: FLOPs a byte; rate: FLOPs a second; seconds: of all of them.
    """

    row: int
    intensity: float
    rate: float
    seconds: float
    bound: str


def roofline(points: Sequence[Point], rate: float, bandwidth: float) -> Spec:
    """Layers by intensity and rate on logarithmic axes, under what the device does at most."""
    ridge = rate / bandwidth
    low = min([ridge / 8, *(point.intensity for point in points)]) / 1.5
    high = max([ridge * 8, *(point.intensity for point in points)]) * 1.5
    roof = [{"x": x, "y": min(rate, x * bandwidth)} for x in (low, ridge, high)]
    least = min([rate / 1e3, *(point.rate for point in points)]) / 1.5
    bounds = {point.bound: BOUNDS.get(point.bound, FAINT) for point in points}
    x = {"field": "x", "type": "quantitative", "title": "FLOPs for each byte moved",
         "axis": {"values": _powers(low, high), "grid": False, "format": "~r"},
         "scale": {"type": "log", "domain": [low, high], "nice": False}}  # fmt: skip
    y = {"field": "y", "type": "quantitative", "title": "FLOPs a second",
         "axis": {"values": _powers(least, rate), "format": "~s"},
         "scale": {"type": "log", "domain": [least, rate * 1.6], "nice": False}}  # fmt: skip
    marks = [
        {"x": each.intensity, "y": each.rate, "s": each.seconds, "bound": each.bound, "words": f"{ROW}{each.row}"}
        for each in points
    ]
    line = {"data": {"values": roof}, "mark": {"type": "line", "color": INK, "strokeWidth": 1.5},
            "encoding": {"x": x, "y": y}}  # fmt: skip
    spots = {
        "data": {"values": marks},
        "mark": {"type": "circle", "opacity": 0.65},
        "encoding": {
            "x": x,
            "y": y,
            "size": {"field": "s", "type": "quantitative", "scale": {"range": [12, 400]}, "legend": None},
            "color": {"field": "bound", "type": "nominal", "scale": _scale(bounds), "legend": {}},
            "description": {"field": "words"},
        },
    }
    return {"width": WIDTH, "height": 300, "layer": [line, spots], "config": _CONFIG}


def _powers(low: float, high: float) -> list[float]:
    """The powers of ten in between."""
    return [10.0**power for power in range(ceil(log10(low)), floor(log10(high)) + 1)]


def _scale(colours: Mapping[str, str]) -> Spec:
    return {"domain": list(colours), "range": list(colours.values())}


def stages(modules: Iterable[str]) -> list[str]:
    """A name for each module path by which a chart is divided: the outermost one, or the next where that is too few."""
    paths = [path.split(".") for path in modules]
    for depth in (1, 2):
        names = [".".join(path[:depth]) for path in paths]
        if 2 < len(_runs(names)) <= 14:
            return names
    return [path[0] for path in paths]


def _runs(names: Sequence[str]) -> list[str]:
    return [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]
