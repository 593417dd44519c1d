"""What a layer of torch.nn has called, as something that can be repeated for another layer that is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from .bookkeeping import Known
from .fastmeta import BYTES, METAS
from .layouts import Meta
from .lifetimes import Record
from .signatures import Signature

if TYPE_CHECKING:
    from .recording import Recorder


class Step(NamedTuple):
    """An operator. Tensors count through: what the layer is given (input, parameters, buffers), then what it makes.

    params: which of its inputs may be or view parameters.
    """

    signature: Signature
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    params: tuple[int, ...]


class Template(NamedTuple):
    """The operators of a call, and the tensor that it returned.

    made: metadata of each tensor that they made; homes: whose memory it lies in, counted like the tensors: that of one
    given, or new memory. bytes, born, dies: of each new memory, in operators after the first one began (None: not yet).
    meta: of the tensor that is returned, None if that is the input, and the operator, if there is one, writes into it;
    returned: which of those made it is; written: how many operators had begun then. plain: of one operator, which makes
    all its results in new memory, how many weights it reads: the first so many.
    """

    steps: tuple[Step, ...]
    meta: Meta | None
    made: tuple[int, ...] = ()
    homes: tuple[int, ...] = ()
    bytes: tuple[int, ...] = ()
    born: tuple[int, ...] = ()
    dies: tuple[int | None, ...] = ()
    returned: int = 0
    written: int = 0
    plain: int | None = None


class Marks(NamedTuple):
    """How much a recorder has seen: operators, values, storages, tensors declared, numbers read."""

    ops: int
    values: int
    storages: int
    declared: int
    read: int


def marks(recorder: Recorder) -> Marks:
    storages, declared = len(recorder.memory.bytes), len(recorder.params) + len(recorder.constants)
    return Marks(recorder.ran, len(recorder.value_metas), storages, declared, recorder.read)


def template_of(recorder: Recorder, before: Marks, given: list[Any], x: torch.Tensor, result: Any) -> Template | None:
    """What has been recorded since, as something that can be repeated; None where it cannot."""
    records = recorder.records[before.ops :]
    known = result.__dict__.get("_cnnscope") if type(result) is torch.Tensor else None
    tensors = [each for each in given if each is not None]
    if known is None or known.run != recorder.run or any(each.real for each in (known, *tensors)):
        return None
    if marks(recorder)[3:] != before[3:] or any(record.after for record in records):
        return None
    if len({each.storage for each in tensors}) != len(tensors):  # which of them an operator takes cannot be told
        return None
    return _in_place(records, given) if result is x else _fresh(recorder, before, given, result)


def _in_place(records: list[Record], given: list[Any]) -> Template | None:
    """At most one operator, which writes into the input: that is what the layer returns."""
    if not records:
        return Template((), None)
    record = records[0]
    numbers = {each.value: i for i, each in enumerate(given) if each is not None}
    inputs = tuple([numbers.get(value, -1) for value in record.inputs])
    if len(records) > 1 or not record.signature.function.in_place or inputs[0] != 0 or -1 in inputs:
        return None
    return Template((Step(record.signature, inputs, (), ()),), None)


def _fresh(recorder: Recorder, before: Marks, given: list[Any], result: torch.Tensor) -> Template | None:
    """Operators that write nothing and leave nothing but one new tensor, which fills its memory."""
    memory, count, first, values = recorder.memory, len(given), before.storages, recorder.value_storages
    known: Known = result._cnnscope  # type: ignore[attr-defined]
    dies = memory.dies[first:]
    full = result.storage_offset() == 0 and memory.bytes[known.storage] == BYTES[known.meta]
    if not full or dies.count(None) != 1 or known.storage < first or dies[known.storage - first] is not None:
        return None
    if memory.host and not memory.host.isdisjoint(range(first, len(memory.bytes))):
        return None
    numbers = {each.value: i for i, each in enumerate(given) if each is not None}
    places = {each.storage: i for i, each in enumerate(given) if each is not None}
    homes: list[int] = []
    steps = []
    for signature, ins, outs, _, _, _ in recorder.records[before.ops :]:
        if signature.function.written or not numbers.keys() >= set(ins):
            return None
        inputs = tuple([numbers[value] for value in ins])
        reads = tuple([i for i in inputs if i < count or homes[i - count] < count])
        outputs = tuple(range(count + len(homes), count + len(homes) + len(outs)))
        numbers.update(zip(outs, outputs, strict=True))
        # New memory is numbered on behind what was given.
        homes += [places.get(values[each], values[each] - first + count) for each in outs]
        steps.append(Step(signature, inputs, outputs, reads))
    if len(homes) != len(recorder.value_metas) - before.values:
        return None
    return Template(
        tuple(steps),
        METAS[known.meta],
        tuple(recorder.value_metas[before.values :]),
        tuple(homes),
        tuple(memory.bytes[first:]),
        tuple([born - before.ops for born in memory.born[first:]]),
        tuple([None if each is None else each - before.ops for each in dies]),
        numbers[known.value] - count,
        known.written - before.ops,
        _weights_read(steps, given) if homes == list(range(count, count + len(homes))) else None,
    )


def _weights_read(steps: list[Step], given: list[Any]) -> int | None:
    """How many of the weights the one operator reads, where these are the first, behind the input."""
    present = tuple([i for i, each in enumerate(given) if each is not None])
    reads = len(steps[0].inputs)
    return reads - 1 if len(steps) == 1 and reads and steps[0].inputs == present[:reads] else None
