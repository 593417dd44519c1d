"""The index of many pages: the nets side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import __version__
from ...comparing import accuracies, cited
from ...units import binary, si
from .. import bubbles
from . import environment, lean
from .tables import short
from .theming import Palette, parsed, written

if TYPE_CHECKING:
    from ...reporting import Summary


class Figure(NamedTuple):
    """A cell with the number that it is sorted by."""

    words: str
    value: float | None


COLUMNS = ("year", "parameters", "MACs", "FLOPs", "peak memory", "depth", "receptive field", "top-1 error %", "claims")


def index(entries: Sequence[tuple[str, Summary]]) -> str:
    """The index of pages, each given by its address and what it says."""
    palette = Palette()
    errors = {each["model"]: each["top1"] for each in cited([summary.name for _, summary in entries])}
    picture = _picture([summary for _, summary in entries], palette)
    return environment().get_template("index.html").render(
        version=__version__,
        columns=COLUMNS,
        rows=[(address, summary, _figures(summary, errors.get(summary.name))) for address, summary in entries],
        picture=picture,
        palette=palette.css(),
        style=lean("style.css"),
        scripts=[lean("theme.js"), lean("sorting.js"), lean("index.js")],
        short=short,
    )  # fmt: skip


def _figures(summary: Summary, error: float | None) -> list[Figure]:
    total = summary.totals
    field = total.receptive_field
    good = sum(count for verdict, count in summary.verdicts.items() if verdict.startswith("reproduced"))
    decided = sum(count for verdict, count in summary.verdicts.items() if verdict != "cited")
    return [
        Figure(str(summary.paper.year), summary.paper.year) if summary.paper else Figure("", None),
        Figure(si(total.params), total.params),
        _counted(total.macs, total.missing),
        _counted(total.flops, total.missing),
        Figure(binary(summary.peak), summary.peak),
        Figure("" if total.depth is None else str(total.depth), total.depth),
        Figure("×".join(map(str, field)), field[0]) if field else Figure("", None),
        Figure("" if error is None else f"{error:g}", error),
        Figure(f"{good} of {decided} reproduced" if decided else "", good if decided else None),
    ]


def _counted(value: int | None, missing: Sequence[str]) -> Figure:
    return Figure("?" if value is None else f"{'≥ ' if missing else ''}{si(value)}", value)


def _picture(summaries: Sequence[Summary], palette: Palette) -> str:
    """Accuracy against operations, of the nets whose accuracy somebody states; empty where there is none."""
    by_name = {summary.name: summary.totals for summary in summaries}
    sources = accuracies()["source"]
    points: list[Any] = [
        bubbles.Bubble(
            each["label"], 100 - each["top1"], 2 * (by_name[each["model"]].macs or 0), by_name[each["model"]].params,
            sources[each["source"]]["text"],
        )
        for each in cited(list(by_name))
    ]  # fmt: skip
    if len(points) < 2:
        return ""
    notes = ["Operations and parameters: computed from the graphs of the nets"]
    root = parsed(bubbles.comparison(points, notes=notes))
    for each in list(root):
        if each.tag == "rect":
            root.remove(each)
    for name in ("width", "height", "xmlns"):
        root.attrib.pop(name, None)
    root.set("class", "chart")
    palette.take(root)
    return written(root)
