"""What every renderer shares: which columns are shown, and how one cell reads. Only column metadata is looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import UnknownColumn, UnusableInput
from ..graph import ModelGraph
from ..table import Row, Table, columns
from ..units import binary, duration, scale, scaled, si

Field = dataclasses.Field[Any]


# A row's unknown part lies in what is counted by rules; bytes and parameters are known without.
_RULED = ("MAC", "FLOP", "second")
_SCALED = ("MAC", "FLOP", "byte", "second", "FLOP/s", "byte/s")
_RIGHT = ("count", "MAC", "FLOP", "byte", "ratio", "second", "FLOP/s", "byte/s")


class Column(NamedTuple):
    """A column with what its cells have in common: its scale (``M``, ``MiB``) and the total of the whole table."""

    field: Field
    title: str
    unit: str
    factor: float
    prefix: str
    partial: bool

    @property
    def name(self) -> str:
        return self.field.name

    @property
    def rank(self) -> int | None:
        """How soon a short line gives it up; 0 is never."""
        rank: int | None = self.field.metadata["rank"]
        return rank

    @property
    def right(self) -> bool:
        """Numbers stand at the right."""
        return self.unit in _RIGHT

    @property
    def additive(self) -> bool:
        """Whether the table's total means something in it."""
        how = self.field.metadata["fold"]
        return how == "sum" or callable(how)

    def head(self, separator: str = " ") -> str:
        """Title and scale: ``MACs (M)``."""
        return f"{self.title}{separator}({self.prefix})" if self.prefix else self.title


def tabular(given: Any) -> Table[Any]:
    """A table as it is; of a graph that of its layers.

    Raises:
        UnusableInput: it is neither.
    """
    if isinstance(given, Table):
        return given
    if isinstance(given, ModelGraph):
        from ..views import by_layer

        return by_layer(given)
    raise UnusableInput(f"a table can be made of a Table or a traced graph, not of {type(given).__name__}")


def find(row_type: type, wanted: str) -> Field:
    """The column of that field name or title; case, blanks, '-' and '_' make no difference.

    Raises:
        UnknownColumn: there is none; the message lists them all.
    """
    by_name = {_plain(key): field for field in columns(row_type) for key in (field.metadata["title"], field.name)}
    if _plain(wanted) not in by_name:
        names = ", ".join(field.name for field in columns(row_type))
        raise UnknownColumn(f"no column {wanted.strip()!r}; there are: {names}")
    return by_name[_plain(wanted)]


def shown(
    table: Table[Any],
    names: Sequence[str] | None = None,
    titles: Mapping[str, str] | None = None,
    *,
    empty: bool = False,
) -> list[Column]:
    """The columns to show: the named ones behind the row's name, else those that are not hidden.

    ``empty``: also those in which no row has anything, as all are in a table without rows.
    """
    every = columns(table.row_type)
    if names is None:
        empty = empty or not table
        fields = [field for field in every if not field.metadata["hidden"] and (empty or _filled(table, field))]
    else:
        name = next(field for field in every if field.name == "name")
        chosen = [name, *(find(table.row_type, wanted) for wanted in names)]
        fields = list({field.name: field for field in chosen}.values())
    return [_column(table, field, (titles or {}).get(field.name)) for field in fields]


def _filled(table: Table[Any], field: Field) -> bool:
    how = field.metadata["fold"]
    return how == "sum" or callable(how) or any(getattr(row, field.name) is not None for row in table.values())


def _column(table: Table[Any], field: Field, title: str | None) -> Column:
    unit = field.metadata["unit"]
    known = [value for row in table.values() if isinstance(value := getattr(row, field.name), int | float)]
    factor, prefix = scale(max(known, default=0), unit) if unit in _SCALED else (1, "")
    if unit in _SCALED and field.metadata["fold"] == "none":  # each row stands for itself: the smallest is read too
        smallest = min((value for value in known if value > 0), default=0)
        factor, prefix = min((factor, prefix), scale(400 * smallest, unit))
    unknown = bool(table.missing) and (unit in _RULED or (field.metadata["fold"] == "sum" and len(known) < len(table)))
    return Column(field, title or field.metadata["title"], unit, factor, prefix, unknown)


def cell(row: Row, column: Column) -> str:
    """One cell for people: scaled as the column is, ``?`` for what is not known, empty where nothing applies.

    A module that is called again has no parameters for a second time: ``(recursive)`` stands for them.
    """
    value = getattr(row, column.name)
    if value == 0 and column.name == "params" and getattr(row, "repeat", 0):
        return "(recursive)"
    if value is None:
        return "?" if column.field.metadata["fold"] == "sum" or (column.additive and row.missing) else ""
    # A row that is not added up may stand for a whole network: what it does not know is missing there as well.
    counted = column.additive or column.field.metadata["fold"] == "none"
    return f"{'>=' if row.missing and column.partial and counted else ''}{_formatted(value, column)}"


def total_cell(table: Table[Any], column: Column) -> str:
    """The cell of the total line; empty in columns that do not add up."""
    if column.name == "name":
        return "total"
    value = getattr(table.total, column.name)
    if not column.additive or (value is None and not table.missing):
        return ""
    return cell(table.total, column)


def has_total(table: Table[Any], shown_columns: Iterable[Column]) -> bool:
    """Whether a total line would say anything."""
    return len(table) > 0 and any(total_cell(table, column) for column in shown_columns if column.name != "name")


def raw(value: Any) -> str:
    """A value for a program that reads text: digits as they are, shapes as ``1x3x224x224``."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return _shape(value)
    return str(value)


def at_least(table: Table[Any]) -> str:
    """``MACs >= 4.09 G, FLOPs >= 8.2 G, without roi_align x2``; empty when everything is counted."""
    if not table.missing:
        return ""
    sums = [
        f"{field.metadata['title']} >= {quantity(getattr(table.total, field.name) or 0, field.metadata['unit'])}"
        for field in columns(table.row_type)
        if field.metadata["unit"] in _RULED and field.metadata["fold"] == "sum"
    ]
    without = ", ".join(f"{kind} x{count}" for kind, count in table.missing.items())
    return ", ".join([*sums, f"without {without}"])


def quantity(value: float, unit: str) -> str:
    """A number outside of a table, with its own scale: ``15.47 G``, ``109.3 MiB``, ``138,357,544``."""
    if unit == "byte":
        return binary(int(value))
    if unit in ("MAC", "FLOP"):
        return si(value)
    if unit == "second":
        return duration(value)
    return f"{value:,}"


def visible(text: str) -> str:
    """Text without characters that would break a line or command a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _formatted(value: Any, column: Column) -> str:
    if isinstance(value, tuple):
        return _shape(value) if value or column.unit == "shape" else ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if column.unit in _SCALED:
        return scaled(value, column.factor)
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) >= 0.0005 else "<0.001" if value else "0"
    return f"{value:,}" if isinstance(value, int) else visible(str(value))


def _shape(value: tuple[Any, ...]) -> str:
    """``1x3x224x224``; several shapes or names stand apart."""
    if all(size is None or isinstance(size, int | float) for size in value):
        return "x".join("?" if size is None else f"{size:g}" for size in value) or "scalar"
    return " ".join(_shape(each) if isinstance(each, tuple) else visible(str(each)) for each in value)


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")
