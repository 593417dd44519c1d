"""The lecture's Comparison, measured (after Canziani et al.): against batch, and against cited accuracy; SVG.

Drawn by Vega-Lite through vl-convert, a plain wheel with fonts of its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import CnnscopeError
from ..records import Measurement
from .bubble_labels import Box, Circle, Line, leader, place
from .canvas.metrics import width


class Measure(NamedTuple):
    """One figure of a record that is drawn: its axis title, and where it comes from."""

    key: str
    title: str


MEASURES = (
    Measure("time", "time per image (ms)"),
    Measure("memory", "peak memory (MiB)"),
    Measure("power", "power (W)"),
    Measure("energy", "energy per image (J)"),
)
_INK, _GRAY = "#1f2933", "#5f6b7a"
_WIDTH, _HEIGHT = 400, 280
_TEXT = 10


def against_batch(records: Sequence[Measurement], labels: Mapping[str, str]) -> str:
    """Time, memory, power and energy of each net against the batch; labels: what to call which model."""
    rows = _rows(records, labels)
    batches: dict[str, set[int]] = {}
    for row in rows:
        batches.setdefault(row["model"], set()).add(row["batch"])
    # A single point is no curve; where there is nothing else, it is better than nothing.
    rows = [row for row in rows if len(batches[row["model"]]) > 1] or rows
    title = "Time, memory, power and energy against batch"
    return _svg(_page(rows, title, _source(records), lambda measure: _line(rows, measure)))


def against_accuracy(records: Sequence[Measurement], labels: Mapping[str, str], top1: Mapping[str, float]) -> str:
    """The same against the top-1 accuracy that papers print; top1: errors in percent by model."""
    rows = [{**row, "accuracy": 100 - top1[row["model"]]} for row in _rows(records, labels) if row["model"] in top1]
    largest: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["model"] not in largest or row["batch"] > largest[row["model"]]["batch"]:
            largest[row["model"]] = row
    rows = list(largest.values())
    title = "Time, memory, power and energy against cited accuracy"
    return _svg(_page(rows, title, _source(records), lambda measure: _scatter(rows, measure)))


def _rows(records: Sequence[Measurement], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    rows = []
    for record in records:
        if record.batch and not record.settings.train:
            row: dict[str, Any] = {"model": record.model, "net": labels.get(record.model, record.model)}
            rows.append({**row, "batch": record.batch, **_figures(record)})
    return rows


def _figures(record: Measurement) -> dict[str, float | None]:
    """What was measured; None for what was not."""
    peak = record.memory.peak_allocated if record.memory else None
    power = record.power
    return {
        "time": record.time.whole.median / record.batch * 1e3 if record.time else None,
        "memory": peak / 2**20 if peak is not None else None,
        "power": power.watts if power else None,
        "energy": power.joules_per_image if power else None,
    }


def _source(records: Sequence[Measurement]) -> str:
    """Under the title: where the figures are from, and whether that is a GPU."""
    if not records:
        return "nothing has been measured yet"
    where = ", ".join(dict.fromkeys(record.environment.name for record in records))
    how = ", ".join(dict.fromkeys(record.mode for record in records if not record.settings.train))
    gpu = any(record.settings.device == "cuda" for record in records)
    return f"measured on {where}; {how}" + ("" if gpu else ". No GPU has been measured yet.")


def _page(rows: Sequence[dict[str, Any]], title: str, source: str, panel: Any) -> dict[str, Any]:
    panels = [panel(m) if any(row[m.key] is not None for row in rows) else _absent(m) for m in MEASURES]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": {"text": title, "subtitle": source, "anchor": "start", "color": _INK, "subtitleColor": _GRAY},
        "vconcat": [{"hconcat": panels[:2]}, {"hconcat": panels[2:]}],
        "config": {
            "font": "Arial, Helvetica, sans-serif",
            "axis": {"labelColor": _GRAY, "titleColor": _INK, "gridColor": "#dfe3e8", "domainColor": "#9aa5b1"},
            "view": {"stroke": None},
            "legend": {"title": None, "labelColor": _INK, "symbolLimit": 40},
            "title": {"fontSize": 16, "subtitleFontSize": 11, "offset": 12},
        },
        "background": "#ffffff",
        "padding": 16,
    }


def _panel(rows: Sequence[dict[str, Any]], measure: Measure, **rest: Any) -> dict[str, Any]:
    known = [row for row in rows if row[measure.key] is not None]
    return {"width": _WIDTH, "height": _HEIGHT, "data": {"values": known}, **rest}


def _line(rows: Sequence[dict[str, Any]], measure: Measure) -> dict[str, Any]:
    batches = sorted({row["batch"] for row in rows})
    x = {"field": "batch", "type": "quantitative", "title": "batch", "scale": {"type": "log", "base": 2},
         "axis": {"values": batches, "format": "d", "grid": False}}  # fmt: skip
    y = {"field": measure.key, "type": "quantitative", "title": measure.title, "scale": {"type": "log"}}
    encoding = {"x": x, "y": y, "color": {"field": "net", "type": "nominal", "scale": {"scheme": "tableau20"}}}
    return _panel(rows, measure, mark={"type": "line", "point": {"size": 36}, "strokeWidth": 2}, encoding=encoding)


def _scatter(rows: Sequence[dict[str, Any]], measure: Measure) -> dict[str, Any]:
    """Points with their names beside them, where no other point or name is."""
    known = [row for row in rows if row[measure.key] is not None]
    values, heights = [row[measure.key] for row in known], [row["accuracy"] for row in known]
    xs, ys = (min(values) / 1.5, max(values) * 1.5), (min(heights) - 2, max(heights) + 2)
    x = {"field": measure.key, "type": "quantitative", "title": measure.title,
         "scale": {"type": "log", "domain": xs, "nice": False}}  # fmt: skip
    y = {"field": "accuracy", "type": "quantitative", "title": "top-1 accuracy (%), cited",
         "scale": {"domain": ys, "nice": False}}  # fmt: skip
    color = {"field": "net", "type": "nominal", "legend": None, "scale": {"scheme": "tableau20"}}
    points = [
        Circle(math.log(v / xs[0]) / math.log(xs[1] / xs[0]) * _WIDTH, (ys[1] - h) / (ys[1] - ys[0]) * _HEIGHT, 5.0)
        for v, h in zip(values, heights, strict=True)
    ]
    names, lines = _named([row["net"] for row in known], points)
    pixels = {axis: {"field": axis, "type": "quantitative", "scale": None} for axis in ("x", "y", "x2", "y2")}
    ends = {axis: {"field": axis} if axis.endswith("2") else pixels[axis] for axis in pixels}
    text = {"type": "text", "align": "left", "baseline": "top", "fontSize": _TEXT, "color": _INK}
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "point", "filled": True, "size": 80}, "encoding": {"x": x, "y": y, "color": color}},
        {"data": {"values": names}, "mark": text,
         "encoding": {"x": pixels["x"], "y": pixels["y"], "text": {"field": "net"}}},
    ]  # fmt: skip
    if lines:
        layers.append({"data": {"values": lines}, "mark": {"type": "rule", "color": _GRAY}, "encoding": ends})
    return _panel(rows, measure, layer=layers)


def _named(names: Sequence[str], points: Sequence[Circle]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Where each name stands, and the lines to those that stand away from their points; in pixels of the panel."""
    placed: list[Box] = []
    lines: list[Line] = []
    for i, name in enumerate(names):
        others = [point for k, point in enumerate(points) if k != i]
        size = (width(name, _TEXT) + 4, _TEXT + 3)
        box = place(points[i], size, others, placed, lines, Box(2, 2, _WIDTH - 2, _HEIGHT - 2))
        placed.append(box)
        line = leader(points[i], box)
        lines += [line] if line else []
    texts = [{"net": name, "x": box.x0 + 2, "y": box.y0 + 2} for name, box in zip(names, placed, strict=True)]
    return texts, [{"x": x, "y": y, "x2": xx, "y2": yy} for (x, y), (xx, yy) in lines]


def _absent(measure: Measure) -> dict[str, Any]:
    """A panel for what nobody has measured, which says so."""
    return {
        "width": _WIDTH,
        "height": 60,
        "data": {"values": [{"words": f"{measure.title}: not measured yet"}]},
        "mark": {"type": "text", "fontSize": 13, "color": _GRAY},
        "encoding": {"text": {"field": "words"}},
    }


def _svg(specification: Mapping[str, Any]) -> str:
    try:
        import vl_convert
    except ImportError as failure:
        raise CnnscopeError("drawing charts needs vl-convert: pip install 'cnnscope[png]'") from failure
    return str(vl_convert.vegalite_to_svg(json.dumps(specification)))
