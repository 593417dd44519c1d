"""``report``: everything about one model, gathered, and the page that shows it. No torch."""

from __future__ import annotations

import dataclasses
import html
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from .analyses import of_graph
from .analyses.liveness import Timeline, timeline
from .analyses.memory import OpMemory, memory
from .analyses.rooflines import KernelTime, roofline
from .comparing import Compared, compare
from .devices import device as device_of
from .graph import ModelGraph
from .papers import Paper
from .table import Table
from .views import by_layer, timed

if TYPE_CHECKING:
    from .claims import Verdict


class Roofline(NamedTuple):
    """Predicted seconds of every kernel on a device, and what the device does at most: FLOPs and bytes in a second."""

    device: str
    rate: float
    bandwidth: float
    times: Table[KernelTime]


class Claimed(NamedTuple):
    """A claim as a page shows it. kind: the verdict without the name of a convention."""

    claim: str
    stated: str
    source: str
    computed: str
    verdict: str
    kind: str
    note: str


class Summary(NamedTuple):
    """One line of an index. verdicts: how many claims got each, empty where none was asked."""

    name: str
    paper: Paper | None
    totals: Compared
    peak: int
    verdicts: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Report:
    """One model with all that is known of it. Shows itself in a notebook; ``html()`` is the page.

    target: what the command line calls it. claims: None where the ledger was not asked. roof: None where no device was
    named. confirmed: a table of predicted and measured figures for each record; empty where nothing is measured.
    """

    graph: ModelGraph
    target: str = ""
    paper: Paper | None = None
    claims: Table[Verdict] | None = None
    roof: Roofline | None = None
    confirmed: Sequence[Table[Any]] = ()

    @cached_property
    def layers(self) -> Table[Any]:
        """Every layer with its costs, and with its time where a device is named."""
        found = by_layer(self.graph)
        return found if self.roof is None else timed(found, self.roof.times)

    @cached_property
    def totals(self) -> Compared:
        """The figures of the whole model."""
        return compare([self.graph])[self.graph.name]

    @cached_property
    def timeline(self) -> Timeline:
        """Bytes that are alive at each operator."""
        return timeline(self.graph)

    @cached_property
    def memory(self) -> Table[OpMemory]:
        """The same as a table, with what a GPU's allocator makes of it."""
        return memory(self.graph)

    @cached_property
    def claimed(self) -> tuple[Claimed, ...]:
        """The claims in words; those that nothing decides come last."""
        from .claiming.listing import KINDS, kind, shown

        rows = [
            Claimed(
                f"{row.variant}: {row.quantity}" if row.variant else row.quantity,
                row.stated,
                f"{row.source}: {row.place}" if row.place else row.source,
                shown(row),
                row.verdict,
                kind(row.verdict),
                row.note,
            )
            for row in (self.claims or {}).values()
        ]
        return tuple(sorted(rows, key=lambda row: row.kind == KINDS[-1]))

    def summary(self) -> Summary:
        """What an index says of it."""
        return Summary(
            self.graph.name, self.paper, self.totals, self.timeline.peak, Counter(row.kind for row in self.claimed)
        )

    def html(self) -> str:
        """The page, in one piece: it needs no network and no other file.

        Raises:
            CnnscopeError: the library that draws the charts is not installed.
        """
        from .render.page import page

        return page(self)

    def save(self, path: str) -> None:
        """Write the page to a file.

        Raises:
            UnwritableOutput: the reason is the operating system's.
        """
        from .outputs import write

        write(path, self.html())

    def __repr__(self) -> str:
        return f"<Report on {self.graph.name}: {len(self.layers)} layers, {self.totals.params:,} parameters>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """How a notebook shows it: the page in a frame of its own, so that nothing of two of them can clash."""
        from .render.page.tables import short

        page, title = html.escape(self.html()), html.escape(short(repr(self)))
        frame = (
            f'<iframe srcdoc="{page}" sandbox="allow-scripts allow-popups" title="{title}" '
            'style="width:100%;height:720px;border:1px solid #8888;border-radius:8px"></iframe>'
        )
        return {"text/plain": repr(self), "text/html": frame}


@of_graph
def report(
    graph: ModelGraph,
    *,
    target: str = "",
    paper: Paper | None = None,
    claims: Table[Verdict] | None = None,
    roof: Roofline | None = None,
    confirmed: Sequence[Table[Any]] = (),
) -> Report:
    """Everything about one traced model.

    Args:
        graph: what ``trace`` gave.
        target: how the command line names the model, for the page to say how it was made.
        paper: where the architecture is from; ``paper("vgg16")`` knows it of the zoo.
        claims: verdicts of ``check`` that belong to it.
        roof: how long its kernels take on a device, as ``under_roof`` gives it.
        confirmed: tables of predicted figures beside measured ones.
    """
    return Report(graph, target, paper, claims, roof, confirmed)


def under_roof(graph: ModelGraph, device: str) -> Roofline | None:
    """How long the kernels of a graph take on a device, in the types that they were traced in.

    The roof is that of the precision in which most is computed. None where nothing is computed.

    Raises:
        UnknownDevice: nobody knows a device of that name.
        UnusableInput: it has no rate for what the graph computes in.
    """
    found = device_of(device)
    times = roofline(graph, found)
    busiest = max(times.values(), key=lambda kernel: kernel.flops or 0, default=None)
    rate = None if busiest is None else found.rate(busiest.precision)
    if busiest is None or rate is None or found.bandwidth is None:
        return None
    return Roofline(f"{found.name}, {busiest.precision}", rate, found.bandwidth, times)
