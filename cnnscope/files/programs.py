"""A recorded program as a module: steps with names for what they read and write, in the modules that they came from.

What is read from a file (an exported program, an ONNX graph) becomes a ``Program``. Running it runs its steps in order;
those of one module run inside that module's forward, and a value is let go of after its last use, so that its trace
looks like that of the model which the file was made from.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

Values = dict[str, Any]


class Frame(NamedTuple):
    """One call of a module around a step; ``key`` tells calls of the same module apart."""

    key: str
    module: str
    type: str


class Step(NamedTuple):
    """``run`` takes all values that there are and gives those of ``writes`` in order; ``frames``: outermost first."""

    run: Callable[[Values], Sequence[Any]]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    frames: tuple[Frame, ...] = ()


class Declared(NamedTuple):
    """An input: None stands for a size that may be any. ``example``: the sizes that it was made with."""

    name: str
    sizes: tuple[int | None, ...]
    dtype: str
    example: tuple[int, ...]


class _Block:
    """The steps of one call of a module, and the blocks of those that it calls; never copied."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.items: list[Step | _Block] = []
        self.reads: tuple[str, ...] = ()
        self.writes: tuple[str, ...] = ()
        self._made: set[str] = set()
        self.spent: list[tuple[str, ...]] = []  # after each item, what nobody here reads any more

    def __deepcopy__(self, memo: Any) -> _Block:
        return self

    def look_back(self) -> set[str]:
        """Find out what is read here and made elsewhere; what is made here."""
        made: set[str] = set()
        for item in self.items:
            made.update(item.look_back() if isinstance(item, _Block) else item.writes)
        self.reads = tuple(dict.fromkeys(name for item in self.items for name in item.reads if name not in made))
        self._made = made
        return made

    def look_ahead(self, wanted: set[str]) -> None:
        """Find out what is made here and read behind it, and after which item each value has been read."""
        self.writes = tuple(sorted(self._made & wanted))
        needed = set(self.writes)
        for item in reversed(self.items):
            if isinstance(item, _Block):
                item.look_ahead(needed)
            self.spent.append(tuple({*item.reads, *item.writes} - needed))
            needed.update(item.reads)
        self.spent.reverse()


class _Turn:
    """What a module is called with beside its tensors: the block to run, and the weights by the names of the steps."""

    def __init__(self, block: _Block, program: Part, weights: Values) -> None:
        self.block, self.program, self.weights = block, program, weights


class Part(nn.Module):
    """A module of the program; its forward runs the block that it is told to."""

    def forward(self, turn: _Turn, *given: Any) -> Any:
        """What the block writes: one value as it is, several as a tuple."""
        block, values = turn.block, dict(turn.weights)
        values.update(zip(block.reads, given, strict=True))
        del given
        for item, spent in zip(block.items, block.spent, strict=True):
            values.update(zip(item.writes, _results(item, turn, values), strict=True))
            for name in spent:
                values.pop(name, None)
        written = tuple([values[name] for name in block.writes])
        return written[0] if len(written) == 1 else written


def _results(item: Step | _Block, turn: _Turn, values: Values) -> Sequence[Any]:
    if isinstance(item, Step):
        return item.run(values)
    part = turn.program.get_submodule(item.frame.module)
    result = part(_Turn(item, turn.program, turn.weights), *[values[name] for name in item.reads])
    return (result,) if len(item.writes) == 1 else result


def program(
    name: str,
    inputs: Sequence[Declared],
    steps: Sequence[Step],
    outputs: Sequence[str],
    weights: Mapping[str, tuple[str, Tensor | nn.Parameter, str]],
) -> nn.Module:
    """The module that runs the steps.

    Args:
        name: its class.
        weights: by the name that steps read: dotted path in the module, the tensor, and param, buffer or constant.

    Raises:
        ValueError: a step reads what nobody gives, or a path of a weight cannot be.
    """
    root = _Block(Frame("", "", name))
    for step in steps:
        block = root
        for frame in step.frames:
            last = block.items[-1] if block.items else None
            if not (isinstance(last, _Block) and last.frame == frame):
                last = _Block(frame)
                block.items.append(last)
            block = last
        block.items.append(step)
    _hide(root, set(weights))
    root.look_back()
    root.look_ahead(set(outputs))
    if lacking := set(root.reads) - {each.name for each in inputs}:
        raise ValueError(f"nothing gives {', '.join(sorted(lacking))}")
    made = _typed(name, Program)(inputs, root, outputs, {key: (path, kind) for key, (path, _, kind) in weights.items()})
    for frame in _frames(root):
        _part(made, frame.module, frame.type)
    for path, tensor, kind in weights.values():
        owner, _, leaf = path.rpartition(".")
        _place(_part(made, owner, "Module"), leaf, tensor, kind)
    return made


def _hide(block: _Block, weights: set[str]) -> None:
    """Leave the weights out of what is read: every part has them."""
    for number, item in enumerate(block.items):
        if isinstance(item, _Block):
            _hide(item, weights)
        else:
            block.items[number] = item._replace(reads=tuple(name for name in item.reads if name not in weights))


def _frames(block: _Block) -> Iterator[Frame]:
    for item in block.items:
        if isinstance(item, _Block):
            yield item.frame
            yield from _frames(item)


def _part(made: nn.Module, path: str, kind: str) -> nn.Module:
    """The module at a path, made with all above it where it is not there yet."""
    module = made
    names = path.split(".") if path else []
    for depth, name in enumerate(names, 1):
        if name not in module._modules:
            module.add_module(name, _typed(kind if depth == len(names) else "Module", Part)())
        module = module._modules[name]  # type: ignore[assignment]
    if kind != "Module" and type(module).__name__ == "Module":
        module.__class__ = _typed(kind, Part)
    return module


def _place(owner: nn.Module, name: str, tensor: Tensor, kind: str) -> None:
    if kind == "param":
        owner.register_parameter(name, tensor)  # type: ignore[arg-type]
    elif kind == "buffer":
        owner.register_buffer(name, tensor)
    else:
        setattr(owner, name, tensor)


def _typed(name: str, base: type) -> Any:
    """A class of that name, if it can be one."""
    last = name.rpartition(".")[2]
    return type(last if last.isidentifier() else "Module", (base,), {})


class Program(Part):
    """The whole program; its forward takes the declared inputs in order or by name."""

    def __init__(
        self, inputs: Sequence[Declared], block: _Block, outputs: Sequence[str], weights: dict[str, tuple[str, str]]
    ) -> None:
        super().__init__()
        self._inputs = tuple(inputs)
        self._block = block
        self._outputs = tuple(outputs)
        self._weights = weights
        self.__class__.forward = _forward([each.name for each in inputs])  # type: ignore[method-assign]

    def _run(self, given: Sequence[Any]) -> Any:
        for declared, tensor in zip(self._inputs, given, strict=True):
            _check(declared, tensor)
        weights = {name: self._weight(path) for name, (path, _) in self._weights.items()}
        by_name = dict(zip([each.name for each in self._inputs], given, strict=True))
        block = self._block
        result = Part.forward(self, _Turn(block, self, weights), *[by_name[name] for name in block.reads])
        written = dict(zip(block.writes, (result,) if len(block.writes) == 1 else result, strict=True))
        found = [(written | by_name | weights)[name] for name in self._outputs]
        return found[0] if len(found) == 1 else tuple(found)

    def _weight(self, path: str) -> Any:
        owner, _, leaf = path.rpartition(".")
        return getattr(self.get_submodule(owner), leaf)


def _check(declared: Declared, tensor: Any) -> None:
    shape = tuple(tensor.shape)
    fits = len(shape) == len(declared.sizes)
    if not fits or any(size not in (None, given) for size, given in zip(declared.sizes, shape, strict=True)):
        sizes = "x".join("N" if size is None else str(size) for size in declared.sizes)
        given = "x".join(map(str, shape))
        raise ValueError(
            f"{declared.name} was exported as {sizes}, not {given}; export it with dynamic sizes for others"
        )


def _forward(names: Sequence[str]) -> Callable[..., Any]:
    """A forward with these arguments."""
    places = [name if name.isidentifier() else f"input{number}" for number, name in enumerate(names)]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature([inspect.Parameter(name, kind) for name in ("self", *places)])

    def forward(*args: Any, **kwargs: Any) -> Any:
        self, *given = signature.bind(*args, **kwargs).args
        return self._run(given)

    forward.__signature__ = signature  # type: ignore[attr-defined]
    return forward
