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
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from .bookkeeping import Known
from .casting import AUTOCAST
from .deferring import Deferred
from .lifetimes import Record
from .outlines import Outline, outline_of
from .templates import Template, marks, template_of

if TYPE_CHECKING:
    from .following import Calls
    from .recording import Recorder
    from .standins import Originals

Forward = Callable[..., Any]

_C: Any = torch._C
_LIMIT = 20_000


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
    """The layers of one run. weights: what is known of each module's tensors, by ``id`` of the module."""

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
                        weights = first if waiting else _looked_up(given, parameters, buffers)
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


def _looked_up(given: dict[int, Known], parameters: Any, buffers: Any) -> Weights:
    """What is known now of tensors that the program has looked at, and may have exchanged."""
    tensors = (*parameters.values(), *buffers.values())
    return Weights([None if tensor is None else given[id(tensor)] for tensor in tensors])


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


def _remembered(
    recorder: Recorder, templates: dict[Any, Template | None], key: Any, given: list[Any], forward: Forward, x: Any
) -> Any:
    """Run the layer, and remember what it called if it can be repeated, else that it cannot."""
    before = marks(recorder)
    result = forward(x)
    if len(templates) >= _LIMIT:
        templates.clear()
    templates[key] = template_of(recorder, before, given, x, result)
    return result
