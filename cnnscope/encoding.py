"""A ModelGraph as bytes and back: JSON, compressed, with a checksum. Reading it runs no code, whoever wrote it.

Operators, values, storages, parameters and calls are written as columns, field by field. A value stands once, elsewhere
its number. What repeats (shapes, arguments, tuples of names) stands once too, so that a graph read back shares its
parts as a traced one does.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .collecting import without_collection
from .graph import Call, ModelGraph, Op, Parameter, Run, Storage, Value

_HEAD = b"cnnscope graph 2\n"
_ROWS: dict[str, Any] = {"storages": Storage, "parameters": Parameter, "calls": Call, "ops": Op}
_SCALARS = {bool, int, float, str, type(None)}
_TENSORS = ("inputs", "outputs")  # fields that hold values, here and in operators and calls


def encoded(graph: ModelGraph) -> bytes:
    """The graph as bytes."""
    with without_collection():
        record = _record(graph)
    body = zlib.compress(json.dumps(record, separators=(",", ":")).encode(), 1)
    return _HEAD + zlib.crc32(body).to_bytes(4, "big") + body


def decoded(data: bytes) -> ModelGraph:
    """The graph that was encoded.

    Raises:
        ValueError: these are no such bytes, or not all of them.
    """
    start = len(_HEAD) + 4
    if not data.startswith(_HEAD) or zlib.crc32(data[start:]).to_bytes(4, "big") != data[len(_HEAD) : start]:
        raise ValueError("not an encoded graph, or a damaged one")
    try:
        with without_collection():
            return _graph(json.loads(zlib.decompress(data[start:])))
    except (zlib.error, AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"not an encoded graph: {error}") from error


# -- writing ----------------------------------------------------------------------------------------------------------


class _Shared:
    """Things that stand once: ``shared(thing)`` is its number in ``things``."""

    def __init__(self) -> None:
        self.things: list[Any] = []
        self._numbers: dict[str, int] = {}

    def __call__(self, thing: Any) -> int:
        plain = _plain(thing)
        # By its text: 1, 1.0 and True are equal, and not the same.
        number = self._numbers.setdefault(json.dumps(plain), len(self.things))
        if number == len(self.things):
            self.things.append(plain)
        return number


def _record(graph: ModelGraph) -> dict[str, Any]:
    shared = _Shared()
    values: dict[Value, int] = {}

    def number(value: Value) -> int:
        return values.setdefault(value, len(values))

    record: dict[str, Any] = {"name": graph.name, "run": list(graph.run), "alike": graph.alike}
    for name in _TENSORS:
        record[name] = [number(value) for value in getattr(graph, name)]
    for name, kind in _ROWS.items():
        record[name] = _columns(getattr(graph, name), kind, shared, number)
    record["values"] = _columns(list(values), Value, shared, number)
    record["shared"] = shared.things
    return record


def _columns(rows: Sequence[Any], kind: Any, shared: _Shared, number: Callable[[Value], int]) -> list[Any]:
    """A list for each field: of scalars, of numbers of values, or of numbers of what is shared."""
    columns: list[Any] = []
    for place, field in enumerate(kind._fields):
        column = [row[place] for row in rows]
        if field in _TENSORS:
            columns.append([[number(value) for value in values] for values in column])
        elif {type(item) for item in column} <= _SCALARS:
            columns.append(column)
        else:
            columns.append({"shared": [shared(item) for item in column]})
    return columns


def _plain(thing: Any) -> Any:
    """A value of an argument as JSON has it; what is no scalar and no tuple becomes an object."""
    if isinstance(thing, tuple):
        return [_plain(item) for item in thing]
    if isinstance(thing, complex):
        return {"complex": [thing.real, thing.imag]}
    if isinstance(thing, dict):
        return {"dict": {key: _plain(value) for key, value in thing.items()}}
    return thing


# -- reading ----------------------------------------------------------------------------------------------------------


def _graph(record: dict[str, Any]) -> ModelGraph:
    things = [_thing(thing) for thing in record["shared"]]
    values = list(_rows(record["values"], Value, things, []))

    def tensors(name: str) -> tuple[Value, ...]:
        return tuple([values[number] for number in record[name]])

    return ModelGraph(
        record["name"],
        storages=_rows(record["storages"], Storage, things, values),
        inputs=tensors("inputs"),
        outputs=tensors("outputs"),
        parameters=_rows(record["parameters"], Parameter, things, values),
        calls=_rows(record["calls"], Call, things, values),
        ops=_rows(record["ops"], Op, things, values),
        run=Run(*record["run"]),
        alike=tuple(record["alike"]),
    )


def _rows(columns: list[Any], kind: Any, things: list[Any], values: list[Value]) -> tuple[Any, ...]:
    read: list[Iterable[Any]] = []
    for field, column in zip(kind._fields, columns, strict=True):
        if isinstance(column, dict):
            read.append([things[number] for number in column["shared"]])
        elif field in _TENSORS:
            read.append([tuple([values[number] for number in numbers]) for numbers in column])
        else:
            read.append(column)
    return tuple(map(kind._make, zip(*read, strict=True)))


def _thing(thing: Any) -> Any:
    if isinstance(thing, list):
        return tuple([_thing(item) for item in thing])
    if not isinstance(thing, dict):
        return thing
    if "complex" in thing:
        return complex(*thing["complex"])
    return {key: _thing(value) for key, value in thing["dict"].items()}
