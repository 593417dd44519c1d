"""The dispatch mode that writes down every operator of a run on the meta device.

``Recorder`` sits below autograd: it sees the ATen operators that really run, after composite functions have been
taken apart. It keeps no tensor alive; a weak reference on each storage tells when the program frees it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from .fastmeta import METAS, RULES, Meta, intern, meta_of

ROOT_CALL = 0


class Known(NamedTuple):
    """What the recorder knows of a tensor: its value and storage numbers, its metadata, the parameter it views."""

    run: int
    value: int
    meta: int
    storage: int
    param: int
    written: int


class Function(NamedTuple):
    """What an ATen overload's schema says, looked up once per process."""

    kind: str
    names: tuple[str, ...]
    defaults: dict[str, Any]
    view: bool
    pointwise: bool
    in_place: bool
    writes: bool
    decomposes: bool
    rule: Callable[..., list[Meta] | None] | None


class Signature(NamedTuple):
    """One operator with one set of metadata and arguments: all calls with it share what follows from that."""

    function: Function
    roles: tuple[str, ...]
    attrs: dict[str, Any]
    outs: tuple[tuple[int, Meta, int], ...] | None
    many: bool


class Record(NamedTuple):
    """One operator call, by numbers."""

    signature: Signature
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    params: tuple[int, ...]
    call: int
    after: tuple[int, ...]
    phase: str


_READ_NUMBER = torch.ops.aten._local_scalar_dense.default
_functions: dict[Any, Function] = {}
_signatures: dict[tuple[Any, ...], Signature] = {}
_MEMO_LIMIT = 50_000
_runs = 0


def _describe(func: Any) -> Function:
    schema = func._schema
    kind = schema.name.partition("::")[2]
    alias_write = [a.alias_info is not None and a.alias_info.is_write for a in schema.arguments]
    tags = func.tags
    in_place = kind.endswith("_") and bool(alias_write) and alias_write[0] and torch.Tag.inplace_view not in tags
    random = torch.Tag.nondeterministic_seeded in tags
    decomposes = not random and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd")
    return Function(
        kind,
        tuple(a.name for a in schema.arguments),
        {a.name: a.default_value for a in schema.arguments if a.has_default_value()},
        func.is_view,
        torch.Tag.pointwise in tags,
        in_place,
        any(alias_write),
        decomposes,
        RULES.get(func),
    )


class Recorder(TorchDispatchMode):
    """Records while it is entered.

    records, values, storages: what was seen, by number; ``given`` are tensors that exist before the run.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the wrapper would import torch._dynamo and cost microseconds a call

    def __init__(self, doubles: dict[int, Any], originals: list[torch.Tensor]) -> None:
        """``doubles``: the meta tensor by ``id`` of each original tensor; ``originals``: those that have data."""
        super().__init__()
        global _runs
        _runs += 1
        self.run = _runs
        self.records: list[Record] = []
        self.value_metas: list[int] = []
        self.value_storages: list[int] = []
        self.value_names: dict[int, str] = {}
        self.storage_bytes: list[int] = []
        self.storage_kinds: list[str] = []
        self.storage_born: list[int] = []
        self.storage_dies: list[int | None] = []
        self.calls: list[list[Any]] = [["", "", -1, 0, True, (), ()]]
        self.current = ROOT_CALL
        self.failed_at: int | None = None
        self.phase = "forward"
        self.params: list[torch.Tensor] = []
        self.constants: list[torch.Tensor] = []
        self._given: dict[int, Known] = {}
        self._by_memory: dict[int, int] = {}
        self._watches: list[Any] = []
        self._makers: dict[int, int] = {}
        self._writers: dict[int, int] = {}
        self._aliased = False
        self._doubles = doubles
        self._data = {id(doubles[id(each)]): each for each in originals}
        self._data_of: dict[int, torch.Tensor] = {}

    # -- tensors -------------------------------------------------------------------------------------------------

    def give(self, tensor: torch.Tensor, name: str, kind: str) -> Known:
        """Declare a tensor that exists before the run."""
        known = self._given.get(id(tensor))
        if known is None:
            param = -1
            if kind in ("param", "buffer"):
                param = len(self.params)
                self.params.append(tensor)
            else:
                self.constants.append(tensor)
            storage = self._storage_of(tensor, kind, -1)
            known = self._new_value(meta_of(tensor), storage, param)
            self._given[id(tensor)] = known
            self.value_names[known.value] = name
            if id(tensor) in self._data:
                self._data_of[storage] = self._data[id(tensor)]
        return known

    def known(self, tensor: torch.Tensor) -> Known:
        """The value that a tensor holds now."""
        known = tensor.__dict__.get("_cnnscope") or self._given.get(id(tensor))
        if known is not None and known.run == self.run:
            return known
        double = self._doubles.get(id(tensor))
        if double is not None and double is not tensor:
            return self.known(double)
        # A tensor that no recorded operator returned: an alias made in C++, or one that was there before.
        storage = self._by_memory.get(tensor.untyped_storage()._cdata)
        if storage is None:
            kind = "param" if isinstance(tensor, nn.Parameter) else "constant"
            return self.give(tensor, f"{kind}{len(self._given)}", kind)
        self._aliased = True
        known = self._new_value(meta_of(tensor), storage)._replace(written=-1)
        tensor._cnnscope = known  # type: ignore[attr-defined]
        return known

    def numbers(self, value: Any) -> tuple[int, ...]:
        """The numbers of the tensors in an argument or result, one container deep."""
        if isinstance(value, torch.Tensor):
            return (self.known(value).value,)
        items = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
        return tuple([self.known(item).value for item in items if isinstance(item, torch.Tensor)])

    def _new_value(self, meta: int, storage: int, param: int = -1) -> Known:
        number = len(self.value_metas)
        self.value_metas.append(meta)
        self.value_storages.append(storage)
        return Known(self.run, number, meta, storage, param, len(self.records) + 1)

    def _storage_of(self, tensor: torch.Tensor, kind: str, born: int) -> int:
        memory = tensor.untyped_storage()
        number = self._by_memory.get(memory._cdata)
        return self._watch(memory, memory.nbytes(), kind, born) if number is None else number

    def _watch(self, memory: torch.UntypedStorage, nbytes: int, kind: str, born: int) -> int:
        """Number a storage that is seen for the first time and note when it goes."""
        number = len(self.storage_bytes)
        address = memory._cdata
        self._by_memory[address] = number
        self.storage_bytes.append(nbytes)
        self.storage_kinds.append(kind)
        self.storage_born.append(born)
        dies = self.storage_dies
        dies.append(None)
        records, by_memory = self.records, self._by_memory

        def gone(_: Any) -> None:
            dies[number] = len(records)
            if by_memory.get(address) == number:
                del by_memory[address]

        self._watches.append(weakref.ref(memory, gone))
        return number

    def stop(self) -> None:
        """End the record: what is alive now outlives the run."""
        self._watches.clear()

    # -- operators -----------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        function = _functions.get(func)
        if function is None:
            function = _functions[func] = _describe(func)
        if function.decomposes:
            # Under inference_mode composite functions arrive whole; everywhere else they have been taken apart.
            with self:
                result = func.decompose(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        if func is _READ_NUMBER and args[0].is_meta:
            return self._read_data(func, args[0])
        key: list[Any] = [func]
        inputs: list[Known] = []
        real = False
        for value in args:
            kind = type(value)
            if kind is torch.Tensor or kind is nn.Parameter or isinstance(value, torch.Tensor):
                known = value.__dict__.get("_cnnscope")
                if known is None or known.run != self.run:
                    known = self.known(value)
                    real = real or not value.is_meta
                inputs.append(known)
                key.append(known.meta)
            elif kind is list or kind is tuple:
                real = self._key_list(value, key, inputs) or real
            else:
                key.append(kind)
                key.append(value)
        if kwargs:
            for name, value in kwargs.items():
                key.append(name)
                if isinstance(value, torch.Tensor):
                    inputs.append(self.known(value))
                    real = real or not value.is_meta
                    key.append(inputs[-1].meta)
                elif isinstance(value, (list, tuple)):
                    real = self._key_list(value, key, inputs) or real
                else:
                    key.append(type(value))
                    key.append(value)
        if real:
            args, kwargs = self._without_data(args, kwargs or {})
        return self._run(func, function, args, kwargs or {}, tuple(key), inputs, real)

    def _key_list(self, items: Any, key: list[Any], inputs: list[Known]) -> bool:
        """Add a list argument (of tensors, of numbers) to the memo key; tell whether a tensor in it has data."""
        real = False
        key.append("[")
        for item in items:
            if isinstance(item, torch.Tensor):
                known = self.known(item)
                inputs.append(known)
                key.append(known.meta)
                real = real or not item.is_meta
            else:
                key.append(item)
        key.append("]")
        return real

    def _run(self, func: Any, function: Function, args: Any, kwargs: Any, key: Any, inputs: list[Known], real: bool) -> Any:  # fmt: skip
        try:
            signature = None if real else _signatures.get(key)
        except TypeError:  # a Generator or another argument that cannot be hashed
            signature, real = None, True
        if signature is not None and signature.outs is not None:
            if function.in_place:
                self._write(signature, inputs, args[0], inputs[0].storage)
                return args[0]
            return self._answer(signature, inputs)
        result = None
        if signature is None:
            signature = Signature(function, *_arguments(function, args, kwargs), None, False)
            if function.rule is not None and not kwargs and not real:
                metas = function.rule(*[_meta_argument(each, self) for each in args])
                if metas is not None:
                    signature = self._remember(key, signature, metas, len(metas) > 1)
                    return self._answer(signature, inputs)
        result = func(*args, **kwargs)
        return self._take(func, signature, inputs, args, kwargs, result, None if real else key)

    def _answer(self, signature: Signature, inputs: list[Known]) -> Any:
        """New tensors with remembered metadata; nothing runs."""
        tensors = []
        numbers = []
        records = len(self.records)
        for number, (shape, stride, dtype), nbytes in signature.outs:  # type: ignore[union-attr]
            tensor = torch.empty_strided(shape, stride, dtype=dtype, device="meta")
            storage = self._watch(tensor.untyped_storage(), nbytes, "activation", records)
            self._makers[storage] = records
            known = self._new_value(number, storage)
            tensor._cnnscope = known  # type: ignore[attr-defined]
            numbers.append(known.value)
            tensors.append(tensor)
        self._record(signature, inputs, tuple(numbers))
        return tuple(tensors) if signature.many else tensors[0]

    def _take(self, func: Any, signature: Signature, inputs: list[Known], args: Any, kwargs: Any, result: Any, key: Any) -> Any:  # fmt: skip
        """Write down what torch's own kernel returned, and remember it where nothing but metadata mattered."""
        function = signature.function
        many = isinstance(result, (tuple, list))
        outs = [each for each in (result if many else (result,)) if isinstance(each, torch.Tensor)]
        if function.in_place and len(outs) == 1:
            if key is not None and outs[0] is args[0]:
                _signatures[key] = signature._replace(outs=())
            self._write(signature, inputs, outs[0], inputs[0].storage)
            return result
        born = len(self.records)
        fresh = not function.writes and not function.view
        numbers = []
        for out in outs:
            before = self._by_memory.get(out.untyped_storage()._cdata)
            fresh = fresh and before is None
            storage = self._storage_of(out, "activation", born) if before is None else before
            self._makers.setdefault(storage, born)
            param = next((known.param for known in inputs if known.storage == storage), -1) if before is not None else -1
            known = self._new_value(meta_of(out), storage, param)
            out._cnnscope = known  # type: ignore[attr-defined]
            numbers.append(known.value)
            if function.writes and before is not None:
                self._writers[storage] = born
        if key is not None and fresh and outs and len(outs) == len(result if many else (result,)):
            self._remember(key, signature, [METAS[meta_of(out)] for out in outs], many, [o.untyped_storage().nbytes() for o in outs])  # fmt: skip
        self._record(signature, inputs, tuple(numbers))
        return result

    def _write(self, signature: Signature, inputs: list[Known], target: torch.Tensor, storage: int) -> None:
        """An in-place operator: the tensor keeps its memory and holds a new value."""
        known = self._new_value(meta_of(target), storage, inputs[0].param)
        self._record(signature, inputs, (known.value,))
        self._writers[storage] = len(self.records) - 1
        if id(target) in self._given:
            self._given[id(target)] = known
        else:
            target._cnnscope = known  # type: ignore[attr-defined]

    def _remember(self, key: Any, signature: Signature, metas: list[Meta], many: bool, nbytes: list[int] | None = None) -> Signature:  # fmt: skip
        sizes = nbytes or [_bytes(meta) for meta in metas]
        outs = tuple((intern(meta), meta, size) for meta, size in zip(metas, sizes, strict=True))
        signature = signature._replace(outs=outs, many=many)
        if len(_signatures) >= _MEMO_LIMIT:
            _signatures.clear()
        _signatures[key] = signature
        return signature

    def _record(self, signature: Signature, inputs: list[Known], outputs: tuple[int, ...]) -> None:
        params = tuple([known.param for known in inputs if known.param >= 0])
        after: tuple[int, ...] = ()
        if self._writers or self._aliased:
            after = self._unseen_writes(inputs)
        self.records.append(
            Record(signature, tuple([k.value for k in inputs]), outputs, params, self.current, after, self.phase)
        )

    def _unseen_writes(self, inputs: list[Known]) -> tuple[int, ...]:
        """Operators that changed an input's memory through another tensor since the input's value was made."""
        found = set()
        for known in inputs:
            writer = self._writers.get(known.storage, -1)
            if known.written < 0:
                writer = max(writer, self._makers.get(known.storage, -1))
            if writer >= max(known.written, 0):
                found.add(writer)
        return tuple(sorted(found))

    def _read_data(self, func: Any, tensor: torch.Tensor) -> Any:
        """The number in a weight or buffer that arrived with data and has not been written: a constant of the model."""
        storage = self.known(tensor).storage
        data = self._data_of.get(storage)
        if data is None or storage in self._writers:
            return func(tensor)
        return func(data.detach().as_strided(tensor.shape, tensor.stride(), tensor.storage_offset()))

    def _without_data(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Replace tensors that have data by their doubles, unless all of them have: those compute constants.

        A constant that a meta tensor was once written into has lost its data: it stays a double.
        """
        tensors = [each for each in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        if not any(each.is_meta or id(each) in self._doubles for each in tensors):
            return args, kwargs
        return torch.utils._pytree.tree_map_only(torch.Tensor, self._double, (args, kwargs))

    def _double(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_meta:
            return tensor
        double = self._doubles.get(id(tensor))
        if double is None:
            double = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
            self._doubles[id(tensor)] = double
            self.constants.append(tensor)  # keeps its id from being given to another tensor
        return double


def _arguments(function: Function, args: Any, kwargs: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The roles of the tensor inputs and the other arguments by name, defaults filled in."""
    roles: list[str] = []
    attrs: dict[str, Any] = {}
    given = dict(zip(function.names, args, strict=False)) | kwargs
    for name, value in given.items():
        if isinstance(value, torch.Tensor):
            roles.append(name)
        elif isinstance(value, (list, tuple)) and any(isinstance(item, torch.Tensor) for item in value):
            roles.extend(name for item in value if isinstance(item, torch.Tensor))
        else:
            attrs[name] = _plain(value)
    for name, value in function.defaults.items():
        if name not in given:
            attrs[name] = _plain(value)
    return tuple(roles), attrs


def _plain(value: Any) -> Any:
    """An argument as torch-free data."""
    if isinstance(value, (list, tuple)):
        return tuple(_plain(item) for item in value)
    return value if isinstance(value, (int, float, bool, str, complex, type(None))) else str(value)


def _meta_argument(value: Any, recorder: Recorder) -> Any:
    if isinstance(value, torch.Tensor):
        return METAS[recorder.known(value).meta]
    if isinstance(value, (list, tuple)):
        return [_meta_argument(item, recorder) for item in value]
    return value


def _bytes(meta: Meta) -> int:
    """Bytes of the memory behind a new tensor of this metadata."""
    if 0 in meta.shape:
        return 0
    last = sum((size - 1) * stride for size, stride in zip(meta.shape, meta.stride, strict=True))
    return (last + 1) * meta.dtype.itemsize
