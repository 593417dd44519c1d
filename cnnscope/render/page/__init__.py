"""The page about one model: one HTML file with pictures, table, style and program in it."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...units import binary, si
from .. import cells
from ..diagram import kinds
from ..timelines import KINDS
from . import charts, tables
from .drawings import Sheet, sheet
from .tables import short
from .theming import Palette
from .vega import drawn

if TYPE_CHECKING:
    from jinja2 import Environment

    from ...reporting import Report, Roofline
    from ...table import Table

_LARGE = 250_000
_SCRIPTS = ("theme", "view", "closing", "diagram", "sorting", "table", "page")


def page(report: Report) -> str:
    """The page as text.

    Raises:
        CnnscopeError: the library that draws the charts is not installed.
    """
    palette = Palette()
    folded = sheet(report.graph, fold=True, prefix="d", palette=palette)
    unfolded = sheet(report.graph, fold=False, prefix="u", palette=palette)
    sheets = {"d": folded} | (
        {"u": unfolded} if len(unfolded.geometry["cards"]) > len(folded.geometry["cards"]) else {}
    )
    shown = tables.shown(report.layers)
    return environment().get_template("page.html").render(
        report=report,
        name=short(report.graph.name or "Model"),
        version=__version__,
        tiles=list(_tiles(report)),
        sheet=folded,
        # Large drawings are packed: a page is loaded faster than its parts are parsed.
        packed={
            key: _packed(each) for key, each in sheets.items() if key != "d" or len(each.svg) > _LARGE
        },
        columns=shown,
        rows=list(tables.rows(report.layers, shown)),
        total=tables.total(report.layers, shown),
        heats=tables.heats(report.layers),
        charts=_charts(report, palette),
        memory=_memory(report),
        confirmed=[_grid(table) for table in report.confirmed],
        data=_json(_data(report, sheets)),
        palette=palette.css(),
        scripts=[lean(f"{name}.js") for name in _SCRIPTS],
        style=lean("style.css"),
    )  # fmt: skip


@cache
def environment() -> Environment:
    """Templates, with everything escaped that is put into them."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(text), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    made.filters |= {"si": si, "binary": binary, "short": short}
    return made


def lean(name: str) -> str:
    """A program or a style without what only its authors read: indentation, and comments on lines of their own."""
    lines = (line.strip() for line in text(name).splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def text(name: str) -> str:
    """A file of the folder of templates."""
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _tiles(report: Report) -> Iterator[tuple[str, str, str]]:
    """The figures of the whole model: what, how much, and exactly."""
    total, peak = report.totals, report.timeline.peak
    least = "≥ " if total.missing else ""
    yield "parameters", si(total.params), f"{total.params:,}"
    yield "MACs", "?" if total.macs is None else least + si(total.macs), _exact(total.macs)
    yield "FLOPs", "?" if total.flops is None else least + si(total.flops), _exact(total.flops)
    yield "peak memory", binary(peak), f"{peak:,} bytes"
    layers = "layer" if total.depth == 1 else "layers"
    yield "depth", _exact(total.depth), f"{layers} with weights on the longest path"
    if total.receptive_field:
        yield "receptive field", "×".join(map(str, total.receptive_field)), "pixels that the last map sees"


def _exact(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _charts(report: Report, palette: Palette) -> dict[str, str]:
    """The charts by name; none where there is nothing to draw."""
    found = {}
    bars = _bars(report)
    if bars:
        spec = charts.costs(bars, {"macs": "MACs", "params": "parameters"})
        label = f"Bars: MACs and parameters of {len(bars)} layers; the table has the numbers"
        found["costs"] = drawn(spec, label=label, prefix="costs", palette=palette)
    line = report.timeline
    moving = {kind: values for kind, values in line.kinds.items() if not _still(values)} or line.kinds
    if moving and line.total:
        words = short(f"peak {binary(line.peak)}: {report.graph.ops[line.peak_at].name}")
        spec = charts.memory(moving, line.peak_at, words)
        found["memory"] = drawn(spec, label=f"Memory over time, {words}", prefix="memory", palette=palette)
    roof = report.roof
    if roof is not None:
        points = _points(report, roof)
        label = f"Roofline of {roof.device}; the table has the times"
        spec = charts.roofline(points, roof.rate, roof.bandwidth)
        found["roofline"] = drawn(spec, label=label, prefix="roof", palette=palette)
    return found


def _points(report: Report, roof: Roofline) -> list[charts.Point]:
    """The layers by their arithmetic intensity and the rate that they are predicted to reach; equal ones are one."""
    found: dict[tuple[str, str, str], charts.Point] = {}
    for i, row in enumerate(report.layers.values()):
        kernels = [roof.times[op] for op in row.ops if op in roof.times]
        flops, moved = (sum(getattr(each, name) or 0 for each in kernels) for name in ("flops", "bytes"))
        if flops and moved and row.seconds:
            bound = max(kernels, key=lambda each: each.seconds or 0).bound or ""
            point = charts.Point(i, flops / moved, flops / row.seconds, row.seconds, bound)
            place = f"{point.intensity:.3g}", f"{point.rate:.3g}", bound
            same = found.get(place, point._replace(seconds=0.0))
            found[place] = same._replace(seconds=same.seconds + point.seconds)
    return list(found.values())


def _bars(report: Report) -> list[charts.Bar]:
    """The layers that compute, or have weights of their own."""
    rows = [(i, row) for i, row in enumerate(report.layers.values()) if row.macs or row.params > row.norm]
    names = charts.stages(row.module for _, row in rows)
    found = []
    for (i, row), stage in zip(rows, names, strict=True):
        group = next((kinds.family(report.graph[op].kind) for op in row.ops if _costly(report, op)), "other")
        values = {"macs": row.macs or 0, "params": row.params}
        found.append(charts.Bar(i, stage, values, kinds.LEGEND.get(group, group), kinds.COLOURS[group]))
    return found


def _costly(report: Report, op: str) -> bool:
    return kinds.family(report.graph[op].kind) in kinds.COSTLY


def _memory(report: Report) -> dict[str, Any]:
    """The words and figures beside the chart of memory."""
    total: Any = report.memory.total
    rows = [
        ("peak of the eager program", total.peak),
        ("the same, each tensor freed behind its last use", total.peak_compiled),
        ("reserved by PyTorch’s caching allocator on a GPU", total.peak_reserved),
        ("the same with expandable segments", total.peak_reserved_expandable),
        ("stays between two runs", total.steady),
    ]
    still = {kind: values[0] for kind, values in report.timeline.kinds.items() if values and _still(values)}
    return {
        "rows": [(words, binary(amount), f"{amount:,}") for words, amount in rows if amount is not None],
        "still": [f"{binary(amount)} of {KINDS.get(kind, kind)}" for kind, amount in still.items() if amount],
        "notes": report.memory.notes,
    }


def _grid(table: Table[Any]) -> dict[str, Any]:
    """Any table as headings and cells."""
    shown = cells.shown(table)
    rows = [[tables.Cell(short(cells.cell(row, each)), each.right) for each in shown] for row in table.values()]
    return {
        "title": table.title,
        "heads": [(each.head(), each.right) for each in shown],
        "rows": rows,
        "notes": table.notes,
    }


def _still(values: Sequence[int]) -> bool:
    """It is there from the first operator to the last."""
    return min(values, default=0) == max(values, default=0)


def _data(report: Report, sheets: Mapping[str, Sheet]) -> dict[str, Any]:
    """What the page's program reads: raw values of the rows, and which card each row is on."""
    layers = report.layers
    return {
        "columns": tables.raw(layers),
        "sheets": {
            key: {
                "geometry": each.geometry,
                "rows": [next((each.cards[op] for op in row.ops if op in each.cards), -1) for row in layers.values()],
                "own": "".join(str(int(any(op in each.own for op in row.ops))) for row in layers.values()),
            }
            for key, each in sheets.items()
        },
    }


def _json(data: Any) -> str:
    """JSON that may stand inside a script element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _packed(each: Sheet) -> str:
    """A drawing, compressed."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    return base64.b64encode(squeeze.compress(each.svg.encode()) + squeeze.flush()).decode()
