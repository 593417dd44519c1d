"""One training step on tensors without data: forward, loss, backward, optimizer, as a plain training loop has them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn

from .arguments import named_tensors, tensors_in
from .converting import autocast_of
from .errors import UnusableInput
from .following import Calls
from .graph import Run
from .recording import Recorder

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.01),
    "sgd-momentum": lambda params: torch.optim.SGD(params, lr=0.01, momentum=0.9),
    "adam": lambda params: torch.optim.Adam(params, lr=0.001),
    "adamw": lambda params: torch.optim.AdamW(params, lr=0.001),
    "adagrad": lambda params: torch.optim.Adagrad(params, lr=0.01),
    "rmsprop": lambda params: torch.optim.RMSprop(params, lr=0.01),
}
PLACES = ("before-forward", "before-backward", "after-step")
STEPS = ("steady", "first")

Memo = dict[int, Any]


def training_run(optimizer: Any, loss: Any, accumulate: int, zero_grad: str, step: str) -> Run:
    """What a training step assumes, in words.

    Raises:
        UnusableInput: an option is not one of those there are.
    """
    if zero_grad not in PLACES:
        raise UnusableInput(f"zero_grad={zero_grad!r} is no place in a step; one of {', '.join(PLACES)}")
    if step not in STEPS:
        raise UnusableInput(f"step={step!r} is none; one of {', '.join(STEPS)}")
    if type(accumulate) is not int or accumulate < 1:
        raise UnusableInput(f"accumulate={accumulate!r}: give how many times forward and backward run, 1 or more")
    named = optimizer if isinstance(optimizer, str) else _name(optimizer) if optimizer is not None else ""
    return Run(True, named, _name(loss) if loss is not None else "sum", accumulate, zero_grad, step=step)


def _name(thing: Any) -> str:
    return getattr(thing, "__name__", type(thing).__name__)


def optimizer_of(wanted: Any, twin: nn.Module, memo: Memo, foreach: bool) -> torch.optim.Optimizer | None:
    """The optimizer of the copy: by name, from a factory, or like an optimizer of the original model.

    Raises:
        UnusableInput: it is no optimizer, or a name that is not known.
    """
    if wanted is None:
        return None
    params = [param for param in twin.parameters() if param.requires_grad]
    if isinstance(wanted, torch.optim.Optimizer):
        made: Any = _like(wanted, memo)
    else:
        factory = OPTIMIZERS.get(wanted.lower()) if isinstance(wanted, str) else wanted
        if not callable(factory):
            raise UnusableInput(
                f"{wanted!r} is no optimizer; one of {', '.join(OPTIMIZERS)}, or a function from parameters to a "
                "torch.optim.Optimizer"
            )
        try:
            made = factory(params)
        except Exception as error:
            raise UnusableInput(
                f"the optimizer factory {wanted!r} raised {type(error).__name__}: {error}\n"
                "it is called with the list of parameters and returns a torch.optim.Optimizer"
            ) from error
    if not isinstance(made, torch.optim.Optimizer):
        raise UnusableInput(
            f"{wanted!r} made a {type(made).__name__}, which is no torch.optim.Optimizer; "
            "give a function from parameters to an optimizer"
        )
    if any(each.default is each.empty for each in inspect.signature(made.step).parameters.values()):
        raise UnusableInput(
            f"{type(made).__name__}.step() runs the model itself, as often as it likes: no step of one forward pass\n"
            "give another optimizer, or none for the cost of one forward and backward pass"
        )
    for group in made.param_groups:
        if foreach and "foreach" in group and group["foreach"] is None and not group.get("fused"):
            group["foreach"] = True
    return made


def _like(optimizer: torch.optim.Optimizer, memo: Memo) -> torch.optim.Optimizer:
    """A new optimizer of the same class and settings for the copies of the parameters."""
    groups = []
    for group in optimizer.param_groups:
        unknown = [param for param in group["params"] if id(param) not in memo]
        if unknown:
            raise UnusableInput(
                f"the {type(optimizer).__name__} holds a parameter of shape {tuple(unknown[0].shape)} that is not "
                "the model's; make the optimizer from model.parameters(), or give a function that makes one"
            )
        groups.append({**group, "params": [memo[id(param)] for param in group["params"]]})
    names = inspect.signature(type(optimizer).__init__).parameters
    settings = {name: value for name, value in optimizer.defaults.items() if name in names}
    return type(optimizer)(groups, **settings)


def check_trainable(twin: nn.Module) -> None:
    """Raises UnusableInput when no parameter asks for a gradient."""
    if not any(param.requires_grad for param in twin.parameters()):
        has = "all its parameters are frozen" if any(True for _ in twin.parameters()) else "it has no parameters"
        raise UnusableInput(
            f"{type(twin).__name__} cannot be trained: {has}; set requires_grad on those to train, or trace inference"
        )


def check_unhooked(model: nn.Module) -> None:
    """Raises UnusableInput when something hangs on the parameters that would not run on those of a copy."""
    hooked = [name for name, param in model.named_parameters() if param._backward_hooks or _after_grad(param)]
    if hooked:
        raise UnusableInput(
            f"{hooked[0]} has hooks of its own (register_hook, register_post_accumulate_grad_hook), which a trace of "
            "a training step does not run: remove them, or trace inference"
        )


def _after_grad(param: torch.Tensor) -> Any:
    return getattr(param, "_post_accumulate_grad_hooks", None)


def set_modes(twin: nn.Module, modules: list[tuple[str, nn.Module]], train: bool) -> None:
    """Eval for inference. For training the modes as they are, unless the model as a whole is in eval mode."""
    if not train:
        for _, module in modules:
            module.__dict__["training"] = False
    elif not twin.training:
        twin.train()  # a model may keep parts of itself in eval mode by overriding this


class Step:
    """One training step of a copied model, written down by a recorder.

    The loop is ``zero_grad(); output = model(input); loss = ...; loss.backward(); step()`` in a function of its own,
    with ``zero_grad`` where ``run`` puts it: output and loss live to the end of the step and are gone before the next.
    """

    def __init__(self, model: nn.Module, args: Any, keywords: Any, optimizer: Any, loss: Any, run: Run) -> None:
        self.model, self.args, self.keywords = model, args, keywords
        self.optimizer, self.loss, self.run = optimizer, loss, run
        self.phase = "forward"

    def take(self, recorder: Recorder, calls: Calls) -> list[int]:
        """Run the step; the numbers of the values that the forward returned."""
        lineage = recorder.lineage
        assert lineage is not None

        def begin(phase: str) -> Recorder:
            self.phase = phase
            lineage.begin(phase)
            return recorder

        optimizing = calls.add("optimizer", type(self.optimizer).__name__) if self.optimizer is not None else 0
        self._zero(recorder, begin, "before-forward")
        for turn in range(self.run.accumulate):
            with begin("forward"), autocast_of(self.run):
                result = self.model(*self.args, **self.keywords)
                self.phase = "loss"
                loss = self._loss_of(result)
            outputs = [recorder.known(tensor).value for tensor in tensors_in(result)]
            lineage.note_saved([loss], recorder.memory)
            if turn == 0:
                self._zero(recorder, begin, "before-backward")
            with begin("backward"):
                loss.backward()
            self._mark(recorder, "gradient", (grad for _, grad in self.gradients()))
        if self.optimizer is not None:
            recorder.call = optimizing
            with begin("optimizer"):
                self.optimizer.step()
            recorder.call = 0
            self._mark(recorder, "optimizer", (tensor for _, tensor in self.states()))
        self._zero(recorder, begin, "after-step")
        return outputs

    def leaves_something(self) -> bool:
        """Whether the next step finds gradients or optimizer state where this one found none."""
        kept = self.run.zero_grad == "before-backward" or not self.run.set_to_none
        ours = {id(param) for param in self.model.parameters()}
        return kept or any(id(each) not in ours for _, each in self._leaves()) or any(True for _ in self.states())

    def adopt(self, recorder: Recorder) -> None:
        """Declare the gradients and the optimizer state that a step before has left."""
        for name, grad in self.gradients():
            recorder.adopt(grad, name, "gradient")
        for name, tensor in self.states():
            recorder.adopt(tensor, name, "optimizer")

    def gradients(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The gradients of parameters and of inputs that ask for one; those of inputs nobody resets."""
        for name, leaf in self._leaves():
            if leaf.grad is not None:
                yield f"{name}.grad", leaf.grad

    def _leaves(self) -> Iterator[tuple[str, torch.Tensor]]:
        yield from self.model.named_parameters()
        for name, tensor in named_tensors(self.model, self.args, self.keywords):
            if tensor.requires_grad:
                yield name, tensor

    def states(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The optimizer's tensors, under the names of its state."""
        for number, state in enumerate(self.optimizer.state.values() if self.optimizer is not None else ()):
            for name, value in state.items() if isinstance(state, dict) else ():
                if isinstance(value, torch.Tensor):
                    yield f"optimizer.{name}.{number}", value

    def _zero(self, recorder: Recorder, begin: Callable[[str], Recorder], place: str) -> None:
        """Free or clear the gradients, if this is the place for it."""
        if place != self.run.zero_grad:
            return
        with begin("optimizer"):
            if self.optimizer is not None:
                self.optimizer.zero_grad(set_to_none=self.run.set_to_none)
            else:
                self.model.zero_grad(set_to_none=self.run.set_to_none)

    def _loss_of(self, result: Any) -> torch.Tensor:
        """The scalar that gradients start from."""
        if self.loss is not None:
            value = self.loss(result)
            if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.requires_grad:
                raise UnusableInput(
                    f"the loss returned {_description(value)}; it has to return one number with a gradient"
                )
            return value
        return summed(result, type(self.model).__name__)

    @staticmethod
    def _mark(recorder: Recorder, kind: str, tensors: Iterable[torch.Tensor | None]) -> None:
        memory = recorder.memory
        for tensor in tensors:
            if tensor is not None:
                number = memory.at.get(tensor.untyped_storage()._cdata)
                if number is not None and memory.kinds[number] not in ("param", "buffer", "input"):
                    memory.kinds[number] = kind


def summed(result: Any, model: str) -> torch.Tensor:
    """The loss where none is given: the sum of the floating-point outputs of ``model``, which names it in an error.

    Raises:
        UnusableInput: no gradient can start from it.
    """
    tensors = list(tensors_in(result))
    parts = [each.sum() for each in tensors if each.requires_grad and each.is_floating_point()]
    if not parts:
        given = ", ".join(map(_description, tensors)) or f"{type(result).__name__} without tensors"
        raise UnusableInput(
            f"no gradient can start from the output of {model}: {given}\n"
            "it must hold a floating-point tensor that depends on a trainable parameter; else give a loss that does"
        )
    return functools.reduce(torch.add, parts)


def _description(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        grad = "with" if value.requires_grad else "without"
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)} {grad} gradient"
    return f"a {type(value).__name__}"
