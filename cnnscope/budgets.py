"""``budget``: what a network may cost, held against what it costs.

A limit is a number or a text: ``"4.1G"``, ``"<= 600M"``, ``"200MiB"``. What could not be counted is not taken as
nothing: a total without it may be over the limit or not known, never within.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from .analyses.layering import layers
from .errors import UnusableBudget
from .graph import ModelGraph
from .table import Table, column, table
from .units import binary, parsed_bytes, si

WITHIN, OVER, UNKNOWN = "within", "over", "not known"
Limit = int | float | str


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """One limit of one network. used: the value in parts of the limit; most: the layers that it comes from.

    value, limit: in ``unit``; value is a lower bound where ``missing`` is not empty.
    """

    name: str = column("budget", hidden=True)
    module: str = column("module", hidden=True, default="")
    model: str = column("model", default="")
    quantity: str = column("budget", default="")
    shown: str = column("is", default="")
    allowed: str = column("may be", default="")
    used: float | None = column("used", "ratio", default=None)
    verdict: str = column("verdict", default="")
    most: str = column("most of it in", default="")
    value: int = column("value", "count", hidden=True, default=0)
    limit: int = column("limit", "count", hidden=True, default=0)
    unit: str = column("unit", hidden=True, default="")
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


class Quantity(NamedTuple):
    """Something that can be limited: its title, its unit, and the column of ``layers`` that it is the total of."""

    title: str
    unit: str
    column: str


QUANTITIES = {
    "params": Quantity("parameters", "count", "params"),
    "macs": Quantity("MACs", "MAC", "macs"),
    "flops": Quantity("FLOPs", "FLOP", "flops"),
    "activations": Quantity("activations", "byte", "activation"),
    "peak": Quantity("peak memory", "byte", ""),
}


def budget(graph: ModelGraph, limits: Mapping[str, Limit]) -> Table[Checked]:
    """A row for each limit, with the layers that most of the figure comes from.

    Args:
        limits: by name: params, macs, flops, activations (bytes that all layers write), peak (bytes of
            ``memory(graph).total.peak``).

    Raises:
        UnusableBudget: a limit has another name, or is no amount.
    """
    unknown = [name for name in limits if name not in QUANTITIES]
    if unknown:
        raise UnusableBudget(f"no budget for {', '.join(map(repr, unknown))}; one of {', '.join(QUANTITIES)}")
    rows = [_checked(graph, name, parsed(name, limit)) for name, limit in limits.items()]
    return table("budget", rows, Checked, model=graph.name, input=graph.input_text)


def parsed(name: str, limit: Limit) -> int:
    """The limit of a quantity as a number.

    Raises:
        UnusableBudget: it is no amount.
    """
    if isinstance(limit, int | float) and not isinstance(limit, bool) and limit >= 0:
        return int(limit)
    text = str(limit).strip().removeprefix("<=").removeprefix("≤").strip()
    if isinstance(limit, str) and QUANTITIES[name].unit == "byte":
        try:
            return parsed_bytes(text)
        except ValueError as error:
            raise UnusableBudget(f"the budget for {name}: {error}") from error
    match = _AMOUNT.fullmatch(text)
    if not match or not isinstance(limit, str):
        raise UnusableBudget(f"cannot read the budget {limit!r} for {name}; write it like 5M, 4.1G or 600000")
    return int(Decimal(match[1].replace("_", "").replace(",", "")) * _SCALES[match[2].upper()])


_AMOUNT = re.compile(r"(\d[\d_,]*(?:\.\d+)?|\.\d+)\s*([kKMGBTP]?)")
_SCALES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12, "P": 10**15}


def _checked(graph: ModelGraph, name: str, limit: int) -> Checked:
    quantity = QUANTITIES[name]
    value, missing, parts = _figure(graph, name)
    verdict = OVER if value > limit else UNKNOWN if missing else WITHIN
    shown = binary if quantity.unit == "byte" else si
    return Checked(
        f"{graph.name} {name}",
        "",
        graph.name,
        quantity.title,
        (">= " if missing else "") + shown(value),
        shown(limit),
        value / limit if limit else None,
        verdict,
        _most(parts, value),
        value,
        limit,
        quantity.unit,
        missing,
    )


def _figure(graph: ModelGraph, name: str) -> tuple[int, tuple[str, ...], list[tuple[str, int]]]:
    """The value, what is missing from it, and the parts that it is made of."""
    if name == "peak":
        from .analyses.holding import held
        from .analyses.memory import peak_memory

        return peak_memory(graph).peak, (), [(row.name, row.bytes) for row in held(graph).values()]
    found = layers(graph)
    field = QUANTITIES[name].column
    parts = [(row.name, getattr(row, field) or 0) for row in found.values()]
    counted = name in ("macs", "flops")
    return getattr(found.total, field) or 0, found.total.missing if counted else (), parts


def _most(parts: Iterable[tuple[str, int]], whole: int, count: int = 3) -> str:
    """``fc6 74 %, fc7 12 %, fc8 3 %``."""
    largest = sorted((part for part in parts if part[1] > 0), key=lambda part: -part[1])[:count]
    return ", ".join(f"{name} {100 * size / whole:.0f} %" for name, size in largest)


def sentence(row: Checked) -> str:
    """What is wrong with a row, with the layers that most of it comes from."""
    exact = f" = {row.value:,}" if row.unit != "byte" else ""
    without = f" without {', '.join(sorted(set(row.missing)))}" if row.missing else ""
    what = "are more than the" if row.verdict == OVER else "may be more than the"
    figure = f"{row.model}: {row.shown}{exact} {row.quantity}{without}"
    return f"{figure} {what} {row.allowed} allowed" + (f"; most of it in {row.most}" if row.most else "")


def joined(tables: Sequence[Table[Checked]]) -> Table[Checked]:
    """The rows of several networks as one table."""
    if len(tables) == 1:
        return tables[0]
    return table("budget", [row for each in tables for row in each.values()], Checked)


# -- pyproject.toml ---------------------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """The budget of one model, and how it is traced: texts of inputs, batch size, keywords of ``trace``."""

    model: str
    limits: Mapping[str, Limit]
    inputs: tuple[str, ...] = ()
    batch_size: int | None = None
    run: Mapping[str, Any] = {}


_RUN = {"train": bool, "optimizer": str}


def entries(file: str | Path) -> list[Entry]:
    """The budgets in ``[tool.cnnscope.budgets]`` of a pyproject.toml, in order.

    Raises:
        UnusableBudget: the file cannot be read or has no such table, or an entry has another form.
    """
    try:
        data = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnusableBudget(f"cannot read {str(file)!r}: {reason[:1].lower()}{reason[1:]}") from error
    found: Any = data
    for name in ("tool", "cnnscope", "budgets"):
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict) or not found:
        raise UnusableBudget(
            f"{str(file)!r} has no budgets; write\n[tool.cnnscope.budgets]\nvgg16 = {{ params = '140M', macs = '16G' }}"
        )
    return [_entry(model, value) for model, value in found.items()]


def _entry(model: str, given: Any) -> Entry:
    form = f"the budget of {model!r} is a table like {{ params = '5M', macs = '600M', input = '1x3x224x224' }}"
    if not isinstance(given, dict):
        raise UnusableBudget(form)
    limits = {name: value for name, value in given.items() if name in QUANTITIES}
    run = {name: value for name, value in given.items() if name in _RUN}
    odd = given.keys() - limits.keys() - run.keys() - {"input", "batch-size"}
    if odd or not limits:
        raise UnusableBudget(f"{form}, not with {', '.join(sorted(odd))}" if odd else form)
    inputs = given.get("input", [])
    inputs = [inputs] if isinstance(inputs, str) else inputs
    batch = given.get("batch-size")
    if any(type(value) is not _RUN[name] for name, value in run.items()):
        raise UnusableBudget(f"{form}; train is true or false, optimizer a name")
    if not isinstance(inputs, list) or not all(isinstance(text, str) for text in inputs):
        raise UnusableBudget(f"{form}; the input is a text or a list of texts")
    if batch is not None and (type(batch) is not int or batch < 1):
        raise UnusableBudget(f"{form}; batch-size is a number from 1")
    for name, value in limits.items():
        parsed(name, value)
    return Entry(model, limits, tuple(inputs), batch, run)
