"""What is measured: a copy of a model on a device, with its inputs, and one call of it.

The user's model is copied and never run. A model without weights (on meta) gets random ones.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from ..arguments import arguments_of, changed, named_tensors, tensors_in
from ..errors import UnmeasurableModel
from ..records import Settings
from ..standins import Originals, named_modules
from ..training import OPTIMIZERS, check_trainable, set_modes, summed

_TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Subject:
    """A model on a device, ready to be called with one of several inputs.

    inputs: name, shape and type of each argument; notes: what is not as the user would have it.
    """

    def __init__(self, model: nn.Module, arguments: Arguments, settings: Settings) -> None:
        self.settings = settings
        self.device = torch.device(settings.device)
        self.module = model  # what is followed; ``model`` may be its compiled form
        self.model: Callable[..., Any] = torch.compile(model) if settings.compile else model
        self.buffers = [arguments]
        self.named = named_tensors(model, *arguments)
        self.phase = "forward"
        self.optimizer: torch.optim.Optimizer | None = None
        if settings.train:
            check_trainable(model)
            self.optimizer = OPTIMIZERS[settings.optimizer]([each for each in model.parameters() if each.requires_grad])

    def call(self, number: int) -> None:
        """One inference, or one training step, with the inputs whose turn it is."""
        args, keywords = self.buffers[number % len(self.buffers)]
        with _autocast(self.settings):
            if self.optimizer is None:
                self.model(*args, **keywords)
            else:
                self._step(args, keywords)

    def _step(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """The loop that ``training.Step`` records: output and loss live to the end of the step."""
        assert self.optimizer is not None
        self.phase = "forward"
        self.drop_gradients()
        result = self.model(*args, **keywords)
        self.phase = "loss"
        loss = summed(result, type(self.module).__name__)
        self.phase = "backward"
        loss.backward()
        self.phase = "optimizer"
        self.optimizer.step()
        self.phase = "forward"

    def drop_gradients(self) -> None:
        """What every step does first; done before, the step frees nothing that was there before it."""
        if self.optimizer is not None:
            self.optimizer.zero_grad(set_to_none=True)

    @property
    def batch(self) -> int:
        """The first size of the first input."""
        return next((tensor.shape[0] for _, tensor in self.named if tensor.dim()), 1)

    @property
    def input_bytes(self) -> int:
        """Bytes of one set of inputs."""
        return sum(tensor.untyped_storage().nbytes() for _, tensor in self.named)

    def living(self) -> int:
        """Bytes of all tensors of the modules, of gradients, optimizer state and inputs, each memory once."""
        tensors = [*self.module.parameters(), *self.module.buffers()]
        tensors += [each for module in self.module.modules() for each in vars(module).values() if _is_tensor(each)]
        tensors += [each.grad for each in self.module.parameters() if each.grad is not None]
        tensors += [each for each in pytree.tree_leaves(self.buffers) if _is_tensor(each)]
        if self.optimizer is not None:
            states = list(self.optimizer.state.values())
            tensors += [each for each in pytree.tree_leaves(states) if _is_tensor(each)]
        storages = {each.untyped_storage()._cdata: each.untyped_storage().nbytes()
                    for each in tensors if each.device.type == self.device.type}  # fmt: skip
        return sum(storages.values())

    def add_inputs(self, count: int) -> None:
        """More sets of inputs, so that calls in turn do not find theirs in a cache."""
        while len(self.buffers) < count:
            self.buffers.append(pytree.tree_map_only(torch.Tensor, _another, self.buffers[0]))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def subject(
    model: nn.Module, input: Any, kwargs: Mapping[str, Any], settings: Settings, *, own: bool = False
) -> tuple[Subject, list[str]]:
    """The model, copied to the device unless it is ours, with random inputs where none have data; and notes about it.

    Raises:
        UnusableInput: the input does not fit the forward.
        UnmeasurableModel: the model cannot be copied.
    """
    notes: list[str] = []
    device = torch.device(settings.device)
    ours = model if own else _copied(model)
    if any(tensor.is_meta for tensor in (*ours.parameters(), *ours.buffers())):
        notes += _given_weights(ours, device)
    ours.to(device)
    set_modes(ours, named_modules(ours), settings.train)
    for parameter in ours.parameters():
        parameter.grad = None
    kind = _TYPES.get(settings.dtype)
    if kind is not None:
        ours.to(kind)
    if settings.channels_last:
        ours.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    arguments = _arguments(ours, input, kwargs, settings, notes)
    return Subject(ours, arguments, settings), notes


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise UnmeasurableModel(
            f"{type(model).__name__} cannot be copied, and the model itself is not to be touched: {error}\n"
            "name it as a target (file.py:Net), so that a new one can be made"
        ) from error


def _given_weights(model: nn.Module, device: torch.device) -> list[str]:
    """Random values for a model on meta: each module's own, elsewhere small normal numbers; buffers are zeros."""
    model.to_empty(device=device)
    strange = []
    with torch.no_grad():
        for path, module in model.named_modules():
            reset = getattr(module, "reset_parameters", None)
            tensors = [*module._parameters.items(), *module._buffers.items()]
            for name, tensor in tensors:
                if tensor is not None and tensor.is_floating_point() and name in module._parameters:
                    tensor.normal_(0, 0.02)
                elif tensor is not None:
                    tensor.zero_()
            if callable(reset):
                reset()
            elif module._buffers:
                strange.append(path or type(module).__name__)
    where = f"; buffers of {', '.join(strange[:3])} are zeros" if strange else ""
    return [f"the model had no weights: random ones{where}"]


def _arguments(
    model: nn.Module, input: Any, kwargs: Mapping[str, Any], settings: Settings, notes: list[str]
) -> Arguments:
    """What goes in, on the device; tensors with data keep them."""
    originals = Originals(model)
    arguments = arguments_of(model, input, kwargs, originals)
    tensors = tensors_in((input, dict(kwargs)))
    given = {id(originals.memo[id(each)]): each for each in tensors if not each.is_meta and id(each) in originals.memo}
    kind = _TYPES.get(settings.dtype)
    zeros = []

    def filled(bare: torch.Tensor) -> torch.Tensor:
        data = given.get(id(bare))
        if data is None and not bare.is_floating_point():
            zeros.append(tuple(bare.shape))
        made = _random(bare, settings.device) if data is None else data.detach().clone().to(settings.device)
        made = made.to(kind) if kind is not None and made.is_floating_point() else made
        made = made.to(memory_format=torch.channels_last) if settings.channels_last and made.dim() == 4 else made
        return made.requires_grad_(bare.requires_grad)

    result: Arguments = changed(arguments, filled)
    if zeros:
        notes.append(f"inputs that are not floating point are zeros: {', '.join(map(str, zeros))}")
    return result


def _random(bare: torch.Tensor, device: str) -> torch.Tensor:
    if bare.is_floating_point():
        return torch.randn(bare.shape, dtype=bare.dtype, device=device)
    return torch.zeros(bare.shape, dtype=bare.dtype, device=device)


def _another(tensor: torch.Tensor) -> torch.Tensor:
    return torch.randn_like(tensor) if tensor.is_floating_point() else tensor.clone()


def _autocast(settings: Settings) -> contextlib.AbstractContextManager[Any]:
    if settings.dtype != "amp":
        return contextlib.nullcontext()
    return torch.autocast(settings.device, torch.float16 if settings.device == "cuda" else torch.bfloat16)


@contextlib.contextmanager
def precision(settings: Settings) -> Iterator[None]:
    """Whether a GPU may multiply fp32 in TF32, for the time of a measurement; gradients as the settings need them."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = settings.dtype == "tf32"
    try:
        with torch.inference_mode(False), torch.set_grad_enabled(settings.train):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn
