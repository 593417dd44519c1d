"""``trace``: run a model on tensors without data and return what it did as a ModelGraph."""

from __future__ import annotations

import contextlib
import gc
import inspect
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from .errors import UntraceableModel, UnusableInput
from .fastmeta import METAS
from .graph import Call, ModelGraph, Op, Parameter, Shape, Storage, Value
from .recording import Recorder
from .standins import on_meta, stand_in

NORM_KINDS = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm")


def trace(
    model: nn.Module,
    input: Any = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    name: str = "",
) -> ModelGraph:
    """Record one inference of ``model``: every ATen operator that the eager program calls, without computing.

    The model runs in eval mode, without gradients, as a copy whose tensors are on the meta device: no weight is
    allocated and the model itself is left exactly as it was found, also when its code raises.

    Args:
        model: any ``nn.Module``, with weights or on meta.
        input: what goes in. A shape with batch, ``(1, 3, 224, 224)``, stands for a float32 tensor; a tensor gives
            its shape and dtype, its data are not read. A tuple or list of these are the positional arguments (one
            argument if the forward takes only one); a dict is passed as one argument if the forward takes one, and
            as keywords otherwise. None: the forward takes no positional argument.
        kwargs: keyword arguments, in the same notation for tensors; other objects are passed as they are.
        name: what to call the graph; by default the class of the model.

    Raises:
        UnusableInput: the input is not of the described form or does not fit the forward's signature.
        UntraceableModel: the model's code raised; the message leads with its own exception, then names the layer,
            the shapes that reached it, and the way out. ``error.graph`` holds the part that ran.
    """
    if not isinstance(model, nn.Module):
        raise UnusableInput(f"trace() takes an nn.Module, not {type(model).__name__}; call a class or factory first")
    twin, memo, originals = stand_in(model)
    for module in twin.modules():
        module.training = False
    args, keywords = _arguments(twin, input, kwargs or {}, memo)
    recorder = Recorder(memo, originals)
    _give_weights(recorder, twin)
    inputs = _give_inputs(recorder, twin, args, keywords)
    _follow_calls(recorder, twin)
    graph_name = name or type(model).__name__
    try:
        with _left_as_found(), torch.no_grad(), recorder:
            result = twin(*args, **keywords)
    except Exception as error:
        recorder.stop()
        graph = _graph(recorder, twin, graph_name, inputs, ())
        raise _untraceable(error, recorder, graph) from error
    outputs = tuple(recorder.known(tensor).value for tensor in _tensors(result))
    recorder.stop()
    return _graph(recorder, twin, graph_name, inputs, outputs)


# -- what goes in ---------------------------------------------------------------------------------------------------


def _is_shape(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and bool(value) and all(type(size) is int for size in value)


def _tensor(value: Any, memo: dict[int, Any]) -> Any:
    """The input in the notation of ``trace`` as tensors without data."""
    if isinstance(value, torch.Size) or _is_shape(value):
        if min(value, default=1) < 0:
            raise UnusableInput(f"the input shape {tuple(value)} has a negative size; give sizes like (1, 3, 224, 224)")
        return torch.empty(tuple(value), device="meta")
    if isinstance(value, torch.Tensor):
        if id(value) not in memo:
            memo[id(value)] = on_meta(value.detach())
        return memo[id(value)]
    if isinstance(value, Mapping):
        return {key: _tensor(item, memo) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_tensor(item, memo) for item in value) if type(value) in (tuple, list) else value
    return value


def _arguments(model: nn.Module, input: Any, kwargs: Mapping[str, Any], memo: dict[int, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:  # fmt: skip
    """Positional and keyword arguments of the forward."""
    if isinstance(input, (str, bytes, float)) or input is not None and type(input) is int:
        raise UnusableInput(f"the input {input!r} is neither a shape nor a tensor; give (1, 3, 224, 224) or tensors")
    value = _tensor(input, memo)
    keywords = {key: _tensor(item, memo) for key, item in kwargs.items()}
    one = _takes_one(model, keywords)
    if input is None:
        args: tuple[Any, ...] = ()
    elif isinstance(value, dict):
        if one:
            args = (value,)
        else:
            args, keywords = (), value | keywords
    elif isinstance(value, (tuple, list)):
        args = (value,) if one and len(value) != 1 else tuple(value)
    else:
        args = (value,)
    try:
        inspect.signature(model.forward).bind(*args, **keywords)
    except TypeError as error:
        wanted = str(inspect.signature(model.forward))
        given = f"{len(args)} positional" + (f" and {', '.join(keywords)}" if keywords else "")
        raise UnusableInput(
            f"forward{wanted} of {type(model).__name__} cannot be called with {given} argument(s): {error}; "
            "give one shape or tensor for each argument, keywords by name"
        ) from error
    except ValueError:  # no signature to be had (a builtin): the call itself will tell
        pass
    return args, keywords


def _takes_one(model: nn.Module, keywords: Mapping[str, Any]) -> bool:
    """Whether the forward takes exactly one positional argument beside the given keywords."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty and p.name not in keywords]
    variadic = any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)
    return not variadic and len(positional) >= 1 and len(required) <= 1


def _give_inputs(recorder: Recorder, model: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[int, ...]:  # fmt: skip
    """Declare each input tensor under the name of its argument."""
    try:
        names = list(inspect.signature(model.forward).parameters)
    except (TypeError, ValueError):
        names = []
    numbers = []
    named = [(names[i] if i < len(names) and names[i] not in ("args", "inputs") else f"input{i}", a) for i, a in enumerate(args)]  # fmt: skip
    for name, value in [*named, *keywords.items()]:
        for path, tensor in pytree.tree_flatten_with_path(value)[0]:
            if isinstance(tensor, torch.Tensor):
                full = name + "".join(f".{getattr(key, 'key', getattr(key, 'idx', key))}" for key in path)
                numbers.append(recorder.give(tensor, full, "input").value)
    return tuple(dict.fromkeys(numbers))


def _give_weights(recorder: Recorder, twin: nn.Module) -> None:
    """Declare parameters and buffers. Lazy ones have no shape yet and are declared when an operator reads them."""
    for path, module in twin.named_modules():
        prefix = f"{path}." if path else ""
        for kind, tensors in (("param", module._parameters), ("buffer", module._buffers)):
            for name, tensor in tensors.items():
                if tensor is not None and not isinstance(tensor, nn.parameter.UninitializedTensorMixin):
                    recorder.give(tensor, prefix + name, kind)


def _tensors(result: Any) -> list[torch.Tensor]:
    """Every tensor in what the forward returned, also in dataclasses and other objects with attributes."""
    found = []
    for leaf in pytree.tree_leaves(result):
        if isinstance(leaf, torch.Tensor):
            found.append(leaf)
        elif hasattr(leaf, "__dict__") and not callable(leaf):
            found.extend(each for each in pytree.tree_leaves(vars(leaf)) if isinstance(each, torch.Tensor))
    return found


# -- while it runs --------------------------------------------------------------------------------------------------


def _follow_calls(recorder: Recorder, twin: nn.Module) -> None:
    """Let each module of the copy tell the recorder when its forward runs.

    The copy is ours, so its ``forward`` can be wrapped where hooks would cost five times as much.
    """
    counts: dict[str, int] = {}
    calls = recorder.calls
    for path, module in twin.named_modules():
        if path == "":
            calls[0][1] = type(module).__name__
            continue
        module.__dict__["forward"] = _followed(recorder, calls, counts, path, type(module).__name__, module.forward)


def _followed(recorder: Recorder, calls: list[list[Any]], counts: dict[str, int], path: str, kind: str, forward: Callable[..., Any]) -> Callable[..., Any]:  # fmt: skip
    def followed(*args: Any, **kwargs: Any) -> Any:
        parent = recorder.current
        repeat = counts[path] = counts.get(path, -1) + 1
        calls[parent][4] = False
        number = recorder.current = len(calls)
        call = [path, kind, parent, repeat, True, recorder.numbers(args), ()]
        calls.append(call)
        try:
            result = forward(*args, **kwargs)
            call[6] = recorder.numbers(result)
            return result
        except BaseException:
            if recorder.failed_at is None:
                recorder.failed_at = number
            raise
        finally:
            recorder.current = parent

    followed.__wrapped__ = forward  # type: ignore[attr-defined]  # inspect.signature looks there
    return followed


@contextlib.contextmanager
def _left_as_found() -> Iterator[None]:
    """Restore what a forward may change outside its module: random states; and hold off the garbage collector.

    Reference counts free tensors at once, as in the real program; a collection in the middle would make the
    lifetimes depend on what else this process holds.
    """
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    numpy = sys.modules.get("numpy")
    numpy_state = numpy.random.get_state() if numpy else None
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
        torch.set_rng_state(torch_state)
        random.setstate(python_state)
        if numpy:
            numpy.random.set_state(numpy_state)


def _untraceable(error: Exception, recorder: Recorder, graph: ModelGraph) -> UntraceableModel:
    """The user's own exception first, then where, then what to do."""
    call = graph.calls[recorder.failed_at or 0]
    what = str(error).strip().splitlines()
    first = f"{type(error).__name__}: {what[0] if what else '(no message)'}"
    where = f"in {call.module or 'the forward of ' + call.type}" + (f" ({call.type})" if call.module else "")
    last = graph.ops[-1] if graph.ops else None
    shapes = ", ".join(str(value.shape) for value in (last.outputs if last else graph.inputs))
    reached = f"after {last.name} -> {shapes}" if last else f"with input {graph.input_text}"
    return UntraceableModel(
        f"{first}\n{where}, {reached}\n{_way_out(error)}", graph=graph, layer=call.module
    )


_DATA_NEEDED = ("meta tensor", "Meta tensors", "data-dependent", "_local_scalar_dense", "nonzero", "is_nonzero")


def _way_out(error: Exception) -> str:
    if any(sign in str(error) for sign in _DATA_NEEDED):
        return "the forward decides by the values of a tensor, which a trace does not have: take that branch out or make it depend on shapes"
    if isinstance(error, (ValueError, TypeError, RuntimeError, IndexError)):
        return "check that the input's shape and dtype are what this layer takes (--input, or trace(model, input))"
    return "run the model once by itself with the same input; the trace calls the same forward"


# -- what comes out -------------------------------------------------------------------------------------------------


def _graph(recorder: Recorder, twin: nn.Module, name: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> ModelGraph:  # fmt: skip
    """The record as immutable data."""
    op_names, value_names = _names(recorder)
    metas, storages = recorder.value_metas, recorder.value_storages
    plain = {number: (METAS[number].shape, str(METAS[number].dtype)[6:]) for number in set(metas)}
    values = [
        Value(value_name, *plain[meta], storage)
        for value_name, meta, storage in zip(value_names, metas, storages, strict=True)
    ]
    calls = tuple(
        Call(*call[:5], tuple([values[i] for i in call[5]]), tuple([values[i] for i in call[6]]))
        for call in recorder.calls
    )
    param_names = _param_names(recorder, twin)
    ops = []
    for op_name, record in zip(op_names, recorder.records, strict=True):
        signature, function = record.signature, record.signature.function
        ops.append(
            Op(
                op_name,
                function.kind,
                tuple([values[i] for i in record.inputs]),
                tuple([values[i] for i in record.outputs]),
                tuple([param_names[i][0] for i in record.params]),
                signature.attrs,
                calls[record.call].module,
                record.phase,
                signature.roles,
                record.call,
                tuple([op_names[i] for i in record.after]),
                function.view,
                function.pointwise,
            )
        )
    return ModelGraph(
        name,
        tuple(ops),
        tuple(map(Storage, range(len(recorder.storage_bytes)), recorder.storage_bytes, recorder.storage_kinds, recorder.storage_born, recorder.storage_dies)),
        inputs=tuple([values[i] for i in inputs]),
        outputs=tuple([values[i] for i in outputs]),
        parameters=_parameters(recorder, param_names, ops),
        calls=calls,
    )  # fmt: skip


def _names(recorder: Recorder) -> tuple[list[str], list[str]]:
    """Unique names of operators (module path and kind, counted from the second) and of values (their operator's)."""
    counts: dict[str, int] = {}
    op_names = []
    value_names = [""] * len(recorder.value_metas)
    for number, given in recorder.value_names.items():
        value_names[number] = given
    for record in recorder.records:
        module = recorder.calls[record.call][0]
        kind = record.signature.function.kind
        name = f"{module}.{kind}" if module else kind
        count = counts[name] = counts.get(name, 0) + 1
        if count > 1:
            name = f"{name}#{count}"
        op_names.append(name)
        for i, number in enumerate(record.outputs):
            value_names[number] = name if i == 0 else f"{name}:{i}"
    for number, value_name in enumerate(value_names):
        if not value_name:
            value_names[number] = f"alias{number}"
    return op_names, value_names


def _param_names(recorder: Recorder, twin: nn.Module) -> list[tuple[str, ...]]:
    """All dotted names of each parameter and buffer that the recorder numbered."""
    names: dict[int, list[str]] = {}
    for path, module in twin.named_modules():
        prefix = f"{path}." if path else ""
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    names.setdefault(id(tensor), []).append(prefix + name)
    return [tuple(names.get(id(tensor), (f"unnamed{i}",))) for i, tensor in enumerate(recorder.params)]


def _parameters(recorder: Recorder, names: list[tuple[str, ...]], ops: list[Op]) -> tuple[Parameter, ...]:
    """The model's parameters and buffers with the role that the operators reading them give them."""
    normalising = {
        name for op in ops if any(kind in op.kind for kind in NORM_KINDS) for name in op.params
    }
    found = []
    for tensor, own in zip(recorder.params, names, strict=True):
        known = recorder.known(tensor)
        leaf = own[0].rpartition(".")[2]
        if not isinstance(tensor, nn.Parameter):
            role = "buffer"
        elif own[0] in normalising:
            role = "norm"
        else:
            role = "bias" if leaf.startswith("bias") or leaf.endswith("bias") else "weight"
        found.append(
            Parameter(own[0], tuple(tensor.shape), str(tensor.dtype)[6:], role, tensor.requires_grad, known.storage, own)
        )
    return tuple(found)
