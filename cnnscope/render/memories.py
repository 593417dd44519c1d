"""The memory of a run as a page of text: its peak in all figures, what it is made of, who keeps it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..analyses.holding import Held
from ..analyses.liveness import Timeline
from ..analyses.memory import PeakMemory
from ..table import Table
from ..units import binary, scale, scaled
from .timeline_charts import chart
from .timelines import KINDS
from .timelines import Timeline as Picture

_BAR = 16


class Line(NamedTuple):
    """A figure with its name, and a remark."""

    name: str
    bytes: int | None
    remark: str = ""


def figures(total: PeakMemory) -> list[Line]:
    """Every figure of the peak with what it means."""
    lines = [Line("requested", total.peak_requested, f"all live tensors, at {total.peak_op}")]
    lines += [
        Line(f"  {KINDS.get(kind, kind)}", size, _share(size, total.peak))
        for kind, size in sorted(total.kinds.items(), key=lambda item: -item[1])
    ]
    if total.peak_reserved is not None:
        lines += [
            Line("allocated", total.peak_allocated, "with the caching allocator's rounding"),
            Line("reserved", total.peak_reserved, "what the allocator takes from the GPU"),
            Line("  expandable", total.peak_reserved_expandable, "the same with expandable segments"),
        ]
        lines += [Line(f"  {name}", size, remark) for name, size, remark in _beside(total)]
        lines.append(Line("upper bound", total.upper_bound, "reserved with all that is beside it"))
    elif total.peak_allocated is not None:
        lines.append(Line("allocated", total.peak_allocated, "with the buffers that kernels hold while they run"))
        lines.append(Line("upper bound", total.upper_bound, "with bounds for kernels that no rule knows"))
    lines.append(Line("compiled", total.peak_compiled, "if tensors were freed behind their last use"))
    lines.append(Line("steady", total.steady, "what stays between two runs"))
    return lines


def _beside(total: PeakMemory) -> Iterable[tuple[str, int, str]]:
    remarks = {
        "cublas_workspace": ("cuBLAS", "workspace, once a thread"),
        "convolution_workspace_bound": ("cuDNN", "workspaces, at most (assumed)"),
        "context_bound": ("CUDA context", "at most (assumed)"),
    }
    for key, size in total.overheads.items():
        name, remark = remarks.get(key, (key, ""))
        yield name, size, remark


def _share(part: int, whole: int) -> str:
    share = part / whole if whole else 0.0
    eighths = round(share * _BAR * 8)
    bar = "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]
    return f"{share:6.1%} {bar}"


def figure_lines(lines: Sequence[Line], width: int = 0) -> list[str]:
    """The figures in one unit, numbers aligned; a remark that does not fit is cut."""
    largest = max((line.bytes or 0 for line in lines), default=0)
    factor, unit = scale(largest, "byte")
    cells = ["?" if line.bytes is None else scaled(line.bytes, factor) for line in lines]
    names = max(len(line.name) for line in lines)
    numbers = max(len(unit), *map(len, cells))
    found = [f"{'':<{names}}  {unit:>{numbers}}"]
    for line, cell in zip(lines, cells, strict=True):
        text = f"{line.name:<{names}}  {cell:>{numbers}}  {line.remark}".rstrip()
        found.append(cut(text, width))
    return found


def cut(text: str, width: int) -> str:
    """At most ``width`` characters, the middle left out of what is longer; 0 is no limit."""
    if not width or len(text) <= width:
        return text
    keep = width - 1
    return text[: keep - keep // 3] + "…" + text[len(text) - keep // 3 :]


def picture(line: Timeline, title: str) -> Picture:
    """What is alive over the operators, for a chart."""
    ops = line.graph.ops
    phases = [op.phase for op in ops] if line.graph.train else []
    return Picture(title, [op.name for op in ops], line.kinds, phases, line.peak_at)


def alive_lines(held: Table[Held], count: int, width: int = 0) -> list[str]:
    """The largest storages at the peak with who keeps them, and how many more there are."""
    rows = list(held.values())
    shown = rows[:count]
    factor, unit = scale(shown[0].bytes if shown else 0, "byte")
    head = (f"alive at {held.title.removeprefix('alive at ')}", "kind", unit, "kept by")
    grid = [(row.name, row.kind, scaled(row.bytes, factor), row.keeper) for row in shown]
    limits = _limits(width)
    grid = [(cut(name, limits[0]), kind, size, cut(keeper, limits[1])) for name, kind, size, keeper in grid]
    head = (cut(head[0], limits[0]), *head[1:])
    widths = [max(len(line[i]) for line in [head, *grid]) for i in range(4)]
    lines = [
        f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {size:>{widths[2]}}  {keeper}".rstrip()
        for name, kind, size, keeper in [head, *grid]
    ]
    lines.insert(1, "  ".join("-" * each for each in widths))
    rest = rows[count:]
    if rest:
        lines.append(f"and {len(rest):,} more, {binary(sum(row.bytes for row in rest))} together")
    return lines


def _limits(width: int) -> tuple[int, int]:
    """Characters for a tensor's name and for its keeper."""
    if not width:
        return 0, 0
    room = max(24, width - 10 - 10 - 6)
    return room // 2, room - room // 2


def page(
    heading: str, total: PeakMemory, notes: Sequence[str], line: Timeline, held: Table[Held], *, rows: int, width: int
) -> str:
    """All of it: heading, assumptions, figures, the chart over the operators, and what is alive at the peak."""
    about = [line for note in notes for line in textwrap.wrap(note, width or 100)]
    parts = [heading, *about, "", *figure_lines(figures(total), width)]
    if line.graph.ops:
        parts += ["", chart(picture(line, "live bytes over the operators"), width or 100)]
        parts += ["", *alive_lines(held, rows, width)]
    return "\n".join(parts)
