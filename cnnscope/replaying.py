"""A layer of torch.nn runs once; one that is the same and takes the same repeats what the first one called.

What such a layer calls follows from its attributes and from shapes, strides and types alone: its code is torch's. So a
call is remembered as the operators that it recorded, and a later call with the same key writes them down again with
tensors of its own. Only a forward without gradients is repeated, and only where nothing else listens in: a mode of the
program's own, autocast and tensors with data all run for real.
"""

from __future__ import annotations

from collections.abc import Callable
from marshal import dumps
from operator import is_, itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from .bookkeeping import Known
from .casting import AUTOCAST
from .deferring import Deferred
from .fastmeta import BYTES, METAS
from .layouts import Meta
from .lifetimes import Record
from .outlines import Outline, outline_of
from .signatures import Signature

if TYPE_CHECKING:
    from .following import Calls
    from .recording import Recorder
    from .standins import Originals

Forward = Callable[..., Any]

_C: Any = torch._C
_LIMIT = 20_000


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


class Weights:
    """What is known of the parameters and buffers of a module, where it has any, and in the order in which it has them.

    metas: the number of the metadata of each, None where it has none; values, params: numbers of those it has.
    """

    __slots__ = ("known", "metas", "params", "values")

    def __init__(self, known: list[Known | None]) -> None:
        self.known = known
        self.metas = tuple([each and each.meta for each in known])
        self.values = tuple([each.value for each in known if each])
        self.params = tuple([each.param for each in known if each])


_META = torch.device("meta")
_templates: dict[str, dict[Any, Template | None]] = {"cpu": {}, "cuda": {}}
_kinds: dict[Any, int] = {}
_functions: tuple[Any, ...] = ()
_of_torch = itemgetter(*[name for name in vars(_C._VariableFunctionsClass) if name in torch.__dict__])


def templates_for(device: str) -> dict[Any, Template | None]:
    """What is remembered for a device; nothing when functions that layers call, or the default type, have changed."""
    global _functions
    now = (torch.get_default_dtype(), *_of_torch(torch.__dict__), *F.__dict__.values())
    if len(now) != len(_functions) or not all(map(is_, now, _functions)):
        _functions = now
        forget()
    return _templates[device]


def forget() -> None:
    """Empty the memos, as in a new process."""
    for templates in _templates.values():
        templates.clear()


class Replays:
    """The layers of one run. weights: what is known of each module's tensors, in the order of the modules followed."""

    def __init__(
        self,
        recorder: Recorder,
        calls: Calls,
        originals: Originals,
        weights: dict[int, list[Known | None]],
        device: str,
    ) -> None:
        self._recorder = recorder
        self._calls = calls
        self._outlines = originals.outlines
        self._weights = weights
        self._templates = templates_for(device)
        self._kinds: dict[type, int] = {}

    def followed(self, path: str, module: nn.Module) -> Forward:
        """The forward of a module, telling where it begins and ends, and repeating what is remembered of the same."""
        state, cls = module.__dict__, type(module)
        outline = self._outlines.get(id(module)) or outline_of(cls, state)
        if not _is_plain(outline, state):
            return self._calls.followed(path, module)
        recorder, calls, templates = self._recorder, self._calls, self._templates
        run, given, name, kind = recorder.run, recorder.given, cls.__name__, self._kind(cls)
        attributes, size = outline.values, outline.size + 1  # and the forward
        params_before, buffers_before = state["_parameters"], state["_buffers"]
        first = Weights(self._weights[id(module)])
        forward = module.forward
        real: Forward | None = None

        def repeated(*args: Any, **kwargs: Any) -> Any:
            nonlocal real
            key = template = None
            if len(args) == 1 and not kwargs and type(x := args[0]) is torch.Tensor and len(state) == size:
                known = x.__dict__.get("_cnnscope") or given.get(id(x))
                if known is not None and known.run == run and not known.real and _alone():
                    try:
                        parameters, buffers = state["_parameters"], state["_buffers"]
                        waiting = parameters is params_before and buffers is buffers_before
                        waiting = waiting and _waits(parameters) and _waits(buffers)
                        weights = (
                            first
                            if waiting
                            else Weights(
                                [None if t is None else given[id(t)] for t in (*parameters.values(), *buffers.values())]
                            )
                        )
                        key = (kind, known.meta, weights.metas, _exactly(attributes(state)))
                        template = templates.get(key)
                    except (KeyError, TypeError):  # a tensor that is not the module's, an attribute without a hash
                        key = None
                    else:
                        if template is not None and not recorder.is_stale(known, weights.known):
                            return _repeated(recorder, calls, path, name, template, known, weights, x)
            if real is None:
                real = calls.followed(path, module, forward)
            if key is None or template is not None or key in templates:
                return real(*args, **kwargs)
            return _remembered(recorder, templates, key, [known, *weights.known], real, x)

        repeated.__wrapped__ = forward  # type: ignore[attr-defined]  # inspect.signature looks there
        return repeated

    def _kind(self, cls: type) -> int:
        """A number for the class with its methods, which a program may have replaced."""
        number = self._kinds.get(cls)
        if number is None:
            methods = [each for base in cls.__mro__[:-2] for each in vars(base).values() if callable(each)]
            number = self._kinds[cls] = _kinds.setdefault((cls, *methods), len(_kinds))
        return number


def _is_plain(outline: Outline, state: dict[str, Any]) -> bool:
    """Whether it is a layer of torch.nn as torch wrote it, with no module inside."""
    return outline.plain and not state["_modules"] and state.get("padding_mode", "zeros") == "zeros"


def _waits(tensors: Any) -> bool:
    """Whether nobody has looked at a module's tensors, so that they are what they were; of none there is no other."""
    return tensors.waiting if type(tensors) is Deferred else not tensors


def _exactly(values: tuple[Any, ...]) -> Any:
    """Values as a key that tells 1, 1.0 and True apart."""
    try:
        return dumps(values, 2)
    except ValueError:
        return values, tuple(map(type, values))


def _alone() -> bool:
    """Whether what is called follows from the layer and its input: no mode listens in or decides, but the recorder."""
    return (
        _C._len_torch_dispatch_stack() == 1
        and _C._len_torch_function_stack() == 0
        and not torch.is_grad_enabled()
        and not torch.is_inference_mode_enabled()
        and _C._get_cudnn_enabled()
        and not AUTOCAST.is_on()
    )


# -- repeating --------------------------------------------------------------------------------------------------------


def _repeated(
    recorder: Recorder,
    calls: Calls,
    path: str,
    name: str,
    template: Template,
    known: Known,
    weights: Weights,
    x: torch.Tensor,
) -> torch.Tensor:
    """Record what the template says, for these tensors; return the tensor that the layer returns."""
    steps, meta, made, homes, sizes, born, dies, returned, written, plain = template
    records, memory, value = recorder.records, recorder.memory, len(recorder.value_metas)
    first, caller, number = len(records), recorder.call, len(calls.all)
    repeat = calls.counts[path] = calls.counts.get(path, -1) + 1
    calls.all[caller][4] = False
    call = [path, name, caller, repeat, True, (known.value,), (value + returned,), first]
    calls.all.append(call)
    if meta is None:
        if steps:
            tensors: list[Any] = [known, *weights.known]
            recorder.call = number
            recorder.write(steps[0].signature, [tensors[i] for i in steps[0].inputs], x)
            recorder.call = caller
        call[6] = recorder.numbers(x)
        return x
    storage = len(memory.bytes)
    recorder.value_metas.extend(made)
    memory.bytes.extend(sizes)
    memory.kinds.extend(["activation"] * len(sizes))
    memory.dies.extend([None if each is None else first + each for each in dies])
    if plain is not None and known.param < 0:
        recorder.value_storages.extend(range(storage, storage + len(made)))
        memory.born.extend([first] * len(made))
        values = (known.value, *weights.values[:plain])
        outputs = tuple(range(value, value + len(made)))
        records.append(Record(steps[0].signature, values, outputs, weights.params[:plain], number, ()))
        storage += returned
    else:
        memory.born.extend([first + each for each in born])
        given: list[Known | None] = [known, *weights.known]
        storages = [each.storage if each else -1 for each in given] + list(range(storage, storage + len(sizes)))
        numbers = [each.value if each else -1 for each in given] + list(range(value, value + len(made)))
        params = [each.param if each else -1 for each in given]
        params += [params[home] if home < len(given) else -1 for home in homes]
        recorder.value_storages.extend([storages[home] for home in homes])
        for signature, ins, outs, reads in steps:
            values, outputs = tuple([numbers[i] for i in ins]), tuple([numbers[i] for i in outs])
            read = tuple([params[i] for i in reads if params[i] >= 0])
            records.append(Record(signature, values, outputs, read, number, ()))
        storage = storages[homes[returned]]
    with _C._DisableTorchDispatch():  # the recorder would take it for the program's
        result = torch.empty_strided(meta.shape, meta.stride, dtype=meta.dtype, device=_META)
    memory.follow(result.untyped_storage(), storage)
    result._cnnscope = Known(recorder.run, value + returned, made[returned], storage, -1, first + written)  # type: ignore[attr-defined]
    return result


# -- remembering ------------------------------------------------------------------------------------------------------


def _remembered(
    recorder: Recorder, templates: dict[Any, Template | None], key: Any, given: list[Any], forward: Forward, x: Any
) -> Any:
    """Run the layer, and remember what it called if it can be repeated, else that it cannot."""
    before = _marks(recorder)
    result = forward(x)
    if len(templates) >= _LIMIT:
        templates.clear()
    templates[key] = _template(recorder, before, given, x, result)
    return result


class _Marks(NamedTuple):
    """How much a recorder has seen: operators, values, storages, tensors declared, numbers read."""

    ops: int
    values: int
    storages: int
    declared: int
    read: int


def _marks(recorder: Recorder) -> _Marks:
    storages, declared = len(recorder.memory.bytes), len(recorder.params) + len(recorder.constants)
    return _Marks(recorder.ran, len(recorder.value_metas), storages, declared, recorder.read)


def _template(recorder: Recorder, before: _Marks, given: list[Any], x: torch.Tensor, result: Any) -> Template | None:
    """What has been recorded since, as something that can be repeated; None where it cannot."""
    records = recorder.records[before.ops :]
    known = result.__dict__.get("_cnnscope") if type(result) is torch.Tensor else None
    tensors = [each for each in given if each is not None]
    if known is None or known.run != recorder.run or any(each.real for each in (known, *tensors)):
        return None
    if _marks(recorder)[3:] != before[3:] or any(record.after for record in records):
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


def _fresh(recorder: Recorder, before: _Marks, given: list[Any], result: torch.Tensor) -> Template | None:
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
