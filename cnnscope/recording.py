"""The dispatch mode that writes down every operator of a run on the meta device.

``Recorder`` sits below autograd: it sees the ATen operators that really run, after composite functions have been
taken apart. It keeps no tensor alive; a weak reference on each storage tells when the program frees it.
"""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any, NamedTuple

import torch
from torch import nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from .casting import AUTOCAST
from .device_rules import DEVICE_RULES
from .errors import UnusableInput
from .fastmeta import METAS, meta_of
from .layouts import Meta
from .lifetimes import Memory, Record
from .lineages import Lineage
from .refusals import refusal
from .signatures import (
    Function,
    Signature,
    forget_other_default,
    function_of,
    held,
    remember,
    signature_of,
    signatures_for,
    with_results,
)
from .standins import Originals

_META = torch.device("meta")
_READ_NUMBER = torch.ops.aten._local_scalar_dense.default
_COPY_TO = torch.ops.aten._to_copy.default
_LIFT = torch.ops.aten.lift_fresh.default
_SPECIAL = frozenset((_READ_NUMBER, _COPY_TO, _LIFT))
_DOUBLE = "_cnnscope_double"
_runs = 0
_PLAIN = frozenset((int, float, bool, type(None), str, torch.dtype, torch.device, torch.layout, torch.memory_format))


class Known(NamedTuple):
    """What the recorder knows of a tensor, kept on the tensor itself.

    run: which recorder; value, meta, storage: numbers; param: of the parameter that it is or views, else -1;
    written: index of the first operator whose write to the storage this value does not show, -1 for an alias that
    no recorded operator made; real: the tensor has data.
    """

    run: int
    value: int
    meta: int
    storage: int
    param: int
    written: int
    real: bool = False


def _storage(tensor: torch.Tensor, name: str) -> torch.UntypedStorage:
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError) as error:
        kind = str(tensor.layout).removeprefix("torch.") if tensor.layout is not torch.strided else "wrapped"
        raise UnusableInput(
            f"{name} is a {kind} tensor of shape {tuple(tensor.shape)}, which has no memory of its own to follow\n"
            "trace takes dense tensors: use to_dense() in a copy of the model, or trace the part without it"
        ) from error


def _meta_and_bytes(out: Any) -> tuple[Meta, int] | None:
    """What to remember of a returned tensor; of None, which stands for a gradient nobody asked for, nothing."""
    return None if out is None else (METAS[meta_of(out)], out.untyped_storage().nbytes())


class Recorder(TorchDispatchMode):
    """Records while it is entered: ``records`` of operators, ``memory``, and the metadata of every value."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the wrapper would import torch._dynamo and cost microseconds a call

    def __init__(self, originals: Originals, training: bool = False, device: str = "cpu") -> None:
        super().__init__()
        forget_other_default(torch.get_default_dtype())
        self._signatures = signatures_for(device)
        self._rules = DEVICE_RULES[device]
        global _runs
        _runs += 1
        self.run = _runs
        self.records: list[Record] = []
        self.memory = Memory(self.records)
        self.value_metas: list[int] = []
        self.value_storages: list[int] = []
        self.value_names: dict[int, str] = {}
        self.params: list[torch.Tensor] = []
        self.param_names: list[list[str]] = []
        self.constants: list[torch.Tensor] = []
        self.call = 0
        self.failed_op = ""
        self.taking_apart = 0
        self.lineage = Lineage(self.records, self.params) if training else None
        self.given: dict[int, Known] = {}
        self.read = 0
        self._writers: dict[int, int] = {}
        self._aliased = False
        self._lost: set[int] = set()
        self._on_meta = originals.device == "meta"
        self._doubles = originals.memo
        self._copies: set[int] | None = None
        self._marked: list[weakref.ref[torch.Tensor]] = []
        self._moves = originals.device == "meta" and device != "cpu"
        self._data = {id(originals.memo[id(each)]): each for each in originals.with_data}
        self._data_of: dict[int, tuple[torch.Tensor, Meta]] = {}
        self._sharing: dict[int, set[int]] = {}

    @property
    def ran(self) -> int:
        """How many operators have run."""
        return len(self.records)

    def stop(self) -> None:
        """The run has ended: nothing is followed any more, and no tensor of the program's bears a mark of it."""
        self.memory.stop()
        for reference in self._marked:
            if (tensor := reference()) is not None:
                tensor.__dict__.pop(_DOUBLE, None)
                tensor.__dict__.pop("_cnnscope", None)

    # -- tensors ------------------------------------------------------------------------------------------------------

    def give(self, tensor: torch.Tensor, name: str, kind: str) -> Known:
        """Declare a tensor that exists before the run; ``kind`` as in ``graph.Storage``."""
        known = self.given.get(id(tensor))
        if known is not None:
            if known.param >= 0:
                self.param_names[known.param].append(name)
            return known
        storage = _storage(tensor, name)
        param = -1
        if kind in ("param", "buffer"):
            param = len(self.params)
            self.params.append(tensor)
            self.param_names.append([name])
        else:
            self.constants.append(tensor)  # keeps its id from being given to another tensor
        number = self.memory.at.get(storage._cdata)
        if number is None:
            number = self.memory.add(storage._cdata, storage.nbytes(), kind, -1)
        if self._on_host(tensor):
            self.memory.host.add(number)
        known = self.new_value(meta_of(tensor), number, param, not tensor.is_meta)
        self.given[id(tensor)] = known
        self.value_names[known.value] = name
        if id(tensor) in self._data:
            data = self._data[id(tensor)]
            self._data_of[number] = data, METAS[known.meta]
            self._sharing.setdefault(data.untyped_storage()._cdata, set()).add(number)
        return known

    def known(self, tensor: torch.Tensor) -> Known:
        """The value that a tensor holds now."""
        known = tensor.__dict__.get("_cnnscope") or self.given.get(id(tensor))
        if known is not None and known.run == self.run:
            return known
        double = self._double_of(tensor)
        if double is not None and double is not tensor:
            return self.known(double)
        # A tensor that no recorded operator returned: an alias made in C++, or one that was there before.
        storage = self.memory.at.get(_storage(tensor, "a tensor")._cdata)
        if storage is None:
            if self._is_made(tensor):
                return self._lifted(tensor)
            kind = "param" if isinstance(tensor, nn.Parameter) else "constant"
            return self.give(tensor, f"{kind}{len(self.given)}", kind)
        meta = meta_of(tensor)
        known = self.lineage.values.get((storage, meta, int(tensor.storage_offset()))) if self.lineage else None
        if known is None:
            self._aliased = True
            known = self.new_value(meta, storage)._replace(written=-1, real=not tensor.is_meta)
        if not tensor.is_meta:
            self._marked.append(weakref.ref(tensor))
        tensor._cnnscope = known  # type: ignore[attr-defined]
        return known

    def _is_made(self, tensor: torch.Tensor) -> bool:
        """Whether ``torch.tensor(..., device=x.device)`` made it: on meta that calls no operator, elsewhere a lift."""
        if not (self._on_meta and tensor.is_meta) or isinstance(tensor, nn.Parameter):
            return False
        if self._copies is None:
            self._copies = {id(each) for each in self._doubles.values()}
        return id(tensor) not in self._copies

    def _lifted(self, tensor: torch.Tensor) -> Known:
        """The value of such a tensor, made where it is first met."""
        storage = tensor.untyped_storage()
        known = self.new_value(meta_of(tensor), self.memory.allocated(storage, storage.nbytes()))
        tensor._cnnscope = known  # type: ignore[attr-defined]
        self.record(signature_of(function_of(_LIFT), (), {}), [], (known.value,))
        return known

    def _on_host(self, tensor: torch.Tensor) -> bool:
        """Whether it is on the CPU wherever the model is. In a run on the CPU nobody can tell."""
        return self._on_meta and not tensor.is_meta

    def _is_known(self, tensor: torch.Tensor) -> bool:
        known = tensor.__dict__.get("_cnnscope") or self.given.get(id(tensor))
        return known is not None and known.run == self.run

    def numbers(self, value: Any) -> tuple[int, ...]:
        """The numbers of the tensors in an argument or result, one container deep, but for those inside of vmap."""
        if isinstance(value, torch.Tensor):
            return () if is_functorch_wrapped_tensor(value) else (self.known(value).value,)
        items = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
        return tuple([number for item in items if isinstance(item, torch.Tensor) for number in self.numbers(item)])

    def adopt(self, tensor: torch.Tensor, name: str, kind: str) -> None:
        """Declare a tensor that exists before the run and may be freed in it."""
        storage = _storage(tensor, name)
        number = self.memory.at.get(storage._cdata)
        if number is None:
            number = self.memory.allocated(storage, storage.nbytes(), kind, -1)
            if self._on_host(tensor):
                self.memory.host.add(number)
            tensor._cnnscope = self.new_value(meta_of(tensor), number, -1, not tensor.is_meta)  # type: ignore[attr-defined]
            self.value_names[tensor._cnnscope.value] = name  # type: ignore[attr-defined]

    def new_value(self, meta: int, storage: int, param: int = -1, real: bool = False, offset: int = 0) -> Known:
        number = len(self.value_metas)
        self.value_metas.append(meta)
        self.value_storages.append(storage)
        known = Known(self.run, number, meta, storage, param, len(self.records) + 1, real)
        if self.lineage is not None:
            self.lineage.values[storage, meta, offset] = known
        return known

    # -- operators ----------------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        function = function_of(func)
        kwargs = kwargs or {}
        if function.decomposes:
            # Under inference_mode composite functions arrive whole; everywhere else they have been taken apart.
            with self:
                self.taking_apart += 1
                try:
                    result = func.decompose(*args, **kwargs)
                finally:
                    self.taking_apart -= 1
            if result is not NotImplemented:
                return result
        if func in _SPECIAL:
            if func is _READ_NUMBER and args[0].is_meta:
                return self._read_data(func, args[0])
            if func is _LIFT and not self._is_known(args[0]):  # torch.tensor(...): memory that is new here
                return self._ask_torch(func, signature_of(function, (), {}), args, kwargs, None, [])
            if func is _COPY_TO and kwargs.get("device") is not None:
                if args[0].is_meta:
                    kwargs = {**kwargs, "device": _META}  # x.cpu(): what has no data has none there either
                elif self._stays(args[0], kwargs):
                    return self._double(args[0])
        elif func.namespace == "profiler":
            return func(*args, **kwargs)  # a mark for a profiler, not an operator
        key: list[Any] = [func]
        inputs: list[Known] = []
        run = self.run
        real = False
        for value in args:
            kind = type(value)
            if kind is torch.Tensor or kind is nn.Parameter:
                known = value.__dict__.get("_cnnscope")
                if known is None or known.run != run:
                    known = self.known(value)
                    real = real or not value.is_meta
                real = real or known.real
                inputs.append(known)
                key.append(known.meta)
            elif kind in _PLAIN:  # _add would do; this is where a microsecond counts
                key.append(kind)
                key.append(value)
            else:
                real = self._add(value, key, inputs) or real
        for name, value in kwargs.items():
            key.append(name)
            real = self._add(value, key, inputs) or real
        if not real:
            return self._answer(func, function, args, kwargs, tuple(key), inputs)
        # Nothing that real data are part of is remembered.
        args, kwargs = self._without_data(args, kwargs, inputs)
        if function.writes and isinstance(args[0], torch.Tensor) and args[0].is_meta and inputs[0].real:
            self._lost.add(inputs[0].storage)
        return self._ask_torch(func, signature_of(function, args, kwargs), args, kwargs, None, inputs)

    def _add(self, value: Any, key: list[Any], inputs: list[Known]) -> bool:
        """Add an argument to the memo key and its tensors to the inputs; tell whether one of them has data."""
        if isinstance(value, torch.Tensor):
            known = self.known(value)
            inputs.append(known)
            key.append(known.meta)
            return not value.is_meta
        if isinstance(value, (list, tuple)):
            if value and type(value[0]) is int:  # sizes and strides: never tensors
                key.append(tuple(value))
                return False
            key.append(len(value))
            found = [self._add(item, key, inputs) for item in value]
            return any(found)
        # 2, 2.0 and True are equal and give results of different dtypes.
        key.append(type(value))
        key.append(value)
        return False

    def _answer(self, func: Any, function: Function, args: Any, kwargs: Any, key: Any, inputs: list[Known]) -> Any:
        """The result from memory or in closed form where that is possible, else from torch's meta kernel."""
        try:
            signature = self._signatures.get(key)
        except TypeError:  # a Generator or another argument that cannot be hashed
            return self._ask_torch(func, signature_of(function, args, kwargs), args, kwargs, None, inputs)
        if signature is None:
            signature = signature_of(function, args, kwargs)
            self._check(signature, inputs)
            if function.lists:
                remember(self._signatures, key, signature)
                return self._write_lists(signature, inputs)
            rule = self._rules.get(func)
            if rule is None or kwargs:
                return self._ask_torch(func, signature, args, kwargs, key, inputs)
            metas = rule(*[self._meta(each) for each in args])
            if metas is None:
                return self._ask_torch(func, signature, args, kwargs, key, inputs)
            signature = with_results(signature, [meta and held(meta) for meta in metas], len(metas) > 1)
            remember(self._signatures, key, signature)
        if function.in_place:
            return self.write(signature, inputs, args[0])
        if function.lists:
            return self._write_lists(signature, inputs)
        return self._new_tensors(signature, inputs)

    def _check(self, signature: Signature, inputs: list[Known]) -> None:
        """Raise what a real kernel would."""
        function = signature.function
        writes = function.in_place and (function.pointwise or function.kind == "copy_")
        why = refusal(function.kind, [METAS[known.meta] for known in inputs], signature.attrs, writes)
        if why:
            self._note_failure(signature, inputs)
            raise RuntimeError(why)

    def _note_failure(self, signature: Signature, inputs: list[Known]) -> None:
        shapes = [f"{role} {METAS[known.meta].shape}" for role, known in zip(signature.roles, inputs, strict=True)]
        self.failed_op = f"{signature.function.kind} of {', '.join(shapes)}" if shapes else signature.function.kind

    def _new_tensors(self, signature: Signature, inputs: list[Known]) -> Any:
        """New tensors with remembered metadata; nothing runs."""
        outs = signature.outs or ()
        first = len(self.value_metas)
        tensors = [out and self._new_tensor(*out) for out in outs]
        self.record(signature, inputs, tuple(range(first, len(self.value_metas))))
        return tuple(tensors) if signature.many else tensors[0]

    def _new_tensor(self, number: int, meta: Meta, nbytes: int) -> torch.Tensor:
        shape, stride, dtype = meta
        tensor = torch.empty_strided(shape, stride, dtype=dtype, device=_META)
        storage = self.memory.allocated(tensor.untyped_storage(), nbytes)
        tensor._cnnscope = self.new_value(number, storage)  # type: ignore[attr-defined]
        return tensor

    def _ask_torch(self, func: Any, signature: Signature, args: Any, kwargs: Any, key: Any, inputs: list[Known]) -> Any:
        """Run torch's own kernel, write down what it returns, and remember it if nothing but metadata mattered."""
        modules = len(sys.modules)
        try:
            if AUTOCAST.is_on():
                with AUTOCAST.passed():  # meta kernels are Python programs, whose own steps are no business of autocast
                    result = func(*args, **kwargs)
            else:
                result = func(*args, **kwargs)
        except Exception:
            self._note_failure(signature, inputs)
            raise
        if len(sys.modules) != modules:
            gc.collect()  # what a kernel imports at its first call leaves cycles of frames behind, this one among them
        function = signature.function
        many = isinstance(result, (tuple, list))
        returned = result if many else (result,)
        outs = [each for each in returned if isinstance(each, torch.Tensor)]
        if function.in_place and len(outs) == 1 and outs[0] is args[0]:
            if key is not None:
                remember(self._signatures, key, signature)
            return self.write(signature, inputs, outs[0])
        numbers = []
        fresh = not function.writes and not function.view and bool(outs)
        fresh = fresh and all(each is None or isinstance(each, torch.Tensor) for each in returned)
        for out in outs:
            known = self._returned(out, inputs)
            # _unsafe_view and its like return their input's storage without saying so; what has data is computed.
            fresh = fresh and self.memory.born[known.storage] == len(self.records) and not known.real
            out._cnnscope = known  # type: ignore[attr-defined]
            numbers.append(known.value)
        if key is not None and fresh:
            remember(self._signatures, key, with_results(signature, [_meta_and_bytes(out) for out in returned], many))
        self.record(signature, inputs, tuple(numbers))
        if function.writes:
            self._note_writes(signature, inputs)
        return result

    def _returned(self, out: torch.Tensor, inputs: list[Known]) -> Known:
        """The value of a tensor that torch's kernel returned: in new memory, or in that of an input."""
        storage = _storage(out, "a result")
        before = self.memory.at.get(storage._cdata)
        if before is None:
            before, param = self.memory.allocated(storage, storage.nbytes()), -1
            if self._on_host(out):
                self.memory.host.add(before)
        else:
            param = next((known.param for known in inputs if known.storage == before), -1)
        known = self.new_value(meta_of(out), before, param, offset=int(out.storage_offset()))
        return known if out.is_meta else known._replace(real=True)

    def write(self, signature: Signature, inputs: list[Known], target: torch.Tensor) -> torch.Tensor:
        """An in-place operator: the tensor keeps its memory and holds a new value."""
        before = inputs[0]
        offset = 0 if self.lineage is None else int(target.storage_offset())
        known = self.new_value(before.meta, before.storage, before.param, not target.is_meta, offset)
        self.record(signature, inputs, (known.value,))
        self._writers[before.storage] = len(self.records) - 1
        if id(target) in self.given:
            self.given[id(target)] = known
        else:
            target._cnnscope = known  # type: ignore[attr-defined]
        return target

    def _write_lists(self, signature: Signature, inputs: list[Known]) -> None:
        """A step of an optimizer on whole lists: it changes numbers, no metadata, and torch's kernel is slow."""
        self.record(signature, inputs, ())
        self._note_writes(signature, inputs)

    def _note_writes(self, signature: Signature, inputs: list[Known]) -> None:
        for role, known in zip(signature.roles, inputs, strict=True):
            if role in signature.function.written:
                self._writers[known.storage] = len(self.records) - 1

    def record(self, signature: Signature, inputs: list[Known], outputs: tuple[int, ...]) -> None:
        after: tuple[int, ...] = ()
        if self._writers or self._aliased:
            writers = self._writers
            for known in inputs:
                if writers.get(known.storage, -1) >= known.written:
                    after = self._unseen_writes(inputs)
                    break
        params = tuple([known.param for known in inputs if known.param >= 0])
        values = tuple([known.value for known in inputs])
        call = self.call if self.lineage is None else self.lineage.call(self.call, params)
        self.records.append(Record(signature, values, outputs, params, call, after))

    def _unseen_writes(self, inputs: list[Known]) -> tuple[int, ...]:
        """Operators that changed an input's memory through another tensor since the input's value was made."""
        found = set()
        for known in inputs:
            writer = self._writers.get(known.storage, -1)
            if known.written < 0:
                writer = max(writer, self.memory.born[known.storage])
            if writer >= max(known.written, 0):
                found.add(writer)
        return tuple(sorted(found))

    # -- tensors with data --------------------------------------------------------------------------------------------

    def _meta(self, value: Any) -> Any:
        """An argument as the closed-form rules take it."""
        if isinstance(value, torch.Tensor):
            return METAS[self.known(value).meta]
        if isinstance(value, (list, tuple)):
            return [self._meta(item) for item in value]
        return value

    def _read_data(self, func: Any, tensor: torch.Tensor) -> Any:
        """The number in a weight or buffer that arrived with data and is unwritten: a constant of the model."""
        self.read += 1
        storage = self.known(tensor).storage
        data, meta = self._data_of.get(storage, (None, None))
        if data is None or meta is None or not self._sharing[data.untyped_storage()._cdata].isdisjoint(self._writers):
            return func(tensor)
        if (data.stride(), data.dtype) != (meta.stride, meta.dtype):  # the copy has been converted
            data = torch.empty_strided(meta.shape, meta.stride, dtype=meta.dtype).copy_(data.detach())
        # The copy begins at the start of its memory, the original anywhere in its own.
        offset = data.storage_offset() + tensor.storage_offset()
        return func(data.detach().as_strided(tensor.shape, tensor.stride(), offset))

    def _without_data(self, args: Any, kwargs: Any, inputs: list[Known]) -> tuple[Any, Any]:
        """Replace tensors that have data by their doubles, unless all of them have: those compute constants.

        A constant that a meta tensor was once written into has lost its data: it stays a double.
        """
        lost = any(known.storage in self._lost or not known.real for known in inputs)
        return pytree.tree_map_only(torch.Tensor, self._double, (args, kwargs)) if lost else (args, kwargs)

    def _stays(self, tensor: torch.Tensor, options: Any) -> bool:
        """Whether ``tensor.to(x.device)`` is the tensor itself where the model is on the CPU, too."""
        same = options.get("dtype") in (None, tensor.dtype) and options.get("memory_format") is None
        return same and not self._moves and options["device"] == _META

    def _double_of(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """The tensor without data that stands for one of the model, or in this run for one with data."""
        double: torch.Tensor | None = tensor.__dict__.get(_DOUBLE)
        return double if double is not None and self._is_known(double) else self._doubles.get(id(tensor))

    def _double(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor without data for one with data. It lives as long, and keeps the memory of the other alive."""
        if tensor.is_meta:
            return tensor
        double = self._double_of(tensor)
        if double is None:
            known = self.known(tensor)
            double = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
            double._cnnscope = known._replace(real=False)  # type: ignore[attr-defined]
            self.memory.shared(double.untyped_storage(), tensor.untyped_storage(), known.storage)
            setattr(tensor, _DOUBLE, double)
            self._marked.append(weakref.ref(tensor))
            tensor.__dict__.pop("_cnnscope", None)  # from now on the double knows
            self.given.pop(id(tensor), None)
        return double
