"""The one result type: a mapping from names to frozen rows, with a total and what is missing from it.

A row type is a frozen dataclass. Its fields are the columns; ``column()`` puts title, unit and the way to add
up into the field's metadata, which is all that a renderer reads. ``None`` in an additive column means that the
value is not known; the operators that could not be counted stand in the row's ``missing``.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from .errors import CnnscopeError

UNITS = ("text", "shape", "count", "MAC", "FLOP", "byte", "ratio", "flag", "second", "FLOP/s", "byte/s")


class Row(Protocol):
    """What every row has: a unique name, the module it belongs to, and what could not be counted in it."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    @property
    def name(self) -> str: ...
    @property
    def module(self) -> str: ...
    @property
    def missing(self) -> tuple[str, ...]: ...


R = TypeVar("R", bound=Row)
Fold = str | Callable[[Mapping[str, Any]], Any]


def column(
    title: str,
    unit: str = "text",
    *,
    fold: Fold = "none",
    hidden: bool = False,
    behind: str = "",
    rank: int | None = None,
    default: Any = dataclasses.MISSING,
) -> Any:
    """A dataclass field that is a column.

    unit: one of ``UNITS``. fold: how rows become one: ``sum``, ``max``, ``first``, ``last``, ``join`` (tuples
    one after the other), ``none`` (left out), or a function of the columns folded before it. hidden: not shown
    unless asked for by name. behind: the column that it stands behind, where that is not the one before it.
    rank: how soon a short line gives it up, the highest first; 0 is never, None before those with a rank
    (``render.fitting`` states the order).
    """
    if unit not in UNITS:
        raise ValueError(f"no unit {unit!r}; one of {', '.join(UNITS)}")
    metadata = {"title": title, "unit": unit, "fold": fold, "hidden": hidden, "behind": behind, "rank": rank}
    return dataclasses.field(default=default, metadata=metadata)


def columns(row_type: type) -> tuple[dataclasses.Field[Any], ...]:
    """The columns of a row type in order."""
    found: list[dataclasses.Field[Any]] = []
    for field in dataclasses.fields(row_type):
        before = field.metadata.get("behind")
        found.insert([each.name for each in found].index(before) + 1 if before else len(found), field)
    return tuple(found)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Table(Mapping[str, R], Generic[R]):
    """Rows by name, in execution order, with their total.

    title: what the table shows; model, input: what was traced; notes: sentences that belong under the table.
    """

    title: str
    row_type: type[R]
    rows: Mapping[str, R]
    total: R
    model: str = ""
    input: str = ""
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> R:
        return self.rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def missing(self) -> Mapping[str, int]:
        """How often each kind of operator stands in the table without a rule; empty when all are counted."""
        return dict(Counter(self.total.missing))

    def to_dict(self) -> dict[str, Any]:
        """The table in the JSON schema (version 1): raw numbers, no formatted strings."""
        return {
            "schema_version": 1,
            "title": self.title,
            "model": self.model,
            "input": self.input,
            "total": _plain(self.total),
            "missing": dict(self.missing),
            "notes": list(self.notes),
            "rows": [_plain(row) for row in self.rows.values()],
        }

    def to_dataframe(self) -> Any:
        """The rows as a pandas DataFrame by name, numbers raw, shapes as lists.

        Raises:
            CnnscopeError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise CnnscopeError("a DataFrame needs pandas: pip install 'cnnscope[dataframe]'") from error
        names = [field.name for field in columns(self.row_type)]
        return pandas.DataFrame([_plain(row) for row in self.rows.values()], columns=names).set_index("name")

    def __str__(self) -> str:
        from .render import text

        return text(self)

    __repr__ = __str__  # at a prompt a table shows itself

    def _repr_html_(self) -> str:
        from .render import html

        return html(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """How a notebook shows it: as a page where it can, else as text."""
        return {"text/plain": str(self), "text/html": self._repr_html_()}


def table(
    title: str, rows: Iterable[R], row_type: type[R], *, model: str = "", input: str = "", notes: tuple[str, ...] = ()
) -> Table[R]:
    """Gather rows into a Table and add them up.

    Raises:
        ValueError: two rows have the same name.
    """
    by_name: dict[str, R] = {}
    for row in rows:
        if row.name in by_name:
            raise ValueError(f"two rows of {title!r} are named {row.name!r}")
        by_name[row.name] = row
    total = fold(list(by_name.values()), row_type, name="total", module="")
    return Table(title, row_type, by_name, total, model, input, notes)


def fold(rows: list[R], row_type: type[R], **given: Any) -> R:
    """One row for many, each column folded as its metadata says; ``given`` columns are set, not folded."""
    values = dict(given)
    for field in columns(row_type):
        if field.name not in values:
            how = field.metadata["fold"]
            if callable(how):
                values[field.name] = how(values)
            elif how == "none":
                values[field.name] = None
            else:
                values[field.name] = _FOLDS[how]([getattr(row, field.name) for row in rows])
    return row_type(**values)


def by_module(table_: Table[R], depth: int = 1) -> Table[R]:
    """The table with all rows of a module at ``depth`` as one row; rows of shallower modules stay as they are.

    Raises:
        ValueError: depth is below 1.
    """
    if depth < 1:
        raise ValueError(f"depth {depth} is below 1; depth 1 is the children of the model")
    groups: dict[str, list[R]] = {}
    for row in table_.rows.values():
        path = row.module.split(".") if row.module else []
        # A row of a module above the depth has no group to go into; '\0' cannot occur in a module path.
        key = ".".join(path[:depth]) if len(path) >= depth else f"\0{row.name}"
        groups.setdefault(key, []).append(row)
    rows: dict[str, R] = {}
    for key, members in groups.items():
        alone = key.startswith("\0") or (len(members) == 1 and members[0].module == key)
        row = members[0] if alone else fold(members, table_.row_type, name=key, module=key)
        rows[row.name] = row
    return dataclasses.replace(table_, title=f"{table_.title}, by module at depth {depth}", rows=rows)


def by_phase(table_: Table[R]) -> Table[R]:
    """One row for each phase of a training step: forward, backward, optimizer.

    Raises:
        ValueError: the rows have no column ``phase``.
    """
    if all(field.name != "phase" for field in columns(table_.row_type)):
        raise ValueError(f"the rows of {table_.title!r} have no phase; those of cost(graph) do")
    groups: dict[str, list[R]] = {}
    for row in table_.rows.values():
        groups.setdefault(row.phase, []).append(row)  # type: ignore[attr-defined]
    rows = {
        phase: fold(members, table_.row_type, name=phase, module="", phase=phase) for phase, members in groups.items()
    }
    return dataclasses.replace(table_, title=f"{table_.title}, by phase", rows=rows)


def _known_sum(values: list[Any]) -> Any:
    """Of nothing it is 0; of nothing but unknown it is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) if known or not values else None


def _known_max(values: list[Any]) -> Any:
    return max((value for value in values if value is not None), default=None)


_FOLDS: dict[str, Callable[[list[Any]], Any]] = {
    "sum": _known_sum,
    "max": _known_max,
    "first": lambda values: next((value for value in values if value is not None), None),
    "last": lambda values: next((value for value in reversed(values) if value is not None), None),
    "join": lambda values: tuple(item for value in values for item in value),
}


def _plain(row: Row) -> dict[str, Any]:
    """A row as JSON holds it: tuples become lists."""
    plain: dict[str, Any] = {}
    for field in columns(type(row)):
        value = getattr(row, field.name)
        plain[field.name] = list(value) if isinstance(value, tuple) else value
    return plain
