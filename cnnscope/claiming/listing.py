"""Verdicts as text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import itertools
import json
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..render.fitting import shrunk, wrapped
from ..render.texts import terminal_width
from .deciding import CITED, CONTRADICTED, REPRODUCED, UNDER

if TYPE_CHECKING:
    from ..claims import Verdict
    from ..table import Table

FIELDS = (
    "architecture", "variant", "quantity", "stated", "stated_value", "unit", "source", "computed", "verdict", "note",
)  # fmt: skip
KINDS = (REPRODUCED, UNDER, CONTRADICTED, CITED)


def kind(verdict: str) -> str:
    """The verdict without the name of a convention."""
    return UNDER if verdict.startswith(UNDER) else verdict


def counts(rows: Iterable[Verdict]) -> dict[str, int]:
    """How many there are of each verdict."""
    found = Counter(kind(row.verdict) for row in rows)
    return {each: found[each] for each in KINDS}


def as_json(verdicts: Table[Verdict]) -> str:
    """One object for each claim, with raw numbers; ``total`` counts the verdicts."""
    rows = [{name: getattr(row, name) for name in ("name", *FIELDS)} for row in verdicts.values()]
    head = {**verdicts.to_dict(), "total": counts(verdicts.values())}
    return json.dumps({**head, "rows": rows}, indent=2, ensure_ascii=False)


def as_csv(verdicts: Table[Verdict]) -> str:
    """The same columns; an empty cell where there is nothing."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows({name: getattr(row, name) for name in FIELDS} for row in verdicts.values())
    return text.getvalue()


def as_text(verdicts: Table[Verdict], width: int | None = None) -> str:
    """The claims of each architecture: stated, computed, verdict; under what a graph or a source decided, the note.

    width: of a line, by default the terminal's, and 100 in a pipe; cells that are too long for it are wrapped.
    """
    width = width or terminal_width() or 100
    lines = []
    for architecture, rows in _by_architecture(verdicts):
        cells = [("claim", "stated", "computed", "verdict")]
        cells += [(_claimed(row), row.stated, shown(row), row.verdict) for row in rows]
        lengths = {i: [len(line[i]) for line in cells] for i in range(4)}
        widths = list(shrunk({i: max(column) for i, column in lengths.items()}, lengths, width - 2).values())
        lines += [architecture, "", *_drawn(cells[0], widths)]
        for line, row in zip(cells[1:], rows, strict=True):
            lines += _drawn(line, widths)
            if row.note and (kind(row.verdict) != CITED or row.differs):
                lines += textwrap.wrap(row.note, width, initial_indent="      ", subsequent_indent="      ")
        lines.append("")
    return "\n".join([*lines, *textwrap.wrap(summary(verdicts), width)])


def _drawn(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """One claim, on as many lines as its longest cell takes."""
    parts = [wrapped(text, width, 2 * (i == 0)) for i, (text, width) in enumerate(zip(cells, widths, strict=True))]
    padded = (
        [part[k].ljust(width) if k < len(part) else " " * width for part, width in zip(parts, widths, strict=True)]
        for k in range(max(map(len, parts)))
    )
    return [f"  {'  '.join(line)}".rstrip() for line in padded]


def as_markdown(verdicts: Table[Verdict]) -> str:
    """A table of the verdicts by source, and one of the claims for each architecture."""
    lines = ["# Claims", "", *_INTRODUCTION, "", *_by_source(verdicts), ""]
    for architecture, rows in _by_architecture(verdicts):
        lines += [f"## {architecture}", "", "| claim | source | stated | computed | verdict | note |", "|" + "---|" * 6]
        for row in rows:
            cells = (_claimed(row), _where(row), row.stated, shown(row), _strong(row.verdict), row.note)
            lines.append("| " + " | ".join(_escaped(cell) for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


_INTRODUCTION = (
    "What the lecture, the papers, the authors' releases and the libraries print, held against what the traced graphs",
    "give. Made by `cnnscope claims --format md`; the claims are in `architectures/claims/`.",
    "",
    "- **reproduced**: the computed figure, rounded to the printed digits, reads the same.",
    "- **reproduced under convention X**: it does when it is counted in the way that X names.",
    "- **contradicted**: it does not in any known way, or another source contradicts it; the note says why.",
    "- **cited**: no graph can decide it.",
)


def summary(verdicts: Table[Verdict]) -> str:
    """One line with the number of each verdict."""
    found = counts(verdicts.values())
    return f"{len(verdicts)} claims: " + ", ".join(f"{count} {name}" for name, count in found.items() if count)


def shown(row: Verdict) -> str:
    """The computed value for people: digits in groups, at most four behind the point."""
    computed = row.computed
    if computed is None or isinstance(computed, str) or row.unit == "year":
        return "" if computed is None else str(computed)
    return f"{computed:,}" if isinstance(computed, int) else f"{computed:,.4f}".rstrip("0").rstrip(".")


def _by_architecture(verdicts: Table[Verdict]) -> Iterator[tuple[str, list[Verdict]]]:
    for architecture, rows in itertools.groupby(verdicts.values(), key=lambda row: row.architecture):
        yield architecture, list(rows)


def _by_source(verdicts: Table[Verdict]) -> Iterator[str]:
    yield "| source | " + " | ".join(KINDS) + " |"
    yield "|---|" + "---:|" * len(KINDS)
    for source in dict.fromkeys(row.source for row in verdicts.values()):
        found = counts(row for row in verdicts.values() if row.source == source)
        yield f"| {source} | " + " | ".join(str(count) for count in found.values()) + " |"


def _claimed(row: Verdict) -> str:
    return f"{row.variant}: {row.quantity}" if row.variant else row.quantity


def _where(row: Verdict) -> str:
    return f"{row.source}: {row.place}" if row.place else row.source


def _strong(verdict: str) -> str:
    return f"**{verdict}**" if verdict == CONTRADICTED else verdict


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\|<`" else letter for letter in text)


FORMATS: Mapping[str, Callable[[Any], str]] = {"text": as_text, "md": as_markdown, "csv": as_csv, "json": as_json}
