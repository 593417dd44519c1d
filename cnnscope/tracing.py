"""``trace``: run a model on tensors without data and return what it did as a ModelGraph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from .arguments import arguments_of, named_tensors, tensors_in
from .assembling import assemble
from .collecting import without_collection
from .errors import CnnscopeError, UntraceableModel, UnusableInput
from .following import Calls, calls_followed
from .graph import ModelGraph
from .recording import Recorder
from .standins import stand_in
from .surroundings import surroundings_kept


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
            argument if the forward takes only one, or if a list fits no other way); a dict whose keys are names of
            arguments are keywords, and one argument otherwise. None: the forward takes no positional argument.
        kwargs: keyword arguments, in the same notation for tensors; other objects are passed as they are.
        name: what to call the graph; by default the class of the model.

    Raises:
        UnusableInput: the input is not of the described form or does not fit the forward's signature.
        UntraceableModel: the model's code raised; the message leads with its own exception, then names the layer,
            the shapes that reached it, and the way out. ``error.graph`` holds the part that ran.
    """
    if not isinstance(model, nn.Module):
        raise UnusableInput(f"trace() takes an nn.Module, not {type(model).__name__}; call a class or factory first")
    name = name or type(model).__name__
    with without_collection():
        try:
            return _traced(model, input, kwargs or {}, name)
        except UntraceableModel as error:
            # A list may be the arguments, or the one argument of a model that takes a list of images.
            if not isinstance(input, list) or not input or isinstance(input[0], int):
                raise
            return _traced_or(error, model, (input,), kwargs or {}, name)


def _traced_or(
    first: UntraceableModel, model: nn.Module, input: Any, kwargs: Mapping[str, Any], name: str
) -> ModelGraph:
    """The second reading of an input; when it fails too, the error of the reading that came further."""
    try:
        return _traced(model, input, kwargs, name)
    except (UntraceableModel, UnusableInput) as second:
        error: UntraceableModel | UnusableInput = first
        if isinstance(second, UntraceableModel) and len(second.graph or ()) > len(first.graph or ()):
            error = second
        raise error from error.__cause__


def _traced(model: nn.Module, input: Any, kwargs: Mapping[str, Any], name: str) -> ModelGraph:
    with surroundings_kept(model.modules()):
        twin, originals = stand_in(model)
        modules = list(twin.named_modules())
        for _, module in modules:
            module.__dict__["training"] = False
        args, keywords = arguments_of(twin, input, kwargs, originals)
        recorder = Recorder(originals)
        calls = Calls(recorder, twin)
        inputs = [recorder.give(tensor, path, "input").value for path, tensor in named_tensors(twin, args, keywords)]
        outputs: list[int] = []
        failure = None
        try:
            if originals.lazy:
                twin(*args, **keywords)  # lazy modules learn their shapes; what that runs is not the model
            _give_weights(recorder, modules)
            with calls_followed(calls, modules), recorder:
                result = twin(*args, **keywords)
                outputs = [recorder.known(tensor).value for tensor in tensors_in(result)]
        except CnnscopeError:
            raise
        except Exception as error:
            failure = error
        recorder.memory.stop()
        graph = assemble(recorder, calls.all, name, inputs, outputs)
    if failure is not None:
        raise _untraceable(failure, graph, calls.failed, recorder.failed_op) from failure
    return graph


def _give_weights(recorder: Recorder, modules: list[tuple[str, nn.Module]]) -> None:
    """Declare parameters and buffers."""
    for path, module in modules:
        prefix = f"{path}." if path else ""
        for kind, tensors in (("param", module._parameters), ("buffer", module._buffers)):
            for name, tensor in tensors.items():
                if tensor is not None:
                    recorder.give(tensor, prefix + name, kind)


def _untraceable(error: Exception, graph: ModelGraph, call_number: int, failed_op: str) -> UntraceableModel:
    """The user's own exception first, then where and with which shapes, then what to do."""
    call = graph.calls[call_number]
    lines = str(error).strip().splitlines() or ["(no message)"]
    where = f"in {call.module} ({call.type})" if call.module else f"in the forward of {call.type}"
    if failed_op:
        where += f": {failed_op}"
    if graph.ops:
        last = graph.ops[-1]
        reached = f"after {last.name} -> {', '.join(str(value.shape) for value in last.outputs)}"
    else:
        reached = f"with input {graph.input_text or 'nothing'}"
    message = f"{type(error).__name__}: {lines[0]}\n{where}, {reached}\n{_way_out(error)}"
    return UntraceableModel(message, graph=graph, layer=call.module)


_DATA_NEEDED = (
    "meta tensor",
    "Meta tensors",
    "data-dependent",
    "_local_scalar_dense",
    "nonzero",
    "to numpy",
    "Tensor.cpu()",
)


def _way_out(error: Exception) -> str:
    if any(sign in str(error) for sign in _DATA_NEEDED):
        return "the forward asks for the values of a tensor, which a trace does not have: let it depend on shapes alone"
    if isinstance(error, (ValueError, TypeError, RuntimeError, IndexError)):
        return "check that the input's shape and dtype are what this layer takes (--input, or trace(model, input))"
    return "run the model once by itself with the same input; the trace calls the same forward"
