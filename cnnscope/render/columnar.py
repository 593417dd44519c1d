"""A table in Parquet, with a type for each column."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

from ..errors import CnnscopeError
from ..table import Table
from ..table import columns as fields

_INTEGERS = ("count", "byte", "MAC", "FLOP")
_NUMBERS = ("ratio", "second", "FLOP/s", "byte/s")


def check() -> None:
    """See that Parquet can be written.

    Raises:
        CnnscopeError: pyarrow is not installed.
    """
    _pyarrow()


def parquet(table: Table[Any]) -> bytes:
    """The rows with all columns: counts, work and bytes as int64, seconds and ratios as float64, unknown as null.

    Title, model, input, notes and units are in the file's metadata.

    Raises:
        CnnscopeError: pyarrow is not installed, or a number has more than 64 bits.
    """
    arrow = _pyarrow()
    import pyarrow.parquet

    columns = fields(table.row_type)
    schema = arrow.schema([_field(arrow, field, table) for field in columns], metadata=_metadata(table))
    try:
        made = arrow.table([[_plain(getattr(row, field.name)) for row in table.values()] for field in columns], schema)
    except (OverflowError, arrow.ArrowInvalid) as error:
        raise CnnscopeError(f"a number of this table has no place in Parquet ({error}); write JSON or CSV") from error
    out = io.BytesIO()
    pyarrow.parquet.write_table(made, out)
    return out.getvalue()


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        raise CnnscopeError("writing Parquet needs pyarrow: pip install 'cnnscope[parquet]'") from error
    return pyarrow


def _field(arrow: Any, field: dataclasses.Field[Any], table: Table[Any]) -> Any:
    unit = field.metadata["unit"]
    values = [value for row in table.values() if (value := getattr(row, field.name)) is not None]
    if unit == "shape" or any(isinstance(value, tuple) for value in values):
        kind = arrow.list_(arrow.int64() if unit == "shape" else arrow.string())
    elif unit in _INTEGERS:
        kind = arrow.int64()
    elif unit in _NUMBERS:
        kind = arrow.float64()
    else:
        kind = arrow.bool_() if unit == "flag" else arrow.string()
    return arrow.field(field.name, kind, metadata={"unit": unit, "title": field.metadata["title"]})


def _metadata(table: Table[Any]) -> dict[str, str]:
    return {
        "schema_version": "1", "title": table.title, "model": table.model, "input": table.input,
        "notes": "\n".join(table.notes),
    }  # fmt: skip


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
