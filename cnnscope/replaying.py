"""A layer of torch.nn runs once; one that is the same and takes the same repeats what the first one called.

What such a layer calls follows from its attributes and from shapes, strides and types alone: its code is torch's. So a
call is remembered as the operators that it recorded, and a later call with the same key writes them down again with
tensors of its own. Only a forward without gradients is repeated, and only where nothing else listens in: a mode of the
program's own, autocast and tensors with data all run for real.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import is_, itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from .casting import AUTOCAST
from .fastmeta import METAS
from .layouts import Meta
from .signatures import Signature, held

if TYPE_CHECKING:
    from .bookkeeping import Known
    from .lifetimes import Record
    from .recording import Recorder

Forward = Callable[..., Any]

_C: Any = torch._C
_OF_EVERY_MODULE = frozenset(nn.Module().__dict__) - {"training"}
_LIMIT = 20_000


class Made(NamedTuple):
    """A tensor that an operator returned. meta: its number; place: which tensor's memory it lies in, its own number
    if in memory of its own, of so many bytes, freed so many operators after the first one began (None: not yet)."""

    meta: int
    place: int
    bytes: int
    dies: int | None


class Step(NamedTuple):
    """An operator. Tensors count through: what the layer is given (input, parameters, buffers), then what it makes."""

    signature: Signature
    inputs: tuple[int, ...]
    made: tuple[Made, ...]


class Template(NamedTuple):
    """The operators of a call, and the metadata of the tensor that it returned.

    meta: None if that is its input, and the operator, if there is one, writes into it. returned: the tensor's number.
    """

    steps: tuple[Step, ...]
    meta: Meta | None
    returned: int = 0


_META = torch.device("meta")
_NEW = Template((), None, -1)
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
    """The layers of one run."""

    def __init__(self, recorder: Recorder, device: str) -> None:
        self._recorder = recorder
        self._templates = templates_for(device)
        self._kinds: dict[type, int] = {}

    def forward_of(self, module: nn.Module) -> Forward:
        """The forward of a module, repeating what is remembered where that is the same."""
        forward: Forward = module.forward
        if not _is_plain(module):
            return forward
        kind = self._kind(type(module))
        recorder, templates = self._recorder, self._templates
        run, given = recorder.run, recorder.given
        state = module.__dict__
        names = [name for name in state if name not in _OF_EVERY_MODULE]
        attributes: Callable[[Any], Any] = itemgetter(*names, "training")
        size = len(state) + 1  # and the forward that follows calls
        parameters, buffers = state["_parameters"], state["_buffers"]

        def repeated(*args: Any, **kwargs: Any) -> Any:
            if kwargs or len(args) != 1 or type(args[0]) is not torch.Tensor or len(state) != size:
                return forward(*args, **kwargs)
            x = args[0]
            known = x.__dict__.get("_cnnscope")
            if known is None or known.run != run or known.real or _modes() != _ONLY_THE_RECORDER:
                return forward(x)
            try:
                values = attributes(state)
                own = [
                    None if tensor is None else given[id(tensor)]
                    for tensor in (*parameters.values(), *buffers.values())
                ]
                key = (kind, values, tuple(map(type, values)), known.meta, *[each and each.meta for each in own])
                template = templates.get(key, _NEW)
            except (KeyError, TypeError):  # a tensor that is not the module's, an attribute that cannot be hashed
                return forward(x)
            if template is None:
                return forward(x)
            tensors = [known, *own]
            if template is _NEW:
                return _remembered(recorder, templates, key, tensors, forward, x)
            return _repeated(recorder, template, tensors, x)

        return repeated

    def _kind(self, cls: type) -> int:
        """A number for the class with its methods, which a program may have replaced."""
        number = self._kinds.get(cls)
        if number is None:
            methods = [each for base in cls.__mro__[:-2] for each in vars(base).values() if callable(each)]
            number = self._kinds[cls] = _kinds.setdefault((cls, *methods), len(_kinds))
        return number


def _is_plain(module: nn.Module) -> bool:
    """Whether it is a layer of torch.nn as torch wrote it, with no module inside."""
    cls = type(module)
    own = cls.__module__.startswith("torch.nn.modules.") and "forward" not in module.__dict__
    return own and not module._modules and module.__dict__.get("padding_mode", "zeros") == "zeros"


def _modes() -> tuple[Any, ...]:
    """What decides beside the layer and its input what is called."""
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        AUTOCAST.is_on(),
        _C._get_cudnn_enabled(),
        _C._len_torch_function_stack(),
        _C._len_torch_dispatch_stack(),
    )


_ONLY_THE_RECORDER = (False, False, False, True, 0, 1)


# -- repeating --------------------------------------------------------------------------------------------------------


def _repeated(recorder: Recorder, template: Template, tensors: list[Any], x: torch.Tensor) -> torch.Tensor:
    """Record what the template says, for these tensors; return the tensor that the layer returns."""
    steps, meta, returned = template
    if meta is None:
        for step in steps:
            recorder.write(step.signature, [tensors[i] for i in step.inputs], x)
        return x
    memory, first, result = recorder.memory, recorder.ran, x
    for signature, inputs, made in steps:
        outputs = len(recorder.value_metas)
        for number, place, nbytes, dies in made:
            param = -1
            if place < len(tensors):
                storage, param = tensors[place].storage, tensors[place].param
            elif dies is None:
                with _C._DisableTorchDispatch():  # the recorder would take it for the program's
                    result = torch.empty_strided(meta.shape, meta.stride, dtype=meta.dtype, device=_META)
                storage = memory.allocated(result.untyped_storage(), nbytes)
            else:
                storage = memory.passed(nbytes, first + dies)
            tensors.append(recorder.new_value(number, storage, param))
        recorder.record(signature, [tensors[i] for i in inputs], tuple(range(outputs, len(recorder.value_metas))))
    result._cnnscope = tensors[returned]  # type: ignore[attr-defined]
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
    given: int
    read: int


def _marks(recorder: Recorder) -> _Marks:
    storages = len(recorder.memory.bytes)
    return _Marks(recorder.ran, len(recorder.value_metas), storages, len(recorder.given), recorder.read)


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
    return Template((Step(record.signature, inputs, ()),), None)


def _fresh(recorder: Recorder, before: _Marks, given: list[Any], result: torch.Tensor) -> Template | None:
    """Operators that write nothing and leave nothing but one new tensor, which fills its memory."""
    memory = recorder.memory
    numbers = {each.value: i for i, each in enumerate(given) if each is not None}
    places = {each.storage: i for i, each in enumerate(given) if each is not None}
    count, steps = len(given), []
    for record in recorder.records[before.ops :]:
        if record.signature.function.writes or not numbers.keys() >= set(record.inputs):
            return None
        inputs, made = tuple([numbers[value] for value in record.inputs]), []
        for value in record.outputs:
            storage = recorder.value_storages[value]
            dies = memory.dies[storage]
            place = places.setdefault(storage, count)
            made.append(Made(recorder.value_metas[value], place, memory.bytes[storage], dies and dies - before.ops))
            numbers[value] = count
            count += 1
        steps.append(Step(record.signature, inputs, tuple(made)))
    known: Known = result._cnnscope  # type: ignore[attr-defined]
    alive = [s for s in range(before.storages, len(memory.bytes)) if memory.dies[s] is None]
    everything = count - len(given) == len(recorder.value_metas) - before.values
    meta = METAS[known.meta]
    full = result.storage_offset() == 0 and memory.bytes[known.storage] == held(meta)[1]
    if alive != [known.storage] or not everything or not full:
        return None
    return Template(tuple(steps), meta, numbers[known.value])
