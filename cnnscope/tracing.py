"""``trace``: run a model on tensors without data and return what it did as a ModelGraph."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from .arguments import arguments_of, named_tensors, tensors_in
from .assembling import assemble
from .collecting import without_collection
from .converting import autocast_of, convert, converted_inputs, converting_run
from .errors import CnnscopeError, UntraceableModel, UnusableInput
from .following import Calls, calls_followed
from .graph import ModelGraph, Run
from .recording import Recorder
from .replaying import Replays
from .standins import Originals, classes_of, named_modules, stand_in
from .surroundings import surroundings_kept
from .training import Step, check_trainable, check_unhooked, optimizer_of, set_modes, training_run


def trace(
    model: nn.Module,
    input: Any = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    train: bool = False,
    optimizer: Any = None,
    loss: Callable[[Any], Any] | None = None,
    accumulate: int = 1,
    zero_grad: str = "before-forward",
    set_to_none: bool = True,
    step: str = "steady",
    foreach: bool | None = None,
    device: str = "cpu",
    dtype: str | torch.dtype | None = None,
    autocast: str | torch.dtype | None = None,
    channels_last: bool = False,
    device_trace: str = "meta",
    name: str = "",
) -> ModelGraph:
    """Record one run of ``model``: every ATen operator that the eager program calls, without computing.

    By default one inference, in eval mode without gradients. With ``train`` one training step: forward, loss, backward
    as autograd really runs it, and the optimizer. A copy whose tensors are on the meta device runs: no weight is
    allocated and the model itself is left exactly as it was found, also when its code raises.

    Args:
        model: any ``nn.Module``, with weights or on meta.
        input: what goes in. A shape with batch, ``(1, 3, 224, 224)``, stands for a float32 tensor; a tensor gives
            its shape and dtype, its data are not read. A tuple or list of these are the positional arguments (one
            argument if the forward takes only one, or if a list fits no other way); a dict whose keys are names of
            arguments are keywords, and one argument otherwise. None: the forward takes no positional argument.
        kwargs: keyword arguments, in the same notation for tensors; other objects are passed as they are.
        train: record a training step. Modules keep their modes; a model in eval mode as a whole is set to train.
        optimizer: ``sgd``, ``sgd-momentum``, ``adam``, ``adamw``, ``adagrad``, ``rmsprop``; a function from a list of
            parameters to a ``torch.optim.Optimizer``; or an optimizer of this model, which is only read. None: the step
            ends with the backward pass.
        loss: a function from the forward's output to one number; by default the sum of the floating-point outputs.
        accumulate: how many times forward and backward run before the optimizer does, each with the same input.
        zero_grad: where gradients are reset: ``before-forward``, ``before-backward`` or ``after-step``.
        set_to_none: resetting frees the gradients; else it fills them with zeros.
        step: ``steady``, a step that finds gradients and optimizer state as a step before has left them, or ``first``.
        foreach: the optimizer works on lists of tensors; None: as PyTorch does by default, on CUDA and not on the CPU.
        device: whose operators are recorded, ``cpu`` or ``cuda``: those of batch norm, dropout and attention differ.
            Neither is needed. cuda stands for a GPU of compute capability 8.0 or more.
        dtype: turn the copy and floating-point inputs into this type, as ``model.to(dtype)`` does.
        autocast: mixed precision, ``float16`` or ``bfloat16``: forward and loss run under ``torch.autocast``, the
            backward pass outside of it; no gradient scaler. A model's own ``torch.autocast`` takes effect as it stands.
        channels_last: weights and inputs of four or five dimensions with the channels innermost in memory.
        device_trace: ``meta`` runs without numbers. ``cpu`` runs a copy of the model for real, for forwards that depend
            on numbers: its own weights, and random inputs where only shapes are given. It takes time and memory.
        name: what to call the graph; by default the class of the model.

    Raises:
        UnusableInput: the input is not of the described form or does not fit the forward's signature; the model cannot
            be trained, or an option of the training step is not one.
        UntraceableModel: the model's code raised; the message leads with its own exception, then names the layer,
            the shapes that reached it, and the way out. ``error.graph`` holds the part that ran.
    """
    if not isinstance(model, nn.Module):
        raise UnusableInput(f"trace() takes an nn.Module, not {type(model).__name__}; call a class or factory first")
    run = Run()
    if train:
        run = training_run(optimizer, loss, accumulate, zero_grad, step)._replace(
            set_to_none=set_to_none, foreach=device == "cuda" if foreach is None else bool(foreach)
        )
    elif optimizer is not None or loss is not None:
        raise UnusableInput("an optimizer or a loss belongs to a training step: trace(..., train=True)")
    run = converting_run(run, device, dtype, autocast, channels_last, device_trace)
    name = name or type(model).__name__
    job = _Job(model, kwargs or {}, name, run, optimizer, loss)
    with without_collection():
        try:
            return job.traced(input)
        except UntraceableModel as error:
            # A list may be the arguments, or the one argument of a model that takes a list of images.
            if not isinstance(input, list) or not input or isinstance(input[0], int):
                raise
            return _traced_or(error, job, (input,))


def _traced_or(first: UntraceableModel, job: _Job, input: Any) -> ModelGraph:
    """The second reading of an input; when it fails too, the error of the reading that came further."""
    try:
        return job.traced(input)
    except (UntraceableModel, UnusableInput) as second:
        error: UntraceableModel | UnusableInput = first
        if isinstance(second, UntraceableModel) and len(second.graph or ()) > len(first.graph or ()):
            error = second
        raise error from error.__cause__


class _Job(NamedTuple):
    """What to trace, but for the input."""

    model: nn.Module
    kwargs: Mapping[str, Any]
    name: str
    run: Run
    optimizer: Any
    loss: Any

    def traced(self, input: Any) -> ModelGraph:
        run = self.run
        with surroundings_kept(classes_of(self.model), run.train, run.device):
            try:
                twin, originals = stand_in(self.model, run.traced_on, run.traced_on == "meta" and not run.train)
            except CnnscopeError:
                raise
            except Exception as error:
                raise _uncopied(error, self.model, run) from error
            try:
                return self._run(twin, originals, input)
            finally:
                originals.forget()

    def _run(self, twin: nn.Module, originals: Originals, input: Any) -> ModelGraph:
        run = self.run
        modules = named_modules(twin)
        set_modes(twin, modules, run.train)
        args, keywords = arguments_of(twin, input, self.kwargs, originals)
        if originals.lazy:
            with torch.no_grad():
                twin(*args, **keywords)  # lazy modules learn their shapes; what that runs is not the model
            originals.outlines.clear()
            modules = named_modules(twin)
        convert(twin, run)
        args, keywords = converted_inputs((args, keywords), run)
        if not run.train:
            return self._recorded(twin, modules, originals, args, keywords, None)
        check_trainable(twin)
        check_unhooked(self.model)
        optimizer = optimizer_of(self.optimizer, twin, originals.memo, run.foreach)
        step = Step(twin, args, keywords, optimizer, self.loss, run)
        graph = self._recorded(twin, modules, originals, args, keywords, step)
        if run.step == "steady" and step.leaves_something():
            graph = self._recorded(twin, modules, originals, args, keywords, step)
        return graph

    def _recorded(
        self,
        twin: nn.Module,
        modules: list[tuple[str, nn.Module]],
        originals: Originals,
        args: Any,
        keywords: Any,
        step: Step | None,
    ) -> ModelGraph:
        recorder = Recorder(originals, self.run.train, self.run.device)
        calls = Calls(recorder, twin)
        inputs = [recorder.give(tensor, path, "input").value for path, tensor in named_tensors(twin, args, keywords)]
        outputs: list[int] = []
        failure = None
        try:
            weights = {id(module): recorder.give_weights(module, path) for path, module in modules}
            repeating = step is None and self.run.traced_on == "meta"
            followed = Replays(recorder, calls, originals, weights, self.run.device).followed if repeating else None
            with calls_followed(calls, modules, followed):
                if step is None:
                    with recorder, autocast_of(self.run):
                        result = twin(*args, **keywords)
                        outputs = [recorder.known(tensor).value for tensor in tensors_in(result)]
                else:
                    step.adopt(recorder)
                    outputs = step.take(recorder, calls)
        except CnnscopeError:
            raise
        except Exception as error:
            failure = error
        recorder.stop()
        graph = assemble(recorder, calls.all, self.name, inputs, outputs, self.run)
        if failure is not None:
            phase = step.phase if step else "forward"
            raise _untraceable(failure, graph, calls.failed, recorder.failed_op, phase) from failure
        return graph


def _uncopied(error: Exception, model: nn.Module, run: Run) -> UntraceableModel:
    """A module that says how it is copied has failed to be."""
    what = f"while {type(model).__name__} was copied: the copy is what runs"
    needs_data = run.traced_on == "meta" and bool(_DATA_NEEDED.search(str(error)))
    way_out = _NUMBERS if needs_data else "see that copy.deepcopy(model) works, or trace the part without that module"
    return UntraceableModel(f"{_first_line(error)}\n{what}\n{way_out}", needs_data=needs_data)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["(no message)"]
    return f"{type(error).__name__}: {lines[0]}"


def _untraceable(error: Exception, graph: ModelGraph, call_number: int, failed_op: str, phase: str) -> UntraceableModel:
    """The user's own exception first, then where and with which shapes, then what to do."""
    call = graph.calls[call_number]
    where = f"in {call.module} ({call.type})" if call.module else f"in the {phase} of {call.type}"
    if failed_op:
        where += f": {failed_op}"
    if graph.ops:
        last = graph.ops[-1]
        reached = f"after {last.name} -> {', '.join(str(value.shape) for value in last.outputs)}"
    else:
        reached = f"with input {graph.input_text or 'nothing'}"
    needs_data = graph.run.traced_on == "meta" and bool(_DATA_NEEDED.search(str(error)))
    message = f"{_first_line(error)}\n{where}, {reached}\n{_NUMBERS if needs_data else _way_out(error)}"
    return UntraceableModel(message, graph=graph, layer=call.module, needs_data=needs_data)


# What kernels, and checks in programs, say of tensors on meta: a real run may do where they do not.
_DATA_NEEDED = re.compile(
    r"\bmeta\b|data-dependent|_local_scalar_dense|nonzero|to numpy|Tensor\.cpu\(\)|fake impl|unallocated storage"
    r"|same device|Tensor\.__format__",
    re.IGNORECASE,
)
_NUMBERS = (
    "the forward asks for the values of a tensor, which a trace does not have: trace it in a real run (--device-trace "
    "cpu, trace(..., device_trace='cpu')), or let it depend on shapes alone"
)


def _way_out(error: Exception) -> str:
    if "more than 1 value per channel" in str(error):
        return "batch norm cannot train on one value a channel: give a larger batch (--batch-size 2) or a larger input"
    if "modified by an inplace operation" in str(error):
        return "an in-place operator overwrites what the backward pass needs: set inplace=False there, or copy first"
    if isinstance(error, (ValueError, TypeError, RuntimeError, IndexError)):
        return "check that the input's shape and dtype are what this layer takes (--input, or trace(model, input))"
    return "run the model once by itself with the same input; the trace calls the same forward"
