"""The lecture's Comparison, measured (after Canziani et al.): against batch, and against cited accuracy; SVG.

Drawn by Vega-Lite through vl-convert, a plain wheel with fonts of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import CnnscopeError
from ..records import Measurement


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
_WIDTH, _HEIGHT = 330, 220


def against_batch(records: Sequence[Measurement], labels: Mapping[str, str]) -> str:
    """Time, memory, power and energy of each net against the batch; labels: what to call which model."""
    rows = _rows(records, labels)
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
    x = {"field": measure.key, "type": "quantitative", "title": measure.title, "scale": {"type": "log", "padding": 30}}
    y = {"field": "accuracy", "type": "quantitative", "title": "top-1 accuracy (%), cited", "scale": {"zero": False}}
    text = {"type": "text", "dx": 8, "align": "left", "fontSize": 10, "color": _INK}
    color = {"field": "net", "type": "nominal", "legend": None, "scale": {"scheme": "tableau20"}}
    return _panel(
        rows,
        measure,
        encoding={"x": x, "y": y},
        layer=[
            {"mark": {"type": "point", "filled": True, "size": 80, "opacity": 0.85}, "encoding": {"color": color}},
            {"mark": text, "encoding": {"text": {"field": "net"}}},
        ],
    )


def _absent(measure: Measure) -> dict[str, Any]:
    """A panel for what nobody has measured, which says so."""
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
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
