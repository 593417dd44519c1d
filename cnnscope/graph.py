"""The traced program as plain, immutable data: no torch, no arithmetic.

A ``ModelGraph`` holds every ATen operator of one run in the order in which the eager program called it. A
``Value`` is a tensor without its numbers; a ``Storage`` is the memory that one or more values live in, with
the operators between which it exists; an ``Op`` is one operator call.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from .collecting import without_collection
from .errors import InvalidGraph

if TYPE_CHECKING:
    import networkx as nx

    from .table import Table

Shape = tuple[int, ...]

ITEM_BYTES = {
    "bool": 1, "uint8": 1, "int8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8,
    "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex32": 4, "complex64": 8, "complex128": 16,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
    "qint8": 1, "quint8": 1, "qint32": 4,
}  # fmt: skip


class Value(NamedTuple):
    """A tensor without its numbers.

    ``storage`` indexes ``ModelGraph.storages``: two values with the same storage are views of the same memory.
    ``strides``, in elements, are empty where the elements lie in row-major order.
    """

    name: str
    shape: Shape
    dtype: str
    storage: int
    strides: Shape = ()

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of the elements seen, which an expanded view may see more than once."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


class Storage(NamedTuple):
    """Memory that values live in.

    kind: input, param, buffer, constant, activation, and with a training step saved (for the backward pass),
    gradient (of a parameter), optimizer (its state) and temporary (born in the backward pass or in the optimizer).
    born, dies: index of the operator that allocates it and of the operator before which it is freed;
    born is -1 for what exists before the run, dies is None for what outlives it.
    savers: the forward operators whose backward needs it, each with the name under which it saved it:
    ``conv1.convolution:input``.
    host: a tensor that the program makes on the CPU wherever the model is: a scalar, a step counter.
    """

    id: int
    bytes: int
    kind: str
    born: int
    dies: int | None
    savers: tuple[str, ...] = ()
    host: bool = False


class Run(NamedTuple):
    """What was run: the assumptions behind every figure of a graph.

    step: ``first``, or ``steady`` with the gradients and optimizer state of a step before; zero_grad: where it stands;
    foreach: the optimizer works on lists of tensors; device: whose operators were recorded, ``cpu`` or ``cuda``;
    dtype: what floating-point tensors were turned into; autocast: the lower precision of mixed precision; traced_on:
    ``meta``, without numbers, or ``cpu``, where random ones decide what depends on numbers.
    Texts are empty and ``step`` is ``first`` where they do not apply.
    """

    train: bool = False
    optimizer: str = ""
    loss: str = ""
    accumulate: int = 1
    zero_grad: str = ""
    set_to_none: bool = True
    step: str = "first"
    foreach: bool = False
    device: str = "cpu"
    dtype: str = ""
    autocast: str = ""
    channels_last: bool = False
    traced_on: str = "meta"


class Parameter(NamedTuple):
    """A parameter or buffer of the model, once, however many names it has.

    role: weight, bias, norm or buffer. ``names`` are all its dotted paths, the first being the canonical one.
    """

    name: str
    shape: Shape
    dtype: str
    role: str
    trainable: bool
    storage: int
    names: tuple[str, ...]

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]

    @property
    def module(self) -> str:
        """Dotted path of the module that owns it."""
        return self.name.rpartition(".")[0]


class Call(NamedTuple):
    """One call of one module. Index 0 is the call of the whole model, whose path is ''.

    module: dotted path; type: class name; parent: index of the calling call, -1 for the root;
    repeat: 0 for the first call of this module, 1 for the second ...; leaf: it called no other module.
    inputs, outputs: the tensors among its positional arguments and in what it returned.
    start: index of the operator that runs next when it begins.
    """

    module: str
    type: str
    parent: int
    repeat: int
    leaf: bool
    inputs: tuple[Value, ...] = ()
    outputs: tuple[Value, ...] = ()
    start: int = 0


class Op(NamedTuple):
    """One operator call of the eager program.

    name: unique in the graph; kind: ATen name without namespace and overload, a trailing ``_`` for in-place.
    inputs/outputs: values in argument order; ``roles`` names the argument of each input (input, weight, bias ...).
    params: canonical names of the parameters and buffers it reads, also through views.
    attrs: its other arguments by name, defaults included.
    module: dotted path of the module whose forward called it; call: index into ``ModelGraph.calls``.
    after: names of operators whose in-place writes it sees through another view, beside its inputs' producers.
    view: it returns another view of its input and touches no element.
    pointwise: each element of the result follows from the elements at its place, says the operator's schema.
    """

    name: str
    kind: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    params: tuple[str, ...]
    attrs: Mapping[str, Any]
    module: str
    phase: str
    roles: tuple[str, ...] = ()
    call: int = 0
    after: tuple[str, ...] = ()
    view: bool = False
    pointwise: bool = False

    @property
    def in_place(self) -> bool:
        """It writes into memory that existed before."""
        return self.kind.endswith("_") and not self.kind.endswith("__")

    def input(self, role: str) -> Value | None:
        """The first input that stands at the argument ``role``, or None."""
        for value, name in zip(self.inputs, self.roles, strict=True):
            if name == role:
                return value
        return None


class ModelGraph:
    """One run of a model: its operators in execution order, with their values and storages.

    Iterating gives the operators; ``graph["conv1.convolution"]`` is one by name; ``graph.dag`` is the frozen
    ``networkx.DiGraph`` of operator names with node attribute ``op`` and edge attribute ``values``.
    ``alike`` says of each operator which one before it is the same but for names and places, itself if there is none:
    an analysis need count only the first of them. It is empty where nobody has compared the operators.

    Raises:
        InvalidGraph: a name used twice, or a value used before it is made.
    """

    name: str
    ops: tuple[Op, ...]
    storages: tuple[Storage, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    parameters: tuple[Parameter, ...]
    calls: tuple[Call, ...]
    run: Run
    alike: tuple[int, ...]
    _by_name: Mapping[str, Op]

    def __init__(
        self,
        name: str,
        ops: tuple[Op, ...],
        storages: tuple[Storage, ...],
        *,
        inputs: tuple[Value, ...] = (),
        outputs: tuple[Value, ...] = (),
        parameters: tuple[Parameter, ...] = (),
        calls: tuple[Call, ...] = (Call("", "", -1, 0, False),),
        run: Run | None = None,
        alike: tuple[int, ...] = (),
    ) -> None:
        facts = {
            "name": name,
            "ops": ops,
            "storages": storages,
            "inputs": inputs,
            "outputs": outputs,
            "parameters": parameters,
            "calls": calls,
            "run": run or Run(),
            "alike": alike,
            "_by_name": {op.name: op for op in ops},
        }
        self.__dict__.update(facts)
        self._check()

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a graph does not change: {name} cannot be set (renamed(name) gives it another name)")

    def renamed(self, name: str) -> ModelGraph:
        """The same graph under another name."""
        if name == self.name:
            return self
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, name=name)
        for kept in ("answers", "dag", "forward"):  # what tells the name
            other.__dict__.pop(kept, None)
        return other

    def _check(self) -> None:
        if len(self._by_name) != len(self.ops):
            seen: set[str] = set()
            twice = next(op.name for op in self.ops if op.name in seen or seen.add(op.name))  # type: ignore[func-returns-value]
            raise InvalidGraph(f"two operators of {self.name or 'the graph'} are named {twice!r}")
        # By storage, because an alias made in C++ (a detached tensor) is a value that no operator returned.
        made = {storage.id for storage in self.storages if storage.born < 0}
        for op in self.ops:
            for value in op.inputs:
                if value.storage not in made:
                    raise InvalidGraph(f"{op.name!r} uses {value.name!r} before any operator makes it")
            made.update([value.storage for value in op.outputs])

    def __iter__(self) -> Iterator[Op]:
        return iter(self.ops)

    def __len__(self) -> int:
        return len(self.ops)

    def __getitem__(self, name: str) -> Op:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __repr__(self) -> str:
        return f"<ModelGraph {self.name}: {len(self.ops)} operators, {len(self.parameters)} parameters and buffers>"

    def _repr_html_(self) -> str:
        from .render import svg

        return svg(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """How a notebook shows it: as its diagram."""
        return {"text/plain": repr(self), "image/svg+xml": self._repr_html_()}

    def to_dict(self) -> dict[str, Any]:
        """The table of its layers in the JSON schema (version 1), as ``cnnscope table --format json`` prints it."""
        return self._layers().to_dict()

    def to_dataframe(self) -> Any:
        """The table of its layers as a pandas DataFrame.

        Raises:
            CnnscopeError: pandas is not installed.
        """
        return self._layers().to_dataframe()

    def _layers(self) -> Table[Any]:
        from .analyses.layering import layers

        return layers(self)

    @property
    def train(self) -> bool:
        """Whether it records a training step: forward, loss, backward and, where one was given, the optimizer."""
        return self.run.train

    @cached_property
    def forward(self) -> ModelGraph:
        """The forward pass of a training step as a graph of its own, without the loss; any other graph is one."""
        from .phases import forward_of

        return forward_of(self) if self.train else self

    @cached_property
    def answers(self) -> dict[str, Any]:
        """What analyses have worked out of this graph, for whoever asks again."""
        return {}

    @cached_property
    def positions(self) -> Mapping[str, int]:
        """Index of each operator in execution order, by name."""
        return {op.name: i for i, op in enumerate(self.ops)}

    @cached_property
    def producers(self) -> Mapping[str, str]:
        """Name of the operator that makes each value, by value name."""
        return {value.name: op.name for op in self.ops for value in op.outputs}

    @cached_property
    def dag(self) -> nx.DiGraph:
        """The frozen graph of operators; an edge's ``values`` are the tensors that flow along it.

        An edge without values is an order alone: the head sees an in-place write of the tail through a view.
        """
        import networkx as nx  # its import takes longer than a whole command needs otherwise

        with without_collection():
            return nx.freeze(self._dag(nx.DiGraph(name=self.name)))

    def _dag(self, dag: nx.DiGraph) -> nx.DiGraph:
        producers = self.producers
        edges: dict[tuple[str, str], tuple[Value, ...]] = {}
        for op in self.ops:
            dag.add_node(op.name, op=op)
            for value in op.inputs:
                source = producers.get(value.name)
                if source is not None and value not in (flow := edges.get((source, op.name), ())):
                    edges[source, op.name] = (*flow, value)
            for source in op.after:
                edges.setdefault((source, op.name), ())
        dag.add_edges_from((tail, head, {"values": values}) for (tail, head), values in edges.items())
        return dag

    @cached_property
    def types(self) -> Mapping[str, str]:
        """Class name of every module that was called, by dotted path."""
        return {call.module: call.type for call in reversed(self.calls)}

    @property
    def input_text(self) -> str:
        """The inputs as the command line writes them: ``1x3x224x224``, several joined by a comma."""
        return ", ".join("x".join(map(str, value.shape)) or "scalar" for value in self.inputs)
